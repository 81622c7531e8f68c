"""`client.messages.batches()`: lists of the messages that are there."""

import asyncio
from typing import Any

import pytest

from ferromqtt import Client, Message, MqttError
from ferromqtt.testing import TestBroker, VirtualLoop
from support.clients import LIMIT, unique, wait_for_queued
from support.loops import LoopRunner, settle
from support.mosquitto import Mosquitto
from support.virtual import memory_broker, play


def payloads(batch: list[Message]) -> list[int]:
    return [int(message.payload) for message in batch]


async def send(client: Client, *numbers: int) -> None:
    """Publish numbers to the client itself, and wait until they are in its queue."""
    there = len(client.messages)
    for number in numbers:
        await client.publish("t", number, qos=1)
    await wait_for_queued(client, there + len(numbers))


QUEUES: list[type[asyncio.Queue[Message]] | None] = [None, asyncio.Queue, asyncio.LifoQueue]


@pytest.fixture(params=QUEUES, ids=lambda it: getattr(it, "__name__", "core"))
def queue_type(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401
    return request.param


def test_a_batch_is_what_is_there_up_to_its_size(run: LoopRunner, queue_type: Any) -> None:  # noqa: ANN401
    async def main() -> None:
        async with TestBroker() as broker, Client(broker, queue_type=queue_type) as client:
            await client.subscribe("t", qos=1)
            await send(client, *range(5))
            batches = client.messages.batches(max=3)
            order = [4, 3, 2, 1, 0] if queue_type is asyncio.LifoQueue else [0, 1, 2, 3, 4]
            assert payloads(await anext(batches)) == order[:3]
            assert payloads(await anext(batches)) == order[3:]
            # It waits for one, and not for more.
            waiting = asyncio.ensure_future(anext(batches))
            await settle()
            assert not waiting.done()
            await client.publish("t", 7, qos=1)
            assert payloads(await waiting) == [7]

    run(main)


def test_a_cancelled_step_loses_no_message(run: LoopRunner, queue_type: Any) -> None:  # noqa: ANN401
    async def main() -> None:
        async with TestBroker() as broker, Client(broker, queue_type=queue_type) as client:
            await client.subscribe("t", qos=1)
            batches = client.messages.batches()
            for number in range(20):
                waiting = asyncio.ensure_future(anext(batches))
                await settle()
                publishing = asyncio.create_task(client.publish("t", number, qos=1))
                while len(client.messages) == 0 and not waiting.done():  # noqa: ASYNC110
                    await asyncio.sleep(0)
                waiting.cancel()  # at the moment of delivery
                await publishing
                await asyncio.wait([waiting])
                taken = [] if waiting.cancelled() else payloads(waiting.result())
                if not taken:
                    taken = payloads(await asyncio.wait_for(anext(batches), LIMIT))
                assert taken == [number]

    run(main)


def test_the_end_of_the_connection_comes_after_the_last_batch(
    run: LoopRunner,
    queue_type: Any,  # noqa: ANN401
) -> None:
    async def main() -> None:
        async with TestBroker() as broker:
            async with Client(broker, queue_type=queue_type) as client:
                await client.subscribe("t", qos=1)
                await send(client, 1, 2)
            batches = client.messages.batches()
            assert sorted(payloads(await anext(batches))) == [1, 2]
            with pytest.raises(MqttError, match="Disconnected during message iteration"):
                await anext(batches)

    run(main)


def test_each_message_goes_to_one_of_several_iterators() -> None:
    async def main() -> None:
        async with TestBroker() as broker, Client(broker) as client:
            await client.subscribe("t", qos=1)
            taken: list[int] = []

            async def take(most: int) -> None:
                async for batch in client.messages.batches(most):
                    assert 1 <= len(batch) <= most
                    taken.extend(payloads(batch))

            async def take_singly() -> None:
                async for message in client.messages:
                    taken.extend(payloads([message]))

            tasks = [asyncio.create_task(it) for it in (take(1), take(7), take(100), take_singly())]
            await asyncio.gather(*(client.publish("t", number, qos=1) for number in range(300)))
            while len(taken) < 300:  # noqa: ASYNC110
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            assert sorted(taken) == list(range(300))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_a_batch_leaves_what_is_reserved_for_another_iterator(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker() as broker, Client(broker) as client:
            await client.subscribe("t", qos=1)
            single = asyncio.ensure_future(anext(client.messages))
            batch = asyncio.ensure_future(anext(client.messages.batches()))
            await settle()
            await asyncio.gather(*(client.publish("t", number, qos=1) for number in range(4)))
            first = int((await single).payload)
            rest = payloads(await batch)
            while len(client.messages):
                rest += payloads(await anext(client.messages.batches()))
            assert [first, *rest] == [0, 1, 2, 3]

    run(main)


@pytest.mark.parametrize("most", [0, -1])
def test_a_batch_of_nothing_is_refused(most: int, queue_type: Any) -> None:  # noqa: ANN401
    messages = Client("localhost", queue_type=queue_type).messages
    with pytest.raises(ValueError, match=f"^max must be 1 or more, not {most}\\.$"):
        messages.batches(most)


def test_other_tasks_run_between_batches(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker() as broker, Client(broker) as client:
            await client.subscribe("t")
            ran = 0

            async def count() -> None:
                nonlocal ran
                while True:
                    ran += 1
                    await asyncio.sleep(0)

            for _ in range(3000):
                await client.publish("t", 1)
            await wait_for_queued(client, 3000)
            counting = asyncio.create_task(count())
            taken = 0
            async for batch in client.messages.batches(max=100):
                taken += len(batch)
                if taken == 3000:
                    break
            counting.cancel()
            assert ran >= 3000 // 700

    run(main)


def test_batches_on_a_real_server(run: LoopRunner, mosquitto: Mosquitto) -> None:
    async def main() -> None:
        async with Client(mosquitto.host, mosquitto.port) as client:
            topic = unique("batches")
            await client.subscribe(topic, qos=1)
            await asyncio.gather(*(client.publish(topic, it, qos=1) for it in range(500)))
            received: list[int] = []
            async for batch in client.messages.batches():
                received += payloads(batch)
                if len(received) == 500:
                    break
            assert received == list(range(500))

    run(main)


def test_a_subscription_has_batches_of_its_own_messages() -> None:
    async def main() -> None:
        async with memory_broker().client() as client, client.subscription("a", qos=1) as messages:
            with pytest.raises(ValueError, match="max must be 1 or more"):
                messages.batches(max=0)
            for number in range(5):
                await client.publish("a", number, qos=1)
            batches = messages.batches(max=3)
            assert payloads(await anext(batches)) == [0, 1, 2]
            waiting = asyncio.ensure_future(anext(messages.batches()))
            waiting.cancel()
            await settle()
            assert payloads(await anext(batches)) == [3, 4]
            waiting = asyncio.ensure_future(anext(batches, []))
            await settle()
            await messages.unsubscribe()
            assert await waiting == []

    play(main)
