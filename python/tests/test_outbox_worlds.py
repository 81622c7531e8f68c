"""Random worlds of a program with an outbox, over its lives, by seed (`support/outbox_world.py`).

- A message of QoS 1 or 2 that was said to be stored comes, or is in quarantine.
- One of QoS 2 comes once.
- Each message on record ends once, over all lives, or is still there.
- Nothing is left: no task, no descriptor.

`make chaos FROM=1000 SEEDS=5000` plays others; a failing seed is printed with the command that
plays it alone. The disk takes its real time, so that a seed takes nearly the same course each time.
"""

import functools
import os
import shutil
from pathlib import Path

import pytest

from ferromqtt.testing import VirtualLoop
from support.loops import run_watched
from support.outbox_world import Disk, OutboxWorld

FIRST = int(os.environ.get("FERROMQTT_FIRST_SEED", "0"))
SEEDS = int(os.environ.get("FERROMQTT_SEEDS", "60"))
IN_ONE_TEST = 20


def play(seed: int, folder: Path, disk: Disk = Disk.RIGHT) -> list[str]:
    loop_factory = functools.partial(VirtualLoop, end_at=50_000)
    try:
        return run_watched(loop_factory, OutboxWorld(seed, folder, disk).play)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, IN_ONE_TEST))
def test_outbox_worlds_in_virtual_time(tmp_path: Path, first: int) -> None:
    for seed in range(first, min(first + IN_ONE_TEST, FIRST + SEEDS)):
        again = f"FERROMQTT_FIRST_SEED={seed} FERROMQTT_SEEDS=1 pytest {__file__} -k in_virtual"
        try:
            problems = play(seed, tmp_path / "outbox")
        except BaseException as error:
            error.add_note(f"seed {seed}: {again}")
            raise
        assert not problems, f"seed {seed}: {again}\n" + "\n".join(problems)


@pytest.mark.parametrize("disk", [Disk.EMPTY, Disk.OLD], ids=lambda it: it.name.lower())
def test_the_checks_find_a_disk_that_forgets(tmp_path: Path, disk: Disk) -> None:
    assert any(play(seed, tmp_path / "outbox", disk) for seed in range(40))
