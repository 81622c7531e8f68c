"""Queues of the user's own class (`Client(queue_type=...)`) whose `get` suspends, or raises."""

import asyncio
from typing import Any

import pytest

from ferromqtt import Message, MqttError
from support.clients import LIMIT
from support.loops import LoopRunner, settle
from support.wire import Wire


class Gated(asyncio.Queue[Message]):
    """Its `get` waits at a gate, before it takes a message or after it has."""

    gate: asyncio.Event
    waiting: int
    takes_first: bool

    async def get(self) -> Message:
        if self.takes_first:
            message = await super().get()
            await self._pass()
            return message
        await self._pass()
        return await super().get()

    async def _pass(self) -> None:
        cls = type(self)
        cls.waiting += 1
        try:
            await self.gate.wait()
        finally:
            cls.waiting -= 1


class Iterators:
    """Tasks that each take one message, in the order of their names."""

    def __init__(self, wire: Wire, count: int) -> None:
        self.taken: list[tuple[int, bytes]] = []
        self.tasks = [asyncio.ensure_future(self._take(wire, number)) for number in range(count)]

    async def _take(self, wire: Wire, number: int) -> None:
        message = await anext(wire.client.messages)
        self.taken.append((number, message.payload))

    async def all_done(self) -> list[BaseException | None]:
        async with asyncio.timeout(LIMIT):
            return await asyncio.gather(*self.tasks, return_exceptions=True)


async def gated(*, takes_first: bool = False) -> Wire:
    """Return a connected client with a queue whose gate is shut."""
    Gated.gate, Gated.waiting, Gated.takes_first = asyncio.Event(), 0, takes_first
    wire = Wire(queue_type=Gated)
    await wire.connect()
    return wire


@pytest.mark.parametrize("is_waiting", [True, False])
def test_the_end_reaches_an_iterator_while_another_takes_the_last_message(
    run: LoopRunner, *, is_waiting: bool
) -> None:
    async def main() -> None:
        wire = await gated()
        if not is_waiting:
            wire.message(b"a")
        iterators = Iterators(wire, 2)
        await settle()
        if is_waiting:
            wire.message(b"a")
            await settle()
        assert Gated.waiting == 1
        wire.lose()
        await settle()
        assert isinstance(iterators.tasks[1].exception(), MqttError)
        Gated.gate.set()
        await iterators.all_done()
        assert iterators.taken == [(0, b"a")]

    run(main)


def test_a_step_cancelled_in_get_gives_its_message_to_the_next_in_order(run: LoopRunner) -> None:
    async def main() -> None:
        wire = await gated()
        iterators = Iterators(wire, 3)
        await settle()
        wire.message(b"a")
        await settle()
        iterators.tasks[0].cancel()
        await settle()
        assert Gated.waiting == 1
        wire.message(b"b")
        await settle()
        Gated.gate.set()
        await iterators.all_done()
        assert iterators.taken == [(1, b"a"), (2, b"b")]
        wire.lose()

    run(main)


def test_a_step_whose_get_raises_gives_its_message_to_the_next(run: LoopRunner) -> None:
    class Raises(asyncio.Queue[Message]):
        raised = False

        async def get(self) -> Message:
            await asyncio.sleep(0)
            if not Raises.raised:
                Raises.raised = True
                raise KeyError("get")
            return await super().get()

    async def main() -> None:
        wire = Wire(queue_type=Raises)
        await wire.connect()
        iterators = Iterators(wire, 2)
        await settle()
        wire.message(b"a")
        errors = await iterators.all_done()
        assert isinstance(errors[0], KeyError)
        assert iterators.taken == [(1, b"a")]
        wire.lose()

    run(main)


@pytest.mark.parametrize("ended", [True, False])
def test_a_get_that_suspends_once_it_has_taken_its_message_holds_up_no_other(
    run: LoopRunner, *, ended: bool
) -> None:
    async def main() -> None:
        wire = await gated(takes_first=True)
        if ended:
            wire.message(b"a")
            wire.message(b"b")
            wire.lose()
        iterators = Iterators(wire, 3)
        await settle()
        if not ended:
            wire.message(b"a")
            await settle()
            wire.message(b"b")
            await settle()
        assert Gated.waiting == 2
        Gated.gate.set()
        if not ended:
            wire.lose()
        errors = await iterators.all_done()
        assert [type(error) for error in errors[2:]] == [MqttError]
        assert iterators.taken == [(0, b"a"), (1, b"b")]

    run(main)


@pytest.mark.parametrize("takes_first", [True, False])
def test_cancelling_a_step_reaches_the_get_that_it_waits_in(
    run: LoopRunner, *, takes_first: bool
) -> None:
    async def main() -> None:
        wire = await gated(takes_first=takes_first)
        wire.message(b"a")
        iterators = Iterators(wire, 1)
        await settle()
        assert Gated.waiting == 1
        iterators.tasks[0].cancel()
        await settle()
        assert (Gated.waiting, iterators.tasks[0].cancelled()) == (0, True)
        step: Any = anext(wire.client.messages)
        wire.message(b"b")
        step.send(None)
        assert Gated.waiting == 1
        step.close()
        assert Gated.waiting == 0
        Gated.gate.set()
        assert await wire.rest() == ([] if takes_first else [b"a", b"b"])
        wire.lose()

    run(main)


def test_a_get_that_was_suspended_on_a_closed_loop_holds_no_message() -> None:
    wire: Wire
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
    iterators: Iterators

    async def begin() -> None:
        nonlocal wire, iterators
        wire = await gated()
        wire.message(b"a")
        iterators = Iterators(wire, 1)
        await settle()
        assert Gated.waiting == 1

    async def go_on() -> None:
        Gated.gate = asyncio.Event()
        Gated.gate.set()
        await wire.connect()
        assert await wire.rest() == [b"a"]
        wire.lose()

    loop.run_until_complete(begin())
    loop.close()
    asyncio.run(go_on())
    iterators.tasks[0].get_coro().close()
