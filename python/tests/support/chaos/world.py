"""Plays one world: its programs and its faults, and then everything heals."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import sys
import warnings
import weakref
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from ferromqtt import Client
from ferromqtt._internals import internals_of

from . import checks
from .actor import LOGGER, MARK, Actor, Double, KeeperAwayError
from .grounds import Ground, MemoryGround
from .ledger import Call, Ledger, Name
from .noting import ON
from .programs import PROGRAMS
from .script import DURATION, TOPICS, Fault, Script
from .seen import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_PROBLEMS = 20

_BETWEEN_ROUNDS = 5.0
"""Seconds of a world between the marks with which all ends."""


class World:
    """One seed on one ground."""

    def __init__(self, script: Script, ground: Ground, double: Double | None = None) -> None:
        self.script = script
        self.ground = ground
        self.ledger = Ledger()
        self.actors: dict[Actor, Seen] = {}
        self._double = double

    async def play(self) -> list[str]:
        """Play it; return what is wrong."""
        ground, script = self.ground, self.script
        for plan in script.clients:
            seen = Seen(self.ledger.moment)
            cable = await ground.lay(plan.name, seen, list(plan.fates))
            actor = Actor(plan, self.ledger, cable.where, ground, script.seed, self._double)
            actor.may_end_for_good = plan.may_end_for_good or any(
                fault.what == "take over" and fault.client == plan.name for fault in script.faults
            )
            self.actors[actor] = seen
        programs = [
            asyncio.create_task(actor.run(PROGRAMS[actor.plan.style])) for actor in self.actors
        ]
        problems = []
        try:
            async with asyncio.timeout(ground.limit):
                await self._let_faults_happen()
                ground.heal()
                self._let_programs_be_well()
                await self._end(programs)
        except TimeoutError:
            problems += self._unfinished()
        for actor, program in zip(self.actors, programs, strict=True):
            program.cancel()
            if actor.task:
                actor.task.cancel()
                await asyncio.wait([actor.task], timeout=60 * ground.leisure)
        for ended in await asyncio.gather(*programs, return_exceptions=True):
            if isinstance(ended, Exception):
                problems.append(f"a program ended with {checks.error_text(ended)}")
        await ground.close()
        exact_time = isinstance(ground, MemoryGround)
        problems += checks.all_of(self.ledger, self.actors, exact_time=exact_time)
        for actor in self.actors:
            attempts = ground.cables[actor.plan.name].attempts
            problems += checks.attempts_are_bounded(self.ledger, actor, attempts)
        problems += self.ledger.problems
        problems += self._slots_left()
        return problems

    async def _let_faults_happen(self) -> None:
        loop = asyncio.get_running_loop()
        start, pace = loop.time(), self.ground.pace
        for fault in self.script.faults:
            await asyncio.sleep(start + fault.at * pace - loop.time())
            await self._befall(fault)
        await asyncio.sleep(start + DURATION * pace - loop.time())

    def _let_programs_be_well(self) -> None:
        """Let programs make no mistakes any more; what they forgot comes by another connection."""
        for actor in self.actors:
            actor.is_well = True
            if actor.plan.queues and actor.plan.queues.manual:
                self.ground.cables[actor.plan.name].cut()

    async def _befall(self, fault: Fault) -> None:
        ground = self.ground
        if fault.what.startswith("restart"):
            await ground.restart(keep=fault.what == "restart", pause=fault.pause)
            return
        cable = ground.cables[fault.client]
        match fault.what:
            case "cut":
                cable.cut()
            case "end":
                cable.cut(reset=False)
            case "silence":
                cable.fall_silent()
            case "take down":
                cable.go_down()
                await asyncio.sleep(fault.pause * ground.pace)
                cable.come_up()
            case "kick":
                ground.kick(fault.client)
            case "forget" | "take over":
                await ground.forget(fault.client, cut=fault.what == "forget")
            case "cancel":
                actor = next(actor for actor in self.actors if actor.plan.name == fault.client)
                if actor.task:
                    actor.task.cancel()
            case _:
                raise AssertionError(fault)

    async def _end(self, programs: list[asyncio.Task[None]]) -> None:
        """Publish marks until all programs have got what they are to get, and have ended."""
        for number in count():
            if all(program.done() for program in programs):
                return
            if all(actor.has_published for actor in self.actors):
                await self._publish_marks(number)
            await asyncio.wait(programs, timeout=_BETWEEN_ROUNDS * self.ground.pace)
            for actor in self.actors:
                if actor.has_published and _expected(actor) <= actor.marks:
                    actor.done.set()

    def _unfinished(self) -> Iterator[str]:
        for actor in self.actors:
            name = actor.plan.name
            if not actor.has_published:
                yield f"{name} has not published everything after {self.ground.limit} s"
            elif missing := _expected(actor) - actor.marks:
                yield f"{name} has not got the marks {sorted(missing)} after {self.ground.limit} s"
            elif actor.task:
                yield f"{name} has not ended after {self.ground.limit} s: {actor.task!r}"

    async def _publish_marks(self, number: int) -> None:
        async with Client(*self.ground.where, timeout=10) as client:
            for topic in TOPICS:
                for qos in (1, 2):
                    name = Name(MARK, topic, qos, number)
                    with self.ledger.call(MARK, f"publish {name}", None) as call:
                        self.ledger.publications[name] = call
                        await client.publish(topic, name.payload(0), qos)

    def _slots_left(self) -> Iterator[str]:
        for actor in self.actors:
            limit = actor.plan.options.get("max_concurrent_outgoing_calls")
            for client in actor.clients:
                slots = internals_of(client)._slots
                if slots is not None and (slots._free != limit or slots._waiting or slots._woken):
                    yield f"{actor.plan.name} has slots left in use: {slots._free} of {limit} free"


def _expected(actor: Actor) -> set[tuple[str, int]]:
    """Return the marks, by topic and QoS, that are to come to a program.

    The first filter is subscribed in the end whatever happens.
    """
    first = next(iter(actor.plan.filters), None)
    return {
        (topic, qos)
        for topic_filter, state in actor.wanted.items()
        if state == ON or topic_filter == first
        for topic in TOPICS
        if topic_filter in (topic, "chaos/+")
        for qos in (1, 2)
    }


@dataclass(frozen=True)
class Outcome:
    """What has come of a world."""

    script: Script
    ground: str
    problems: list[str]
    calls: list[Call]
    repeats: list[str]
    """A text for each message that a program took twice."""

    def check(self) -> None:
        """Fail if anything is wrong, with all that it takes to look into it."""
        if not self.problems:
            return
        seed = self.script.seed
        raise AssertionError(
            f"seed {seed} on {self.ground}:\n"
            + "\n".join(self.problems[:_MOST_PROBLEMS])
            + f"\n\nThe world:\n{self.script}\n\n"
            f"It is played alone by: make chaos FROM={seed} SEEDS=1\n"
            "With FERROMQTT_TRACE=1 in the environment every packet is printed."
        )


def play(
    script: Script,
    make_ground: Callable[[], Ground],
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    double: Double | None = None,
) -> Outcome:
    """Play a world in a loop of its own, by clients that `double` has made other ones of."""
    problems: list[str] = []
    chance = random.Random(script.seed)
    clients: list[weakref.ref[Client]] = []
    before = _descriptors()

    async def main() -> Outcome:
        loop = asyncio.get_running_loop()

        def note(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
            if not isinstance(context.get("exception"), KeeperAwayError):
                problems.append(f"reported to the loop: {context}")

        loop.set_exception_handler(note)
        world = World(script, make_ground(), double)
        problems.extend(await world.play())
        for _ in range(5):
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        problems.extend(f"task left running: {task!r}" for task in left)
        clients.extend(weakref.ref(client) for actor in world.actors for client in actor.clients)
        for call in world.ledger.calls:
            call.error = None
        return Outcome(
            script, world.ground.name, problems, world.ledger.calls, world.ledger.repeats()
        )

    with (
        warnings.catch_warnings(record=True) as caught,
        # What the client takes its seeds from: jitter is the same each time.
        mock.patch.object(os, "urandom", chance.randbytes),
        _log_lines(),
    ):
        warnings.simplefilter("always")
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            outcome = runner.run(main())
            loop = runner.get_loop()
        gc.collect()
    problems += [f"warned of: {warning.message}" for warning in caught]
    problems += [f"a client that nothing frees: {client()!r}" for client in clients if client()]
    problems += _futures_left(loop)
    problems += [f"descriptor left open: {left}" for left in sorted(_descriptors() - before)]
    return outcome


@contextlib.contextmanager
def _log_lines() -> Iterator[None]:
    """Print what clients log, with FERROMQTT_TRACE in the environment every packet."""
    lines = logging.StreamHandler(sys.stdout)
    lines.addFilter(_with_time)
    lines.setFormatter(logging.Formatter("%(at)9.3f s  %(message)s"))
    LOGGER.propagate = False
    LOGGER.addHandler(lines)
    LOGGER.setLevel(logging.DEBUG if os.environ.get("FERROMQTT_TRACE") else logging.CRITICAL)
    try:
        yield
    finally:
        LOGGER.removeHandler(lines)


def _with_time(record: logging.LogRecord) -> bool:
    with contextlib.suppress(RuntimeError):  # no loop runs
        record.at = asyncio.get_running_loop().time()
    return hasattr(record, "at")


def _descriptors() -> set[str]:
    """Return the descriptors of this process. Pipes lead to a broker that was started again."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself
            found.add(f"{entry.name} -> {entry.readlink()}")
    return {one for one in found if "pipe:" not in one}


def _futures_left(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """Yield what somebody would wait for forever."""
    for found in gc.get_objects():
        if isinstance(found, asyncio.Future) and not found.done() and found.get_loop() is loop:
            yield f"a future that nobody completes: {found!r}"
