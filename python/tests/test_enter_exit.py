"""Entering and leaving the client, well and badly (contract 1.4)."""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading

import pytest

from conftest import Broker
from ferromqtt import Client, MqttError, MqttReentrantError, ProtocolVersion, _transport
from support import packets
from support.clients import LIMIT, receive, receive_until, unique, wait_for_queued
from support.loops import LoopRunner, settle
from support.scripted import Connection, Script, ScriptedServer, serve_5, serve_311

REENTRANT = r"^The client context manager is reusable, but not reentrant$"


def silence(connection: Connection) -> None:
    connection.expect(packets.CONNECT)
    connection.read_to_end()


def close_after_connect(connection: Connection) -> None:
    connection.expect(packets.CONNECT)
    connection.close()


def reset_after_connect(connection: Connection) -> None:
    connection.expect(packets.CONNECT)
    connection.reset()


def reset_before_connect(connection: Connection) -> None:
    connection.reset()


def sender(data: bytes) -> Script:
    """Return a script that answers CONNECT with these bytes and waits for the client to close."""

    def script(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        connection.send(data)
        connection.read_to_end()

    return script


BAD_ANSWERS: dict[str, bytes] = {
    "http": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 200\r\n\r\n" + b"?" * 200,
    "zeros": bytes(64),
    "ones": b"\xff" * 64,
    "publish before connack": packets.publish("a", b"x"),
    "pingresp before connack": packets.PINGRESP_PACKET,
    "connack with a reserved flag": b"\x20\x02\x02\x00",
    "connack too long": b"\x20\x03\x00\x00\x00",
    "connack with first byte flags": b"\x21\x02\x00\x00",
    "connack of unknown return code": b"\x20\x02\x00\x06",
    "remaining length of five bytes": b"\x20\xff\xff\xff\xff\x7f",
}


def test_client_is_itself_in_the_block_1_3(run: LoopRunner, broker: Broker) -> None:
    async def main() -> None:
        client = Client(*broker.where)
        async with client as entered:
            assert entered is client

    run(main)


def test_client_is_reusable_1_4(run: LoopRunner, broker: Broker, protocol: ProtocolVersion) -> None:
    topic = unique("reuse")

    async def main() -> None:
        client = Client(*broker.where, protocol=protocol)
        for number in range(5):
            async with client:
                await client.subscribe(topic, qos=1)
                await client.publish(topic, number, qos=1)
                assert (await receive(client)).payload == str(number).encode()

    run(main)


def test_client_is_not_reentrant_1_4(run: LoopRunner, broker: Broker) -> None:
    topic = unique("reentrant")

    async def main() -> None:
        client = Client(*broker.where)
        async with client:
            with pytest.raises(MqttReentrantError, match=REENTRANT):
                await client.__aenter__()
            await client.subscribe(topic)
            await client.publish(topic, b"still here")
            assert (await receive(client)).payload == b"still here"

    run(main)


def test_client_is_not_reentrant_while_it_connects_1_4(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        first = asyncio.ensure_future(client.__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(MqttReentrantError, match=REENTRANT):
            await client.__aenter__()
        await first
        await client.__aexit__(None, None, None)

    with ScriptedServer(serve_311) as server:
        run(main, server)


def test_client_may_be_made_outside_a_loop_and_used_in_several_1_2(
    run: LoopRunner, broker: Broker
) -> None:
    """Contract 1.2, "better": the loop is bound on enter."""
    topic = unique("outside")
    client = Client(*broker.where)

    async def main() -> None:
        async with client:
            await client.subscribe(topic)
            await client.publish(topic, b"x")
            assert (await receive(client)).payload == b"x"

    run(main)
    run(main)


def test_exit_twice_is_harmless_1_4(run: LoopRunner, broker: Broker) -> None:
    async def main() -> None:
        client = Client(*broker.where)
        await client.__aenter__()
        await client.__aexit__(None, None, None)
        await client.__aexit__(None, None, None)
        async with client:
            pass

    run(main)


def test_exit_without_enter_warns_1_4(
    run: LoopRunner, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        client = Client(*broker.where)
        await client.__aexit__(None, None, None)
        async with client:
            pass

    with caplog.at_level(logging.WARNING, logger="ferromqtt"):
        run(main)
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("ferromqtt", "Could not gracefully disconnect: 4. Forcing disconnection.")
    ]


@pytest.mark.parametrize("error", [None, ValueError("the block failed")])
def test_exit_sends_a_normal_disconnect_and_closes_1_4(
    run: LoopRunner, error: Exception | None
) -> None:
    """MQTT-3.14.4-1: DISCONNECT is the last packet; what was published before goes out first."""

    async def main(server: ScriptedServer) -> None:
        try:
            async with Client(server.host, server.port) as client:
                await client.publish("a", b"x" * 100_000)
                if error is not None:
                    raise error
        except ValueError as raised:
            assert raised is error  # noqa: PT017  a block without error must pass here too

    with ScriptedServer(serve_311) as server:
        run(main, server)
        server.join()
    assert server.received.endswith(packets.publish("a", b"x" * 100_000) + b"\xe0\x00")
    assert len(server.connections) == 1


def test_exit_after_the_connection_was_lost_is_quiet_1_4(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.PUBLISH)
        connection.close()

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            await client.publish("go")
            with pytest.raises(MqttError):
                await receive(client)

    with ScriptedServer(script) as server:
        run(main, server)


def test_messages_stay_in_the_queue_across_an_exit_1_4(run: LoopRunner, broker: Broker) -> None:
    """Contract 1.4, 1.5: queued messages come first, also after exit and after another enter."""
    topic = unique("kept")

    async def main() -> None:
        client = Client(*broker.where)
        async with client:
            await client.subscribe(topic)
            for number in range(3):
                await client.publish(topic, number)
            await wait_for_queued(client, 3)
        assert len(client.messages) == 3
        assert (await receive(client)).payload == b"0"
        async with client:
            assert (await receive(client)).payload == b"1"
            await client.subscribe(topic)
            await client.publish(topic, b"last")
            assert [it.payload for it in await receive_until(client, b"last")] == [b"2"]
        assert not client.messages

    run(main)


def test_refused_port_1_4(run: LoopRunner) -> None:
    async def main(listener: socket.socket) -> None:
        host, port = listener.getsockname()
        client = Client(host, port)
        for _ in range(2):
            async with asyncio.timeout(LIMIT):
                with pytest.raises(MqttError, match=r"^\[Errno 111\] ") as caught:
                    await client.__aenter__()
            assert isinstance(caught.value.__cause__, ConnectionRefusedError)

    # bound but not listening: nobody else can take the port meanwhile
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        run(main, listener)


def test_client_enters_once_the_port_is_open_1_4(run: LoopRunner) -> None:
    async def main(listener: socket.socket) -> None:
        client = Client(*listener.getsockname())
        with pytest.raises(MqttError, match=r"^\[Errno 111\] "):
            await client.__aenter__()
        listener.listen()

        def serve_one() -> bytes:
            sock, _ = listener.accept()
            with sock:
                connection = Connection(sock)
                serve_311(connection)
                return connection.received

        served = asyncio.ensure_future(asyncio.to_thread(serve_one))
        async with client:
            await client.publish("a", b"now", qos=1)
        assert (await served).endswith(b"\xe0\x00")

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        run(main, listener)


def test_name_that_cannot_be_resolved_1_4(run: LoopRunner) -> None:
    async def main() -> None:
        client = Client("no-such-host.invalid", timeout=5)
        for _ in range(2):
            async with asyncio.timeout(LIMIT):
                with pytest.raises(MqttError) as caught:
                    await client.__aenter__()
            assert not isinstance(caught.value, MqttReentrantError)
            assert str(caught.value)

    run(main)


@pytest.mark.parametrize(
    "script",
    [close_after_connect, reset_after_connect, reset_before_connect],
    ids=lambda script: script.__name__,
)
def test_server_that_closes_before_connack_1_4(
    run: LoopRunner, protocol: ProtocolVersion, script: Script
) -> None:
    """Contract 1.4, "better": an MqttError at once instead of a time limit; then usable."""
    good = serve_5 if protocol is ProtocolVersion.V5 else serve_311

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, protocol=protocol)
        for _ in range(2):
            async with asyncio.timeout(LIMIT):
                with pytest.raises(MqttError) as caught:
                    await client.__aenter__()
            assert str(caught.value) != "Operation timed out"
            assert not isinstance(caught.value, MqttReentrantError)
        async with client:
            await client.publish("a", qos=1)

    with ScriptedServer(script, script, good) as server:
        run(main, server)


@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_server_that_does_not_speak_mqtt_1_4(run: LoopRunner, answer: str) -> None:
    """MQTT-4.8.0-1 (3.1.1): the client closes; enter raises at once; then the client is usable."""

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        async with asyncio.timeout(LIMIT):
            with pytest.raises(MqttError) as caught:
                await client.__aenter__()
        assert str(caught.value) != "Operation timed out"
        async with client:
            await client.publish("a", qos=1)

    with ScriptedServer(sender(BAD_ANSWERS[answer]), serve_311) as server:
        run(main, server)


@pytest.mark.parametrize("version", [ProtocolVersion.V311, ProtocolVersion.V5])
def test_silent_server_1_4(run: LoopRunner, version: ProtocolVersion) -> None:
    good = serve_5 if version is ProtocolVersion.V5 else serve_311

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, timeout=0.2, protocol=version)
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with asyncio.timeout(LIMIT):
            with pytest.raises(MqttError, match=r"^Operation timed out: "):
                await client.__aenter__()
        assert loop.time() - started > 0.15
        # the half-open connection is not left behind
        await asyncio.to_thread(server.join)
        client.timeout = LIMIT
        async with client:
            await client.publish("a", qos=1)

    with ScriptedServer(silence, good) as server:
        run(main, server)


def test_timeout_zero_fails_at_once_1_4(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, timeout=0)
        async with asyncio.timeout(LIMIT):
            with pytest.raises(MqttError, match=r"^Operation timed out: "):
                await client.__aenter__()

    with ScriptedServer(lambda connection: connection.read_to_end()) as server:
        run(main, server)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 10, 20, None])
def test_cancelled_enter_releases_the_client_1_4(run: LoopRunner, turns: int | None) -> None:
    """Contract 1.4, "better": also when cancelled while it connects; `None`: after CONNECT."""
    connect_seen, cancelled = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        """Be silent as long as the first attempt lasts, then behave."""
        if cancelled.is_set():
            serve_311(connection)
            return
        with contextlib.suppress(EOFError):
            connection.expect(packets.CONNECT)
            connect_seen.set()
            connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        task = asyncio.ensure_future(client.__aenter__())
        if turns is None:
            assert await asyncio.to_thread(connect_seen.wait, LIMIT)
        for _ in range(turns or 0):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, LIMIT)
        # the connection was closed, not left for the garbage collector
        await settle()
        await asyncio.to_thread(server.join)
        cancelled.set()
        async with client:
            await client.publish("a", b"x", qos=1)

    with ScriptedServer(script) as server:
        run(main, server)


@pytest.mark.parametrize("secure", [False, True])
def test_enter_cancelled_twice_raises_that_and_leaves_no_socket_1_4(
    run: LoopRunner, monkeypatch: pytest.MonkeyPatch, secure: bool
) -> None:
    """However many turns of the loop come before the first cancellation, and between the two."""
    made: list[socket.socket] = []
    connect = _transport._connect_socket

    async def connect_noted(
        loop: asyncio.AbstractEventLoop, connection: socket.socket, address: tuple[object, ...]
    ) -> None:
        made.append(connection)
        await connect(loop, connection, address)

    def script(connection: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        context = ssl.create_default_context() if secure else None
        client = Client(server.host, server.port, tls_context=context)
        for before in range(12):
            for between in range(4):
                task = asyncio.ensure_future(client.__aenter__())
                for turns in (before, between):
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(task, LIMIT)
        async with asyncio.timeout(LIMIT):
            while any(connection.fileno() != -1 for connection in made):  # noqa: ASYNC110
                await asyncio.sleep(0)

    monkeypatch.setattr(_transport, "_connect_socket", connect_noted)
    with ScriptedServer(script) as server:
        run(main, server)


def test_exit_is_bounded_when_the_server_takes_nothing_1_4(run: LoopRunner) -> None:
    """Contract 1.4: the flush of DISCONNECT has `timeout` seconds; then the client is usable."""
    left = threading.Event()

    def take_nothing(connection: Connection) -> None:
        connection.accept()
        assert left.wait(LIMIT)
        connection.reset()

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        await client.__aenter__()
        client.timeout = 0.3
        publish = asyncio.ensure_future(client.publish("a", b"x" * 30_000_000))
        await settle()
        try:
            async with asyncio.timeout(LIMIT / 2):
                with pytest.raises(MqttError, match=r"^Operation timed out: "):
                    await client.__aexit__(None, None, None)
            # it may have returned: what the transport had taken was not the call's any more
            await asyncio.wait([publish], timeout=LIMIT)
            assert publish.done()
            publish.exception()
        finally:
            left.set()
        client.timeout = LIMIT
        async with client:
            await client.publish("a", qos=1)

    with ScriptedServer(take_nothing, serve_311) as server:
        run(main, server)
