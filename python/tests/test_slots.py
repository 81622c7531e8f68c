"""How many calls run at once: in turn, and whoever gives up holds up nobody."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from ferromqtt._slots import CallSlots

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Calls:
    """Calls that note when they have got their slots, and keep them until they are told."""

    def __init__(self, slots: CallSlots | asyncio.Semaphore) -> None:
        self.slots = slots
        self.running: list[int] = []
        self.ended = asyncio.Event()
        self.ends: dict[int, asyncio.Event] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def start(self, number: int) -> None:
        self.ends[number] = asyncio.Event()
        self.tasks[number] = asyncio.ensure_future(self._call(number))

    async def _call(self, number: int) -> None:
        async with self.slots:
            self.running.append(number)
            try:
                await self.ends[number].wait()
            finally:
                self.running.remove(number)
                self.ended.set()


async def settle() -> None:
    """Let everything run that is ready, and what that makes ready."""
    for _ in range(5):
        await asyncio.sleep(0)


def play(main: Coroutine[None, None, None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(main, 10)

    asyncio.run(limited())


def step(chance: random.Random, both: list[Calls], number: int) -> None:
    """Do the same to both at random."""
    action = chance.choice(["start", "start", "end", "cancel", "end and cancel"])
    running = sorted(both[0].running)
    ended = chance.choice(running) if running else None
    cancelled = chance.randint(0, number)
    for calls in both:
        if action == "start":
            calls.start(number)
        if action.startswith("end") and ended is not None:
            calls.ends[ended].set()
        if action.endswith("cancel") and cancelled in calls.tasks:
            calls.tasks[cancelled].cancel()


@pytest.mark.parametrize("seed", range(50))
def test_calls_run_in_the_same_order_as_with_a_semaphore(seed: int) -> None:
    chance = random.Random(seed)
    limit = chance.randint(1, 3)

    async def main() -> None:
        both = [Calls(CallSlots(limit)), Calls(asyncio.Semaphore(limit))]
        for number in range(100):
            step(chance, both, number)
            if chance.random() < 0.7:
                await settle()
                assert both[0].running == both[1].running
        for calls in both:
            for task in calls.tasks.values():
                task.cancel()
            await asyncio.wait(calls.tasks.values())
            for _ in range(limit):
                await calls.slots.__aenter__()  # all slots are back

    play(main())


def test_a_slot_given_to_a_call_that_is_cancelled_passes_on() -> None:
    async def main() -> None:
        calls = Calls(CallSlots(1))
        for number in range(3):
            calls.start(number)
        await settle()
        assert calls.running == [0]
        calls.ends[0].set()
        await calls.ended.wait()
        calls.tasks[1].cancel()  # it has the slot, and has not run since
        await settle()
        assert calls.running == [2]
        assert calls.tasks[1].cancelled()
        calls.ends[2].set()
        await calls.tasks[2]

    play(main())


def test_without_any_slot_a_call_waits() -> None:
    async def main() -> None:
        calls = Calls(CallSlots(0))
        calls.start(0)
        await settle()
        assert not calls.running
        calls.tasks[0].cancel()

    play(main())


def test_a_limit_below_0_is_refused() -> None:
    with pytest.raises(ValueError, match=">= 0"):
        CallSlots(-1)


def test_calls_that_wait_on_two_loops_are_refused() -> None:
    slots = CallSlots(1)

    async def take_and_wait() -> None:
        await slots.__aenter__()
        waiting = asyncio.ensure_future(slots.__aenter__())
        await settle()
        waiting.cancel()

    async def wait() -> None:
        with pytest.raises(RuntimeError, match="different event loop"):
            await slots.__aenter__()

    asyncio.run(take_and_wait())
    asyncio.run(wait())
