"""Draws a world from a seed: its clients, their programs, and what befalls them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ferromqtt import ProtocolVersion

from .cable import DOWN, UP, Fate

DURATION = 40.0
"""Seconds of a world in which there are faults."""

TOPICS = tuple(f"chaos/{number}" for number in range(4))


CREDENTIALS = ("", "", "at once", "later", "with errors")
"""How a client asks for credentials: a function, a coroutine, or one that fails at times."""

_PROTOCOLS = (ProtocolVersion.V31, *(ProtocolVersion.V311,) * 3, *(ProtocolVersion.V5,) * 5)


class Style(StrEnum):
    """How a program is written. All but the last two are loops in the style of aiomqtt 2."""

    LISTEN = "listens, and enters the same client again"
    LISTEN_FRESH = "listens, with a new client each time"
    PUBLISH = "publishes, and enters the same client again"
    PUBLISH_FRESH = "publishes, with a new client each time"
    GROUP = "does both in a task group, and enters the same client again"
    RECONNECT = "has a client that reconnects, in one block"
    QUEUES = "has a client that reconnects, with queues of its own in both directions"


@dataclass(frozen=True)
class Work:
    """What one task publishes."""

    topic: str
    qos: int
    count: int
    burst: int
    """How many calls it makes at once."""
    size: int
    """Largest payload, in bytes."""
    limit: float | None
    """The time limit of some of its calls, in seconds of a world."""
    patience: float | None
    """After so many seconds it cancels a call that has no limit."""
    way: str = "publish"
    """The method of the client that it calls."""
    expires_in: float | None = None
    latest: bool = False
    """The same as `keep="latest"`."""


@dataclass(frozen=True)
class Change:
    """A call to subscribe or unsubscribe, while messages come."""

    pause: float
    topic_filter: str
    subscribes: bool
    patience: float | None


@dataclass(frozen=True)
class QueuePlan:
    """The queues of a client: of what it publishes, and of its subscriptions."""

    outgoing: dict[str, Any]
    """The arguments of `OutgoingQueue`."""
    subscriptions: dict[str, dict[str, Any]]
    """By filter the arguments of `Client.subscription`. All else goes to `Client.messages`."""
    templates: frozenset[str]
    """The filters that are subscribed to by a template."""
    codecs: frozenset[str]
    """Those whose messages a codec reads, which fails on some."""
    early: bool
    """Whether they are opened before the client is entered, and outlive its blocks."""
    manual: bool
    """Whether the program acknowledges."""
    empties: bool
    """Whether the program takes what a queue holds before it leaves the subscription."""


@dataclass(frozen=True)
class ClientPlan:
    """One client, and the program around it."""

    name: str
    style: Style
    through_shim: bool
    protocol: ProtocolVersion
    keeps: bool
    """Whether its session outlives connections."""
    filters: dict[str, int]
    """What it subscribes to each time it enters; the first is never unsubscribed."""
    works: tuple[Work, ...]
    changes: tuple[Change, ...]
    stays: tuple[float, ...]
    """How long it stays in the block the first times, before it leaves by itself."""
    interval: float
    """Seconds it sleeps before it enters again."""
    options: dict[str, Any]
    reconnect: dict[str, Any]
    """The arguments of `Reconnect`, if the client is one that reconnects."""
    further_servers: int
    """How many names more its server has, which it tries in turn."""
    credentials: str
    """How it is asked for credentials before each attempt; empty if it is not."""
    fates: tuple[Fate, ...]
    """Of its first connections."""
    queues: QueuePlan | None = None

    @property
    def may_end_for_good(self) -> bool:
        """Whether something in its plan is final for a client that reconnects."""
        forbidden = any(fate.kind == "forbid" for fate in self.fates)
        return forbidden or self.reconnect.get("attempts") is not None

    @property
    def same_object(self) -> bool:
        """Whether it uses one client object, so that what that knows outlives connections."""
        return self.style not in (Style.LISTEN_FRESH, Style.PUBLISH_FRESH)


@dataclass(frozen=True)
class Fault:
    """Something that happens at a certain time."""

    at: float
    what: str
    client: str = ""
    pause: float = 0.0

    def __str__(self) -> str:
        pause = f" for {self.pause:.1f} s" if self.pause else ""
        return f"{self.at:5.1f} s: {self.what} {self.client}{pause}"


@dataclass(frozen=True)
class Script:
    """A whole world."""

    seed: int
    clients: tuple[ClientPlan, ...]
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        lines = []
        for plan in self.clients:
            lines.append(
                f"{plan.name}: {plan.style}; MQTT {plan.protocol.name}, "
                f"{'aiomqtt' if plan.through_shim else 'ferromqtt'}, "
                f"{'session kept' if plan.keeps else 'clean session'}, {plan.options}"
            )
            if plan.reconnect:
                lines.append(
                    f"    Reconnect({plan.reconnect}), {plan.further_servers} further servers, "
                    f"credentials {plan.credentials or 'not asked for'}"
                )
            if plan.queues:
                lines.append(f"    {plan.queues}")
            lines.append(f"    filters {plan.filters}, stays {plan.stays}")
            lines += [f"    {work}" for work in plan.works]
            lines += [f"    {change}" for change in plan.changes]
            lines.append(f"    connections: {', '.join(map(str, plan.fates))}")
        return "\n".join([*lines, *map(str, self.faults)])


@dataclass
class Artist:
    """Draws the parts of a world."""

    chance: random.Random
    reconnects: bool
    """Whether the clients are such that reconnect by themselves."""
    calm: bool = field(init=False)
    """Whether no session is lost, so that more can be asked of the world."""

    def __post_init__(self) -> None:
        self.calm = self.chance.random() < 0.6

    def clients(self) -> tuple[ClientPlan, ...]:
        chance = self.chance
        readers = chance.randint(1, 2)
        writers = chance.randint(1, 2)
        plans = [self._reader(f"reader-{number}") for number in range(readers)]
        plans += [self._writer(f"writer-{number}") for number in range(writers)]
        return tuple(plans)

    def _reader(self, name: str) -> ClientPlan:
        styles = (Style.LISTEN, Style.LISTEN, Style.GROUP, Style.GROUP, Style.LISTEN_FRESH)
        style = Style.RECONNECT if self.reconnects else self.chance.choice(styles)
        writes = style in (Style.GROUP, Style.RECONNECT) and self.chance.random() < 0.8
        works = self.works() if writes else ()
        return self.client(name, style, self._filters(), works)

    def _writer(self, name: str) -> ClientPlan:
        styles = (Style.PUBLISH, Style.PUBLISH, Style.PUBLISH_FRESH, Style.GROUP)
        style = Style.RECONNECT if self.reconnects else self.chance.choice(styles)
        reads = style in (Style.GROUP, Style.RECONNECT) and self.chance.random() < 0.8
        filters = self._filters() if reads else {}
        return self.client(name, style, filters, self.works())

    def client(
        self, name: str, style: Style, filters: dict[str, int], works: tuple[Work, ...]
    ) -> ClientPlan:
        chance = self.chance
        protocol = chance.choice(_PROTOCOLS)
        # A new client object knows nothing of the Packet Identifiers that the session has in use.
        keeps = style is not Style.PUBLISH_FRESH and chance.random() < 0.8
        changes = self._changes(tuple(filters)[1:])
        stays = tuple(chance.uniform(1, 12) for _ in range(chance.randint(0, 3)))
        if style is Style.LISTEN_FRESH:
            stays = ()  # what is queued in a client that is left would be lost with it
        return ClientPlan(
            name=name,
            style=style,
            through_shim=style is not Style.RECONNECT and chance.random() < 0.5,
            protocol=protocol,
            keeps=keeps,
            filters=filters,
            works=works,
            changes=changes,
            stays=stays,
            interval=chance.uniform(0.2, 3),
            options=self._options(),
            reconnect=self._reconnect() if style is Style.RECONNECT else {},
            further_servers=chance.choice((0, 0, 1, 2)) if style is Style.RECONNECT else 0,
            credentials=chance.choice(CREDENTIALS) if style is Style.RECONNECT else "",
            fates=tuple(self._fate() for _ in range(chance.randint(0, 8))),
        )

    def _options(self) -> dict[str, Any]:
        chance = self.chance
        drawn = {
            "timeout": chance.choice((2.0, 5.0, 10.0, 10.0)),
            "keepalive": chance.choice((5, 20, 60)),
            "max_inflight_messages": chance.choice((None, 1, 3, 20)),
            "max_queued_outgoing_messages": chance.choice((None, None, 5)),
            "max_concurrent_outgoing_calls": chance.choice((None, None, 2)),
            "queue_type": chance.choice((None, None, None, asyncio.Queue)),
        }
        return {name: value for name, value in drawn.items() if value is not None}

    def _reconnect(self) -> dict[str, Any]:
        chance = self.chance
        shortest = chance.uniform(0.2, 2)
        return {
            "min": shortest,
            "max": shortest * chance.choice((1, 4, 30)),
            "jitter": chance.choice((0.0, 0.5, 1.0)),
            "attempts": chance.choice((None, None, None, 2)),
            "initial": chance.random() < 0.7,
        }

    def _filters(self) -> dict[str, int]:
        chance = self.chance
        if chance.random() < 0.3:
            return {"chaos/+": chance.randint(0, 2)}
        topics = chance.sample(TOPICS, chance.randint(1, 3))
        return {topic: chance.choice((0, 1, 2, 2)) for topic in topics}

    def works(self) -> tuple[Work, ...]:
        return tuple(self.work() for _ in range(self.chance.randint(1, 3)))

    def work(self) -> Work:
        chance = self.chance
        return Work(
            topic=chance.choice(TOPICS),
            qos=chance.choice((0, 1, 1, 2, 2)),
            count=chance.randint(5, 25),
            burst=chance.choice((1, 1, 1, 2, 5)),
            size=chance.choice((0, 50, 500, 20_000)),
            limit=chance.choice((None, None, chance.uniform(0.01, 4))),
            patience=chance.choice((None, None, chance.uniform(0.001, 3))),
        )

    def _changes(self, filters: tuple[str, ...]) -> tuple[Change, ...]:
        chance = self.chance
        if not filters:
            return ()
        return tuple(
            Change(
                chance.uniform(0.1, 8),
                chance.choice(filters),
                chance.random() < 0.6,
                chance.choice((None, None, chance.uniform(0.001, 2))),
            )
            for _ in range(chance.randint(0, 6))
        )

    def _fate(self) -> Fate:
        chance = self.chance
        kind = chance.choices(
            ("carry", "cut", "silent", "slow", "refuse", "forbid", "hang"),
            (4, 8, 1, 1, 2, 1, 1),
        )[0]
        direction = chance.choice((UP, DOWN))
        if kind == "slow":
            return Fate(kind, direction, chance.randint(200, 20_000))
        if kind in ("cut", "silent"):
            most = chance.choice((20, 200, 2_000, 20_000))
            return Fate(kind, direction, chance.randint(1, most))
        return Fate(kind)

    def faults(self, names: tuple[str, ...]) -> tuple[Fault, ...]:
        times = sorted(self.chance.uniform(0, DURATION) for _ in range(self.chance.randint(2, 10)))
        return tuple(self._fault(at, names) for at in times)

    def _fault(self, at: float, names: tuple[str, ...]) -> Fault:
        chance = self.chance
        client = chance.choice(names)
        pause = round(chance.uniform(0.05, 4), 2)
        kinds = {
            "cut": 5,
            "end": 2,
            "silence": 1,
            "take down": 3,
            "kick": 1,
            "cancel": 2,
            "restart": 2,
        }
        if not self.calm:
            kinds |= {"restart without sessions": 2, "forget": 2, "take over": 1}
        what = chance.choices(tuple(kinds), tuple(kinds.values()))[0]
        if what.startswith("restart"):
            return Fault(at, what, pause=pause)
        return Fault(at, what, client, pause if what == "take down" else 0.0)


def draw(seed: int, *, reconnects: bool) -> Script:
    """Return the world of a seed, always the same one.

    Its clients reconnect by themselves, or their programs do that in loops.
    """
    artist = Artist(random.Random(f"{seed} {reconnects}"), reconnects)
    clients = artist.clients()
    return Script(seed, clients, artist.faults(tuple(plan.name for plan in clients)))
