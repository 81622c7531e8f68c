"""Plays one world of requests, and finds what is wrong with it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from ferromqtt import Client, Reconnect
from ferromqtt._internals import internals_of

from .answering import Answer, Answerer, answer
from .asking import Asker
from .ground import MemoryGround
from .plan import DURATION

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from .ground import Ground
    from .job import Job
    from .plan import Plan

LOGGER = logging.getLogger("ferromqtt.requests")
LOGGER.setLevel(logging.CRITICAL)  # lower it to see what clients log

_LIMIT = 60.0
"""Seconds that a call may take which has no limit of its own."""


class World:
    """Its clients, their programs and their faults, and what has come of it."""

    def __init__(self, plan: Plan, ground: Ground, do_answer: Answer = answer) -> None:
        self.plan = plan
        self.ground = ground
        self.problems: list[str] = []
        self.handled: Counter[Job] = Counter()
        """How often somebody was asked to do a job."""
        self.qos: dict[Job, int] = {}
        """At which each job was asked for."""
        self.outcomes: Counter[Job] = Counter()
        """How many ends the call for each job has had."""
        self.well = asyncio.Event()
        """There are no faults any more."""
        self.is_done = asyncio.Event()
        """All askers have what they are to get."""
        self.has_exact_time = isinstance(ground, MemoryGround)
        self._clients: list[tuple[str, Client, int | None]] = []
        self._calls: set[asyncio.Task[None]] = set()
        self.answerers = [Answerer(each, self, do_answer) for each in plan.answerers]
        self.askers = [Asker(each, self) for each in plan.askers]

    @property
    def is_well(self) -> bool:
        return self.well.is_set()

    def say(self, problem: str) -> None:
        """Note what is wrong."""
        self.problems.append(problem)

    def client(self, name: str, **options: Any) -> Client:  # noqa: ANN401 - the client's
        """Return a client of this world, which reconnects."""
        policy = Reconnect(min=0.5 * self.ground.pace, max=4 * self.ground.pace, initial=True)
        client = Client(
            *self.ground.where,
            identifier=name,
            reconnect=policy,
            timeout=_LIMIT,
            logger=LOGGER,
            **options,
        )
        self._clients.append((name, client, options.get("max_concurrent_outgoing_calls")))
        return client

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.ground.pace)

    def start(self, call: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a call beside the others."""
        task = asyncio.create_task(call)
        self._calls.add(task)
        return task

    async def until_idle(self) -> None:
        """Wait until the calls that were begun have ended."""
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def play(self) -> list[str]:
        """Play it; return what is wrong."""
        async with asyncio.TaskGroup() as tasks:
            for answerer in self.answerers:
                tasks.create_task(answerer.run())
            asking = [tasks.create_task(each.run()) for each in self.askers]
            await self._let_faults_happen()
            self.well.set()
            await asyncio.gather(*asking)
            self.is_done.set()
        await self.ground.close()
        for call in self._calls:
            if not call.cancelled() and (error := call.exception()) is not None:
                self.say(f"a call has ended with {error!r}")
        self.problems += [*self._outcomes(), *self._twice(), *self._slots()]
        return self.problems

    async def _let_faults_happen(self) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        for fault in self.plan.faults:
            await asyncio.sleep(start + fault.at * self.ground.pace - loop.time())
            await self._befall(fault.what, fault.client)
        await asyncio.sleep(start + DURATION * self.ground.pace - loop.time())

    async def _befall(self, what: str, name: str) -> None:
        if what == "restart":
            await self.ground.restart()
            return
        actor = next(it for it in (*self.answerers, *self.askers) if it.plan.name == name)
        if what == "cut":
            internals_of(actor.client).core.cut()
        elif actor.task is not None:
            actor.task.cancel()

    def _outcomes(self) -> Iterator[str]:
        """Each call has one."""
        for job in self.qos:
            if self.outcomes[job] != 1:
                yield f"the call for {job} has had {self.outcomes[job]} ends"

    def _twice(self) -> Iterator[str]:
        """Nothing at QoS 2 comes twice, unless sessions are lost, or programs are cancelled."""
        if not self.plan.keeps or any(fault.what == "cancel" for fault in self.plan.faults):
            return
        if any(each.qos < 2 or each.manual for each in self.plan.answerers):
            return  # what a program has not acknowledged comes again
        for job, times in self.handled.items():
            if self.qos.get(job) == 2 and times > 1:
                yield f"{job} was asked for at QoS 2, and was handled {times} times"

    def _slots(self) -> Iterator[str]:
        for name, client, limit in self._clients:
            slots = internals_of(client)._slots
            if slots is not None and (slots._free != limit or slots._waiting or slots._woken):
                yield f"{name} has slots left in use: {slots._free} of {limit} are free"
            if in_flight := client.stats().in_flight:
                yield f"{name} has {in_flight} messages left in flight"
