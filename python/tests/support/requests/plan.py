"""Draws a world of requests from its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

DURATION = 40.0
"""Seconds of a world in which there are faults."""

WAYS = ("loop", "block", "early", "router")
"""How a program answers: by a loop over the responder, in its block, opened before the client is
entered, or by a `Router`.
"""


@dataclass(frozen=True)
class AnswererPlan:
    """A client that answers, and the program around it."""

    name: str
    way: str
    template: str
    qos: int
    manual: bool
    """Whether the program acknowledges."""
    workers: int
    """How many requests it works on at once."""
    options: dict[str, Any]


@dataclass(frozen=True)
class AskerPlan:
    """A client that asks."""

    name: str
    count: int
    options: dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """Something that happens at a certain time."""

    at: float
    what: str
    client: str = ""


@dataclass(frozen=True)
class Plan:
    """A whole world."""

    seed: int
    keeps: bool
    """Whether no session is lost, so that nothing at QoS 2 may come twice."""
    answerers: tuple[AnswererPlan, ...]
    askers: tuple[AskerPlan, ...]
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        parts = (f"sessions kept: {self.keeps}", *self.answerers, *self.askers, *self.faults)
        return "\n".join(map(str, parts))


def draw(seed: int) -> Plan:
    """Return the world of a seed, always the same one."""
    chance = random.Random(f"{seed} requests")
    keeps = chance.random() < 0.5
    shares = chance.random() < 0.5
    template = chance.choice(("work/{by}/{kind}", "work/{by}/+", "work/{by}/{rest#}"))
    if shares:
        template = "$share/workers/" + template
    answerers = tuple(
        _answerer(chance, f"answerer-{number}", template, keeps=keeps)
        for number in range(2 if shares else 1)
    )
    askers = tuple(
        AskerPlan(f"asker-{number}", chance.randint(8, 20), _options(chance, keeps=keeps))
        for number in range(chance.randint(1, 3))
    )
    names = [plan.name for plan in (*answerers, *askers)]
    kinds = ("cut", "cut", "cut", "cancel") + (() if keeps else ("restart",))
    times = sorted(chance.uniform(1, DURATION) for _ in range(chance.randint(1, 8)))
    faults = tuple(Fault(at, chance.choice(kinds), chance.choice(names)) for at in times)
    return Plan(seed, keeps, answerers, askers, faults)


def _answerer(chance: random.Random, name: str, template: str, *, keeps: bool) -> AnswererPlan:
    return AnswererPlan(
        name=name,
        way=chance.choice(WAYS),
        template=template,
        qos=chance.choice((0, 1, 2, 2)),
        manual=chance.random() < 0.5,
        workers=chance.choice((1, 1, 3)),
        options=_options(chance, keeps=keeps),
    )


def _options(chance: random.Random, *, keeps: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "protocol": chance.choice((5, 5, "auto")),
        "profile": chance.choice((None, "mosquitto-2.0")),
        "max_concurrent_outgoing_calls": chance.choice((None, None, 2)),
        "max_inflight_messages": chance.choice((None, 1, 5)),
    }
    if keeps:
        options["clean_start"] = False
        options["session_expiry_interval"] = 86_400
    return {name: value for name, value in options.items() if value is not None}
