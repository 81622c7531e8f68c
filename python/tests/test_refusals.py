"""What a server refuses by its acknowledgements (contract 1.3)."""

import asyncio
import logging

import pytest

from ferromqtt import Client, MqttCodeError, ProtocolVersion, Reconnect, events
from support import packets
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer


def test_negative_acknowledgement_raises_1_3(run: LoopRunner) -> None:
    """PUBACK and PUBREC with a Reason Code of 0x80 or more (5.0)."""

    def refuse(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        packet_id = packets.packet_id_of(*connection.expect(packets.PUBLISH))
        connection.send(packets.ack(packets.PUBACK, packet_id, b"\x87"))
        packet_id = packets.packet_id_of(*connection.expect(packets.PUBLISH))
        connection.send(packets.ack(packets.PUBREC, packet_id, b"\x97"))
        # no PUBREL follows a refused PUBREC (MQTT-4.3.3-4), the flow is over
        packet_id = packets.packet_id_of(*connection.expect(packets.PUBLISH))
        connection.send(packets.ack(packets.PUBACK, packet_id, b"\x10"))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, protocol=ProtocolVersion.V5)
        async with client:
            for qos, text in ((1, "[code:135] Not authorized"), (2, "[code:151] Quota exceeded")):
                with pytest.raises(MqttCodeError) as caught:
                    await client.publish("a", qos=qos)
                assert str(caught.value) == text
            # "No matching subscribers" is a success
            assert await client.publish("a", qos=1) is None

    with ScriptedServer(refuse) as server:
        run(main, server)


def test_a_qos_2_message_whose_identifier_the_server_lost_may_have_arrived(
    run: LoopRunner,
) -> None:
    """PUBCOMP with 0x92 is no success: section 3.7.2.1 of 5.0."""

    def forget(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        for _ in range(2):
            packet_id = packets.packet_id_of(*connection.expect(packets.PUBLISH))
            connection.send(packets.ack(packets.PUBREC, packet_id))
            connection.expect(packets.PUBREL)
            connection.send(packets.ack(packets.PUBCOMP, packet_id, b"\x92"))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, protocol=ProtocolVersion.V5)
        async with client:
            for enqueues in (False, True):
                call = await client.enqueue("a", qos=2) if enqueues else client.publish("a", qos=2)
                with pytest.raises(MqttCodeError, match="Packet identifier not found") as caught:
                    await call
                assert caught.value.rc == 0x92
                assert caught.value.delivery == "unknown"
                (note,) = caught.value.__notes__
                assert note == (
                    "The server took the message over, and then lost its Packet Identifier (0x92); "
                    "the message may have arrived"
                )
            stats = client.stats()
            assert (stats.acknowledged, stats.refused, stats.unreleased) == (0, 0, 2)
            assert stats.latency is not None
            assert stats.latency.count == 2

    with ScriptedServer(forget) as server:
        run(main, server)


@pytest.mark.parametrize(
    ("protocol", "codes", "texts"),
    [
        (ProtocolVersion.V311, b"\x01\x80", ["Granted QoS 1", "Unspecified error"]),
        (ProtocolVersion.V5, b"\x01\x87", ["Granted QoS 1", "Not authorized"]),
    ],
)
def test_refused_subscription_is_returned_not_raised_1_3(
    run: LoopRunner, protocol: ProtocolVersion, codes: bytes, texts: list[str]
) -> None:
    v5 = protocol is ProtocolVersion.V5

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5 if v5 else packets.CONNACK_311)
        packet_id = packets.packet_id_of(*connection.expect(packets.SUBSCRIBE))
        rest = (b"\x00" if v5 else b"") + codes
        connection.send(packets.ack(packets.SUBACK, packet_id, rest))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=protocol) as client:
            granted = await client.subscribe([("a", 1), ("b", 1)])
            assert [str(code) for code in granted] == texts
            assert [code.value for code in granted] == list(codes)
            assert [code.is_failure for code in granted] == [False, True]

    with ScriptedServer(script) as server:
        run(main, server)


def test_refused_unsubscribe_is_ignored_1_3(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        packet_id = packets.packet_id_of(*connection.expect(packets.UNSUBSCRIBE))
        connection.send(packets.ack(packets.UNSUBACK, packet_id, b"\x00\x87"))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=ProtocolVersion.V5) as client:
            assert await client.unsubscribe("a") is None

    with ScriptedServer(script) as server:
        run(main, server)


def test_a_refused_unsubscribe_is_logged_and_an_event(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """aiomqtt ignores what UNSUBACK says, so nothing is raised."""

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        packet_id = packets.packet_id_of(*connection.expect(packets.UNSUBSCRIBE))
        connection.send(packets.ack(packets.UNSUBACK, packet_id, b"\x00\x00\x87"))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=ProtocolVersion.V5) as client:
            happened = client.events()
            assert isinstance(await anext(happened), events.Connected)
            assert await client.unsubscribe(["a", "b"]) is None
            refused = await anext(happened)
            assert isinstance(refused, events.NotUnsubscribed)
            assert (refused.filter, refused.reason) == ("b", 0x87)
            assert str(refused.reason) == "Not authorized"

    with ScriptedServer(script) as server:
        run(main, server)
    text = 'refused to end a subscription, and goes on to send its messages (filter: "b", reason: '
    (line,) = [it for it in caplog.records if it.levelno >= logging.WARNING]
    assert f"the server {text}Not authorized (0x87)" in line.message


def test_a_subscription_that_the_server_refuses_to_end_goes_on(run: LoopRunner) -> None:
    """The messages go on to come (5.0), to whoever iterates."""

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        packet_id = packets.packet_id_of(*connection.expect(packets.SUBSCRIBE))
        connection.send(packets.ack(packets.SUBACK, packet_id, b"\x00\x01"))
        packet_id = packets.packet_id_of(*connection.expect(packets.UNSUBSCRIBE))
        connection.send(packets.ack(packets.UNSUBACK, packet_id, b"\x00\x87"))
        connection.send(packets.encode(0x30, packets.string("a") + b"\x00x"))
        packet_id = packets.packet_id_of(*connection.expect(packets.UNSUBSCRIBE))
        connection.send(packets.ack(packets.UNSUBACK, packet_id, b"\x00\x00"))
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        async with (
            Client(server.host, server.port, protocol=ProtocolVersion.V5) as client,
            client.subscription("a", qos=1) as messages,
        ):
            waiting = asyncio.ensure_future(anext(messages))
            await asyncio.sleep(0)  # it waits
            await client.unsubscribe("a")
            assert (await waiting).payload == b"x"
            await client.unsubscribe("a")
            assert [message async for message in messages] == []

    with ScriptedServer(script) as server:
        run(main, server)


def test_unsubscribing_that_becomes_impossible_raises_and_is_no_event(run: LoopRunner) -> None:
    """MQTT-3.2.2-15: the call waits for a connection, which takes smaller packets."""
    long = "a" * 100

    def grants(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        packet_id = packets.packet_id_of(*connection.expect(packets.SUBSCRIBE))
        connection.send(packets.ack(packets.SUBACK, packet_id, b"\x00\x00"))

    def resumes(connection: Connection) -> None:
        connection.accept(b"\x20\x08\x01\x00\x05\x27\x00\x00\x00\x40")  # packets of 64 bytes
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        policy = Reconnect(min=0.01, max=0.01)
        protocol = ProtocolVersion.V5
        async with Client(server.host, server.port, protocol=protocol, reconnect=policy) as client:
            happened = client.events()
            await client.subscribe(long)
            while not isinstance(await anext(happened), events.Disconnected):
                pass
            with pytest.raises(MqttCodeError, match="larger than the 64") as caught:
                await client.unsubscribe(long)
            assert caught.value.rc == 0x95
            assert caught.value.delivery == "not_sent"
        async for event in happened:
            assert not isinstance(event, events.NotUnsubscribed), event

    with ScriptedServer(grants, resumes) as server:
        run(main, server)
