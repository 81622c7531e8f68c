"""Publishing and subscribing against real brokers (contract 1.2, 1.3, 1.7)."""

import array
import asyncio
import contextlib
from collections import UserList
from types import SimpleNamespace

import pytest

import ferromqtt
from conftest import Broker
from ferromqtt import (
    Client,
    PacketTypes,
    Properties,
    ProtocolVersion,
    SubscribeOptions,
    Topic,
    Wildcard,
    Will,
)
from ferromqtt.types import PayloadType
from support.clients import LIMIT, receive, receive_many, receive_until, unique
from support.loops import LoopRunner

LEVELS = (0, 1, 2)


@pytest.mark.parametrize("subscribed", LEVELS)
@pytest.mark.parametrize("published", LEVELS)
def test_message_arrives_at_the_lower_qos_1_3(
    run: LoopRunner,
    broker: Broker,
    protocol: ProtocolVersion,
    published: int,
    subscribed: int,
) -> None:
    topic = unique("qos")

    async def main() -> None:
        async with Client(*broker.where, protocol=protocol) as client:
            granted = await client.subscribe(topic, qos=subscribed)
            assert [code.value for code in granted] == [subscribed]
            await client.publish(topic, b"hello", qos=published)
            message = await receive(client)
            assert isinstance(message, ferromqtt.Message)
            assert message.topic == Topic(topic)
            assert isinstance(message.payload, bytes)
            assert message.payload == b"hello"
            assert message.qos == min(published, subscribed)
            assert message.retain is False
            assert (message.mid == 0) is (message.qos == 0)
            assert (message.properties is None) is (protocol is not ProtocolVersion.V5)
            # exactly one: the next thing to arrive is the next thing published
            await client.publish(topic, b"last")
            assert await receive_until(client, b"last") == []

    run(main)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("héllo 温度", "héllo 温度".encode()),
        ("", b""),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"\x01\x02"), b"\x01\x02"),
        (28.4, b"28.4"),
        (1e30, b"1e+30"),
        (-0.0, b"-0.0"),
        (float("nan"), b"nan"),
        (42, b"42"),
        (-(10**30), b"-1" + b"0" * 30),
        (True, b"True"),
        (None, b""),
    ],
)
def test_payload_conversion_1_3(
    run: LoopRunner, broker: Broker, payload: PayloadType, expected: bytes
) -> None:
    topic = unique("payload")

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic)
            await client.publish(topic, payload)
            message = await receive(client)
            assert message.payload == expected

    run(main)


def test_payload_is_none_by_default_1_3(run: LoopRunner, broker: Broker) -> None:
    topic = unique("payload")

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic)
            await client.publish(topic)
            assert (await receive(client)).payload == b""

    run(main)


def test_a_bytearray_may_be_changed_after_the_call_1_3(run: LoopRunner, broker: Broker) -> None:
    topic = unique("payload")

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic, qos=1)
            payloads = [bytearray([number]) * 8000 for number in range(20)]
            calls = [asyncio.ensure_future(client.publish(topic, it, qos=1)) for it in payloads]
            await asyncio.sleep(0)
            for payload in payloads:
                payload[:] = b"\xff" * 8000
            await asyncio.gather(*calls)
            received = await receive_many(client, len(payloads))
            assert [message.payload for message in received] == [
                bytes([number]) * 8000 for number in range(20)
            ]

    run(main)


@pytest.mark.parametrize("qos", LEVELS)
def test_payloads_of_every_size_class_1_3(run: LoopRunner, broker: Broker, qos: int) -> None:
    """One to four bytes of Remaining Length; around 4 KiB, from where payloads are not copied."""
    topic = unique("size")
    sizes = (0, 1, 100, 127, 128, 4095, 4096, 4097, 16_383, 16_384, 65_536, 262_144, 2_200_000)

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic, qos=qos)
            for size in sizes:
                payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
                await client.publish(topic, payload, qos=qos)
                assert (await receive(client)).payload == payload

    run(main)


def test_retained_message_1_3(run: LoopRunner, broker: Broker, protocol: ProtocolVersion) -> None:
    """MQTT-3.3.1-8, -9 (3.1.1): RETAIN is 1 for a new subscription, 0 for one that was there."""
    topic = unique("retain")

    async def main() -> None:
        async with Client(*broker.where, protocol=protocol) as client:
            await client.subscribe(topic)
            await client.publish(topic, b"kept", retain=True)
            live = await receive(client)
            assert (live.payload, live.retain) == (b"kept", False)
            async with Client(*broker.where, protocol=protocol) as late:
                await late.subscribe(topic)
                stored = await receive(late)
                assert (stored.payload, stored.retain) == (b"kept", True)
            # an empty payload removes it
            await client.publish(topic, retain=True)
            async with Client(*broker.where, protocol=protocol) as later:
                await later.subscribe(topic)
                await later.publish(topic, b"last")
                assert await receive_until(later, b"last") == []

    run(main)


@pytest.mark.parametrize("qos", LEVELS)
def test_order_is_kept_1_3(
    run: LoopRunner, broker: Broker, protocol: ProtocolVersion, qos: int
) -> None:
    """MQTT-4.6.0-5: the messages of one publisher arrive in the order of its calls."""
    topic, count = unique("order"), 300

    async def main() -> None:
        async with Client(*broker.where, protocol=protocol) as client:
            client.pending_calls_threshold = count
            await client.subscribe(topic, qos=qos)
            await asyncio.gather(
                *(client.publish(topic, number, qos=qos) for number in range(count))
            )
            received = await receive_many(client, count)
            assert [int(message.payload) for message in received] == list(range(count))

    run(main)


def test_qos_0_does_not_overtake_an_earlier_qos_1_1_3(run: LoopRunner, broker: Broker) -> None:
    """Design: one queue for all; 60 of QoS 1 exceed the in-flight window of 20."""
    topic, count = unique("overtake"), 120

    async def main() -> None:
        async with Client(*broker.where) as client:
            client.pending_calls_threshold = count
            await client.subscribe(topic)
            await asyncio.gather(
                *(client.publish(topic, number, qos=1 - number % 2) for number in range(count))
            )
            received = await receive_many(client, count)
            assert [int(message.payload) for message in received] == list(range(count))

    run(main)


def test_unsubscribe_stops_delivery_1_3(
    run: LoopRunner, broker: Broker, protocol: ProtocolVersion
) -> None:
    """MQTT-3.10.4-2 (3.1.1)."""
    one, two, kept = unique("one"), unique("two"), unique("kept")

    async def main() -> None:
        async with Client(*broker.where, protocol=protocol) as client:
            for topic in (one, two, kept):
                await client.subscribe(topic)
            assert await client.unsubscribe(one) is None
            await client.publish(one, b"no")
            await client.publish(two, b"yes")
            await client.publish(kept, b"last")
            assert [it.payload for it in await receive_until(client, b"last")] == [b"yes"]
            assert await client.unsubscribe([one, two]) is None
            await client.publish(two, b"no")
            await client.publish(kept, b"last")
            assert await receive_until(client, b"last") == []

    run(main)


@pytest.mark.parametrize("protocol", [ProtocolVersion.V31, ProtocolVersion.V311])
def test_forms_of_subscribe_in_version_3_1_3(
    run: LoopRunner, broker: Broker, protocol: ProtocolVersion
) -> None:
    """Contract 1.3: "t" with qos; ("t", qos); [("t", qos), ...]."""

    async def main() -> None:
        async with Client(*broker.where, protocol=protocol) as client:
            for form, options, expected in (
                ("a/+", {}, [0]),
                ("a/+", {"qos": 1}, [1]),
                (("a/+", 2), {}, [2]),
                ([("a", 0), ("b/#", 1), ("+/c", 2)], {}, [0, 1, 2]),
                ("a/+", {"qos": 1, "options": SimpleNamespace()}, [1]),
            ):
                codes = await client.subscribe(form, **options)
                assert isinstance(codes, list)
                assert [code.value for code in codes] == expected
                assert not any(code.is_failure for code in codes)
            assert await client.subscribe("a", 1) == [1]
            assert str((await client.subscribe("a", 2))[0]) == "Granted QoS 2"

    run(main)


def test_forms_of_subscribe_in_version_5_1_3(run: LoopRunner, broker: Broker) -> None:
    """Contract 1.3: "t" with qos or options; ("t", options); a list that may mix both."""

    async def main() -> None:
        async with Client(*broker.where, protocol=ProtocolVersion.V5) as client:
            for form, options, expected in (
                ("a/+", {}, [0]),
                ("a/+", {"qos": 1}, [1]),
                ("a/+", {"options": SubscribeOptions(qos=2)}, [2]),
                (("a/+", SubscribeOptions(qos=1)), {}, [1]),
                ([("a", SubscribeOptions(qos=2)), ("b/#", 1), ("c", 0)], {}, [2, 1, 0]),
            ):
                codes = await client.subscribe(form, **options)
                assert isinstance(codes, list)
                assert [code.value for code in codes] == expected
                assert [code.getName() for code in codes] == [
                    f"Granted QoS {it}" for it in expected
                ]

    run(main)


def test_any_sequence_of_pairs_or_filters_is_taken_1_3(run: LoopRunner, broker: Broker) -> None:
    """Where aiomqtt takes lists; a tuple of two texts is no list of filters."""

    async def main() -> None:
        async with Client(*broker.where, protocol=ProtocolVersion.V5) as client:
            pairs = (("a", 1), ("b", SubscribeOptions(qos=2)))
            for form in (pairs, UserList(pairs)):
                assert await client.subscribe(form) == [1, 2]
            await client.unsubscribe(UserList(["a", "b"]))
            for wrong in ((), ("a", 1, 2), (1, 2), b"a"):
                with pytest.raises(ValueError, match=r"."):
                    await client.subscribe(wrong)  # type: ignore[arg-type]

    run(main)


def test_subscribe_options_reach_the_broker_1_3(run: LoopRunner, broker: Broker) -> None:
    """MQTT 5.0, 3.8.3.1: No Local, Retain As Published, Retain Handling."""
    topic, other = unique("options"), unique("other")

    async def main() -> None:
        async with Client(*broker.where, protocol=ProtocolVersion.V5) as client:
            await client.publish(topic, b"stored", retain=True)
            await client.subscribe(
                topic,
                options=SubscribeOptions(
                    qos=1, noLocal=True, retainAsPublished=True, retainHandling=2
                ),
            )
            await client.subscribe(other)
            await client.publish(topic, b"own")
            await client.publish(other, b"last")
            assert await receive_until(client, b"last") == []
            async with Client(*broker.where, protocol=ProtocolVersion.V5) as second:
                await second.publish(topic, b"", retain=True)
            assert (await receive(client)).retain is True

    run(main)


def test_options_and_properties_of_other_classes_are_taken_1_8(
    run: LoopRunner, broker: Broker
) -> None:
    """Contract 1.8: read by attribute, whatever the class."""
    topic, other = unique("duck"), unique("other")
    options = SimpleNamespace(QoS=1, noLocal=True, retainAsPublished=False, retainHandling=0)

    async def main() -> None:
        async with Client(*broker.where, protocol=ProtocolVersion.V5) as client:
            codes = await client.subscribe([(topic, options), (other, options)])
            assert [code.value for code in codes] == [1, 1]
            async with Client(*broker.where, protocol=ProtocolVersion.V5) as second:
                await client.publish(topic, b"own")
                await second.publish(
                    topic, b"x", properties=SimpleNamespace(ContentType="text/plain")
                )
            message = await receive(client)
            assert message.payload == b"x"
            assert message.properties.ContentType == "text/plain"

    run(main)


def test_publish_properties_arrive_1_7(run: LoopRunner, broker: Broker) -> None:
    """MQTT 5.0, 3.3.2.3; contract 1.7 for the shape."""
    topic = unique("properties")

    async def main() -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.PayloadFormatIndicator = 1
        properties.ContentType = "text/plain"
        properties.ResponseTopic = "answers"
        properties.CorrelationData = b"\x00\x01"
        properties.UserProperty = [("k", "v1"), ("k", "v2")]
        properties.MessageExpiryInterval = 100
        subscription = Properties(PacketTypes.SUBSCRIBE)
        subscription.SubscriptionIdentifier = 300
        async with Client(*broker.where, protocol=ProtocolVersion.V5) as client:
            await client.subscribe(topic, qos=1, properties=subscription)
            await client.publish(topic, "x", qos=1, properties=properties)
            received = (await receive(client)).properties
            assert received.PayloadFormatIndicator == 1
            assert received.ContentType == "text/plain"
            assert received.ResponseTopic == "answers"
            assert received.CorrelationData == b"\x00\x01"
            assert [tuple(pair) for pair in received.UserProperty] == [("k", "v1"), ("k", "v2")]
            assert received.MessageExpiryInterval in (99, 100)
            assert received.SubscriptionIdentifier == [300]
            assert not received.isEmpty()
            assert received.json()["ContentType"] == "text/plain"
            await client.unsubscribe(topic)
            await client.subscribe(topic)
            await client.publish(topic, "x")
            plain = (await receive(client)).properties
            assert plain.isEmpty()
            assert not hasattr(plain, "ContentType")
            assert plain.packetType == PacketTypes.PUBLISH

    run(main)


@pytest.mark.parametrize("protocol", [ProtocolVersion.V31, ProtocolVersion.V311])
def test_publish_properties_are_ignored_before_version_5_1_3(
    run: LoopRunner, broker: Broker, protocol: ProtocolVersion
) -> None:
    topic = unique("properties")

    async def main() -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = "text/plain"
        async with Client(*broker.where, protocol=protocol) as client:
            await client.subscribe(topic)
            await client.publish(topic, "x", properties=properties)
            message = await receive(client)
            assert (message.payload, message.properties) == (b"x", None)

    run(main)


def test_messages_are_shared_between_iterating_tasks_1_5(run: LoopRunner, broker: Broker) -> None:
    """Contract 1.5: each message goes to one task, waiters in the order in which they came."""
    topic = unique("shared")

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic)
            waiters = [asyncio.ensure_future(receive(client)) for _ in range(10)]
            await asyncio.sleep(0)
            for number in range(10):
                await client.publish(topic, number)
            received = await asyncio.gather(*waiters)
            assert [int(message.payload) for message in received] == list(range(10))

    run(main)


@pytest.mark.parametrize("qos", [1, 2])
def test_one_client_shared_by_100_tasks_1_3(run: LoopRunner, broker: Broker, qos: int) -> None:
    """All acknowledged, none lost, none twice, the order of each task kept."""
    topic, tasks, each = unique("tasks"), 100, 100 if qos == 1 else 20

    async def main() -> None:
        async with (
            Client(*broker.where) as publisher,
            Client(*broker.where) as subscriber,
        ):
            publisher.pending_calls_threshold = tasks
            await subscriber.subscribe(f"{topic}/+", qos=qos)
            acknowledged = 0

            async def publish(name: int) -> None:
                nonlocal acknowledged
                for number in range(each):
                    await publisher.publish(f"{topic}/{name}", number, qos=qos)
                    acknowledged += 1

            seen: dict[str, list[int]] = {}

            async def consume() -> None:
                for _ in range(tasks * each):
                    message = await anext(subscriber.messages)
                    seen.setdefault(str(message.topic), []).append(int(message.payload))

            async with asyncio.timeout(2 * LIMIT), asyncio.TaskGroup() as group:
                group.create_task(consume())
                for name in range(tasks):
                    group.create_task(publish(name))
            assert acknowledged == tasks * each
            assert len(subscriber.messages) == 0
            assert seen == {f"{topic}/{name}": list(range(each)) for name in range(tasks)}

    run(main)


def test_subscribe_and_unsubscribe_from_many_tasks_1_3(run: LoopRunner, broker: Broker) -> None:
    topics = [unique("many") for _ in range(50)]

    async def main() -> None:
        async with Client(*broker.where) as client:
            granted = await asyncio.gather(*(client.subscribe(topic, qos=1) for topic in topics))
            assert granted == [[1]] * len(topics)
            for topic in topics:
                await client.publish(topic, topic)
            received = await receive_many(client, len(topics))
            assert [message.payload.decode() for message in received] == topics
            await asyncio.gather(*(client.unsubscribe(topic) for topic in topics))

    run(main)


def test_topics_and_wildcards_are_taken_where_a_topic_is_1_3(
    run: LoopRunner, broker: Broker
) -> None:
    topic = unique("objects")

    async def main() -> None:
        will = Will(Topic(f"{topic}/will"), memoryview(b"gone"))
        watcher = Client(*broker.where)
        dying = Client(*broker.where, will=will, will_on_error=True)
        async with watcher:
            assert len(await watcher.subscribe(Wildcard(f"{topic}/#"), qos=1)) == 1
            assert len(await watcher.subscribe([Topic(topic), (Wildcard(f"{topic}/+"), 1)])) == 2
            await watcher.unsubscribe([Wildcard(f"{topic}/+"), topic])
            with contextlib.suppress(KeyError):
                async with dying:
                    await dying.publish(Topic(f"{topic}/a"), "x", qos=1)
                    raise KeyError
            received = await receive_many(watcher, 2)
            assert [(str(it.topic), it.payload) for it in received] == [
                (f"{topic}/a", b"x"),
                (f"{topic}/will", b"gone"),
            ]

    run(main)


def test_a_list_of_filters_is_subscribed_to_at_the_qos_given_1_3(
    run: LoopRunner, broker: Broker
) -> None:
    first, second = unique("a"), unique("b")

    async def main() -> None:
        for protocol in (ProtocolVersion.V311, ProtocolVersion.V5):
            async with Client(*broker.where, protocol=protocol) as client:
                granted = await client.subscribe([first, second], qos=1)
                assert [code.value for code in granted] == [1, 1]
                await client.publish(second, "x", qos=2)
                assert (await receive_many(client, 1))[0].qos == 1
            if protocol == ProtocolVersion.V5:
                async with Client(*broker.where, protocol=protocol) as client:
                    options = SubscribeOptions(2, noLocal=True)
                    granted = await client.subscribe([first, (second, 1)], options=options)
                    assert [code.value for code in granted] == [2, 1]

    run(main)


def test_a_memoryview_is_sent_as_its_bytes_contiguous_or_not_1_3(
    run: LoopRunner, broker: Broker
) -> None:
    topic = unique("view")
    large = bytes(range(256)) * 1000

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic, qos=2)
            for qos in (0, 1, 2):
                await client.publish(topic, memoryview(b"abcdef"), qos)
                await client.publish(topic, memoryview(b"abcdef")[::2], qos)
                await client.publish(topic, memoryview(bytearray(large))[1:], qos)
                await client.publish(topic, memoryview(array.array("I", [1, 2])), qos)
            received = [it.payload for it in await receive_many(client, 12)]
            numbers = array.array("I", [1, 2]).tobytes()
            assert received == [b"abcdef", b"ace", large[1:], numbers] * 3

    run(main)
