"""The programs that answer."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, TypeAlias

from ferromqtt import Message, MqttError, PayloadError, Request, Router

from .job import BAD, JOBS, Job, of_bad_payload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from .plan import AnswererPlan
    from .world import World

Answer: TypeAlias = "Callable[[Answerer, Request[Job]], Coroutine[Any, Any, Job]]"
"""What a program makes of a request."""


class UnwillingError(Exception):
    """What a handler raises that does not want to."""


async def answer(answerer: Answerer, request: Request[Job]) -> Job:
    """Return the answer to a request, or raise."""
    job = answerer.look(request)
    await answerer.rest()
    if not answerer.world.is_well and answerer.chance.random() < 0.1:
        raise UnwillingError
    return Job(job.by, job.number, done=True)


class Answerer:
    """A client that answers, and what its program knows."""

    def __init__(self, plan: AnswererPlan, world: World, do_answer: Answer) -> None:
        self.plan = plan
        self.world = world
        self.chance = random.Random(f"{world.plan.seed} {plan.name}")
        self.task: asyncio.Task[None] | None = None
        """What a fault cancels: the loop, or the router."""
        self._router: Router | None = None
        self._is_left_over = False
        """A router was cancelled, which leaves what its handlers work on unacknowledged."""
        self._answer = do_answer
        self.client = world.client(plan.name, manual_ack=plan.manual, **plan.options)

    async def run(self) -> None:
        """Answer until all is done. What is cancelled meanwhile begins again."""
        async with contextlib.AsyncExitStack() as stack:
            early = None
            if self.plan.way == "early":
                early = await stack.enter_async_context(self._responder())
            await stack.enter_async_context(self.client)
            while not self.world.is_done.is_set():
                await self._until_done(self._program(early))
            left = self.client.unacknowledged()
            if left.messages and not self._is_left_over:
                self.world.say(f"{self.plan.name} has left over {left}")

    def _program(self, early: Any) -> Coroutine[Any, Any, None]:  # noqa: ANN401
        if early is not None:
            return self._loop(early)
        match self.plan.way:
            case "loop":
                return self._loop(self._responder())
            case "block":
                return self._block()
            case _:
                return self._route()

    def _responder(self) -> Any:  # noqa: ANN401 - entered, or iterated over
        return self.client.responder(self.plan.template, qos=self.plan.qos, codec=JOBS)

    async def _until_done(self, program: Coroutine[Any, Any, None]) -> None:
        self.task = asyncio.create_task(program, name=self.plan.name)
        done = asyncio.create_task(self.world.is_done.wait())
        try:
            await asyncio.wait([self.task, done], return_when=asyncio.FIRST_COMPLETED)
            if self._router is not None and not self.task.done():
                self._router.stop()
                await asyncio.wait([self.task])
        finally:
            self.task.cancel()
            done.cancel()
            await asyncio.wait([self.task, done])
        if self.task.cancelled():
            self._is_left_over |= self._router is not None
        elif (error := self.task.exception()) is not None:
            self.world.say(f"{self.plan.name} has ended with {error!r}")
            raise error

    async def _block(self) -> None:
        async with self._responder() as requests:
            await self._loop(requests)

    async def _loop(self, requests: Any) -> None:  # noqa: ANN401
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.plan.workers):
                tasks.create_task(self._work(aiter(requests)))

    async def _work(self, requests: AsyncIterator[Request[Job]]) -> None:
        async for request in requests:
            try:
                await request.respond(await self._answer(self, request), codec=JOBS)
            except (MqttError, UnwillingError):
                pass  # its asker waits in vain
            finally:
                if self.plan.manual:
                    request.ack()

    async def _route(self) -> None:
        router = self._router = Router(on_error=self._on_error)

        @router.respond(
            self.plan.template, qos=self.plan.qos, concurrency=self.plan.workers, codec=JOBS
        )
        async def respond(request: Request[Job]) -> Job:
            return await self._answer(self, request)

        await router.run(self.client)

    def _on_error(self, error: Exception, message: Message) -> None:
        if self.plan.manual:
            message.ack()
        if not isinstance(error, MqttError | UnwillingError):
            raise error

    def look(self, request: Request[Job]) -> Job:
        """Note a request, and what is wrong with it."""
        world, name = self.world, self.plan.name
        if request.response_topic is None:
            world.say(f"{name} got {request!r}, which asks for nothing")
        is_bad = request.payload.startswith(BAD)
        job = of_bad_payload(request.payload) if is_bad else JOBS.decode(request.payload)
        if is_bad != isinstance(request.error, PayloadError):
            world.say(f"{name} got {request.payload!r} with the error {request.error!r}")
        if not is_bad and request.value != job:
            world.say(f"{name} got {job} as {request.value}")
        if request.params.get("by") != job.by:
            world.say(f"{name} got {job} with {request.params}")
        world.handled[job] += 1
        return job

    async def rest(self) -> None:
        """Be slow at times."""
        if self.chance.random() < 0.3:
            await asyncio.sleep(self.chance.uniform(0, 2) * self.world.ground.pace)
