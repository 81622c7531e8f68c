"""What nobody should do to a message iterator does no harm.

See docs/design/0004-awaiting-messages.md.
"""

import asyncio
import gc
import types
from collections.abc import Callable, Generator
from typing import Any

import pytest

from conftest import Broker
from ferromqtt import Client, Message, MqttError
from support.clients import LIMIT, unique
from support.loops import LoopRunner
from test_misuse_protocol import Wire

Step = Any
"""A step of an iterator: a coroutine to the type checker, an object of ours in truth."""


def test_a_step_that_was_closed_cannot_be_awaited(run: LoopRunner) -> None:
    async def main() -> None:
        step = anext(Client("localhost").messages)
        assert isinstance(step.send(None), asyncio.Future)
        step.close()
        with pytest.raises(RuntimeError, match="awaited to its end"):
            step.send(None)

    run(main)


def test_a_step_can_be_thrown_into(run: LoopRunner) -> None:
    async def main() -> None:
        step = anext(Client("localhost").messages)
        step.send(None)
        with pytest.raises(KeyError, match="thrown"):
            step.throw(KeyError("thrown"))
        step.close()

    run(main)


def test_a_step_awaited_by_two_tasks_serves_the_first(run: LoopRunner, broker: Broker) -> None:
    async def main() -> None:
        topic = unique("misuse")
        async with Client(*broker.where) as client:
            await client.subscribe(topic)
            await client.publish(topic, "only")
            step = anext(client.messages)
            async with asyncio.timeout(LIMIT):
                assert (await step).payload == b"only"
                with pytest.raises(RuntimeError, match="awaited to its end"):
                    await step

    run(main)


def test_steps_that_were_dropped_while_waiting_take_no_message(
    run: LoopRunner, broker: Broker
) -> None:
    async def main() -> None:
        topic = unique("misuse")
        async with Client(*broker.where) as client:
            await client.subscribe(topic, qos=1)
            for _ in range(3):
                anext(client.messages).send(None)
            gc.collect()
            for number in range(3):
                await client.publish(topic, number, qos=1)
            async with asyncio.timeout(LIMIT):
                payloads = [(await anext(client.messages)).payload for _ in range(3)]
            assert payloads == [b"0", b"1", b"2"]

    run(main)


# Each state that a step can be in, and each thing that can be done to it by hand.


def fresh(wire: Wire) -> Step:
    return anext(wire.client.messages)


def fresh_with_a_message(wire: Wire) -> Step:
    wire.message(b"a")
    return anext(wire.client.messages)


def waiting(wire: Wire) -> Step:
    step = anext(wire.client.messages)
    step.send(None)
    return step


def woken(wire: Wire) -> Step:
    step = waiting(wire)
    wire.message(b"a")
    wire.message(b"b")
    return step


def cancelled(wire: Wire) -> Step:
    step = anext(wire.client.messages)
    future: Any = step.send(None)
    future.cancel()
    wire.message(b"a")
    return step


def woken_then_disconnected(wire: Wire) -> Step:
    step = woken(wire)
    wire.core.end_messages()
    return step


def closed(wire: Wire) -> Step:
    step = woken(wire)
    step.close()
    return step


STATES = [fresh, fresh_with_a_message, waiting, woken, cancelled, woken_then_disconnected, closed]

ACTIONS: dict[str, Callable[[Step], object]] = {
    "nothing": lambda _: None,
    "send": lambda step: step.send(None),
    "send a value": lambda step: step.send("value"),
    "next": next,
    "throw an error": lambda step: step.throw(KeyError("thrown")),
    "throw a class": lambda step: step.throw(KeyError),
    "throw a class and a value": lambda step: step.throw(KeyError, KeyError("thrown"), None),
    "throw CancelledError": lambda step: step.throw(asyncio.CancelledError()),
    "throw StopIteration": lambda step: step.throw(StopIteration()),
    "throw what is no exception": lambda step: step.throw(7),
    "throw a class that is none": lambda step: step.throw(int),
    "close": lambda step: step.close(),
}


def perform(action: Callable[[Step], object], step: Step) -> list[bytes]:
    """Do it, and return the payload that came out, if one did."""
    try:
        action(step)
    except StopIteration as stop:
        return [stop.value.payload] if isinstance(stop.value, Message) else []
    except (KeyError, TypeError, RuntimeError, MqttError, asyncio.CancelledError):
        pass
    return []


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_no_message_is_lost_whatever_is_done_to_a_step(
    run: LoopRunner, state: Callable[[Wire], Step], action: str
) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        step = state(wire)
        queued = len(wire.client.messages)
        taken = perform(ACTIONS[action], step) + perform(ACTIONS[action], step)
        del step
        rest = await wire.rest()
        assert taken + rest == [b"a", b"b"][:queued]
        wire.lose()

    run(main)


def test_a_waiting_step_awaited_by_two_tasks_gives_each_an_answer(run: LoopRunner) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        step = anext(wire.client.messages)

        async def one() -> bytes:
            payload: bytes = (await step).payload
            return payload

        tasks = [asyncio.create_task(one()) for _ in range(2)]
        await asyncio.sleep(0)
        wire.message(b"a")
        async with asyncio.timeout(LIMIT):
            answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert answers[0] == b"a"
        assert isinstance(answers[1], RuntimeError)
        assert await wire.rest() == []
        wire.lose()

    run(main)


def test_cancelling_one_of_two_tasks_on_a_step_loses_no_message(run: LoopRunner) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        step = anext(wire.client.messages)

        async def one() -> Message:
            message: Message = await step
            return message

        tasks = [asyncio.create_task(one()) for _ in range(2)]
        await asyncio.sleep(0)
        wire.message(b"a")
        tasks[0].cancel()
        async with asyncio.timeout(LIMIT):
            answers = await asyncio.gather(*tasks, return_exceptions=True)
        taken = [answer.payload for answer in answers if isinstance(answer, Message)]
        assert taken + await wire.rest() == [b"a"]
        wire.lose()

    run(main)


def test_a_generator_based_coroutine_can_await_a_step(run: LoopRunner) -> None:
    @types.coroutine
    def by_hand(step: Step) -> Generator[Any, None, Message]:
        message: Message = yield from step
        return message

    @types.coroutine
    def iterated(step: Step) -> Generator[Any, None, Message]:
        message: Message = yield from iter(step.__await__())
        return message

    async def main() -> None:
        wire = Wire()
        await wire.connect()
        for coroutine in (by_hand, iterated):
            for early in (True, False):
                if early:
                    wire.message(b"a")
                task = asyncio.ensure_future(coroutine(anext(wire.client.messages)))
                await asyncio.sleep(0)
                if not early:
                    wire.message(b"a")
                async with asyncio.timeout(LIMIT):
                    assert (await task).payload == b"a"
        wire.lose()

    run(main)


def test_a_step_that_awaits_itself_is_refused(run: LoopRunner) -> None:
    """A callback of the future that a step waits on advances that step itself."""

    async def main() -> None:
        wire = Wire()
        await wire.connect()
        step = anext(wire.client.messages)
        outcomes: list[bytes] = []
        future: Any = step.send(None)
        for _ in range(3):
            future.add_done_callback(lambda _: outcomes.extend(perform(next, step)))
        wire.message(b"a")
        for _ in range(3):
            await asyncio.sleep(0)
        assert outcomes == [b"a"]
        assert await wire.rest() == []
        wire.lose()

    run(main)


def test_steps_collected_as_a_cycle_take_no_message(run: LoopRunner) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        for _ in range(5):
            holder: list[object] = [anext(wire.client.messages)]
            perform(next, holder[0])
            holder.append(holder)
        del holder
        wire.message(b"a")
        gc.collect()
        assert await wire.rest() == [b"a"]
        wire.lose()

    run(main)
