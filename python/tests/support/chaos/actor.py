"""An actor: one client of a world, and what the program around it knows and is to do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

import ferromqtt
from ferromqtt import Message, MqttError, ProtocolVersion

from .ledger import Ledger, Name
from .noting import ON, noting
from .script import DURATION, ClientPlan, Work

if TYPE_CHECKING:
    from .grounds import Ground

LOGGER = logging.getLogger("ferromqtt.chaos")

MARK = "mark"
"""The publisher of the marks with which a world ends."""

Double: TypeAlias = Callable[[type[ferromqtt.Client]], type[ferromqtt.Client]]
"""Makes another class of clients of one."""

_EXPIRY = 86_400
_QUOTA_EXCEEDED = 0x97
_CREDENTIALS = ferromqtt.Credentials("chaos", b"secret")


class KeeperAwayError(Exception):
    """Credentials cannot be had at the moment, which the client reports and tries again."""


class Actor:
    """One client of a world: its plan, and what its program knows."""

    def __init__(
        self,
        plan: ClientPlan,
        ledger: Ledger,
        where: tuple[Any, ...],
        ground: Ground,
        seed: int,
        double: Double | None = None,
    ) -> None:
        self.plan = plan
        self.ledger = ledger
        self.pace = ground.pace
        self._leisure = ground.leisure
        self.chance = random.Random(f"{seed} {plan.name}")
        self._double = double
        self.clients: list[ferromqtt.Client] = []
        self.wanted = dict.fromkeys(plan.filters, ON)
        self.marks: set[tuple[str, int]] = set()
        """Topic and QoS of the marks that have come; they are published when all is over."""
        self.done = asyncio.Event()
        """No further message will come that has to be taken."""
        self._where = where
        self._stays = list(plan.stays)
        self._works = [Agenda(work, self) for work in plan.works]
        self._changes = list(plan.changes)
        self.task: asyncio.Task[None] | None = None
        self.lives = 0
        """How often its program has begun."""
        self.may_end_for_good = False
        self.is_well = False
        """Whether there are no faults any more, so that its program makes no mistakes either."""
        self.following: set[asyncio.Task[None]] = set()
        """Tasks that await receipts."""
        self.losses: list[BaseExceptionGroup[MqttError]] = []
        """By what the blocks of a client that reconnects were left, once it was connected."""

    def client(self) -> Any:  # noqa: ANN401 - of the package, or of the shim
        """Return the client that was made first, or a new one, as the plan says."""
        if not self.clients or not self.plan.same_object:
            self.clients.append(self._new_client())
        return self.clients[-1]

    def _new_client(self) -> ferromqtt.Client:
        plan = self.plan
        options = {**plan.options, "timeout": plan.options["timeout"] * self._leisure}
        if plan.protocol is ProtocolVersion.V5:
            options["clean_start"] = not plan.keeps
            if plan.keeps:
                options["properties"] = {"SessionExpiryInterval": _EXPIRY}
        else:
            options["clean_session"] = not plan.keeps
        if plan.reconnect:
            options["reconnect"] = self._reconnect()
        if plan.further_servers:
            one = self._where[0] if len(self._where) == 1 else self._where
            options["servers"] = [one] * plan.further_servers
        if plan.queues:
            options["outgoing_queue"] = ferromqtt.OutgoingQueue(**plan.queues.outgoing)
            options["manual_ack"] = plan.queues.manual
        if plan.credentials:
            options["credentials"] = self._credentials
        kind: Any = noting(self._class())
        made: ferromqtt.Client = kind(
            *self._where,
            identifier=plan.name,
            protocol=plan.protocol,
            logger=LOGGER,
            actor=self,
            **options,
        )
        return made

    def _reconnect(self) -> ferromqtt.Reconnect:
        waits = {name: self.plan.reconnect[name] * self.pace for name in ("min", "max")}
        return ferromqtt.Reconnect(**self.plan.reconnect | waits)

    def _credentials(
        self, _: ferromqtt.Server, attempt: int
    ) -> ferromqtt.Credentials | Awaitable[ferromqtt.Credentials]:
        if self.plan.credentials == "at once":
            return _CREDENTIALS
        return self._credentials_later(attempt)

    async def _credentials_later(self, attempt: int) -> ferromqtt.Credentials:
        await self.sleep(self.chance.uniform(0, 0.5))
        if self.plan.credentials == "with errors" and attempt % 2:
            raise KeeperAwayError
        return _CREDENTIALS

    def _class(self) -> type[ferromqtt.Client]:
        base = ferromqtt.Client
        if self.plan.through_shim:
            import aiomqtt  # noqa: PLC0415 - only where a test has put it

            base = aiomqtt.Client
        return self._double(base) if self._double else base

    @property
    def agendas(self) -> list[Agenda]:
        """What it has still to publish."""
        return [agenda for agenda in self._works if agenda.left]

    @property
    def has_published(self) -> bool:
        """Whether all that it is to publish has its outcome."""
        if self.following:
            return False
        return not any(agenda.left or agenda.pending for agenda in self._works)

    @contextlib.asynccontextmanager
    async def stay(self) -> AsyncIterator[None]:
        """Bound a visit, the first times; a visit that is over ends without an exception."""
        limit = self._stays.pop() * self.pace if self._stays else None
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                yield
        except TimeoutError:
            if not scope.expired():
                raise

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.pace)

    def take(self, message: Message) -> Name:
        """Note a message."""
        body = len(self.clients) - 1
        name = self.ledger.take(self.plan.name, body, bytes(message.payload))
        if name.publisher == MARK:
            self.marks.add((name.topic, name.qos))
        return name

    async def process(self, client: Any, message: Message) -> Name:  # noqa: ANN401
        """Note a message, acknowledge it if that is the program's, and take some time for it."""
        name = self.take_and_answer(client, message)
        await self.rest()
        return name

    async def rest(self) -> None:
        """Be slow at times, as long as there are faults."""
        if not self.is_well and self.chance.random() < 0.2:
            await self.sleep(self.chance.uniform(0, 1))

    def take_and_answer(self, client: Any, message: Message) -> Name:  # noqa: ANN401
        """Note a message; acknowledge it now or later, reject it, or forget it."""
        name = self.take(message)
        assert self.plan.queues
        if not self.plan.queues.manual:
            return name
        fate = 1.0 if self.is_well else self.chance.random()
        if fate < 0.03:
            return name
        if fate < 0.2:
            later = self.chance.uniform(0, 3) * self.pace
            asyncio.get_running_loop().call_later(later, self._answer, client, message, name)
            return name
        self._answer(client, message, name)
        return name

    def _answer(self, client: Any, message: Message, name: Name) -> None:  # noqa: ANN401
        self.ledger.answered.setdefault(self.plan.name, set()).add(name)
        if self.plan.protocol is ProtocolVersion.V5 and self.chance.random() < 0.1:
            # MQTT-4.3.3-13: behind such a PUBREC, which may be lost, the same PUBLISH is a new one.
            message.reject(_QUOTA_EXCEEDED)
            return
        before = client.unacknowledged().messages
        message.ack()
        if client.unacknowledged().messages < before:
            moment = self.ledger.moment()
            self.ledger.settled.setdefault(self.plan.name, {}).setdefault(name, moment)
        if self.chance.random() < 0.1:
            message.ack()  # once more, which does nothing

    def end_if_idle(self) -> None:
        """Have a program that only publishes end behind the last one."""
        if not self.wanted and not self.agendas:
            self.done.set()

    async def run(self, program: Callable[[Actor], Coroutine[Any, Any, None]]) -> None:
        """Run the program to its end; what is cancelled begins again."""
        while not self.done.is_set():
            self.lives += 1
            self.task = asyncio.create_task(program(self), name=self.plan.name)
            await asyncio.wait([self.task])
            if not self.task.cancelled():
                await self.task
        self.task = None

    @property
    def has_changes(self) -> bool:
        return bool(self._changes)

    async def change_subscriptions(self, client: Any) -> None:  # noqa: ANN401
        while self._changes:
            change = self._changes.pop()
            await self.sleep(change.pause)
            patience = None if change.patience is None else change.patience * self.pace
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    if change.subscribes:
                        await client.subscribe(
                            change.topic_filter, self.plan.filters[change.topic_filter]
                        )
                    else:
                        await client.unsubscribe(change.topic_filter)


class Agenda:
    """What one task has still to publish."""

    def __init__(self, work: Work, actor: Actor) -> None:
        self.work = work
        self.left = work.count
        self.pending = 0
        """Calls that have no outcome yet."""
        self._actor = actor

    def next(self) -> bytes:
        """Return the next payload. Each is published once, whatever comes of it."""
        self.left -= 1
        work, actor = self.work, self._actor
        # Two tasks may publish to one topic at one QoS.
        key = (actor.plan.name, work.topic, work.qos)
        number = actor.ledger.numbers[key] = actor.ledger.numbers.get(key, -1) + 1
        return Name(*key, number).payload(actor.chance.randint(0, work.size))

    async def publish(self, client: Any) -> None:  # noqa: ANN401
        """Publish one burst."""
        work, chance, pace = self.work, self._actor.chance, self._actor.pace
        limit = work.limit if chance.random() < 0.5 else None
        timeout = None if limit is None else limit * pace
        patience = None if limit or work.patience is None else work.patience * pace
        scope = asyncio.timeout(patience)
        try:
            async with scope:
                if work.burst == 1:
                    await self._publish_one(client, timeout)
                    return
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(min(work.burst, self.left)):
                        tasks.create_task(self._publish_one(client, timeout))
        except TimeoutError:
            if not scope.expired():
                raise

    async def _publish_one(self, client: Any, timeout: float | None) -> None:  # noqa: ANN401
        # The number is taken in the moment of the call: numbers are in the order of calls.
        if not self.left:
            return
        work = self.work
        self.pending += 1
        try:
            if work.way == "publish":
                await client.publish(work.topic, self.next(), work.qos, timeout=timeout)
            elif work.way == "publish_many":
                many = min(2 * work.burst, self.left)
                messages = [(work.topic, self.next(), work.qos) for _ in range(many)]
                await client.publish_many(messages, timeout=timeout)
            else:
                await client.queue(work, self.next(), timeout)
        finally:
            self.pending -= 1

    @property
    def pause(self) -> float:
        """Seconds until the next burst: it is to last about as long as the faults."""
        mean = DURATION * self.work.burst / self.work.count
        return self._actor.chance.uniform(0, 2 * mean)
