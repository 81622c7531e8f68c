"""Random worlds of requests (5.0, section 4.10), codecs, templates and profiles, by seed.

`make chaos` plays others, as of `test_chaos.py`.
"""

import asyncio
import os
import random
from collections.abc import Callable
from typing import Any, TypeAlias
from unittest import mock

import pytest

from ferromqtt.testing import VirtualLoop
from support.loops import FACTORIES, run_watched
from support.mosquitto import Mosquitto
from support.requests.answering import Answer, answer
from support.requests.doubles import WRONG
from support.requests.ground import Ground, MemoryGround, MosquittoGround
from support.requests.plan import WAYS, draw
from support.requests.world import World

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

FIRST = int(os.environ.get("FERROMQTT_FIRST_SEED", "0"))
SEEDS = int(os.environ.get("FERROMQTT_SEEDS", "200"))
IN_ONE_TEST = 25
ON_MOSQUITTO = -(-SEEDS // 10)


def played(
    seed: int,
    *arguments: Any,  # noqa: ANN401 - those of `problems_of`
    loop: LoopFactory = VirtualLoop,
    limit: float | None = None,
) -> list[str]:
    """Play a world. What clients take their seeds from is the world's: it takes the same course."""
    chance = random.Random(seed)
    with mock.patch.object(os, "urandom", chance.randbytes):
        return run_watched(loop, problems_of, seed, *arguments, limit=limit)


async def problems_of(
    seed: int, ground: Ground | None = None, do_answer: Answer = answer
) -> list[str]:
    world = World(draw(seed), ground or MemoryGround(), do_answer)
    return await world.play()


def check(seed: int, problems: list[str]) -> None:
    text = "\n".join(problems[:20])
    alone = f"FERROMQTT_FIRST_SEED={seed} FERROMQTT_SEEDS=1"
    assert not problems, f"seed {seed} ({alone}):\n{text}\n\nThe world:\n{draw(seed)}"


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, IN_ONE_TEST))
def test_in_random_worlds_each_request_gets_its_own_answer_or_a_typed_end(first: int) -> None:
    for seed in range(first, min(first + IN_ONE_TEST, FIRST + SEEDS)):
        check(seed, played(seed))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + ON_MOSQUITTO))
def test_in_random_worlds_on_mosquitto_too(seed: int) -> None:
    factory = FACTORIES[tuple(FACTORIES)[seed % len(FACTORIES)]]
    with Mosquitto(plain_only=True, persistent=True) as broker:
        check(seed, played(seed, MosquittoGround(broker), loop=factory, limit=100))


@pytest.mark.parametrize("wrong", WRONG)
def test_the_checks_find_a_program_that(wrong: str) -> None:
    do_answer, text = WRONG[wrong]
    found: list[str] = []
    for seed in range(30):
        try:
            found = played(seed, None, do_answer)
        except BaseExceptionGroup as group:  # the program has ended
            found = [f"has ended with {error!r}" for error in group.exceptions]
        if any(text in problem for problem in found):
            return
    pytest.fail(f"no check has found it: {found}")


def test_the_worlds_know_every_way_and_fault() -> None:
    plans = [draw(seed) for seed in range(200)]
    assert {each.way for plan in plans for each in plan.answerers} == set(WAYS)
    assert {each.qos for plan in plans for each in plan.answerers} == {0, 1, 2}
    assert {fault.what for plan in plans for fault in plan.faults} == {"cut", "cancel", "restart"}
    options = [each.options for plan in plans for each in (*plan.answerers, *plan.askers)]
    assert {of.get("profile") for of in options} == {None, "mosquitto-2.0"}
