"""Several servers, and credentials for each attempt."""

import asyncio
import re
import socket
from typing import Any

import pytest

from ferromqtt import Client, Credentials, MqttConnectError, MqttError, Reconnect, Server
from ferromqtt._client_options import ClientOptions
from ferromqtt._internals import internals_of
from ferromqtt.events import Disconnected
from ferromqtt.testing import TestBroker
from support import packets
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer
from support.virtual import memory_broker, play, stop
from support.websocket_server import WebSocketPeer


def test_servers_are_tried_in_turn_at_once() -> None:
    async def main() -> None:
        brokers = [memory_broker() for _ in range(3)]
        await brokers[0].stop()
        await brokers[1].stop()
        client = Client(brokers[0], servers=brokers[1:])
        start = asyncio.get_running_loop().time()
        async with client:  # it does not reconnect, and tries each of them
            assert brokers[2].stats().connections == 1
            assert asyncio.get_running_loop().time() - start < 0.01
        await brokers[2].stop()
        with pytest.raises(MqttError, match="cannot connect to the test broker"):
            await client.__aenter__()

    play(main)


def test_a_client_goes_from_server_to_server() -> None:
    async def main() -> None:
        one, two = memory_broker(), memory_broker()
        async with Client(one, servers=[two], reconnect=True, timeout=100) as client:
            await client.subscribe("a")
            for here, there in [(one, two), (two, one), (one, two)]:
                assert here.stats().connections == 1
                await stop(here)
                await client.publish("a", "x", qos=1)
                assert (await anext(client.messages)).payload == b"x"
                assert there.stats().connections == 1
                await here.start()

    play(main)


@pytest.mark.parametrize(
    ("given", "server"),
    [
        ("two", Server("two", 1234)),
        ("two:8883", Server("two", 8883)),
        (("two", 1), Server("two", 1)),
        (Server("two", 5), Server("two", 5)),
        (Server("two"), Server("two", 1234)),
        ("::1", Server("::1", 1234)),
        ("[::1]:7", Server("::1", 7)),
        ("[::1]", Server("::1", 1234)),
    ],
)
def test_a_server_is_given_in_several_ways(given: Any, server: Server) -> None:  # noqa: ANN401
    options = ClientOptions(hostname="one", port=1234, servers=[given])
    assert options.further_servers == (server,)


def test_a_path_of_a_unix_socket_is_a_server() -> None:
    options = ClientOptions(hostname="/a", transport="unix", servers=["/b:1"])
    assert options.further_servers == (Server("/b:1"),)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ("two", TypeError, "servers must be a list of servers, not str"),
        ({"two": 1883}, TypeError, "servers must be a list of servers, not dict"),
        ([5], TypeError, "each of servers must be str, (host, port) or a Server, not int"),
        ([("two", "1883")], TypeError, "servers: the port must be int, not str"),
        ([("two", 0)], ValueError, "servers: the port must be in the range 1-65535, not 0."),
        (["two:"], ValueError, "servers: 'two:***' has no port behind its colon."),
        (["two:65536"], ValueError, "servers: the port must be in the range 1-65535, not 65536."),
        (["[::1"], ValueError, "servers: '[::1' is not [address]:port."),
        ([""], ValueError, "servers: the host '': "),
        ([memory_broker()], ValueError, "servers: test brokers in memory and servers with"),
    ],
)
def test_wrong_servers_are_refused_at_once(
    given: Any,  # noqa: ANN401 - anything
    error: type[Exception],
    text: str,
) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        Client("one", servers=given)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"min": 0}, ValueError, "Reconnect: min and max must be seconds, with 0 < min <= max"),
        ({"min": 2, "max": 1}, ValueError, "Reconnect: min and max must be seconds"),
        ({"min": float("nan")}, ValueError, "Reconnect: min and max must be seconds"),
        ({"min": "1"}, TypeError, "Reconnect: min must be a number, not str"),
        ({"jitter": 1.5}, ValueError, "Reconnect: jitter must be in the range 0-1, not 1.5."),
        ({"attempts": 0}, ValueError, "Reconnect: attempts must be in the range 1-4294967295"),
        ({"attempts": 1.5}, TypeError, "Reconnect: attempts must be int or None, not float"),
        ({"initial": "x"}, TypeError, "Reconnect: initial must be bool, not str"),
    ],
)
def test_wrong_numbers_of_reconnect_are_refused(
    given: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        Reconnect(**given)


@pytest.mark.parametrize(
    ("given", "name"), [("yes", "str"), (5, "int"), (Reconnect, "the class Reconnect")]
)
def test_reconnect_must_be_one(given: Any, name: str) -> None:  # noqa: ANN401 - anything
    text = f"^reconnect must be True, False or a Reconnect, not {name}$"
    with pytest.raises(TypeError, match=text):
        Client("localhost", reconnect=given)
    assert internals_of(Client("h")).options.reconnects is None
    assert internals_of(Client("h", reconnect=True)).options.reconnects == Reconnect()


def users(name: str, password: str) -> TestBroker:
    return memory_broker(users={name: password})


def test_credentials_are_asked_for_at_each_attempt() -> None:
    async def main() -> None:
        broker = users("u", "secret")
        asked: list[tuple[str, int]] = []

        def credentials(server: Server, attempt: int) -> tuple[str, str]:
            asked.append((str(server), attempt))
            return "u", "secret"

        async with Client(broker, reconnect=True, credentials=credentials, timeout=100) as client:
            await stop(broker)
            await asyncio.sleep(2)
            await broker.start()
            await client.publish("a", qos=1)
        assert asked[0] == ("the test broker", 0)
        assert [attempt for _, attempt in asked] == list(range(len(asked)))

    play(main)


def test_what_is_not_given_is_that_of_the_client() -> None:
    async def main() -> None:
        broker = users("u", "secret")

        async def credentials(*_: object) -> Credentials:
            return Credentials(password=b"secret")

        async with Client(broker, username="u", password="old", credentials=credentials):
            pass

    play(main)


def test_refused_credentials_are_tried_again_with_new_ones() -> None:
    async def main() -> None:
        broker = users("u", "secret")
        tokens = iter(["old", "older", "secret"])
        policy = Reconnect(initial=True)

        def credentials(*_: object) -> tuple[str, str]:
            return "u", next(tokens)

        async with Client(broker, reconnect=policy, credentials=credentials) as client:
            await client.publish("a", qos=1)
        with pytest.raises(MqttConnectError):
            await Client(broker, username="u", password="old", reconnect=policy).__aenter__()

    play(main)


@pytest.mark.parametrize("kind", ["sync", "async", "wrong"])
def test_credentials_that_raise_fail_the_attempt(kind: str) -> None:
    async def main() -> None:
        broker = memory_broker()
        reported: list[dict[str, Any]] = []
        failing = True

        def sync(*_: object) -> None:
            if failing:
                raise ValueError("s3cret")

        async def wait(*_: object) -> None:
            await asyncio.sleep(0.1)
            sync()

        def wrong(*_: object) -> Any:  # noqa: ANN401 - nothing of use
            return 5 if failing else None

        source = {"sync": sync, "async": wait, "wrong": wrong}[kind]
        name = "TypeError" if kind == "wrong" else "ValueError"
        what = "must return Credentials, a pair or None, not int" if kind == "wrong" else ""
        loop = asyncio.get_running_loop()
        handler = loop.get_exception_handler()
        loop.set_exception_handler(lambda _, context: reported.append(context))
        with pytest.raises(MqttError) as caught:
            await Client(broker, reconnect=True, credentials=source).__aenter__()
        what = what or f"raised {name}"
        assert str(caught.value) == f"The client's `credentials` {what}"
        assert type(caught.value.__cause__).__name__ == name
        assert caught.value.address == "the test broker"
        policy = Reconnect(initial=True)
        client = Client(broker, reconnect=policy, credentials=source)
        entering = asyncio.ensure_future(client.__aenter__())
        await asyncio.sleep(10)
        assert not entering.done()
        failing = False
        await entering
        await client.__aexit__(None, None, None)
        assert reported[0]["message"] == "ferromqtt: `credentials` raised"
        loop.set_exception_handler(handler)

    play(main)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ((5, "secret"), "username must be str, not int"),
        (("u", 5), "password must be str or bytes, not int"),
    ],
)
def test_credentials_of_a_wrong_type_are_told_of(given: Any, what: str) -> None:  # noqa: ANN401
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        with pytest.raises(MqttError) as caught:
            await Client(memory_broker(), credentials=lambda *_: given).__aenter__()
        assert str(caught.value) == f"The client's `credentials`: {what}"

    play(main)


def test_a_refusal_names_the_server_that_refused_and_is_final_for_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(connection: Connection) -> None:
        connection.accept(b"\x20\x02\x00\x05")
        connection.read_to_end()

    async def main(down: int, refusing: ScriptedServer, other: ScriptedServer) -> None:
        servers = [("127.0.0.1", refusing.port), ("127.0.0.1", other.port)]
        policy = Reconnect(initial=True)
        with pytest.raises(MqttConnectError) as caught:
            await Client("127.0.0.1", down, servers=servers, reconnect=policy).__aenter__()
        address = f"127.0.0.1:{refusing.port}"
        assert caught.value.address == address
        assert caught.value.__notes__[0].startswith(f"{address} refused the connection: ")
        assert caplog.messages[-1].endswith(f" ({address})")
        assert other.received == b""

    with ScriptedServer(refuse) as refusing, ScriptedServer(refuse) as other:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            down = listener.getsockname()[1]
        asyncio.run(main(down, refusing, other))


@pytest.mark.parametrize("end", ["closed", "silent"])
def test_a_server_that_has_accepted_before_is_not_asked_whether_it_is_the_right_port(
    caplog: pytest.LogCaptureFixture, end: str
) -> None:
    def accept(connection: Connection) -> None:
        connection.accept()
        connection.close()

    def fail(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        if end == "silent":
            connection.read_to_end()
        connection.close()

    async def main(server: ScriptedServer) -> None:
        policy = Reconnect(min=0.01, max=0.01, attempts=1)
        client = Client(server.host, server.port, reconnect=policy, timeout=0.2)
        async with client:
            causes = [it.cause async for it in client.events() if isinstance(it, Disconnected)]
            with pytest.raises(MqttError) as caught:
                await anext(client.messages)
        text = "answering CONNECT" if end == "closed" else "no CONNACK from"
        assert text in str(causes[-1])
        for reported in (*map(str, causes), *caplog.messages, str(caught.value)):
            assert "expect TLS" not in reported

    with ScriptedServer(accept, fail) as server:
        asyncio.run(main(server))


def test_credentials_that_do_not_come_are_not_waited_for_longer_than_an_attempt() -> None:
    async def main() -> None:
        async def never(*_: object) -> None:
            await asyncio.get_running_loop().create_future()

        client = Client(memory_broker(), credentials=never, timeout=5)
        text = "^Operation timed out: no credentials for the test broker within 5 s$"
        with pytest.raises(MqttError, match=text):
            await client.__aenter__()

    play(main)


def test_credentials_show_nothing() -> None:
    shown = repr(Credentials("user", "secret", {"Authorization": "secret"}, "/secret"))
    assert shown == "Credentials(***)"


def test_credentials_for_the_websocket_request(run: LoopRunner) -> None:
    requests: list[tuple[str, ...]] = []

    def script(connection: Connection) -> None:
        peer = WebSocketPeer(connection).accept()
        headers = (peer.headers["authorization"], peer.headers["sec-websocket-protocol"])
        requests.append((peer.request, *headers))
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        client = Client(
            server.host,
            server.port,
            transport="websockets",
            timeout=0.5,
            credentials=lambda *_: Credentials(
                websocket_headers={"Authorization": "Bearer x"}, websocket_path="/signed?y"
            ),
        )
        with pytest.raises(MqttError, match="no CONNACK"):
            await client.__aenter__()

    with ScriptedServer(script) as server:
        run(main, server)
    (request,) = requests
    assert request == (
        "GET /signed?y HTTP/1.1",
        "Bearer x",
        "mqtt",
    )


def test_an_event_that_is_taken_late_names_the_server_of_its_own_attempt(run: LoopRunner) -> None:
    async def main() -> None:
        with socket.socket() as one, socket.socket() as two:  # nobody listens there
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            ports = [one.getsockname()[1], two.getsockname()[1]]
            again = Reconnect(min=0.01, max=0.01, initial=True)
            client = Client(
                "127.0.0.1", ports[0], servers=[("127.0.0.1", ports[1])], reconnect=again
            )
            late = client.events()
            entering = asyncio.create_task(client.__aenter__())
            watching = client.events()
            for _ in range(4):
                await anext(watching)
            addresses = []
            for _ in range(4):
                event = await anext(late)
                assert isinstance(event, Disconnected)
                assert event.cause is not None
                addresses.append(event.cause.address)
            entering.cancel()
            await asyncio.wait([entering])
            assert addresses == [f"127.0.0.1:{port}" for port in ports * 2]

    run(main)
