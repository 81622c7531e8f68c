"""The outgoing queue: bounds, policies, expiry and the latest message, in virtual time."""

import asyncio
from typing import Any

import pytest

from ferromqtt import (
    Client,
    MqttDiscardedError,
    MqttQueueFullError,
    MqttTimeoutError,
    OutgoingQueue,
    ProtocolVersion,
    Published,
    Reconnect,
)
from ferromqtt.testing import TestBroker
from support.outgoing import SOONER, client_of, listening, offline
from support.virtual import memory_broker, play, restart

V5, V311 = ProtocolVersion.V5, ProtocolVersion.V311


@pytest.mark.parametrize("protocol", [V311, V5], ids=lambda it: it.name)
def test_what_is_accepted_without_a_connection_is_delivered_in_order(
    protocol: ProtocolVersion,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received, client_of(broker, protocol=protocol) as client:
            await offline(broker, client)
            receipts = [await client.enqueue("a", number, number % 3) for number in range(6)]
            receipts += [client.publish_nowait("a", number, 1) for number in range(6, 9)]
            await asyncio.sleep(10)
            assert not any(receipt.done() for receipt in receipts)
            await broker.start()
            for receipt in receipts:
                assert isinstance(await receipt, Published)
            await asyncio.sleep(5)
        of_qos = {0: [b"0", b"3"], 1: [b"1", b"4", b"6", b"7", b"8"], 2: [b"2", b"5"]}
        for expected in of_qos.values():
            came = [payload for _, payload in received if payload in expected]
            assert came == expected

    play(main)


def test_a_receipt_outlives_a_connection() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            receipt = await client.enqueue("a", "b", 1)
            await restart(broker)
            assert isinstance(await receipt, Published)

    play(main)


@pytest.mark.parametrize(
    ("overflow", "dropped"), [("drop_oldest", [0, 1]), ("drop_newest", [2, 3])]
)
def test_a_full_queue_drops(overflow: Any, dropped: list[int]) -> None:  # noqa: ANN401 - a Literal
    async def main() -> None:
        broker = memory_broker()
        queue = OutgoingQueue(maxsize=2, overflow=overflow)
        async with client_of(broker, outgoing_queue=queue) as client:
            await offline(broker, client)
            receipts = [await client.enqueue("a", number, 1) for number in range(4)]
            await asyncio.sleep(0.1)
            assert [it for it, receipt in enumerate(receipts) if receipt.done()] == dropped
            for number in dropped:
                with pytest.raises(MqttDiscardedError, match="full outgoing queue") as raised:
                    await receipts[number]
                assert raised.value.outcome == "dropped"
                assert raised.value.delivery == "not_sent"
            await broker.start()
            for number in set(range(4)) - set(dropped):
                assert isinstance(await receipts[number], Published)

    play(main)


def test_a_full_queue_fails() -> None:
    async def main() -> None:
        broker = memory_broker()
        queue = OutgoingQueue(maxsize=1, overflow="fail")
        async with client_of(broker, outgoing_queue=queue) as client:
            await offline(broker, client)
            receipt = await client.enqueue("a", 1, 1)
            for _ in range(2):
                with pytest.raises(
                    MqttQueueFullError, match=r"is full \(1 messages\); wait for"
                ) as raised:
                    await client.enqueue("a", 2, 1)
                assert raised.value.delivery == "not_sent"
                assert raised.value.rc == 15
                with pytest.raises(MqttQueueFullError):
                    client.publish_nowait("a", 2, 1)
            await broker.start()
            assert isinstance(await receipt, Published)

    play(main)


def test_a_full_queue_is_waited_for_in_order() -> None:
    async def main() -> None:
        broker = memory_broker()
        queue = OutgoingQueue(maxsize=1)
        async with (
            listening(broker) as received,
            client_of(broker, outgoing_queue=queue) as client,
        ):
            await offline(broker, client)
            first = await client.enqueue("a", 1, 1)
            with pytest.raises(MqttQueueFullError):
                client.publish_nowait("a", "full", 1)
            with pytest.raises(MqttTimeoutError, match="no capacity within 3 s") as raised:
                await client.enqueue("a", "late", 1, timeout=3.0)
            assert raised.value.delivery == "not_sent"
            waiting = [
                asyncio.create_task(client.enqueue("a", number, 1, timeout=100))
                for number in (2, 3, 4)
            ]
            await asyncio.sleep(1)
            assert not any(task.done() for task in waiting)
            waiting[1].cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting[1]
            await broker.start()
            for receipt in (first, await waiting[0], await waiting[2]):
                assert isinstance(await receipt, Published)
            await asyncio.sleep(3)
        assert [payload for _, payload in received] == [b"1", b"2", b"4"]

    play(main)


def test_bytes_are_bounded_too() -> None:
    async def main() -> None:
        broker = memory_broker()
        queue = OutgoingQueue(maxsize=None, maxbytes=1_000, overflow="fail")
        async with client_of(broker, outgoing_queue=queue) as client:
            await offline(broker, client)
            client.publish_nowait("a", b"." * 2_000, 1)  # alone
            with pytest.raises(MqttQueueFullError, match=r"is full \(1000 bytes\)"):
                client.publish_nowait("a", b"", 1)
            await broker.start()
            await client.wait_connected()

    play(main)


@pytest.mark.parametrize("protocol", [V311, V5], ids=lambda it: it.name)
def test_a_message_expires_on_every_version(protocol: ProtocolVersion) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, protocol=protocol) as client:
            await offline(broker, client)
            brief = await client.enqueue("a", "brief", 1, expires_in=5)
            lasting = await client.enqueue("a", "lasting", 1, expires_in=3_600)
            await asyncio.sleep(4.9)
            assert not brief.done()
            await asyncio.sleep(0.2)
            assert brief.done()
            with pytest.raises(MqttDiscardedError, match="expired") as raised:
                await brief
            assert raised.value.outcome == "expired"
            assert raised.value.delivery == "not_sent"
            await broker.start()
            assert isinstance(await lasting, Published)

    play(main)


@pytest.mark.parametrize(
    "twice",
    [{"message_expiry_interval": 3}, {"properties": {"MessageExpiryInterval": 3}}],
)
def test_two_times_to_expire_are_refused(twice: dict[str, Any]) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker, Client(broker, protocol=5) as client:
            with pytest.raises(ValueError, match="both given: leave out the latter"):
                await client.enqueue("a", "b", expires_in=5, **twice)
            with pytest.raises(ValueError, match="both given: leave out the latter"):
                client.publish_nowait("a", "b", expires_in=5, **twice)

    play(main)


def test_a_full_queue_says_so_once() -> None:
    text = "Could not enqueue message: the queue is full; wait for receipts"
    assert repr(MqttQueueFullError(text)) == f"MqttQueueFullError({text!r})"


def test_what_is_left_of_the_time_is_sent_as_the_message_expiry_interval() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with Client(broker, identifier="l", protocol=V5, reconnect=SOONER) as listener:
            await listener.subscribe("a", qos=1)
            async with client_of(broker) as client:
                await listener.publish("z", "")
                await client.enqueue("a", "at once", 1, expires_in=100.5)
                message = await anext(listener.messages)
                assert message.properties is not None
                assert message.properties.MessageExpiryInterval == 101
                await offline(broker, client)
                receipt = await client.enqueue("a", "later", 1, expires_in=1_000)
                await asyncio.sleep(300)
                await broker.start()
                await listener.wait_connected()
                await receipt
                message = await anext(listener.messages)
                assert message.properties is not None
                left: int = message.properties.MessageExpiryInterval
                assert 600 < left <= 700

    play(main)


def test_the_latest_message_to_a_topic_takes_the_place_of_those_before() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            await offline(broker, client)
            event = await client.enqueue("a", "event", 1)
            old = await client.enqueue("a", 1, 1, keep="latest")
            other = await client.enqueue("b", 1, 1, keep="latest")
            new = client.publish_nowait("a", 2, 1, keep="latest")
            with pytest.raises(MqttDiscardedError, match="newer message") as raised:
                await old
            assert raised.value.outcome == "replaced"
            assert raised.value.delivery == "not_sent"
            await broker.start()
            for receipt in (event, other, new):
                assert isinstance(await receipt, Published)

    play(main)


def test_stats_have_what_waits_in_the_queue_and_how_it_has_ended() -> None:
    async def main() -> None:
        broker = memory_broker()
        queue = OutgoingQueue(maxsize=2, overflow="drop_oldest")
        async with Client(
            broker, reconnect=Reconnect(min=100, max=100), timeout=1, outgoing_queue=queue
        ) as client:
            await offline(broker, client)
            for payload in range(5):
                client.publish_nowait("a", payload, 1)
            stats = client.stats()
            assert (stats.outgoing, stats.dropped) == (2, 3)
            assert stats.outgoing_bytes > 2 * 128
            client.publish_nowait("b", 1, 1, keep="latest", expires_in=1)
            client.publish_nowait("b", 2, 1, keep="latest", expires_in=1)
            assert client.stats().replaced == 1
            await asyncio.sleep(2)
            stats = client.stats()
            assert (stats.outgoing, stats.expired) == (1, 1)

    play(main)
