"""Random worlds: clients, their programs, a broker and faults, by seed (`support/chaos`).

`make chaos FROM=1000 SEEDS=5000` plays others; a failing seed is printed with the command that
plays it alone.
"""

import functools
import gc
import os
from collections.abc import Iterator

import pytest

from conftest import SHIM
from ferromqtt import ProtocolVersion
from ferromqtt.testing import VirtualLoop
from support.chaos import doubles
from support.chaos.actor import Double
from support.chaos.draw_queues import draw_with_queues
from support.chaos.grounds import MemoryGround, MosquittoGround
from support.chaos.ledger import CANCELLED, RAISED, RETURNED
from support.chaos.script import CREDENTIALS, Script, Style, draw
from support.chaos.world import Outcome, play
from support.loops import FACTORIES
from support.mosquitto import Mosquitto

FIRST = int(os.environ.get("FERROMQTT_FIRST_SEED", "0"))
SEEDS = int(os.environ.get("FERROMQTT_SEEDS", "200"))
IN_ONE_TEST = 25
ON_MOSQUITTO = -(-SEEDS // 20)
"""A world on mosquitto takes as long as a hundred in virtual time."""

KINDS = ("loops", "reconnecting", "queues")
"""How clients and their programs are written: see `draw_kind`."""

kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True, scope="module")
def _only_what_comes_is_looked_at() -> Iterator[None]:
    """Each world looks through all objects for what was left behind."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _shim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SHIM))


def draw_kind(seed: int, kind: str) -> Script:
    """Return the world of a seed whose clients are of one kind."""
    if kind == "queues":
        return draw_with_queues(seed)
    return draw(seed, reconnects=kind == "reconnecting")


def in_virtual_time(seed: int, kind: str, double: Double | None = None) -> Outcome:
    loop_factory = functools.partial(VirtualLoop, end_at=10_000)
    return play(draw_kind(seed, kind), MemoryGround, loop_factory, double)


@kinds
@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, IN_ONE_TEST))
def test_worlds_in_virtual_time(first: int, kind: str) -> None:
    for seed in range(first, min(first + IN_ONE_TEST, FIRST + SEEDS)):
        in_virtual_time(seed, kind).check()


@pytest.mark.parametrize("loop", FACTORIES)
@pytest.mark.parametrize("seed", range(FIRST, FIRST + ON_MOSQUITTO))
def test_a_world_on_mosquitto(seed: int, loop: str) -> None:
    # Every seed plays both kinds, one on each loop.
    kind = "reconnecting" if (seed % 2 == 0) == (loop == "asyncio") else "loops"
    _on_mosquitto(seed, kind, loop)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 2 * ON_MOSQUITTO))
def test_a_world_with_queues_on_mosquitto(seed: int) -> None:
    _on_mosquitto(seed, "queues", tuple(FACTORIES)[seed % len(FACTORIES)])


def _on_mosquitto(seed: int, kind: str, loop: str) -> None:
    with Mosquitto(plain_only=True, persistent=True) as broker:
        script = draw_kind(seed, kind)
        play(script, lambda: MosquittoGround(broker), FACTORIES[loop]).check()


@kinds
def test_a_seed_plays_the_same_world_again(kind: str) -> None:
    one, two = ([*map(str, in_virtual_time(7, kind).calls)] for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [(kind, wrong) for kind in doubles.OF_KIND for wrong in doubles.OF_KIND[kind]],
)
def test_the_checks_find_a_client_that(kind: str, wrong: str) -> None:
    double, text = doubles.OF_KIND[kind][wrong]
    try:
        for seed in range(20):
            found = in_virtual_time(seed, kind, double).problems
            if any(text in problem for problem in found):
                return
    finally:
        for left in doubles.kept:
            if hasattr(left, "close"):
                left.close()
        doubles.kept.clear()
    pytest.fail(f"no check has found it: {found}")


@kinds
def test_the_worlds_know_every_style_fault_and_outcome(kind: str) -> None:
    """Else the checks might have nothing to look at."""
    missing = _everything(kind)
    for seed in range(300):
        missing -= _found_in(in_virtual_time(seed, kind))
        if not missing:
            return
    pytest.fail(f"no world has {missing}")


def _found_in(outcome: Outcome) -> set[str]:
    found = {fault.what for fault in outcome.script.faults} | set(outcome.repeats)
    for plan in outcome.script.clients:
        found |= {plan.style, f"MQTT {plan.protocol.name}", f"credentials {plan.credentials}"}
        found |= {f"{plan.further_servers} further servers", *plan.options}
        found |= {fate.kind for fate in plan.fates}
    for call in outcome.calls:
        what = call.what.partition(" ")[0]
        found.add(f"{what} {call.outcome}")
        if call.outcome == RAISED:
            found.add(f"{what} {call.delivery}")
            found.add(f"{what} {call.discarded}")
    return found


def _everything(kind: str) -> set[str]:
    faults = {"cut", "end", "silence", "take down", "kick", "cancel", "restart"}
    faults |= {"restart without sessions", "forget", "take over"}
    if kind == "queues":
        return faults | _outcomes_of_queues()
    fates = {"carry", "cut", "silent", "slow", "refuse", "forbid", "hang"}
    calls = {
        f"{what} {outcome}"
        for what in ("enter", "publish", "subscribe", "unsubscribe")
        for outcome in (RETURNED, RAISED, CANCELLED)
        if (what, outcome) != ("unsubscribe", RAISED)
    }
    outcomes = {"publish not_sent", "publish unknown", "QoS 1 twice"}
    everything = faults | fates | calls | outcomes | {"queue_type"}
    everything |= {f"MQTT {protocol.name}" for protocol in ProtocolVersion}
    if kind == "reconnecting":
        everything |= {f"credentials {way}" for way in CREDENTIALS}
        return everything | {Style.RECONNECT} | {f"{number} further servers" for number in range(3)}
    return everything | (set(Style) - {Style.RECONNECT, Style.QUEUES})


def _outcomes_of_queues() -> set[str]:
    ends = {f"receipt {outcome}" for outcome in (RETURNED, RAISED)}
    ends |= {f"receipt {why}" for why in ("expired", "replaced", "dropped")}
    ends |= {f"receipt {delivery}" for delivery in ("not_sent", "unknown")}
    ends |= {f"enqueue {outcome}" for outcome in (RETURNED, RAISED, CANCELLED)}
    ends |= {f"publish_nowait {outcome}" for outcome in (RETURNED, RAISED)}
    ends |= {f"publish_many {outcome}" for outcome in (RETURNED, RAISED, CANCELLED)}
    return ends | {Style.QUEUES, "QoS 2 twice"}
