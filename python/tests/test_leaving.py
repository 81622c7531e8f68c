"""Leaving the block: what was accepted arrives, and nothing lasts longer than it may."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Broker
from ferromqtt import (
    Client,
    MqttError,
    MqttTimeoutError,
    ProtocolVersion,
    TLSParameters,
    Will,
)
from ferromqtt._internals import internals_of
from ferromqtt._link import Link
from support import certificates, packets
from support.clients import LIMIT, receive, receive_until, unique
from support.loops import LoopRunner, settle
from support.scripted import Connection, Script, ScriptedServer, answer, over_tls
from support.websocket_server import BINARY, CLOSE, WebSocketPeer, frame

BUSY = 2.5
"""Seconds that a server sends, and reads nothing: longer than any fixed second or two."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of certificates."""
    made = tmp_path_factory.mktemp("certificates")
    certificates.make(made)
    return made


def server_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context


def client_over(over: str, server: ScriptedServer, folder: Path) -> Client:
    """Return a client of the server over "tcp", "tls" or "websocket"."""
    return Client(
        "localhost",  # as the certificate says
        server.port,
        transport="websockets" if over == "websocket" else "tcp",
        tls_params=TLSParameters(ca_certs=str(folder / "ca.pem")) if over == "tls" else None,
    )


def send_for_long(send: Callable[[bytes], None]) -> None:
    """Send messages, as a server that is too busy to read."""
    end = time.monotonic() + BUSY
    while time.monotonic() < end:
        send(packets.publish("flood", b"." * 1000))
        time.sleep(0.02)


def busy(read: list[bytes]) -> Script:
    """Return a script that reads only when it has sent for long."""

    def script(connection: Connection) -> None:
        connection.accept()
        send_for_long(connection.send)
        connection.read_to_end()
        read.append(connection.received[connection.parsed :])

    return script


def busy_websocket(read: list[bytes]) -> Script:
    def script(connection: Connection) -> None:
        peer = WebSocketPeer(connection).accept()
        peer.receive()
        peer.send(frame(BINARY, packets.CONNACK_311))
        send_for_long(lambda data: peer.send(frame(BINARY, data)))
        taken = b""
        while (received := peer.receive())[0] != CLOSE:
            taken += received[1]
        read.append(taken)
        peer.send(frame(CLOSE, received[1]))

    return script


@pytest.mark.parametrize("over", ["tcp", "tls", "websocket"])
def test_a_server_that_is_busy_sending_gets_everything_1_4(
    run: LoopRunner, folder: Path, over: str
) -> None:
    """The socket was closed over unread input, and the reset threw away what was on its way."""
    read: list[bytes] = []
    script = busy_websocket(read) if over == "websocket" else busy(read)
    if over == "tls":
        script = over_tls(server_context(folder), script)

    async def main(server: ScriptedServer) -> None:
        client = client_over(over, server, folder)
        async with client:
            for _ in range(100):
                await client.publish("t", b"x")
        await asyncio.to_thread(server.join)

    with ScriptedServer(script) as server:
        run(main, server)
    expected = packets.publish("t", b"x") * 100 + packets.DISCONNECT_PACKET
    assert read == [expected]


def test_the_will_stays_unpublished_while_messages_still_come_1_4(
    run: LoopRunner, broker: Broker
) -> None:
    """Most of 100 messages were gone, and the broker published the will, 8 times of 12."""
    flood, kept, will = unique("flood"), unique("kept"), unique("will")

    async def main() -> None:
        async with Client(*broker.where) as watcher:
            await watcher.subscribe([(kept, 0), (will, 0)])

            async def send() -> None:
                async with Client(*broker.where) as sender:
                    while True:
                        await sender.publish(flood, b"." * 1000)

            sending = asyncio.ensure_future(send())
            for _ in range(5):
                leaver = Client(*broker.where, will=Will(will, b"lost"))
                async with leaver:
                    await leaver.subscribe(flood)
                    await receive(leaver)
                    for number in range(100):
                        await leaver.publish(kept, number)
            sending.cancel()
            await asyncio.wait([sending])
            await watcher.publish(kept, b"last")
            payloads = [message.payload for message in await receive_until(watcher, b"last")]
            assert payloads == [b"%d" % number for _ in range(5) for number in range(100)]

    run(main)


def test_publishes_that_are_waited_for_are_delivered_first_1_4(
    run: LoopRunner, broker: Broker
) -> None:
    """100 were started, 20 in flight at a time: one arrived."""
    topic = unique("started")

    async def main() -> None:
        async with Client(*broker.where) as watcher:
            await watcher.subscribe(topic, qos=1)
            async with Client(*broker.where) as client:
                publishes = [
                    asyncio.ensure_future(client.publish(topic, number, qos=1))
                    for number in range(100)
                ]
                await settle()
            await asyncio.gather(*publishes)
            await watcher.publish(topic, b"last", qos=1)
            payloads = [message.payload for message in await receive_until(watcher, b"last")]
            assert payloads == [b"%d" % number for number in range(100)]

    run(main)


def test_tasks_that_were_just_made_get_to_publish_1_4(run: LoopRunner, broker: Broker) -> None:
    topic = unique("last")

    async def main() -> None:
        async with Client(*broker.where) as watcher:
            await watcher.subscribe(topic, qos=1)
            async with Client(*broker.where) as client:
                task = asyncio.create_task(client.publish(topic, b"x", qos=1))
            await task
            assert (await receive(watcher)).payload == b"x"

    run(main)


def test_a_publish_that_is_cancelled_meanwhile_is_waited_for_no_longer_1_4(
    run: LoopRunner,
) -> None:
    async def main(server: ScriptedServer) -> None:
        client = await Client(server.host, server.port, timeout=600).__aenter__()
        publish = asyncio.ensure_future(client.publish("a", qos=1))
        await settle()
        leaving = asyncio.ensure_future(client.__aexit__(None, None, None))
        await settle()
        publish.cancel()
        await asyncio.wait_for(leaving, LIMIT)
        assert publish.cancelled()

    with ScriptedServer(never_acknowledge) as server:
        run(main, server)


def test_new_calls_are_refused_while_leaving_1_4(run: LoopRunner) -> None:
    go_on = threading.Event()

    def script(connection: Connection) -> None:
        connection.accept()
        first, body = connection.expect(packets.PUBLISH)
        assert go_on.wait(LIMIT)
        answer(connection, first, body)
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        client = await Client(server.host, server.port).__aenter__()
        first = asyncio.ensure_future(client.publish("a", qos=1))
        await settle()
        leaving = asyncio.ensure_future(client.__aexit__(None, None, None))
        await settle()
        for call in (
            lambda: client.publish("a"),
            lambda: client.publish("a", qos=1),
            lambda: client.subscribe("a"),
            lambda: client.unsubscribe("a"),
        ):
            with pytest.raises(MqttError, match="not currently connected") as caught:
                await call()
            assert caught.value.delivery == "not_sent"
        assert not leaving.done()
        go_on.set()
        await asyncio.gather(first, leaving)

    with ScriptedServer(script) as server:
        run(main, server)


def never_acknowledge(connection: Connection) -> None:
    connection.accept()
    connection.expect(packets.PUBLISH)
    connection.expect(packets.DISCONNECT)
    connection.read_to_end()


def test_after_an_exception_nothing_is_waited_for_1_4(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        publishes: list[asyncio.Future[None]] = []

        async def program() -> None:
            async with Client(server.host, server.port, timeout=60) as client:
                publishes.append(asyncio.ensure_future(client.publish("a", qos=1)))
                await settle()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(program(), LIMIT)
        error = publishes[0].exception()
        assert isinstance(error, MqttError)
        assert error.delivery == "unknown"

    with ScriptedServer(never_acknowledge) as server:
        run(main, server)


def test_a_cancelled_exit_waits_for_nothing_and_still_disconnects_1_4(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        client = await Client(server.host, server.port, timeout=60).__aenter__()
        publish = asyncio.ensure_future(client.publish("a", qos=1))
        await settle()
        leaving = asyncio.ensure_future(client.__aexit__(None, None, None))
        await settle()
        assert not leaving.done()
        leaving.cancel()
        await asyncio.wait([leaving, publish], timeout=LIMIT)
        assert leaving.cancelled()
        assert isinstance(publish.exception(), MqttError)

    with ScriptedServer(never_acknowledge) as server:  # and so gets its DISCONNECT
        run(main, server)


def test_a_second_cancellation_cuts_the_connection_1_4(run: LoopRunner) -> None:
    over = threading.Event()

    def read_nothing(connection: Connection) -> None:
        connection.accept()
        assert over.wait(LIMIT)

    async def main(server: ScriptedServer) -> None:
        client = await Client(server.host, server.port, timeout=60).__aenter__()
        publish = asyncio.ensure_future(client.publish("a", b"x" * 30_000_000, qos=1))
        await settle()
        leaving = asyncio.ensure_future(client.__aexit__(None, None, None))
        for _ in range(2):
            await settle()
            leaving.cancel()
        await settle()
        assert leaving.cancelled()
        await asyncio.wait([publish], timeout=LIMIT)
        assert isinstance(publish.exception(), MqttError)
        over.set()

    with ScriptedServer(read_nothing) as server:
        run(main, server)


def test_a_peer_without_close_notify_is_not_waited_for_1_4(run: LoopRunner, folder: Path) -> None:
    """Over TLS leaving lasted its whole time limit, 10 s."""
    left = threading.Event()

    def script(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.DISCONNECT)
        assert left.wait(LIMIT)

    async def main(server: ScriptedServer) -> None:
        tls = TLSParameters(ca_certs=str(folder / "ca.pem"))
        client = await Client("localhost", server.port, tls_params=tls, timeout=600).__aenter__()
        async with asyncio.timeout(LIMIT):  # a second of silence, and one for closing
            await client.__aexit__(None, None, None)
        left.set()

    with ScriptedServer(over_tls(server_context(folder), script)) as server:
        run(main, server)


def test_a_server_can_read_why_it_is_left_when_the_block_ends_at_once(run: LoopRunner) -> None:
    """DISCONNECT for a broken rule, whose transport the exit cut before."""
    read: list[bytes] = []

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        connection.send(b"\x00\x00")
        send_for_long(connection.send)
        connection.read_to_end()
        read.append(connection.received[connection.parsed :])

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=ProtocolVersion.V5) as client:
            with pytest.raises(MqttError, match="Disconnected during message iteration"):
                await receive(client)
        await asyncio.to_thread(server.join)

    with ScriptedServer(script) as server:
        run(main, server)
    assert read == [b"\xe0\x01\x81"]


@pytest.mark.parametrize("over", ["tcp", "tls", "websocket"])
def test_nothing_is_taken_once_the_server_has_ended_its_side(
    run: LoopRunner, folder: Path, over: str
) -> None:
    """A transport that closes takes what it is given, and drops it: it was reported as sent."""

    def half_close(connection: Connection) -> None:
        if over == "websocket":
            peer = WebSocketPeer(connection).accept()
            peer.receive()
            peer.send(frame(BINARY, packets.CONNACK_311))
            connection.sock.shutdown(socket.SHUT_WR)
        else:
            connection.accept()
            if isinstance(connection.sock, ssl.SSLSocket):
                with contextlib.suppress(OSError):
                    connection.sock.unwrap()
                return
            connection.sock.shutdown(socket.SHUT_WR)
        connection.read_to_end()

    script: Script = half_close
    if over == "tls":
        script = over_tls(server_context(folder), script)

    async def main(server: ScriptedServer) -> None:
        client = client_over(over, server, folder)
        refused: list[MqttError] = []
        original = Link.eof_received
        seen = asyncio.Event()

        def publish_when_it_ends(link: Link) -> bool | None:
            """Publish in the same turn of the loop, before the transport reports its end."""
            answer = original(link)
            try:
                internals_of(client).core.publish("t", b"x", 0, False, None, 1.0)
            except MqttError as error:
                refused.append(error)
            seen.set()
            return answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Link, "eof_received", publish_when_it_ends, raising=False)
            async with client:
                await asyncio.wait_for(seen.wait(), LIMIT)
        assert [error.delivery for error in refused] == ["not_sent"]

    with ScriptedServer(script) as server:
        run(main, server)


def test_messages_that_a_server_which_disconnects_never_got_are_counted(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """They had been reported as sent; the warning counted none of them."""
    full = threading.Event()
    arrived = 0

    def script(connection: Connection) -> None:
        nonlocal arrived
        connection.accept(packets.CONNACK_5)
        assert full.wait(LIMIT)
        connection.send(b"\xe0\x01\x8b")
        with contextlib.suppress(EOFError):
            while True:
                connection.expect(packets.PUBLISH)
                arrived += 1

    async def main(server: ScriptedServer) -> int:
        returned = 0
        async with Client(server.host, server.port, protocol=ProtocolVersion.V5) as client:
            with contextlib.suppress(MqttTimeoutError):
                while True:
                    await client.publish("a", b"x" * 10_000, timeout=0.3)
                    returned += 1
            full.set()
            with pytest.raises(MqttError, match="Disconnected during message iteration"):
                await receive(client)
        await asyncio.to_thread(server.join)
        return returned

    with ScriptedServer(script) as server:
        returned = run(main, server)
    lost = [line for line in caplog.messages if "were not written" in line]
    assert [f"(messages: {returned - arrived}, " in line for line in lost] == [True]
    assert returned > arrived > 0
