"""The programs that ask."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from ferromqtt import MqttError, PayloadError

from .job import JOBS, Job, bad_payload
from .plan import DURATION

if TYPE_CHECKING:
    from .plan import AskerPlan
    from .world import World

_ROUNDING = 1e-6
_MOST_TRIES = 50


class Asker:
    """A client that asks, and what its program knows."""

    def __init__(self, plan: AskerPlan, world: World) -> None:
        self.plan = plan
        self.world = world
        self.chance = random.Random(f"{world.plan.seed} {plan.name}")
        self.task: asyncio.Task[None] | None = None
        """What a fault cancels: a request."""
        self.client = world.client(plan.name, **plan.options)
        self._number = 0

    async def run(self) -> None:
        """Ask, each time once; and when all is well again until there is an answer."""
        async with self.client:
            while self._number < self.plan.count:
                for _ in range(self.chance.choice((1, 1, 3))):
                    self.task = self.world.start(self._ask(self._next()))
                    if self.chance.random() < 0.3:
                        self.world.start(self._say_nothing(self._next()))
                await self.world.sleep(self.chance.uniform(0, 2 * DURATION / self.plan.count))
            await self.world.well.wait()
            await self._get_an_answer()
            await self.world.until_idle()
            drained = await self.client.drain(timeout=self.world.ground.patience)
            if not drained.is_complete:
                self.world.say(f"{self.plan.name} has left undone {drained}")

    def _next(self) -> Job:
        self._number += 1
        return Job(self.plan.name, self._number)

    async def _say_nothing(self, job: Job) -> None:
        """Publish what asks for no response to the topic of requests."""
        with contextlib.suppress(MqttError):  # it may have arrived all the same
            await self.client.publish(self._topic, job, 1, codec=JOBS)

    @property
    def _topic(self) -> str:
        return f"work/{self.plan.name}/any"

    async def _ask(self, job: Job) -> None:
        limit = self.chance.choice((0.5, 5.0, 20.0)) * self.world.ground.pace
        await self._request(job, self.chance.choice((0, 1, 2, 2)), limit)

    async def _request(self, job: Job, qos: int, limit: float) -> bool:
        """Ask once. Return whether there was an answer; each end is one of those that there are."""
        world, client = self.world, self.client
        loop = asyncio.get_running_loop()
        begun, ends, is_answered = loop.time(), 0, False
        world.qos[job] = qos
        try:
            if self.chance.random() < 0.3:
                bad = bad_payload(job)
                answer = await client.request(self._topic, bad, qos, timeout=limit)
                ends, done = 1, JOBS.decode(answer.payload)
            else:
                typed = await client.request(self._topic, job, qos, codec=JOBS, timeout=limit)
                ends, done = 1, typed.value
            is_answered = True
            if done != Job(job.by, job.number, done=True):
                world.say(f"{job} was answered by {done}")
        except asyncio.CancelledError:
            ends += 1
            raise
        except PayloadError as error:
            world.say(f"{job} was answered by what is no job: {error!r}")
        except MqttError as error:
            ends += 1
            if error.delivery not in ("not_sent", "unknown", "refused"):
                world.say(f"{job} has ended without a word of delivery: {error!r}")
            if error.delivery == "not_sent" and world.handled[job]:
                world.say(f"{job} was not sent, and somebody has got it: {error!r}")
        finally:
            world.outcomes[job] += ends
            took = loop.time() - begun
            has_slots = "max_concurrent_outgoing_calls" in self.plan.options
            if world.has_exact_time and not has_slots and took > limit + _ROUNDING:
                world.say(f"{job} may take {limit} s, and took {took}")
        return is_answered

    async def _get_an_answer(self) -> None:
        for _ in range(_MOST_TRIES):
            if await self._request(self._next(), 1, self.world.ground.patience):
                return
            await self.world.sleep(1)  # nobody is subscribed yet
        self.world.say(f"{self.plan.name} gets no answer, though all is well")
