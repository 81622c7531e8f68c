"""Iterating over messages: ends, causes, order, acknowledgements (contract 1.5)."""

import asyncio
import logging
import random
from typing import Any

import pytest

from conftest import Broker
from ferromqtt import (
    Client,
    Message,
    MessagesIterator,
    MqttCodeError,
    MqttError,
    PacketTypes,
    ProtocolVersion,
)
from support import packets
from support.clients import LIMIT, receive, receive_many, unique, wait_for_queued
from support.loops import LoopRunner, settle
from support.scripted import Connection, ScriptedServer

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5
LOST = "Disconnected during message iteration: "


@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
def test_iteration_never_ends_by_itself_1_5(
    run: LoopRunner, broker: Broker, queue_type: type[asyncio.Queue[Message]] | None
) -> None:
    """`async for` ends by the error alone, after an exit too, as often as it is tried."""
    topic = unique("end")

    async def main() -> None:
        client = Client(*broker.where, queue_type=queue_type)
        taken: list[bytes] = []
        async with client:
            await client.subscribe(topic)
            await client.publish(topic, b"1")
            await client.publish(topic, b"2")
            await wait_for_queued(client, 2)
        iterator = client.messages

        async def take_all() -> None:
            async for message in iterator:
                taken.append(message.payload)  # noqa: PERF401  kept when the loop raises

        for _ in range(2):
            with pytest.raises(MqttError) as caught:
                await take_all()
            assert type(caught.value) is MqttError
            assert caught.value.args[0].startswith(f"{LOST}the client disconnected (")
            assert caught.value.__cause__ is None
        assert taken == [b"1", b"2"]

    run(main)


def test_surface_of_an_iterator_1_5(run: LoopRunner) -> None:
    async def main() -> None:
        client = Client("localhost")
        messages = client.messages
        assert isinstance(messages, MessagesIterator)
        assert not hasattr(messages, "aclose")
        assert client.messages is not client.messages
        assert aiter(messages) is messages
        assert (len(messages), bool(messages)) == (0, False)

    run(main)


def test_all_iterators_share_one_queue_1_5(run: LoopRunner, broker: Broker) -> None:
    topic = unique("shared")

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic)
            for number in range(4):
                await client.publish(topic, number)
            await wait_for_queued(client, 4)
            one, other = client.messages, client.messages
            assert (len(one), len(other), bool(one)) == (4, 4, True)
            taken = [(await anext(it)).payload for it in (one, other, other, one)]
            assert taken == [b"0", b"1", b"2", b"3"]
            assert (len(one), len(other), bool(one)) == (0, 0, False)

    run(main)


@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
def test_waiters_are_served_in_the_order_in_which_they_came_1_5(
    run: LoopRunner, broker: Broker, queue_type: type[asyncio.Queue[Message]] | None
) -> None:
    topic, count = unique("fifo"), 10

    async def main() -> None:
        async with Client(*broker.where, queue_type=queue_type) as client:
            await client.subscribe(topic, qos=1)
            waiting = [asyncio.ensure_future(receive(client)) for _ in range(count)]
            await settle()
            for number in range(count):
                await client.publish(topic, number, qos=1)
            received = await asyncio.wait_for(asyncio.gather(*waiting), LIMIT)
            assert [int(it.payload) for it in received] == list(range(count))

    run(main)


@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
@pytest.mark.parametrize("order", ["first", "last", "random"])
def test_waiters_that_give_up_in_any_order_leave_the_others_in_theirs(
    run: LoopRunner,
    broker: Broker,
    order: str,
    queue_type: type[asyncio.Queue[Message]] | None,
) -> None:
    topic, count = unique("gives-up"), 60
    given_up = list(range(count))
    if order == "last":
        given_up.reverse()
    elif order == "random":
        random.Random(1).shuffle(given_up)
    del given_up[45:]

    async def main() -> None:
        async with Client(*broker.where, queue_type=queue_type) as client:
            await client.subscribe(topic, qos=1)
            waiting = [asyncio.ensure_future(receive(client)) for _ in range(count)]
            await settle()
            for at in given_up:
                waiting[at].cancel()
            await settle()
            assert [task.cancelled() for task in waiting].count(True) == len(given_up)
            left = [task for task in waiting if not task.done()]
            for number in range(len(left)):
                await client.publish(topic, number, qos=1)
            received = await asyncio.wait_for(asyncio.gather(*left), LIMIT)
            assert [int(it.payload) for it in received] == list(range(len(left)))

    run(main)


ENDS: dict[str, tuple[ProtocolVersion, bytes, str | None]] = {
    "closed": (V311, b"", "[code:128] Unspecified error"),
    "protocol error": (V311, packets.CONNACK_311, "[code:130] Protocol error"),
    "malformed": (V311, b"\x30\x03\x00\x05a", "[code:129] Malformed packet"),
    "disconnect 0x8e": (V5, b"\xe0\x01\x8e", "[code:142] Session taken over"),
    "disconnect 0x98": (V5, b"\xe0\x02\x98\x00", "[code:152] Administrative action"),
    "disconnect 0x9d": (V5, b"\xe0\x02\x9d\x00", "[code:157] Server moved"),
    "disconnect 0": (V5, b"\xe0\x00", None),
}


@pytest.mark.parametrize("end", ENDS)
def test_cause_of_an_end_1_5(run: LoopRunner, end: str) -> None:
    protocol, data, text = ENDS[end]

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5 if protocol is V5 else packets.CONNACK_311)
        connection.expect(packets.PUBLISH)
        connection.send(data)
        if data and protocol is V311:
            connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=protocol) as client:
            await client.publish("go")
            with pytest.raises(MqttError) as caught:
                await receive(client)
            assert str(caught.value).startswith(LOST)
            assert str(caught.value).endswith(f" ({server.host}:{server.port})")
            cause = caught.value.__cause__
            if text is None:
                assert cause is None
                return
            assert isinstance(cause, MqttCodeError)
            assert str(cause) == text
            assert cause.args == ("Unexpected disconnection",)
            assert cause.rc.packetType == PacketTypes.DISCONNECT  # type: ignore[union-attr]

    with ScriptedServer(script) as server:
        run(main, server)


BAD_TOPICS = {
    "not UTF-8": b"\x00\x02\xff\xfe",
    "a surrogate": b"\x00\x03\xed\xa0\x80",
    "a null character": b"\x00\x03a\x00b",
    "a wildcard": b"\x00\x03a/#",
    "empty": b"\x00\x00",
}


@pytest.mark.parametrize("protocol", [V311, V5])
@pytest.mark.parametrize("name", BAD_TOPICS)
def test_a_bad_topic_ends_the_connection_once_1_5(
    run: LoopRunner, caplog: pytest.LogCaptureFixture, name: str, protocol: ProtocolVersion
) -> None:
    """In 5.0 with a DISCONNECT that says so; nothing is logged, and the client is usable."""
    v5 = protocol is V5
    reasons: list[tuple[int, bytes]] = []

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5 if v5 else packets.CONNACK_311)
        connection.expect(packets.PUBLISH)
        body = BAD_TOPICS[name] + (b"\x00" if v5 else b"") + b"x"
        connection.send(packets.encode(0x30, body))
        if v5:
            reasons.append(connection.expect(packets.DISCONNECT))
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, protocol=protocol)
        for _ in range(2):
            async with client:
                await client.publish("go")
                with pytest.raises(MqttError, match=LOST) as caught:
                    await receive(client)
                assert isinstance(caught.value.__cause__, MqttCodeError)

    with caplog.at_level(logging.INFO), ScriptedServer(script) as server:
        run(main, server)
        server.join()
    if v5:
        # malformed packet, protocol error or topic name invalid: what the standard says of each
        assert {body[0] for _, body in reasons} <= {0x81, 0x82, 0x90}
        assert len(reasons) == 2
    assert [it for it in caplog.records if it.levelno >= logging.INFO] == []


@pytest.mark.parametrize("protocol", [V311, V5])
def test_a_repeated_qos_2_message_is_delivered_once_1_5(
    run: LoopRunner, protocol: ProtocolVersion
) -> None:
    """At its first PUBLISH: upstream waits for PUBREL. Acknowledged with no hand of the program."""
    v5 = protocol is V5
    properties = b"\x00" if v5 else b""
    body = packets.string("a") + b"\x00\x05" + properties + b"once"

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5 if v5 else packets.CONNACK_311)
        connection.expect(packets.PUBLISH)
        for first in (0x34, 0x3C):
            connection.send(packets.encode(first, body))
            assert packets.packet_id_of(*connection.expect(packets.PUBREC)) == 5
        for _ in range(2):
            connection.send(packets.ack(packets.PUBREL, 5))
            assert packets.packet_id_of(*connection.expect(packets.PUBCOMP)) == 5
        connection.send(packets.encode(0x34, body.replace(b"once", b"next")))
        connection.expect(packets.PUBREC)
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=protocol) as client:
            await client.publish("go")
            received = await receive_many(client, 2)
            assert [(it.payload, it.qos, it.mid) for it in received] == [
                (b"once", 2, 5),
                (b"next", 2, 5),
            ]

    with ScriptedServer(script) as server:
        run(main, server)


def test_a_message_s_attributes_and_types_1_7(
    run: LoopRunner, broker: Broker, protocol: ProtocolVersion
) -> None:
    topic = unique("types")

    async def main() -> None:
        async with Client(*broker.where, protocol=protocol) as client:
            await client.subscribe(topic, qos=2)
            for qos in range(3):
                await client.publish(topic, "x", qos=qos)
                message = await receive(client)
                values: tuple[Any, ...] = (message.payload, message.qos, message.retain)
                assert values == (b"x", qos, False)
                assert [type(it) for it in values] == [bytes, int, bool]
                assert type(message.mid) is int
                assert (message.mid == 0) is (qos == 0)
                assert str(message.topic) == topic
                if protocol is V5:
                    assert message.properties is not None
                    assert message.properties.isEmpty()
                    assert message.properties.packetType == PacketTypes.PUBLISH
                else:
                    assert message.properties is None
                assert message.dup is False  # which aiomqtt lacks

    run(main)


def test_a_consumer_with_a_deadline_can_go_on_after_it_1_5(run: LoopRunner, broker: Broker) -> None:
    topic = unique("deadline")

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic)
            iterator = client.messages
            for number in range(5):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(iterator), 0.01)
                await client.publish(topic, number)
                message = await asyncio.wait_for(anext(iterator), LIMIT)
                assert int(message.payload) == number

    run(main)
