"""Messages both ways: every QoS, order, size, number, retained, unsubscribed."""

import asyncio

import pytest

from interop.conftest import Here
from interop.gaps import Feature
from support.clients import receive, receive_many, receive_until, unique
from support.loops import LoopRunner

MEGABYTE = 1_000_000


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_come_back_complete_and_in_order(run: LoopRunner, here: Here, qos: int) -> None:
    run(back_and_forth, here, qos)


@pytest.mark.needs(Feature.QOS_2)
def test_messages_of_qos_2_come_back_once_and_in_order(run: LoopRunner, here: Here) -> None:
    run(back_and_forth, here, 2)


async def back_and_forth(here: Here, qos: int) -> None:
    prefix = unique("order")
    sent = [f"{number}".encode() for number in range(100)]
    async with here.client() as client:
        [granted] = await client.subscribe(f"{prefix}/+/x", qos=qos)
        assert granted.value == qos
        for payload in sent:
            await client.publish(f"{prefix}/a/x", payload, qos=qos)
        received = await receive_many(client, len(sent))
        assert [message.payload for message in received] == sent
        assert {message.topic.value for message in received} == {f"{prefix}/a/x"}
        assert {message.qos for message in received} == {qos}
        assert not any(message.retain for message in received)
        # nothing comes twice: the next thing to arrive is the next thing published
        await client.publish(f"{prefix}/b/x", b"last", qos=qos)
        assert await receive_until(client, b"last") == []


@pytest.mark.parametrize("published", [0, 1])
@pytest.mark.parametrize("subscribed", [0, 1])
def test_message_arrives_at_the_lower_qos(
    run: LoopRunner, here: Here, published: int, subscribed: int
) -> None:
    topic = unique("lower")

    async def main() -> None:
        async with here.client() as client:
            await client.subscribe(topic, qos=subscribed)
            await client.publish(topic, b"hello", qos=published)
            assert (await receive(client)).qos == min(published, subscribed)

    run(main)


def test_payload_of_a_megabyte(run: LoopRunner, here: Here) -> None:
    topic = unique("large")
    payload = bytes(range(250)) * (MEGABYTE // 250)

    async def main() -> None:
        async with here.client() as client:
            await client.subscribe(topic, qos=1)
            await client.publish(topic, payload, qos=1)
            assert (await receive(client)).payload == payload

    run(main)


def test_a_thousand_publishes_in_flight(run: LoopRunner, here: Here) -> None:
    topic, count = unique("many"), 1000

    async def main() -> None:
        async with here.client(max_inflight_messages=0) as client:
            await client.subscribe(topic, qos=1)
            await asyncio.gather(*(client.publish(topic, number, qos=1) for number in range(count)))
            received = await receive_many(client, count)
            assert [int(message.payload) for message in received] == list(range(count))

    run(main)


def test_unsubscribed_topic_brings_no_more(run: LoopRunner, here: Here) -> None:
    topic, other = unique("left"), unique("kept")

    async def main() -> None:
        async with here.client() as client:
            await client.subscribe(topic, qos=1)
            await client.subscribe(other, qos=1)
            await client.publish(topic, b"before", qos=1)
            assert (await receive(client)).payload == b"before"
            await client.unsubscribe(topic)
            await client.publish(topic, b"after", qos=1)
            await client.publish(other, b"last", qos=1)
            assert await receive_until(client, b"last") == []

    run(main)


def test_retained_message_greets_a_new_subscription(run: LoopRunner, here: Here) -> None:
    topic = unique("retained")
    run(greeted, here, topic, topic)


@pytest.mark.needs(Feature.RETAINED_FOR_WILDCARD)
def test_retained_message_greets_a_wildcard(run: LoopRunner, here: Here) -> None:
    prefix = unique("retained")
    run(greeted, here, f"{prefix}/a/b", f"{prefix}/+/b")


async def greeted(here: Here, topic: str, filter_: str) -> None:
    async with here.client() as client, here.client() as late:
        await client.subscribe(topic, qos=1)
        await client.publish(topic, b"kept", qos=1, retain=True)
        live = await receive(client)
        assert (live.payload, live.retain) == (b"kept", False)
        await late.subscribe(filter_, qos=1)
        stored = await receive(late)
        assert (stored.payload, stored.retain) == (b"kept", True)


def test_retained_message_is_removed_by_an_empty_one(run: LoopRunner, here: Here) -> None:
    topic = unique("removed")

    async def main() -> None:
        async with here.client() as client:
            await client.publish(topic, b"kept", qos=1, retain=True)
            await client.publish(topic, b"", qos=1, retain=True)
            await client.subscribe(topic, qos=1)
            await client.publish(topic, b"last", qos=1)
            assert await receive_until(client, b"last") == []

    run(main)


@pytest.mark.needs(Feature.SHARED)
def test_shared_subscription_divides_the_messages(run: LoopRunner, here: Here) -> None:
    topic, count = unique("shared"), 40

    async def main() -> None:
        async with here.client() as one, here.client() as other, here.client() as publisher:
            for client in (one, other):
                [granted] = await client.subscribe(f"$share/group/{topic}", qos=1)
                assert granted.value == 1
                await client.subscribe(f"{topic}/end", qos=1)
            for number in range(count):
                await publisher.publish(topic, number, qos=1)
            await publisher.publish(f"{topic}/end", b"last", qos=1)
            halves = [await receive_until(client, b"last") for client in (one, other)]
            assert all(halves)
            numbers = sorted(int(message.payload) for half in halves for message in half)
            assert numbers == list(range(count))

    run(main)
