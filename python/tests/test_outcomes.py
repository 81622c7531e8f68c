"""Receipts, the outgoing queue, and many messages at once, in virtual time."""

import asyncio
import contextlib
import copy
import gc
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ferromqtt import (
    Client,
    MqttCodeError,
    MqttDiscardedError,
    MqttError,
    MqttQueueFullError,
    MqttTimeoutError,
    OutgoingQueue,
    ProtocolVersion,
    Published,
    Reconnect,
    Topic,
    blocking,
)
from ferromqtt.testing import TestBroker
from support.loops import LoopRunner
from support.mosquitto import Mosquitto
from support.virtual import memory_broker, play, restart, stop

V5, V311 = ProtocolVersion.V5, ProtocolVersion.V311


LATER = Reconnect(min=2.1, max=2.1, jitter=0)
SOONER = Reconnect(min=0.15, max=0.15, jitter=0)
"""A listener is back before a client publishes what it has queued: see the times in the tests."""


def client_of(broker: TestBroker, **options: Any) -> Client:  # noqa: ANN401 - the client's
    given: dict[str, Any] = {"identifier": "c", "protocol": V5, "reconnect": LATER}
    return Client(broker, **given | options)


@contextlib.asynccontextmanager
async def listening(broker: TestBroker) -> AsyncIterator[list[tuple[str, bytes]]]:
    """Give the messages that come to the broker."""
    received: list[tuple[str, bytes]] = []
    async with Client(broker, identifier="l", protocol=V5, reconnect=SOONER) as listener:
        await listener.subscribe("#", qos=2)

        async def listen() -> None:
            async for message in listener.messages:
                received.append((message.topic.value, bytes(message.payload)))  # noqa: PERF401

        task = asyncio.create_task(listen())
        yield received
        await asyncio.sleep(5)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def offline(broker: TestBroker, client: Client) -> None:
    """Wait until the client has noticed that the broker is gone."""
    await stop(broker)
    assert client.state().value == "reconnecting"


# Receipts


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("protocol", [V311, V5], ids=lambda it: it.name)
def test_a_receipt_tells_what_became_of_a_message(qos: int, protocol: ProtocolVersion) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, protocol=protocol, reconnect=False) as client:
            receipt = await client.enqueue("a", "b", qos)
            assert not receipt.done()
            assert repr(receipt) == "<Receipt pending>"
            published = await receipt
            assert isinstance(published, Published)
            # 5.0 says that nobody has subscribed.
            assert published.reason_code.value == (0x10 if qos == 1 and protocol is V5 else 0)
            assert published.reason_string is None
            assert receipt.done()
            assert await receipt is published
            assert repr(receipt) == "<Receipt done>"
            assert await client.publish("a", "b", qos) is None  # type: ignore[func-returns-value]

    play(main)


def test_a_receipt_raises_what_publish_would_raise() -> None:
    async def main() -> None:
        broker = memory_broker(deny_publish=["secret"])
        async with client_of(broker) as client:
            receipt = await client.enqueue("secret", "b", 1)
            with pytest.raises(MqttCodeError) as raised:
                await receipt
            assert raised.value.rc.value == 0x87  # type: ignore[union-attr]
            assert raised.value.delivery == "refused"
            assert repr(receipt) == "<Receipt failed>"
            with pytest.raises(MqttCodeError):
                await receipt

    play(main)


def test_a_dropped_receipt_changes_nothing_and_reports_nothing() -> None:
    async def main() -> None:
        broker = memory_broker(deny_publish=["secret"])
        async with listening(broker) as received, client_of(broker) as client:
            for topic in ("a", "secret"):
                receipt = await client.enqueue(topic, "b", 1)
                del receipt
            failed = client.publish_nowait("secret", "b", 1)
            await asyncio.sleep(1)
            assert failed.done()
            del failed
            gc.collect()
        assert received == [("a", b"b")]

    play(main)  # which fails on errors that the loop reports


def test_cancelling_the_wait_withdraws_nothing() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received, client_of(broker) as client:
            await offline(broker, client)
            receipt = await client.enqueue("a", "b", 1)
            waiting = [asyncio.ensure_future(receipt) for _ in range(2)]
            await asyncio.sleep(1)
            waiting[0].cancel()
            await broker.start()
            published = await waiting[1]
            assert await receipt is published
            with pytest.raises(asyncio.CancelledError):
                await waiting[0]
        assert received == [("a", b"b")]

    play(main)


def test_publish_nowait_never_suspends_and_keeps_the_order() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received, client_of(broker) as client:
            receipts = [client.publish_nowait(Topic("a"), number, 1) for number in range(1_000)]
            assert not any(receipt.done() for receipt in receipts)
            for receipt in receipts:
                assert isinstance(await receipt, Published)
        assert [payload for _, payload in received] == [b"%d" % it for it in range(1_000)]

    play(main)


def test_a_loop_of_enqueue_lets_others_run() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, outgoing_queue=OutgoingQueue(maxsize=None)) as client:
            ran = asyncio.Event()
            asyncio.get_running_loop().call_soon(ran.set)
            for _ in range(10_000):
                await client.enqueue("a", "b")
                if ran.is_set():
                    return
            raise AssertionError("nobody else ran")

    play(main)


def test_wrong_arguments_are_refused_before_anything_is_sent() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received, client_of(broker) as client:
            wrong: list[tuple[type[Exception], dict[str, Any]]] = [
                (ValueError, {"topic": "a/#"}),
                (ValueError, {"topic": ""}),
                (ValueError, {"topic": "", "properties": {"TopicAlias": 1}}),
                (TypeError, {"topic": "a", "payload": {}}),
                (ValueError, {"topic": "a", "qos": 3}),
                (ValueError, {"topic": "a", "expires_in": 0}),
                (ValueError, {"topic": "a", "expires_in": float("nan")}),
                (TypeError, {"topic": "a", "expires_in": "soon"}),
                (ValueError, {"topic": "a", "keep": "last"}),
                (ValueError, {"topic": "a", "keep": 1}),
            ]
            for error, arguments in wrong:
                with pytest.raises(error):
                    await client.enqueue(**arguments)
                with pytest.raises(error):
                    client.publish_nowait(**arguments)
        assert received == []

    play(main)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"maxsize": 0}, ValueError),
        ({"maxbytes": -1}, ValueError),
        ({"maxsize": 1.5}, TypeError),
        ({"maxbytes": True}, TypeError),
        ({"overflow": "latest"}, ValueError),
        ({"overflow": None}, TypeError),
    ],
)
def test_wrong_bounds_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="OutgoingQueue: "):
        OutgoingQueue(**arguments)


def test_an_option_that_is_no_queue_is_refused() -> None:
    with pytest.raises(TypeError, match="outgoing_queue must be an OutgoingQueue, not int"):
        Client("localhost", outgoing_queue=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("delivery", "options", "call"),
    [
        ("refused", {}, {"topic": "secret", "qos": 1}),
        ("not_sent", {}, {"topic": "a", "qos": 2}),
        ("not_sent", {"max_queued_outgoing_messages": 1}, {"topic": "a", "qos": 1}),
        ("not_sent", {}, {"topic": "a", "qos": 1, "timeout": 3}),
        ("not_sent", {}, {"topic": "a", "qos": 0, "timeout": 3}),
    ],
    ids=["refused", "a limit", "the queue is full", "no time at QoS 1", "no time at QoS 0"],
)
def test_each_publish_that_fails_says_whether_it_was_sent(
    delivery: str, options: dict[str, Any], call: dict[str, Any]
) -> None:
    async def main() -> None:
        broker = memory_broker(deny_publish=["secret"], maximum_qos=1)
        async with client_of(broker, **options) as client:
            if "timeout" in call or options:
                await offline(broker, client)
            first = asyncio.create_task(client.publish("a", 1, 1, timeout=100)) if options else None
            await asyncio.sleep(0)
            with pytest.raises(MqttError) as raised:
                await client.publish(**call)
            assert raised.value.delivery == delivery
            await broker.start()
            if first is not None:
                await first

    play(main)


# The queue


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


# Leaving and entering


def test_leaving_sends_what_the_queue_holds() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received:
            async with client_of(broker, reconnect=False) as client:
                receipts = [client.publish_nowait("a", number, 1) for number in range(2_000)]
            for receipt in receipts:
                assert isinstance(await receipt, Published)
        assert len(received) == 2_000

    play(main)


def test_leaving_without_a_connection_fails_what_waits() -> None:
    async def main() -> None:
        broker = memory_broker()
        client = client_of(broker)
        async with client:
            await offline(broker, client)
            receipt = await client.enqueue("a", "b", 1)
        with pytest.raises(MqttError) as raised:
            await receipt
        assert raised.value.delivery == "not_sent"
        with pytest.raises(MqttCodeError) as refused:
            await client.enqueue("a", "b", 1)
        assert refused.value.rc == 4
        assert refused.value.delivery == "not_sent"
        with pytest.raises(MqttCodeError):
            client.publish_nowait("a", "b", 1)
        await broker.start()
        async with client:
            assert isinstance(await client.publish_nowait("a", "again", 1), Published)

    play(main)


def test_without_reconnect_the_end_of_the_connection_ends_each_message() -> None:
    async def main() -> None:
        broker = memory_broker()
        client = client_of(broker, reconnect=False, max_inflight_messages=1)
        async with client:
            receipts = [client.publish_nowait("a", number, 1) for number in range(3)]
            await asyncio.sleep(0)  # they are written
            await stop(broker)
            deliveries = []
            for receipt in receipts:
                try:
                    await receipt
                except MqttError as error:
                    deliveries.append(error.delivery)
            assert deliveries
            assert deliveries[-1] == "not_sent"
            with pytest.raises(MqttCodeError):
                await client.enqueue("a", "b", 1)
        await broker.start()

    play(main)


def test_a_client_that_was_never_entered_accepts_nothing() -> None:
    async def main() -> None:
        client = client_of(memory_broker())
        with pytest.raises(MqttCodeError) as raised:
            await client.enqueue("a", "b")
        assert raised.value.rc == 4
        with pytest.raises(MqttCodeError):
            client.publish_nowait("a", "b")
        with pytest.raises(MqttCodeError):
            await client.publish_many([("a", "b")])

    play(main)


# Many at once


def test_each_of_many_messages_has_a_result_of_its_own() -> None:
    async def main() -> None:
        broker = memory_broker(deny_publish=["secret"])
        async with listening(broker) as received, client_of(broker) as client:
            results = await client.publish_many(
                [
                    ("a", 1),
                    ("secret", 2),
                    ("b", 3, 2),
                    {"topic": "c", "payload": 4, "qos": 0},
                    ("d", 5, 1, True, {"ContentType": "text/plain"}),
                ],
                qos=1,
            )
            kinds = [type(result) for result in results]
            assert kinds == [Published, MqttCodeError, Published, Published, Published]
            assert [getattr(result, "delivery", None) for result in results][1] == "refused"
            assert await client.publish_many([]) == []
        assert received == [("a", b"1"), ("b", b"3"), ("c", b"4"), ("d", b"5")]

    play(main)


def test_what_the_server_does_not_allow_is_one_of_the_results() -> None:
    async def main() -> None:
        broker = memory_broker(maximum_qos=1)
        async with client_of(broker) as client:
            results = await client.publish_many([("a", 1, 1), ("a", 2, 2), ("a", 3, 1)])
            assert isinstance(results[0], Published)
            assert isinstance(results[1], MqttCodeError)
            assert results[1].delivery == "not_sent"
            assert isinstance(results[2], Published)

    play(main)


def test_a_message_that_cannot_be_one_is_refused_with_all_others() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received, client_of(broker) as client:
            wrong: list[tuple[type[Exception], Any]] = [
                (ValueError, ("b/#", 2)),
                (TypeError, ("b", {})),
                (ValueError, ("b", 2, 3)),
                (ValueError, ("b",)),
                (ValueError, ("b", 2, 1, False, None, 6)),
                (ValueError, {"topic": "b", "data": 1}),
                (ValueError, {"payload": 1}),
                (TypeError, "b"),
            ]
            for error, message in wrong:
                with pytest.raises(error):
                    await client.publish_many([("a", 1), message, ("c", 3)], qos=1)
        assert received == []

    play(main)


def test_many_messages_keep_their_order_and_the_window() -> None:
    async def main() -> None:
        broker = memory_broker(receive_maximum=3)
        async with listening(broker) as received, client_of(broker) as client:
            results = await client.publish_many([("a", number, 2) for number in range(500)])
            assert all(isinstance(result, Published) for result in results)
        assert [payload for _, payload in received] == [b"%d" % it for it in range(500)]

    play(main)


def test_cancelling_many_messages_drops_what_is_not_on_the_wire() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received, client_of(broker) as client:
            await offline(broker, client)
            many = asyncio.create_task(client.publish_many([("a", 1), ("a", 2)], qos=1))
            await asyncio.sleep(1)
            many.cancel()
            with pytest.raises(asyncio.CancelledError):
                await many
            assert client.stats().outgoing == 0
            await broker.start()
            await client.wait_connected()
        assert received == []

    play(main)


def test_cancelling_many_messages_in_any_turn_drops_them_without_a_report() -> None:
    async def main() -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, it: reported.append(it))
        broker = memory_broker()
        async with Client(broker, reconnect=Reconnect(min=100, max=100), timeout=1) as client:
            await offline(broker, client)
            for turns in range(5):
                call = asyncio.create_task(client.publish_many([("a", 1, 1), ("a", 2, 1)]))
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait([call])
                assert call.cancelled()
                assert client.stats().outgoing == 0, f"cancelled after {turns} turns"
        del call
        gc.collect()
        assert reported == []

    play(main)


def test_a_call_that_is_cancelled_as_its_wait_for_capacity_fails_reports_nothing() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reported: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, it: reported.append(it))
        broker = memory_broker()
        queue = OutgoingQueue(maxsize=1)
        async with Client(
            broker, reconnect=Reconnect(min=100, max=100), timeout=1, outgoing_queue=queue
        ) as client:
            await offline(broker, client)
            first = await client.enqueue("a", 1, 1)
            for early in (0, 1e-9):
                call = asyncio.create_task(client.enqueue("a", 2, 1, timeout=0.05))
                await asyncio.sleep(0)
                loop.call_later(0.05 - early, call.cancel)
                await asyncio.wait([call])
                del call
            del first
        gc.collect()
        assert reported == []

    play(main)


def test_a_receipt_cannot_be_copied() -> None:
    async def main() -> None:
        async with Client(memory_broker()) as client:
            receipt = await client.enqueue("a", 1, 1)
            for make in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError):
                    make(receipt)
            assert (await receipt).reason_code == 0

    play(main)


def test_what_is_accepted_for_5_0_ends_well_or_as_an_error_on_a_server_of_3_1_1() -> None:
    """A message that expires had become one with a property, and the error was a ValueError."""

    async def main() -> None:
        broker = memory_broker(refused_versions=[5])
        client = Client(broker, protocol="auto", reconnect=Reconnect(initial=True))
        entering = asyncio.create_task(client.__aenter__())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert client.state().value == "connecting"
        expires = await client.enqueue("a", 1, 1, expires_in=60)
        has_property = await client.enqueue("a", 1, 1, content_type="text/plain")
        await entering
        assert client.protocol() == ProtocolVersion.V311
        assert (await expires).reason_code == 0
        with pytest.raises(MqttError, match=r"5\.0 only") as caught:
            await has_property
        assert caught.value.delivery == "not_sent"
        await client.__aexit__(None, None, None)

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


def test_many_messages_time_out_one_by_one() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            await offline(broker, client)
            results = await client.publish_many([("a", 1), ("a", 2)], qos=1, timeout=3)
            for result in results:
                assert isinstance(result, MqttTimeoutError)
                assert result.delivery == "not_sent"
            await broker.start()

    play(main)


# A real server


@pytest.mark.parametrize("protocol", [V311, V5], ids=lambda it: it.name)
def test_receipts_and_many_messages_on_mosquitto(
    run: LoopRunner, mosquitto: Mosquitto, protocol: ProtocolVersion
) -> None:
    topic = f"outcomes/{protocol.name}"

    async def main() -> None:
        options: dict[str, Any] = {"protocol": protocol, "reconnect": True}
        async with Client(mosquitto.host, mosquitto.port, **options) as client:
            await client.subscribe(topic, qos=2)
            receipts = [client.publish_nowait(topic, number, number % 3) for number in range(30)]
            receipts.append(await client.enqueue(topic, 30, 1, expires_in=60, keep="latest"))
            for receipt in receipts:
                assert isinstance(await receipt, Published)
            results = await client.publish_many([(topic, number) for number in range(31, 50)], 1)
            assert {type(result) for result in results} == {Published}
            received: set[int] = set()
            async for message in client.messages:
                received.add(int(message.payload))
                if len(received) == 50:
                    break

    run(main)


def test_many_messages_from_a_thread(mosquitto: Mosquitto) -> None:
    with blocking.Client(mosquitto.host, mosquitto.port, protocol=V5) as client:
        results = client.publish_many([("outcomes/a", 1), ("outcomes/b", 2, 2)], qos=1)
        assert [type(result) for result in results] == [Published, Published]
        with pytest.raises(ValueError, match="wildcards"):
            client.publish_many([("outcomes/#", 1)])


def test_receipts_in_threads(mosquitto: Mosquitto) -> None:
    client = blocking.Client(mosquitto.host, mosquitto.port, protocol=V5)
    with pytest.raises(MqttCodeError):
        client.enqueue("outcomes/a", 1)
    with pytest.raises(MqttCodeError):
        client.publish_nowait("outcomes/a", 1)
    with client:
        receipts = [client.enqueue("outcomes/a", 1, 1), client.publish_nowait("outcomes/a", 2, 2)]
        for receipt in receipts:
            assert isinstance(receipt.wait(), Published)
            assert receipt.done()
            assert repr(receipt) == "<Receipt done>"
        last = client.publish_nowait("outcomes/a", 3, 1)
    assert isinstance(last.wait(), Published)
