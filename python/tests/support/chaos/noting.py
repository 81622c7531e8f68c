"""A client that notes the calls of its program, which uses it as any other."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
from typing import TYPE_CHECKING, Any, Self

from ferromqtt import MqttError
from ferromqtt.testing import VirtualLoop

from .ledger import CANCELLED, RAISED, Call, Name

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ferromqtt import Client, Receipt

    from .actor import Actor
    from .script import Work

ON, OFF, UNSURE = "on", "off", "unsure"
"""What a program knows of a subscription."""

_SLOWEST_CLOSE = 2.0
"""Seconds that leaving may take beside the time limit: for DISCONNECT, and for closing."""

_SOON = 1e-6
"""Seconds of virtual time, in which all that is due at a moment is done."""


def noting(base: type[Client]) -> type[Client]:
    """Return such a class of clients, derived from another one."""
    return type("NotingClient", (_Noting, base), {})


class _Noting:
    def __init__(self, *where: object, actor: Actor, **options: object) -> None:
        super().__init__(*where, **options)
        self._actor = actor
        self._has_slots = "max_concurrent_outgoing_calls" in options

        self._receipts: list[tuple[Receipt, int]] = []
        """Those of this visit, and how many bytes their payloads have."""

    def _limit(self, timeout: float | None) -> float | None:
        limit: float = self.timeout if timeout is None else timeout
        return None if self._has_slots or limit == math.inf else limit

    def _noted(self, what: str, limit: float | None) -> AbstractContextManager[Call]:
        return self._actor.ledger.call(self._actor.plan.name, what, limit)

    async def __aenter__(self) -> Self:
        # Each attempt has the time limit, and one after another may be made.
        plan = self._actor.plan
        tries_again = plan.reconnect.get("initial", False) or plan.further_servers
        with self._noted("enter", None if tries_again else self.timeout):
            await super().__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        with self._noted("leave", self.timeout + _SLOWEST_CLOSE):
            await super().__aexit__(*error)
        left = sum(not receipt.done() for receipt, _ in self._receipts)
        if left:
            self._problem(f"leaving has left {left} receipts without an outcome")
        self._receipts.clear()

    async def publish(
        self, topic: str, payload: bytes, qos: int, *, timeout: float | None = None
    ) -> None:
        name = Name.of(payload)
        with self._noted(f"publish {name}", self._limit(timeout)) as call:
            self._actor.ledger.publications[name] = call
            await super().publish(topic, payload, qos, timeout=timeout)

    async def publish_many(
        self, messages: list[tuple[str, bytes, int]], *, timeout: float | None = None
    ) -> None:
        actor, limit = self._actor, self._limit(timeout)
        calls = []
        for _, payload, _ in messages:
            name = Name.of(payload)
            call = actor.ledger.begin(actor.plan.name, f"publish_many {name}", limit)
            actor.ledger.publications[name] = call
            calls.append(call)
        with contextlib.ExitStack() as stack:
            for call in calls:
                stack.enter_context(actor.ledger.ending(call))
            results = await super().publish_many(messages, timeout=timeout)
        if len(results) != len(calls):
            self._problem(f"{len(calls)} messages have {len(results)} results")
        for call, result in zip(calls, results, strict=False):
            if isinstance(result, Exception):
                call.outcome = RAISED
                call.fail(result)

    async def queue(self, work: Work, payload: bytes, timeout: float | None) -> None:
        """Have a message accepted by the outgoing queue, and follow what becomes of it."""
        actor, name = self._actor, Name.of(payload)
        ledger = actor.ledger
        limit = self.timeout if timeout is None else timeout
        is_nowait = work.way == "publish_nowait"
        call = ledger.begin(actor.plan.name, f"{work.way} {name}", 0 if is_nowait else limit)
        ledger.publications[name] = call
        expires_in = None if work.expires_in is None else work.expires_in * actor.pace
        message = (work.topic, payload, work.qos)
        terms: Any = {"expires_in": expires_in, "keep": "latest" if work.latest else "all"}
        call.expires_in, call.latest = expires_in, work.latest
        with ledger.ending(call):
            if is_nowait:
                receipt = super().publish_nowait(*message, **terms)
            else:
                receipt = await super().enqueue(*message, **terms, timeout=timeout)
        self._receipts.append((receipt, len(payload)))
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):  # there no other message can come in between
            loop.call_later(_SOON, self._check_bounds)
        if actor.chance.random() < 0.1:
            call.outcome = CANCELLED  # nobody wants to know
            return
        # Its outcome is that of the publication, which begins with the call.
        outcome = dataclasses.replace(
            call, what=f"receipt {name}", limit=None, ends=0, accepted_at=call.ended_at
        )
        ledger.calls.append(outcome)
        ledger.publications[name] = outcome
        task = asyncio.create_task(self._follow(receipt, outcome))
        actor.following.add(task)
        task.add_done_callback(actor.following.discard)

    async def _follow(self, receipt: Receipt, outcome: Call) -> None:
        chance, pace = self._actor.chance, self._actor.pace
        while not receipt.done() and chance.random() < 0.3:  # waiting may be given up and begun
            with contextlib.suppress(TimeoutError, MqttError):
                async with asyncio.timeout(chance.uniform(0, 3) * pace):
                    await receipt
        with contextlib.suppress(MqttError), self._actor.ledger.ending(outcome):
            await receipt

    def _check_bounds(self) -> None:
        """The queue keeps account of messages until they have ended."""
        assert self._actor.plan.queues
        self._receipts = [one for one in self._receipts if not one[0].done()]
        bounds = self._actor.plan.queues.outgoing
        held, taken = len(self._receipts), sum(size for _, size in self._receipts)
        if held > (bounds["maxsize"] or math.inf):
            self._problem(f"the outgoing queue holds {held} messages of {bounds['maxsize']}")
        if held > 1 and taken > (bounds["maxbytes"] or math.inf):
            self._problem(f"the outgoing queue holds {taken} bytes of {bounds['maxbytes']}")

    def _problem(self, text: str) -> None:
        self._actor.ledger.problems.append(f"{self._actor.plan.name}: {text}")

    async def wait_connected(self, timeout: float | None = None) -> None:
        with self._noted("wait until it is connected", timeout):
            await super().wait_connected(timeout)

    async def subscribe(self, topic_filter: str, qos: int) -> Any:  # noqa: ANN401
        wanted = self._actor.wanted
        wanted[topic_filter] = UNSURE
        with self._noted(f"subscribe {topic_filter}", self._limit(None)):
            codes = await super().subscribe(topic_filter, qos)
        if not codes[0].is_failure:
            wanted[topic_filter] = ON
        return codes

    async def unsubscribe(self, topic_filter: str) -> None:
        wanted = self._actor.wanted
        wanted[topic_filter] = UNSURE
        with self._noted(f"unsubscribe {topic_filter}", self._limit(None)):
            await super().unsubscribe(topic_filter)
        wanted[topic_filter] = OFF
