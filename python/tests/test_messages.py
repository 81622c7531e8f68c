"""The message iterator: disconnects, cancellation, queue options (contract 1.5)."""

import asyncio
import logging
from typing import Any

import pytest

from conftest import Broker, TcpBroker
from ferromqtt import (
    Client,
    Message,
    MessagesIterator,
    MqttCodeError,
    MqttError,
    ProtocolVersion,
)
from support import packets
from support.clients import LIMIT, receive, receive_many, unique, wait_for_queued
from support.loops import LoopRunner, settle
from support.proxy import CuttingProxy
from support.scripted import Connection, Script, ScriptedServer

LOST = r"^Disconnected during message iteration: "


def after_first_packet(data: bytes, *, v5: bool = False, close: bool = False) -> Script:
    """Return a script that sends these bytes once the client has entered, and stays or closes."""

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5 if v5 else packets.CONNACK_311)
        connection.expect(packets.PUBLISH)
        connection.send(data)
        if close:
            connection.close()
        connection.read_to_end()

    return script


def test_iterator_surface_1_5(run: LoopRunner, broker: Broker) -> None:
    async def main() -> None:
        client = Client(*broker.where)
        messages = client.messages
        assert isinstance(messages, MessagesIterator)
        assert aiter(messages) is messages
        assert client.messages is not messages
        assert len(messages) == 0
        assert not messages

    run(main)


def test_iterator_may_wait_before_enter_1_5(run: LoopRunner, broker: Broker) -> None:
    topic = unique("early")

    async def main() -> None:
        client = Client(*broker.where)
        waiting = asyncio.ensure_future(receive(client))
        await settle()
        assert not waiting.done()
        async with client:
            await client.subscribe(topic)
            await client.publish(topic, b"x")
            assert (await waiting).payload == b"x"

    run(main)


@pytest.mark.parametrize("way", ["close", "reset"])
def test_lost_connection_reaches_every_waiting_iterator_1_5(run: LoopRunner, way: str) -> None:
    """The cause of a plain end is code 128; queued messages come first."""

    def script(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.PUBLISH)
        connection.send(packets.publish("a", b"1") + packets.publish("a", b"2"))
        connection.expect(packets.PUBLISH)
        getattr(connection, way)()

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            await client.publish("go")
            assert [it.payload for it in await receive_many(client, 2)] == [b"1", b"2"]
            waiting = [asyncio.ensure_future(receive(client)) for _ in range(3)]
            await settle()
            await client.publish("end")
            for waiter in waiting:
                with pytest.raises(MqttError, match=LOST) as caught:
                    await waiter
                cause = caught.value.__cause__
                assert isinstance(cause, MqttCodeError)
                assert str(cause) == "[code:128] Unspecified error"
                assert cause.args == ("Unexpected disconnection",)
            # and everyone who comes later
            with pytest.raises(MqttError, match=LOST):
                await receive(client)

    with ScriptedServer(script) as server:
        run(main, server)


@pytest.mark.parametrize("close", [False, True])
def test_messages_before_the_loss_are_delivered_first_1_5(run: LoopRunner, *, close: bool) -> None:
    flood = b"".join(packets.publish("a", str(number).encode()) for number in range(500))

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            await client.publish("go")
            received = await receive_many(client, 500)
            assert [int(it.payload) for it in received] == list(range(500))
            if close:
                with pytest.raises(MqttError, match=LOST):
                    await receive(client)

    with ScriptedServer(after_first_packet(flood, close=close)) as server:
        run(main, server)


def test_clean_exit_ends_waiting_iterators_without_a_cause_1_5(
    run: LoopRunner, broker: Broker
) -> None:
    async def main() -> None:
        client = Client(*broker.where)
        async with client:
            waiting = asyncio.ensure_future(receive(client))
            await settle()
        with pytest.raises(MqttError, match=LOST) as caught:
            await waiting
        assert caught.value.__cause__ is None

    run(main)


def test_keep_alive_timeout_is_the_cause_1_5(run: LoopRunner) -> None:
    """No PINGRESP comes. (How soon is checked in virtual time, in the core's tests.)"""

    async def main(server: ScriptedServer) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with Client(server.host, server.port, keepalive=1) as client:
            with pytest.raises(MqttError, match=LOST) as caught:
                await receive(client)
            assert loop.time() - started >= 1
            assert str(caught.value.__cause__) == "[code:141] Keep alive timeout"

    def mute(connection: Connection) -> None:
        connection.accept()
        connection.read_to_end()

    with ScriptedServer(mute) as server:
        run(main, server)
        server.join()
        assert b"\xc0\x00" in server.received


@pytest.mark.parametrize(
    ("disconnect", "cause"),
    [
        (b"\xe0\x01\x8e", "[code:142] Session taken over"),
        (b"\xe0\x02\x8b\x00", "[code:139] Server shutting down"),
        (b"\xe0\x00", None),
    ],
)
def test_disconnect_of_a_version_5_server_1_5(
    run: LoopRunner, disconnect: bytes, cause: str | None
) -> None:
    """Its Reason Code is the cause; Reason Code 0 counts as a clean end."""

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=ProtocolVersion.V5) as client:
            await client.publish("go")
            with pytest.raises(MqttError, match=LOST) as caught:
                await receive(client)
            found = caught.value.__cause__
            assert (None if found is None else str(found)) == cause

    with ScriptedServer(after_first_packet(disconnect, v5=True, close=True)) as server:
        run(main, server)


VIOLATIONS: dict[str, bytes] = {
    "a second connack": packets.CONNACK_311,
    "packet type 0": b"\x00\x00",
    "subscribe from the server": b"\x82\x06\x00\x01\x00\x01a\x00",
    "publish with QoS 3": b"\x36\x05\x00\x01a\x00\x01",
    "publish with packet identifier 0": b"\x32\x05\x00\x01a\x00\x00",
    "publish with an empty topic": b"\x30\x03\x00\x00x",
    "publish with a wildcard in the topic": packets.publish("a/#", b"x"),
    "publish with a topic that is not UTF-8": b"\x30\x05\x00\x02\xff\xfex",
    "publish with a null character in the topic": b"\x30\x04\x00\x02a\x00",
    "publish shorter than its topic": b"\x30\x03\x00\x05a",
    "suback of unknown code": b"\x90\x03\x00\x01\x05",
    "puback too long": b"\x40\x03\x00\x01\x00",
    "pingresp with a body": b"\xd0\x01\x00",
    "pubrel with wrong flags": b"\x60\x02\x00\x01",
    "five bytes of remaining length": b"\x30\xff\xff\xff\xff\x01",
}
SLIPS = ("puback too long",)
"""Violations that a client tolerates unless it is strict."""


@pytest.mark.parametrize("name", VIOLATIONS)
def test_protocol_violation_ends_the_connection_1_5(run: LoopRunner, name: str) -> None:
    """MQTT-4.8.0-1: the client closes; the client can then be entered again."""

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, strict=name in SLIPS)
        for _ in range(2):
            async with client:
                await client.publish("go")
                with pytest.raises(MqttError, match=LOST) as caught:
                    await receive(client)
                assert isinstance(caught.value.__cause__, MqttCodeError)
            # each script ends when the client has closed
            await asyncio.to_thread(server.join)

    with ScriptedServer(after_first_packet(VIOLATIONS[name])) as server:
        run(main, server)


@pytest.mark.parametrize("name", VIOLATIONS)
def test_protocol_violation_right_behind_connack_1_5(run: LoopRunner, name: str) -> None:
    """In one segment: told by the enter or by the iterator, but told, and at once."""

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_311 + VIOLATIONS[name])
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        strict = name in SLIPS
        with pytest.raises(MqttError) as caught:
            async with (
                asyncio.timeout(LIMIT),
                Client(server.host, server.port, strict=strict) as client,
            ):
                await receive(client)
        assert str(caught.value) != "Operation timed out"

    with ScriptedServer(script) as server:
        run(main, server)


def test_cancelled_next_loses_no_message_1_5(run: LoopRunner, broker: Broker) -> None:
    """Contract 1.5, "better": cancelled 0 to 5 turns after the publish, around its delivery."""
    topic, count = unique("cancel"), 300

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic, qos=0)
            received: list[int] = []
            cancelled = 0
            for number in range(count):
                task = asyncio.ensure_future(anext(client.messages))
                await client.publish(topic, number, qos=number % 2)
                for _ in range(number % 6):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    received.append(int((await task).payload))
                except asyncio.CancelledError:
                    cancelled += 1
            rest = await receive_many(client, count - len(received))
            received += [int(message.payload) for message in rest]
            assert cancelled
            assert received == list(range(count))

    run(main)


def test_next_cancelled_in_the_turn_of_the_delivery_loses_no_message_1_5(run: LoopRunner) -> None:
    """The future that wakes the waiter is done, the waiter is cancelled before it runs."""
    count = 50

    def script(connection: Connection) -> None:
        connection.accept()
        for number in range(count):
            connection.expect(packets.PUBLISH)
            connection.send(packets.publish("a", str(number).encode()))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        loop = asyncio.get_running_loop()
        async with Client(server.host, server.port) as client:
            received: list[int] = []
            cancelled = 0
            for _ in range(count):
                task = asyncio.ensure_future(anext(client.messages))
                await settle()

                def cancel_when_woken(task: asyncio.Task[Message] = task) -> None:
                    waits_for: Any = getattr(task, "_fut_waiter", None)
                    if waits_for is not None and not waits_for.done():
                        loop.call_soon(cancel_when_woken, task)
                    else:
                        task.cancel()

                # checked in every turn: the waiter may not have run when its future is found done
                loop.call_soon(cancel_when_woken)
                await client.publish("go")
                try:
                    received.append(int((await asyncio.wait_for(task, LIMIT)).payload))
                except asyncio.CancelledError:
                    cancelled += 1
            rest = await receive_many(client, count - len(received))
            received += [int(message.payload) for message in rest]
            assert sorted(received) == list(range(count))

    with ScriptedServer(script) as server:
        run(main, server)


def test_next_with_a_deadline_loses_no_message_1_5(run: LoopRunner, broker: Broker) -> None:
    topic, count = unique("deadline"), 200

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic, qos=1)

            async def publish() -> None:
                for number in range(count):
                    await client.publish(topic, number, qos=1)

            publishing = asyncio.ensure_future(publish())
            received: list[int] = []
            async with asyncio.timeout(LIMIT):
                while len(received) < count:
                    try:
                        async with asyncio.timeout(0.0005):
                            received.append(int((await anext(client.messages)).payload))
                    except TimeoutError:
                        continue
            await publishing
            assert received == list(range(count))

    run(main)


def test_cancelled_waiter_passes_its_turn_on_1_5(run: LoopRunner, broker: Broker) -> None:
    topic = unique("turn")

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic)
            first, second, third = (asyncio.ensure_future(receive(client)) for _ in range(3))
            await settle()
            first.cancel()
            await client.publish(topic, b"1")
            assert (await second).payload == b"1"
            await client.publish(topic, b"2")
            assert (await third).payload == b"2"
            assert first.cancelled()

    run(main)


def test_full_incoming_queue_drops_the_new_message_and_warns_1_2(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """Contract 1.2: QoS 1 is acknowledged all the same."""

    def script(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.SUBSCRIBE)
        for number in range(1, 6):
            connection.send(packets.publish("a", b"%d" % number, qos=1, packet_id=number))
        acks = [packets.packet_id_of(*connection.expect(packets.PUBACK)) for _ in range(5)]
        assert acks == [1, 2, 3, 4, 5]
        connection.send(packets.ack(packets.SUBACK, 1, b"\x01"))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, max_queued_incoming_messages=2) as client:
            # SUBACK comes when all five were acknowledged
            await client.subscribe("a", qos=1)
            assert len(client.messages) == 2
            assert [it.payload for it in await receive_many(client, 2)] == [b"1", b"2"]

    with caplog.at_level(logging.WARNING, logger="ferromqtt"), ScriptedServer(script) as server:
        run(main, server)
    texts = [record.getMessage() for record in caplog.records]
    text = "Message queue is full. Discarding message."
    # How often in between depends on how many messages each read has brought.
    assert texts[0] == text
    assert texts[-1] in (f"{text} (3 times so far)", f"{text} (3 times in all)")


def test_queue_type_gets_every_message_through_its_own_methods_1_2(
    run: LoopRunner, broker: Broker
) -> None:
    """Contract 1.2: the documented priority queue recipe, made by queue_type(maxsize=N)."""
    topic = unique("priority")

    class ByPayload(asyncio.PriorityQueue[Any]):
        """Highest number first."""

        def _put(self, item: Message) -> None:
            super()._put((-int(item.payload), item))

        def _get(self) -> Message:
            message: Message = super()._get()[1]
            return message

    async def main() -> None:
        client = Client(*broker.where, queue_type=ByPayload)
        async with client:
            await client.subscribe(topic)
            for number in (2, 9, 4, 7):
                await client.publish(topic, number)
            await wait_for_queued(client, 4)
            received = await receive_many(client, 4)
            assert [int(message.payload) for message in received] == [9, 7, 4, 2]

    run(main)


@pytest.mark.parametrize("queue_type", [asyncio.Queue, asyncio.LifoQueue])
def test_queue_type_still_sees_the_disconnect_1_2(
    run: LoopRunner, tcp_broker: TcpBroker, queue_type: type[asyncio.Queue[Message]]
) -> None:
    async def main() -> None:
        with CuttingProxy(tcp_broker.host, tcp_broker.port) as proxy:
            async with Client(proxy.host, proxy.port, queue_type=queue_type) as client:
                waiting = asyncio.ensure_future(receive(client))
                await settle()
                proxy.cut_now()
                with pytest.raises(MqttError, match=LOST):
                    await waiting

    run(main)


def test_qos_1_and_2_are_acknowledged_without_a_reader_1_5(run: LoopRunner) -> None:
    """Contract 1.5; MQTT-4.6.0-2: acknowledged in the order of receipt."""

    def script(connection: Connection) -> None:
        connection.accept()
        first = packets.publish("a", b"1", qos=1, packet_id=5)
        second = packets.publish("a", b"2", qos=2, packet_id=3)
        third = packets.publish("a", b"3", qos=1, packet_id=1)
        again = bytes([second[0] | 0x08]) + second[1:]
        connection.send(first + second + again + third)
        assert connection.expect(packets.PUBACK) == (0x40, b"\x00\x05")
        assert connection.expect(packets.PUBREC) == (0x50, b"\x00\x03")
        assert connection.expect(packets.PUBREC) == (0x50, b"\x00\x03")
        assert connection.expect(packets.PUBACK) == (0x40, b"\x00\x01")
        connection.send(packets.ack(packets.PUBREL, 3))
        assert connection.expect(packets.PUBCOMP) == (0x70, b"\x00\x03")
        # an unknown PUBREL is answered too, or the server could never forget its message
        connection.send(packets.ack(packets.PUBREL, 99))
        assert connection.expect(packets.PUBCOMP) == (0x70, b"\x00\x63")
        connection.close()

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            await asyncio.to_thread(server.join)
            received = await receive_many(client, 3)
            with pytest.raises(MqttError, match=LOST):
                await receive(client)
            assert sorted((it.payload, it.qos, it.mid) for it in received) == [
                (b"1", 1, 5),
                (b"2", 2, 3),
                (b"3", 1, 1),
            ]

    with ScriptedServer(script) as server:
        run(main, server)


def test_packets_split_at_every_byte_1_5(run: LoopRunner) -> None:
    """A stream has no packet borders."""
    stream = b"".join(
        packets.publish("topic/ä", payload, qos=qos, packet_id=number + 1)
        for number, (payload, qos) in enumerate([(b"", 0), (b"x" * 130, 1), (b"y", 2), (b"z", 0)])
    )

    marker = packets.publish("marker", b"", qos=1, packet_id=9)

    def script(connection: Connection) -> None:
        connection.accept()
        for split in range(1, len(stream)):
            # one segment; the PUBACK of the marker shows that the client has read its first part
            connection.send(marker + stream[:split])
            assert connection.expect(packets.PUBACK)[1] == b"\x00\x09"
            connection.send(stream[split:])
            assert connection.expect(packets.PUBACK)[1] == b"\x00\x02"
            assert connection.expect(packets.PUBREC)[1] == b"\x00\x03"
            connection.send(packets.ack(packets.PUBREL, 3))
            assert connection.expect(packets.PUBCOMP)[1] == b"\x00\x03"
        connection.send(packets.publish("end", b""))  # until then the client stays
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            for _ in range(1, len(stream)):
                received = await receive_many(client, 5)
                assert sorted((str(it.topic), it.payload, it.qos) for it in received) == [
                    ("marker", b"", 1),
                    ("topic/ä", b"", 0),
                    ("topic/ä", b"x" * 130, 1),
                    ("topic/ä", b"y", 2),
                    ("topic/ä", b"z", 0),
                ]
            await receive_many(client, 1)

    with ScriptedServer(script) as server:
        run(main, server)
