"""Entering, leaving and entering again: errors, texts and what is kept (contract 1.4)."""

import asyncio
import contextlib
import socket
import threading
import traceback
from typing import Any

import pytest

from conftest import Broker, TcpBroker
from ferromqtt import (
    Client,
    MqttCodeError,
    MqttConnectError,
    MqttError,
    MqttReentrantError,
    MqttTimeoutError,
    PacketTypes,
    Properties,
    ProtocolVersion,
    ReasonCode,
    Will,
)
from support import packets
from support.clients import LIMIT, receive, receive_until, unique
from support.loops import LoopRunner, settle
from support.proxy import CuttingProxy
from support.scripted import Connection, Script, ScriptedServer, answer, serve_5, serve_311

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5


def connack(code: int, *, v5: bool) -> Script:
    """Return a script that answers with this code."""

    def script(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        connection.send(packets.encode(0x20, bytes([0, code]) + (b"\x00" if v5 else b"")))
        connection.read_to_end()

    return script


def record(connection: Connection, seen: list[tuple[int, bytes]]) -> None:
    """Behave, and remember every packet after CONNECT."""
    with contextlib.suppress(EOFError):
        while True:
            packet = connection.read_packet()
            seen.append(packet)
            answer(connection, *packet)


REFUSALS = sorted(
    value
    for value, names in ReasonCode.names.items()
    if value >= 128 and any(PacketTypes.CONNACK in types for types in names.values())
)


@pytest.mark.parametrize("value", REFUSALS)
def test_reason_code_of_a_refusal_in_version_5_1_4(value: int) -> None:
    expected = ReasonCode(PacketTypes.CONNACK, identifier=value)

    async def main() -> None:
        client = Client(server.host, server.port, protocol=V5)
        async with asyncio.timeout(LIMIT):
            with pytest.raises(MqttConnectError) as caught:
                await client.__aenter__()
        error = caught.value
        assert isinstance(error.rc, ReasonCode)
        assert (error.rc.value, error.rc.packetType) == (value, PacketTypes.CONNACK)
        assert error.rc == expected
        assert str(error) == f"[code:{value}] {expected}"
        assert error.args == ()
        assert error.__cause__ is None

    with ScriptedServer(connack(value, v5=True)) as server:
        asyncio.run(main())


@pytest.mark.parametrize("code", [6, 7, 127, 255])
def test_return_codes_that_3_1_1_does_not_have_are_unspecified_1_4(
    run: LoopRunner, code: int
) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        for _ in range(2):
            with pytest.raises(MqttConnectError) as caught:
                await client.__aenter__()
            assert str(caught.value) == "[code:128] Unspecified error"
            assert caught.value.args == ()

    with ScriptedServer(connack(code, v5=False)) as server:
        run(main, server)


def test_texts_of_what_the_system_says_1_4(run: LoopRunner) -> None:
    """Their texts come first; what failed and what to do follows, and the cause is theirs."""

    async def main(refusing: tuple[str, int]) -> None:
        host, port = refusing
        for client, text, rest, address, phase in (
            (
                Client(*refusing),
                "[Errno 111] Connection refused",
                (
                    f": cannot connect to {host}:{port}: TCP: {host}: Connection refused "
                    "(is the broker running there, and is this its port?)"
                ),
                f"{host}:{port}",
                "tcp",
            ),
            (
                Client("no-such-host.invalid"),
                "[Errno -2] Name or service not known",
                (
                    ": cannot connect to no-such-host.invalid:1883: name resolution failed "
                    "(check the spelling of the host name)"
                ),
                "no-such-host.invalid:1883",
                "resolve",
            ),
        ):
            with pytest.raises(MqttError) as caught:
                await client.__aenter__()
            assert type(caught.value) is MqttError
            assert str(caught.value) == text + rest
            assert caught.value.args == (text + rest,)
            assert str(caught.value.__cause__) == text
            assert isinstance(caught.value.__cause__, OSError)
            assert (caught.value.address, caught.value.phase) == (address, phase)
            printed = "".join(traceback.format_exception(caught.value))
            assert "During handling" not in printed

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        run(main, listener.getsockname())


def test_no_connack_in_time_1_4(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, timeout=0.1)
        for _ in range(2):
            with pytest.raises(MqttError) as caught:
                await client.__aenter__()
            assert type(caught.value) is MqttTimeoutError
            (text,) = caught.value.args
            peer = f"{server.host}:{server.port}"
            assert text.startswith(f"Operation timed out: no CONNACK from {peer} within 0.1 s (")
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__

    with ScriptedServer(lambda connection: connection.read_to_end()) as server:
        run(main, server)


@pytest.mark.parametrize(
    "error", [ValueError("x"), MqttError("x"), KeyboardInterrupt(), asyncio.CancelledError(), None]
)
def test_exit_swallows_nothing_1_4(error: BaseException | None) -> None:
    """Not in the `run` fixture, which looks for what is left behind: an interrupt ends a loop."""

    async def main() -> None:
        client = Client(server.host, server.port)
        await client.__aenter__()
        kind = None if error is None else type(error)
        assert not await client.__aexit__(kind, error, None)

    with ScriptedServer(serve_311) as server:
        asyncio.run(main())
        server.join()
        assert server.received.endswith(packets.DISCONNECT_PACKET)


def test_a_cancelled_block_still_disconnects_1_4(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)

        entered = asyncio.Event()

        async def work() -> None:
            async with client:
                entered.set()
                await anext(client.messages)

        task = asyncio.ensure_future(work())
        await asyncio.wait_for(entered.wait(), LIMIT)
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with client:
            await client.publish("a", qos=1)

    with ScriptedServer(serve_311) as server:
        run(main, server)
        server.join()
        assert server.connections[0].received.endswith(packets.DISCONNECT_PACKET)


@pytest.mark.parametrize("will_on_error", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_will_after_an_exit_1_4(
    run: LoopRunner,
    broker: Broker,
    protocol: ProtocolVersion,
    *,
    will_on_error: bool,
    fails: bool,
) -> None:
    """Published only if the block failed and the client was told to; after what it sent."""
    topic = unique("will")

    async def main() -> None:
        client = Client(
            *broker.where,
            protocol=protocol,
            will=Will(topic, b"gone", qos=1),
            will_on_error=will_on_error,
        )
        async with Client(*broker.where) as observer:
            await observer.subscribe(topic, qos=1)
            with contextlib.suppress(ZeroDivisionError):
                async with client:
                    await client.publish(topic, b"words")
                    if fails:
                        raise ZeroDivisionError
            assert (await receive(observer)).payload == b"words"
            if fails and will_on_error:
                assert (await receive(observer)).payload == b"gone"
            async with Client(*broker.where) as later:
                await later.publish(topic, b"last", qos=1)
            assert await receive_until(observer, b"last") == []

    run(main)


def test_manual_use_without_a_block_1_4(run: LoopRunner, broker: Broker) -> None:
    topic = unique("manual")

    async def main() -> None:
        client = Client(*broker.where)
        for _ in range(3):
            assert await client.__aenter__() is client
            await client.subscribe(topic)
            await client.publish(topic, b"x")
            assert (await receive(client)).payload == b"x"
            await client.__aexit__(None, None, None)

    run(main)


def test_what_was_refused_for_want_of_a_connection_is_never_sent_1_4(run: LoopRunner) -> None:
    """Upstream sends it with the next connection, though the call has raised."""
    seen: list[tuple[int, bytes]] = []

    def script(connection: Connection) -> None:
        connection.accept()
        record(connection, seen)

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        for qos in (0, 1, 2):
            with pytest.raises(MqttCodeError) as caught:
                await client.publish("refused", qos=qos)
            assert caught.value.delivery == "not_sent"
        async with client:
            await client.publish("accepted", qos=1)
        with pytest.raises(MqttCodeError):
            await client.publish("refused", qos=1)
        async with client:
            await client.publish("accepted", qos=1)

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()
    assert not any(b"refused" in body for _, body in seen)
    assert sum(b"accepted" in body for _, body in seen) == 2


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("qos", [1, 2])
def test_unacknowledged_publishes_are_resent_into_a_resumed_session_only_1_4(
    run: LoopRunner, qos: int, *, clean: bool
) -> None:
    """Upstream resends into a clean session too, where the message would come twice."""
    seen: list[tuple[int, bytes]] = []

    def lose(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.PUBLISH)
        connection.close()

    def resume(connection: Connection) -> None:
        connection.accept(b"\x20\x02\x00\x00" if clean else b"\x20\x02\x01\x00")
        record(connection, seen)

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, clean_session=clean, identifier=unique("client"))
        async with client:
            with pytest.raises(MqttError) as caught:
                await client.publish("a", b"unknown", qos=qos)
            assert caught.value.delivery == "unknown"
        async with client:
            await client.publish("a", b"new", qos=1)

    with ScriptedServer(lose, resume) as server:
        run(main, server)
        server.join()
    resent = [(first, body) for first, body in seen if body.endswith(b"unknown")]
    if clean:
        assert resent == []
    else:
        assert [first for first, _ in resent] == [0x38 | qos << 1]  # DUP is set
    assert sum(body.endswith(b"new") for _, body in seen) == 1


def test_client_can_be_entered_after_every_kind_of_failure_1_4(run: LoopRunner) -> None:
    """One client, one failure after the other, then success."""
    scripts: list[Script] = [
        connack(0x87, v5=True),
        lambda connection: connection.reset(),
        lambda connection: connection.read_to_end(),
        serve_5,
    ]

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, protocol=V5)
        with pytest.raises(MqttConnectError):
            await client.__aenter__()
        with pytest.raises(MqttError):
            await client.__aenter__()
        client.timeout = 0.3
        with pytest.raises(MqttTimeoutError):
            await client.__aenter__()
        client.timeout = LIMIT
        async with client:
            await client.publish("a", qos=1)
            with pytest.raises(MqttReentrantError):
                await client.__aenter__()
            await client.publish("a", qos=1)

    with ScriptedServer(*scripts) as server:
        run(main, server)


def test_reentrant_error_is_an_mqtt_error_with_its_text_1_4(
    run: LoopRunner, broker: Broker
) -> None:
    async def main() -> None:
        client = Client(*broker.where)
        async with client:
            with pytest.raises(MqttError) as caught:
                async with client:
                    pass
            assert type(caught.value) is MqttReentrantError
            assert caught.value.args == (
                "The client context manager is reusable, but not reentrant",
            )

    run(main)


def leave_behind_a_full_socket(run: LoopRunner, qos: int) -> None:
    """The last byte is written by the loop, which then lets the client close."""
    go_on = threading.Event()

    def script(connection: Connection) -> None:
        connection.accept()
        assert go_on.wait(LIMIT)
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        await client.__aenter__()
        calls = [
            asyncio.ensure_future(client.publish("a", b"." * 300_000, qos=qos, timeout=0.2))
            for _ in range(30)
        ]
        await asyncio.gather(*calls, return_exceptions=True)
        leaving = asyncio.ensure_future(client.__aexit__(None, None, None))
        await settle()
        go_on.set()
        await asyncio.wait_for(leaving, LIMIT)

    with ScriptedServer(script) as server:
        run(main, server)


@pytest.mark.parametrize("qos", [0, 1])
def test_an_exit_behind_a_full_socket_reports_nothing_on_uvloop_1_4(qos: int) -> None:
    leave_behind_a_full_socket(LoopRunner("uvloop"), qos)


@pytest.mark.parametrize("qos", [0, 1])
def test_an_exit_behind_a_full_socket_reports_nothing_on_asyncio_1_4(qos: int) -> None:
    leave_behind_a_full_socket(LoopRunner("asyncio"), qos)


def test_entering_again_after_a_loss_in_the_middle_1_4(
    run: LoopRunner, tcp_broker: TcpBroker
) -> None:
    """The documented loop: catch MqttError, enter again, subscribe again."""
    topic = unique("loop")

    async def main(proxy: CuttingProxy) -> None:
        client = Client(proxy.host, proxy.port)
        received: list[bytes] = []
        for number in range(4):
            with contextlib.suppress(MqttError):
                async with client:
                    await client.subscribe(topic)
                    await client.publish(topic, number)
                    async for message in client.messages:
                        received.append(message.payload)
                        proxy.cut_now()
        assert received == [b"0", b"1", b"2", b"3"]

    with CuttingProxy(tcp_broker.host, tcp_broker.port) as proxy:
        run(main, proxy)


def test_properties_of_version_5_are_sent_with_every_enter_1_4(run: LoopRunner) -> None:
    bodies: list[bytes] = []

    def script(connection: Connection) -> None:
        bodies.append(connection.accept(packets.CONNACK_5))
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        properties: Any = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 77
        client = Client(server.host, server.port, protocol=V5, properties=properties)
        for _ in range(2):
            async with client:
                pass

    with ScriptedServer(script) as server:
        run(main, server)
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert b"\x11\x00\x00\x00\x4d" in bodies[0]
