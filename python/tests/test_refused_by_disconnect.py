"""A server that answers a message by ending the connection, and a program that connects again."""

import contextlib
import logging
from typing import Any

import pytest

from ferromqtt import (
    Client,
    MqttCodeError,
    MqttError,
    PacketTypes,
    Properties,
    ProtocolVersion,
    ReasonCode,
)
from support import packets
from support.clients import LIMIT, unique
from support.loops import LoopRunner
from support.scripted import Connection, Script, ScriptedServer, answer

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5
BAD = b"never accepted"
CODES = (0x95, 0x99, 0x9A, 0x9B)
"""Packet too large, Payload format invalid, Retain not supported, QoS not supported."""


def session(version: ProtocolVersion) -> dict[str, Any]:
    """Return the client options that keep the session."""
    if version is V311:
        return {"protocol": version, "clean_session": False}
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    return {"protocol": version, "clean_start": False, "properties": properties}


def never_accepts_bad(
    version: ProtocolVersion, code: int, *, session_present: bool = True
) -> Script:
    """Return a script that resumes the session, and ends the connection for every bad message."""
    properties = b"\x00" if version is V5 else b""
    connack = packets.encode(0x20, bytes([session_present, 0]) + properties)

    def script(connection: Connection) -> None:
        connection.accept(connack)
        with contextlib.suppress(EOFError):
            while True:
                first, body = connection.read_packet()
                if first >> 4 == packets.PUBLISH and body.endswith(BAD):
                    if version is V5:
                        connection.send(packets.encode(0xE0, bytes([code, 0])))
                        connection.read_to_end()
                    return
                answer(connection, first, body, v5=version is V5)

    return script


def server_of(version: ProtocolVersion, code: int = CODES[0]) -> ScriptedServer:
    """Return a server that has no session at first, and keeps the one it is given."""
    first = never_accepts_bad(version, code, session_present=False)
    return ScriptedServer(first, never_accepts_bad(version, code))


def warnings(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    """Return the warnings that hold this text."""
    texts = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return [text for text in texts if part in text]


@pytest.mark.parametrize("code", CODES)
def test_the_loop_that_publishes_it_again_ends_with_the_servers_reason_1_4(
    run: LoopRunner, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    """MQTT-4.4.0-1: the session resent it forever, and nothing behind it arrived."""

    async def main(server: ScriptedServer) -> None:
        client = Client(
            server.host, server.port, identifier=unique("client"), timeout=LIMIT, **session(V5)
        )
        entered = 0
        while True:
            entered += 1
            assert entered < 20, "it never ends"
            try:
                async with client:
                    await client.publish("t", BAD, qos=1)
            except MqttError as error:
                if isinstance(error, MqttCodeError) and isinstance(error.rc, ReasonCode):
                    reasons.append(error.rc.value)
                    break
        async with client:
            await client.publish("t", b"good", qos=2)

    reasons: list[int] = []
    with server_of(V5, code) as server:
        run(lambda: main(server))
        assert reasons == [code]
        last = server.connections[-1].received
        assert BAD not in last
        assert b"good" in last
        # Each message of the loop that came as far as the session ends by itself.
        bad = [it for it in server.connections if BAD in it.received]
        assert len(warnings(caplog, "it is given up")) == len(bad) - 2
    assert len(warnings(caplog, "one at a time")) == 1
    assert 'topic: "t"' in warnings(caplog, "it is given up")[0]


def test_a_message_that_nobody_waits_for_leaves_the_session_too_1_4(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(
            server.host, server.port, identifier=unique("client"), timeout=LIMIT, **session(V5)
        )
        with contextlib.suppress(MqttError):
            async with client:
                await client.publish("t", BAD, qos=2)
        arrived = False
        for _ in range(3):
            with contextlib.suppress(MqttError):
                async with client:
                    await client.publish("t", b"good", qos=1)
                    arrived = True
        assert arrived

    with server_of(V5) as server:
        run(lambda: main(server))
        assert [BAD in it.received for it in server.connections] == [True] * 3 + [False]
    assert len(warnings(caplog, "it is given up")) == 1


def test_before_5_0_it_is_warned_of_once_and_nothing_is_given_up_1_4(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """3.1.1: MQTT-4.4.0-1. A close has no reason, so there is nothing to tell the message by."""

    async def main(server: ScriptedServer) -> None:
        client = Client(
            server.host, server.port, identifier=unique("client"), timeout=LIMIT, **session(V311)
        )
        for _ in range(6):
            with contextlib.suppress(MqttError):
                async with client:
                    await client.publish("t", BAD, qos=1)

    with server_of(V311) as server:
        run(lambda: main(server))
        assert all(BAD in it.received for it in server.connections)
    (suspected,) = warnings(caplog, "one connection after another has ended")
    assert "ends: 3" in suspected
