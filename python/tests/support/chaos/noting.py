"""A client that notes the calls of its program, which uses it as any other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

from .ledger import Call, Name

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ferromqtt import Client

    from .actor import Actor

ON, OFF, UNSURE = "on", "off", "unsure"
"""What a program knows of a subscription."""

_SLOWEST_CLOSE = 2.0
"""Seconds that leaving may take beside the time limit: for DISCONNECT, and for closing."""


def noting(base: type[Client]) -> type[Client]:
    """Return such a class of clients, derived from another one."""
    return type("NotingClient", (_Noting, base), {})


class _Noting:
    def __init__(self, *where: object, actor: Actor, **options: object) -> None:
        super().__init__(*where, **options)
        self._actor = actor
        self._has_slots = "max_concurrent_outgoing_calls" in options

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

    async def publish(
        self, topic: str, payload: bytes, qos: int, *, timeout: float | None = None
    ) -> None:
        name = Name.of(payload)
        with self._noted(f"publish {name}", self._limit(timeout)) as call:
            self._actor.ledger.publications[name] = call
            await super().publish(topic, payload, qos, timeout=timeout)

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
