"""Packets other than PUBLISH that are large: refused unread, and held once for all they end."""

import asyncio
import struct
from typing import Any

import pytest

from ferromqtt import Client, MqttCodeError, MqttError, ProtocolVersion
from support import packets
from support.clients import LIMIT
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer

V5 = ProtocolVersion.V5
CONNACK = packets.encode(0x20, b"\x00\x00\x00")
QUOTA_EXCEEDED = 0x97


def test_calls_that_one_disconnect_ends_share_what_it_says(run: LoopRunner) -> None:
    calls = 1_000
    reason = "so it is " * 1_000
    content = b"\x1f" + struct.pack("!H", len(reason)) + reason.encode()
    content += b"\x26\x00\x00\x00\x00" * 50_000  # empty User Properties
    disconnect = packets.encode(0xE0, b"\x8b" + packets.encode(0, content)[1:])

    def script(connection: Connection) -> None:
        connection.accept(CONNACK)
        connection.expect(packets.PUBLISH)
        connection.send(disconnect)
        connection.read_to_end()

    async def program(server: ScriptedServer) -> list[Any]:
        async with asyncio.timeout(LIMIT):
            async with Client(server.host, server.port, protocol=V5) as client:
                publishes = (client.publish("t", b"x", qos=1) for _ in range(calls))
                return await asyncio.gather(*publishes, return_exceptions=True)

    with ScriptedServer(script) as server:
        errors = run(program, server)
    assert len(errors) == calls
    assert {type(error) for error in errors} == {MqttError}
    assert len({id(error) for error in errors}) == calls
    for delivery in ("not_sent", "unknown"):  # each has its text
        assert len({id(it.args[0]) for it in errors if it.delivery == delivery}) == 1
    assert reason[:100] in str(errors[0])  # of a long text the beginning
    causes = {id(error.__cause__): error.__cause__ for error in errors}
    (cause,) = causes.values()
    assert isinstance(cause, MqttCodeError)
    assert cause.rc.value == 0x8B
    assert {error.delivery for error in errors} == {"not_sent", "unknown"}


def large_connack(connection: Connection) -> None:
    """Begin a CONNACK of 64 MiB."""
    connection.accept(b"\x20" + b"\x80\x80\x80\x20")
    connection.read_to_end()


def test_a_large_connack_is_refused_before_it_is_read(run: LoopRunner) -> None:
    async def program(server: ScriptedServer) -> MqttError:
        async with asyncio.timeout(LIMIT):
            with pytest.raises(MqttError, match="maximum_non_publish_size") as caught:
                await Client(server.host, server.port, protocol=V5).__aenter__()
            return caught.value

    with ScriptedServer(large_connack) as server:
        error = run(program, server)
    assert "67108869" in str(error)  # the whole packet
    assert isinstance(error.__cause__, MqttCodeError)
    assert error.__cause__.rc.value == QUOTA_EXCEEDED


@pytest.mark.parametrize("limit", [100, 99])
def test_the_limit_for_packets_that_are_no_publish_is_an_option(
    run: LoopRunner, limit: int
) -> None:
    user_properties = b"\x26\x00\x00\x00\x00" * 19
    connack = packets.encode(0x20, b"\x00\x00\x5f" + user_properties)
    assert len(connack) == 100

    def script(connection: Connection) -> None:
        connection.accept(connack)
        connection.read_to_end()

    async def program(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, protocol=V5, maximum_non_publish_size=limit)
        async with asyncio.timeout(LIMIT), client:
            pass

    with ScriptedServer(script) as server:
        if limit == len(connack):
            run(program, server)
        else:
            with pytest.raises(MqttError, match="maximum_non_publish_size allows 99"):
                run(program, server)


def test_a_limit_must_be_a_packet_size() -> None:
    for wrong in (0, -1, 1 << 32, "1", 1.5, None):
        kind = ValueError if isinstance(wrong, int) else TypeError
        with pytest.raises(kind, match="maximum_non_publish_size"):
            Client("localhost", maximum_non_publish_size=wrong)  # type: ignore[arg-type]
