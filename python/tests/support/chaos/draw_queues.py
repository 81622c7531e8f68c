"""Draws worlds whose clients have queues of their own, in both directions."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Any

from .script import Artist, ClientPlan, QueuePlan, Script, Style, Work

if TYPE_CHECKING:
    from collections.abc import Iterable

WAYS = {
    "calls": ("publish", "publish_many"),
    "line": ("enqueue",),
    "at once": ("publish_nowait",),
}
"""What keeps messages in order among themselves, and the methods that publish by it.

`publish_nowait` passes messages of `enqueue` that wait for capacity.
"""


class QueueArtist(Artist):
    """Draws clients that reconnect, and gives each its queues."""

    def client(
        self, name: str, style: Style, filters: dict[str, int], works: tuple[Work, ...]
    ) -> ClientPlan:
        # Messages of one topic and QoS go one way: there is no order between the two.
        lanes = {(work.topic, work.qos): self.chance.choice(tuple(WAYS)) for work in works}
        works = tuple(self._by(lanes[work.topic, work.qos], work) for work in works)
        plan = super().client(name, style, filters, works)
        profile = {"profile": "mosquitto-2.0"} if self.chance.random() < 0.3 else {}
        return dataclasses.replace(
            plan,
            style=Style.QUEUES,
            changes=(),
            options=plan.options | profile,
            queues=self._queues(plan, filters),
        )

    def _by(self, lane: str, work: Work) -> Work:
        chance = self.chance
        way = chance.choice(WAYS[lane])
        if lane == "calls":
            return dataclasses.replace(work, way=way)
        return dataclasses.replace(
            work,
            way=way,
            expires_in=chance.choice((None, None, chance.uniform(0.05, 10))),
            latest=chance.random() < 0.3,
        )

    def _queues(self, plan: ClientPlan, filters: dict[str, int]) -> QueuePlan:
        chance = self.chance
        subscriptions = {
            topic_filter: self._subscription() for topic_filter in filters if chance.random() < 0.8
        }
        return QueuePlan(
            outgoing={
                "maxsize": chance.choice((1, 3, 10, None)),
                "maxbytes": chance.choice((1_000, 50_000, None)),
                "overflow": chance.choice(("wait", "wait", "drop_oldest", "drop_newest", "fail")),
            },
            subscriptions=subscriptions,
            templates=self._some(subscriptions),
            codecs=self._some(subscriptions),
            early=chance.random() < 0.5,
            manual=chance.random() < 0.5,
            # A session that ends with the block loses what is in a queue.
            empties=not plan.keeps or chance.random() < 0.5,
        )

    def _some(self, filters: Iterable[str]) -> frozenset[str]:
        return frozenset(each for each in filters if self.chance.random() < 0.5)

    def _subscription(self) -> dict[str, Any]:
        chance = self.chance
        return {
            "maxsize": chance.choice((1, 3, 20, 1_000)),
            "overflow": chance.choice(("wait", "wait", "drop_oldest", "drop_newest", "fail")),
        }


def draw_with_queues(seed: int) -> Script:
    """Return the world of a seed, always the same one."""
    artist = QueueArtist(random.Random(f"{seed} with queues"), reconnects=True)
    clients = artist.clients()
    return Script(seed, clients, artist.faults(tuple(plan.name for plan in clients)))
