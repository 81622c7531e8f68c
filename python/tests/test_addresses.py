"""Hosts with several addresses, and where a connection comes from (contract 1.2)."""

import asyncio
import errno
import socket
from collections.abc import Iterator

import pytest

from conftest import TcpBroker
from ferromqtt import Client, MqttError, _transport
from ferromqtt._internals import internals_of
from ferromqtt._transport import addresses
from ferromqtt._transport.addresses import Address
from support.clients import LIMIT, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto, free_port
from support.scripted import Connection, ScriptedServer, serve_311

IPV4 = socket.AF_INET


@pytest.fixture
def deaf() -> Iterator[tuple[str, int]]:
    """A listener whose queue is full: the next connection to it hangs."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *where: tuple[str, int]) -> None:
    async def resolve(*_: object) -> list[Address]:
        return [Address(IPV4, address) for address in where]

    monkeypatch.setattr(addresses, "resolve", resolve)


def test_an_address_that_hangs_does_not_hold_up_the_next_1_2(
    run: LoopRunner, tcp_broker: TcpBroker, deaf: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, deaf, (tcp_broker.host, tcp_broker.port))

    async def main() -> None:
        async with Client("two-addresses", timeout=LIMIT) as client:
            await client.publish(unique("race"), qos=1)

    run(main)


def test_an_address_that_refuses_lets_the_next_begin_at_once_1_2(
    run: LoopRunner, tcp_broker: TcpBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = [("127.0.0.1", free_port()) for _ in range(100)]  # 25 s, if each took its time
    resolve_to(monkeypatch, *refusing, (tcp_broker.host, tcp_broker.port))

    async def main() -> None:
        async with Client("many-addresses", timeout=LIMIT) as client:
            await client.publish(unique("race"), qos=1)

    run(main)


def test_only_the_winner_speaks_1_2(run: LoopRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(first: ScriptedServer, second: ScriptedServer) -> None:
        resolve_to(monkeypatch, (first.host, first.port), (second.host, second.port))
        async with Client("two-servers"):
            pass

    with ScriptedServer(serve_311) as first, ScriptedServer(serve_311) as second:
        run(main, first, second)
        assert len(first.connections) == 1
        assert second.received == b""


def test_when_all_fail_each_is_told_behind_the_last_1_4(
    run: LoopRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ("127.0.0.1", free_port()), ("127.0.0.2", free_port()))

    async def main() -> None:
        with pytest.raises(MqttError, match=r"^\[Errno 111\] Connection refused: ") as caught:
            await Client("no-addresses").__aenter__()
        each = "TCP: 127.0.0.1: Connection refused; 127.0.0.2: Connection refused ("
        assert each in str(caught.value)

    run(main)


def test_when_many_fail_the_first_few_are_named_1_4(
    run: LoopRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, *[("127.0.0.1", 1)] * 300)

    async def refuse(*_: object) -> socket.socket:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    monkeypatch.setattr(_transport, "_connect_tcp", refuse)

    async def main() -> None:
        with pytest.raises(MqttError) as caught:
            await Client("many-addresses").__aenter__()
        text = str(caught.value)
        assert "TCP: 127.0.0.1: Connection refused; " in text
        assert text.count("127.0.0.1: ") == 5
        assert "; and 295 more addresses (" in text

    run(main)


def test_a_resolver_that_answers_without_an_address_is_one_that_failed_1_4(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On asyncio's own loop: uvloop's has no attributes that can be set."""

    async def main() -> None:
        async def resolve(*_: object, **__: object) -> list[object]:
            return []

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        with pytest.raises(MqttError, match=r"^the host has no address: cannot connect") as caught:
            await Client("no-addresses").__aenter__()
        assert "name resolution failed (check the spelling" in str(caught.value)
        assert caught.value.phase == "resolve"

    asyncio.run(main())


def test_a_cancelled_race_leaves_nothing_behind_1_4(
    run: LoopRunner, deaf: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, deaf, deaf, deaf)

    async def main() -> None:
        client = Client("deaf", timeout=0.6)  # the third has begun by then
        with pytest.raises(MqttError, match="Operation timed out"):
            await client.__aenter__()
        entering = asyncio.ensure_future(client.__aenter__())
        await asyncio.wait([entering], timeout=0.05)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    run(main)


def test_bind_address_and_bind_port_1_2(run: LoopRunner) -> None:
    port = free_port("127.0.0.7")
    peers: list[object] = []

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, bind_address="127.0.0.7", bind_port=port):
            peers.append(server.connections[0].sock.getpeername())
        async with Client(server.host, server.port, bind_address="127.0.0.8"):
            peers.append(server.connections[1].sock.getpeername()[0])

    with ScriptedServer(serve_311) as server:
        run(main, server)
    assert peers == [("127.0.0.7", port), "127.0.0.8"]


def test_bind_port_can_be_used_again_at_once_1_2(run: LoopRunner) -> None:
    """Connections that have just ended do not keep it."""
    port = free_port()
    peers: list[object] = []

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, bind_address="127.0.0.1", bind_port=port)
        for _ in range(3):
            async with client:
                await client.publish("a", qos=1)

    def serve(connection: Connection) -> None:
        peers.append(connection.sock.getpeername())
        serve_311(connection)

    with ScriptedServer(serve) as server:
        run(main, server)
    assert peers == [("127.0.0.1", port)] * 3


@pytest.mark.parametrize("bind_port", [True, False])
@pytest.mark.parametrize("posix", [True, False])
def test_addresses_are_reused_for_a_bind_port_where_that_takes_nothing_from_others_1_2(
    run: LoopRunner, monkeypatch: pytest.MonkeyPatch, bind_port: bool, posix: bool
) -> None:
    """On Windows SO_REUSEADDR would let two sockets have one port."""
    monkeypatch.setattr(_transport, "_REUSES_ADDRESSES", posix)
    port = free_port() if bind_port else 0

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, bind_port=port) as client:
            assert internals_of(client).core.transport is not None
            connection = internals_of(client).core.transport.get_extra_info("socket")
            reused = connection.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
            assert bool(reused) is (bind_port and posix)

    with ScriptedServer(serve_311) as server:
        run(main, server)


def test_socket_options_are_set_before_binding_1_2(run: LoopRunner) -> None:
    """Here one that lets two sockets have one port."""
    share = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    async def main(server: ScriptedServer, port: int) -> None:
        options = {"bind_address": "127.0.0.1", "bind_port": port}
        async with Client(server.host, server.port, socket_options=[share], **options) as client:
            await client.publish("a", qos=1)
        with pytest.raises(MqttError, match="Address already in use"):
            await Client(server.host, server.port, **options).__aenter__()

    with socket.socket() as other, ScriptedServer(serve_311) as server:
        other.setsockopt(*share)
        other.bind(("127.0.0.1", 0))
        run(main, server, other.getsockname()[1])


def test_a_socket_option_of_connected_sockets_alone_is_set_then_1_2() -> None:
    class Stub:
        def __init__(self) -> None:
            self.options: list[tuple[int, int, int]] = []

        def setsockopt(self, *option: int) -> None:
            if option[1] == 31:  # as TCP_ULP answers
                raise OSError(errno.ENOTCONN, "not connected")
            self.options.append(option)

    early, late = (socket.IPPROTO_TCP, 1, 1), (socket.IPPROTO_TCP, 31, 1)
    stub = Stub()
    assert _transport._set_options(stub, [early, late, early]) == [late]
    assert stub.options == [early, early]


def test_socket_options_and_tcp_nodelay_are_set_1_2(run: LoopRunner, mosquitto: Mosquitto) -> None:
    async def main() -> None:
        options = [
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\0" * 16),
        ]
        client = Client(mosquitto.host, mosquitto.port, socket_options=options)
        async with client:
            assert internals_of(client).core.transport is not None
            connection = internals_of(client).core.transport.get_extra_info("socket")
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

    run(main)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("no-such-host.invalid", r"^\[Errno -\d+\] .* \(bind_address='no-such-host.invalid', "),
        ("203.0.113.7", r"^\[Errno 99\] .* \(bind_address='203.0.113.7', bind_port=0\): "),
        ("ä" * 64, r"^not a host name \(bind_address='ä{64}', bind_port=0\): "),
    ],
)
def test_an_address_that_cannot_be_bound_is_named_1_2(
    run: LoopRunner, address: str, text: str
) -> None:
    async def main(port: int) -> None:
        with pytest.raises(MqttError, match=text):
            await Client("127.0.0.1", port, bind_address=address).__aenter__()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        run(main, listener.getsockname()[1])


def test_a_part_of_a_host_that_is_too_long_is_said_in_words_1_4(run: LoopRunner) -> None:
    async def main() -> None:
        text = (
            r"^hostname 'a{70}\.example': the host name is too long: at most 63 characters between"
        )
        with pytest.raises(ValueError, match=text):
            await Client("a" * 70 + ".example").__aenter__()

    run(main)
