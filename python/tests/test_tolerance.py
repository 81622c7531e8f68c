"""Servers that break a rule of MQTT: tolerated where it does no harm, unless `strict=True`."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from ferromqtt import Client, MqttCodeError, MqttError, ProtocolVersion, Will
from support import packets
from support.clients import LIMIT, receive, receive_many, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto
from support.scripted import Connection, ScriptedServer, serve

SLIP = b"\x38\x04\x00\x01tx"
"""A PUBLISH at QoS 0 with DUP set (3.1.1: MQTT-3.3.1-2)."""
BURST = 2_000


def slips(connection: Connection) -> None:
    """Accept, slip twice, and serve on."""
    with contextlib.suppress(EOFError):
        connection.accept(packets.CONNACK_311)
        connection.send(SLIP * 2)
        connection.read_to_end()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_slip_is_tolerated_with_one_warning_a_connection_1_4(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        for _ in range(2):
            async with client:
                for message in await receive_many(client, 2):
                    assert (str(message.topic), message.payload) == ("t", b"x")
            reported = warnings(caplog)
            caplog.clear()
            assert len(reported) == 1
            assert "a PUBLISH at QoS 0 has DUP set; DUP is ignored" in reported[0]

    with ScriptedServer(slips) as server:
        run(main, server)


def test_a_strict_client_ends_the_connection_instead_1_4(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, strict=True) as client:
            with pytest.raises(MqttError) as failure:
                await receive(client)
            assert "Malformed packet" in str(failure.value.__cause__)
        assert warnings(caplog) == []

    with ScriptedServer(slips) as server:
        run(main, server)


@pytest.mark.parametrize("qos", [1, 2])
def test_a_code_in_an_acknowledgement_before_5_0_refuses_the_message_1_3(
    run: LoopRunner, qos: int
) -> None:
    """A failure is never taken for a success."""

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_311)
        first, body = connection.expect(packets.PUBLISH)
        reply = packets.PUBACK if qos == 1 else packets.PUBREC
        connection.send(packets.ack(reply, packets.packet_id_of(first, body), b"\x87"))
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            with pytest.raises(MqttCodeError) as failure:
                await client.publish("t", "x", qos=qos)
            rc = failure.value.rc
            assert getattr(rc, "value", rc) == 0x87

    with ScriptedServer(script) as server:
        run(main, server)


def test_session_present_after_a_clean_session_lets_the_client_in_1_4(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """3.1.1: MQTT-3.2.2-1."""

    def script(connection: Connection) -> None:
        serve(connection, b"\x20\x02\x01\x00")

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            await client.publish("t", "x", qos=1)
        assert "Session Present" in warnings(caplog)[0]
        with pytest.raises(MqttError):
            await Client(server.host, server.port, strict=True).__aenter__()

    with ScriptedServer(script) as server:
        run(main, server)


@contextlib.asynccontextmanager
async def subscriber(broker: Mosquitto, identifier: str, *, clean: bool) -> AsyncIterator[Client]:
    """Connect with a Receive Maximum of 10, which this server ignores."""
    properties = SimpleNamespace(ReceiveMaximum=10, SessionExpiryInterval=100)
    client = Client(
        broker.host,
        broker.port,
        identifier=identifier,
        protocol=ProtocolVersion.V5,
        clean_start=clean,
        properties=properties,
    )
    async with client:
        yield client


async def publish_burst(broker: Mosquitto, topic: str) -> None:
    """Publish without waiting for each acknowledgement, as a burst is."""
    client = Client(broker.host, broker.port, protocol=ProtocolVersion.V5, max_inflight_messages=0)
    async with client as publisher, asyncio.TaskGroup() as publishes:
        publisher.pending_calls_threshold = BURST
        for number in range(BURST):
            publishes.create_task(publisher.publish(topic, number, qos=1))


@pytest.mark.parametrize("kept", [False, True], ids=["at-once", "kept-for-the-session"])
def test_a_burst_beyond_the_receive_maximum_comes_whole_on_one_connection(
    run: LoopRunner, mosquitto: Mosquitto, *, kept: bool
) -> None:
    """MQTT-3.3.4-9, which mosquitto 2.0.11 breaks."""
    name = unique("burst")

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(subscriber(mosquitto, name, clean=True))
            await client.subscribe(name, qos=1)
            if kept:
                await stack.aclose()
            await publish_burst(mosquitto, name)
            if kept:
                client = await stack.enter_async_context(subscriber(mosquitto, name, clean=False))
            async with asyncio.timeout(2 * LIMIT):
                for number in range(BURST):
                    message = await anext(client.messages)
                    assert message.payload == str(number).encode()

    run(main)


def test_an_empty_response_topic_is_refused_before_anything_is_sent_1_3(run: LoopRunner) -> None:
    """MQTT-4.7.3-1, MQTT-3.3.2-14."""
    empty = SimpleNamespace(ResponseTopic="")

    async def main(server: ScriptedServer) -> None:
        version = ProtocolVersion.V5
        async with Client(server.host, server.port, protocol=version) as client:
            for qos in (0, 1):
                with pytest.raises(ValueError, match=r"^Property ResponseTopic cannot be .* empty"):
                    await client.publish("t", "x", qos=qos, properties=empty)
            await client.publish("t", "y", qos=1)
        assert b"x" not in server.received
        will = Will("t", "x", properties=empty)
        with pytest.raises(
            ValueError, match=r"^Property ResponseTopic of the will cannot be .* empty"
        ):
            await Client(server.host, server.port, protocol=version, will=will).__aenter__()
        assert len(server.connections) == 1

    def script(connection: Connection) -> None:
        serve(connection, packets.CONNACK_5)

    with ScriptedServer(script) as server:
        run(main, server)
