"""Exactly-once handlers of a program that is killed again and again, on mosquitto.

`FERROMQTT_KILLS=50 FERROMQTT_ORDERS=1000` is the long version.
"""

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import ferromqtt
from ferromqtt import blocking
from support.mosquitto import Mosquitto

TESTS = Path(__file__).parent
KILLS = int(os.environ.get("FERROMQTT_KILLS", "10"))
ORDERS = int(os.environ.get("FERROMQTT_ORDERS", "120"))
WINDOW = 100
"""So many messages mosquitto sends before it waits for acknowledgements."""


@pytest.fixture(scope="module")
def wide_mosquitto() -> Iterator[Mosquitto]:
    with Mosquitto(plain_only=True, max_inflight=WINDOW) as broker:
        yield broker


class Life(NamedTuple):
    """What ends one run of the program."""

    kind: str
    """After which thing that happens it kills itself; `-` if it does not."""
    count: int
    """After how many of them."""
    reads: int
    """After how many things the test kills it."""


NEVER = 10**9
COMMITTED_AND_NOT_ACKNOWLEDGED = Life("c", 1, NEVER)
"""The first end: without the row that remembers, what it has handled is handled again."""


def life(chance: random.Random, batch: int, known_by: str) -> Life:
    """Draw an end: at once, within a batch, around a commit, or whenever the signal comes."""
    kind = chance.choice("khbcc-ef" if known_by == "identifier" else "khbcc-")
    if kind == "-":
        return Life("-", 1, chance.randint(1, 3 * min(batch, WINDOW) + 40))
    most = max(1, 30 // min(batch, WINDOW)) if kind in "bcef" else min(batch, WINDOW) + 20
    return Life(kind, chance.randint(1, most), NEVER)


class Handling(NamedTuple):
    """How the program handles its messages."""

    qos: int
    batch: int
    known_by: str
    """What tells messages from others: a key, or the Packet Identifier."""

    def __str__(self) -> str:
        return f"qos{self.qos}-{self.batch}-{self.known_by}"


class Outcome(NamedTuple):
    """What the database holds in the end, and what it took."""

    handled: list[int]
    kills: int
    redeliveries: int


def play(port: int, path: Path, handling: Handling, where: str, *, remembers: bool) -> Outcome:
    """Kill the program at random until it has been killed often enough, and all is handled.

    Often enough is until so many messages were sent again: how many kills that takes depends on how
    fast the machine is. Without the row that remembers, it is until one was handled twice.
    """
    qos, batch, known_by = handling
    chance = random.Random(f"{qos + batch}{known_by}")

    def is_enough() -> bool:
        if remembers:
            return kills >= KILLS and (redeliveries >= KILLS or kills >= 10 * KILLS)
        return len(rows(path)) > len(set(rows(path))) or kills >= KILLS

    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE orders (number INTEGER)")
        db.commit()
        ferromqtt.once.sqlite(db).create()
    with blocking.Client("127.0.0.1", port, identifier="worker", clean_session=False) as client:
        client.subscribe("orders", qos=qos)
    published = kills = redeliveries = 0
    with blocking.Client("127.0.0.1", port) as publisher:
        while not is_enough() or left(path, published):
            # Ten more are for a program that has handled all, and was not killed often enough.
            more = 0 if left(path, published) else 10 if published else ORDERS
            for number in range(published, published + more):
                publisher.publish("orders", str(number), qos=qos)
            published += more
            if is_enough():
                end = Life("-", 1, NEVER)
            elif kills:
                end = life(chance, batch, known_by)
            else:
                end = COMMITTED_AND_NOT_ACKNOWLEDGED
            events = run(port, path, handling, where, end, published, remembers=remembers)
            redeliveries += events.count(b"d")
            kills += 1
    handled = rows(path)
    assert set(handled) == set(range(published)), "messages are lost"
    return Outcome(handled, kills, redeliveries)


def rows(path: Path) -> list[int]:
    """Return the orders that are handled, as often as they are."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [number for (number,) in db.execute("SELECT number FROM orders")]


def left(path: Path, published: int) -> int:
    """Return how many orders are not handled yet."""
    return published - len(set(rows(path)))


def run(
    port: int,
    path: Path,
    handling: Handling,
    where: str,
    end: Life,
    published: int,
    *,
    remembers: bool,
) -> bytes:
    """Run the program until it is killed, or has nothing left; return what happened."""
    qos, batch, known_by = handling
    does = "yes" if remembers else "no"
    arguments = [port, path, qos, batch, end.kind, end.count, where, does, known_by]
    package = Path(ferromqtt.__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-m", "support.once_worker", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{package}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        events = b""
        while len(events) < end.reads:
            event = os.read(process.stdout.fileno(), 1)
            if not event:
                break
            events += event
            if event == b"c" and not left(path, published):
                break  # all of them are committed
        process.kill()
        assert b"Traceback" not in process.stderr.read()
    return events


HANDLINGS = [
    Handling(qos, batch, known_by)
    for qos, known_by in ((1, "key"), (2, "key"), (2, "identifier"))
    for batch in (1, 100)
]


@pytest.mark.parametrize("where", ["loop", "thread"])
@pytest.mark.parametrize("handling", HANDLINGS, ids=str)
def test_each_message_is_handled_once_by_a_program_that_is_killed(
    wide_mosquitto: Mosquitto, tmp_path: Path, handling: Handling, where: str
) -> None:
    outcome = play(wide_mosquitto.port, tmp_path / "db", handling, where, remembers=True)
    print(f"{handling}, {where}: {len(outcome.handled)} messages, {outcome[1:]}")
    assert len(outcome.handled) == len(set(outcome.handled))
    assert outcome.kills >= KILLS
    assert outcome.redeliveries >= KILLS


@pytest.mark.parametrize("handling", HANDLINGS, ids=str)
def test_without_the_row_that_remembers_messages_are_handled_twice(
    wide_mosquitto: Mosquitto, tmp_path: Path, handling: Handling
) -> None:
    """What shows that the test above would find it."""
    outcome = play(wide_mosquitto.port, tmp_path / "db", handling, "loop", remembers=False)
    assert len(outcome.handled) > len(set(outcome.handled))
