"""Lets a client work for minutes through a proxy that cuts its connection every few seconds.

The client publishes RATE messages a second to itself, by turns at QoS 1 and 2, through mosquitto. A
line a minute says how far it is, and the last one whether all of this held:

- Each message has one outcome, and it is a success.
- Each message that was acknowledged has come, and none at QoS 2 has come twice.
- Memory, tasks and descriptors of the process are flat: at the end, when it rests, they are what
  they were behind the first part of the run, within `GROWTH` and `MARGIN`.

    python tests/steady/soak.py --minutes 10 --rate 1000
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python" / "tests"))

from worker import LANGUAGES, Account, Breach, Worker, now

from support.mosquitto import Mosquitto
from support.proxy import CuttingProxy

CUT_EVERY = 5.0
GROWTH = 0.05
"""By which part the memory may grow between warm-up and end."""
MARGIN = {"memory": 4096, "descriptors": 1, "tasks": 1}
"""By how much each may grow beyond that: memory in KiB."""

_WARM_UP = 0.25
"""The first part of the run, for what is allocated once and kept."""
_PATIENCE = 60.0


def soak(language: str, minutes: float, rate: float) -> list[str]:
    """Let one language run; return what is wrong."""
    with (
        Mosquitto(plain_only=True) as broker,
        CuttingProxy(*broker.where) as proxy,
        Worker(
            language,
            servers=[f"{proxy.host}:{proxy.port}"],
            identifier=f"soak-{language}",
            topic="soak",
            version=5,
            qos=[1, 2],
            rate=rate,
        ) as worker,
    ):
        try:
            _run(worker, proxy, language, minutes)
            worker.stop()
        except Breach as breach:
            return [str(breach), *worker.account.breaches[:10], *map(str, worker.ends)]
        return worker.account.breaches[:10]


def _run(worker: Worker, proxy: CuttingProxy, language: str, minutes: float) -> None:
    worker.wait(lambda it: it.counts["acknowledged"] > 0, _PATIENCE, "the first message")
    begin = now()
    end, warm_at = begin + 60 * minutes, begin + 60 * minutes * _WARM_UP
    next_line, cuts = begin + 60, 0
    before: dict[str, int] | None = None
    while now() < end:
        time.sleep(CUT_EVERY)
        if now() >= next_line:
            next_line += 60
            _tell(worker, language, begin, cuts)
        if before is None and now() >= warm_at:
            before = _at_rest(worker)
        proxy.cut_now()
        cuts += 1
        breaches = worker.look(lambda it: it.breaches[:1])
        if breaches:
            message = "a breach"
            raise Breach(message)
    assert before is not None
    after = _at_rest(worker)
    _tell(worker, language, begin, cuts)
    print(f"{language}: behind warm-up {before}, at the end {after}", flush=True)
    for what, most in MARGIN.items():
        allowed = before[what] + most + (before[what] * GROWTH if what == "memory" else 0)
        if after[what] > allowed:
            message = f"{what} has grown from {before[what]} to {after[what]}"
            raise Breach(message)


def _at_rest(worker: Worker) -> dict[str, int]:
    """Return what the process has when it is connected, and has caught up with its work.

    The lowest figures of some: a message that is on its way at the moment is no growth.
    """
    found = []
    for _ in range(5):
        done = worker.look(lambda it: it.counts["acknowledged"])
        assert isinstance(done, int)

        def has_caught_up(it: Account, done: int = done) -> bool:
            return it.counts["acknowledged"] > done and len(it.pending) < it.rate_of(0.5)

        worker.wait(has_caught_up, _PATIENCE, "the messages behind a cut")
        time.sleep(0.5)
        found.append(worker.status())
    return {what: min(it[what] for it in found) for what in found[0]}


def _tell(worker: Worker, language: str, begin: float, cuts: int) -> None:
    counts = worker.account.counts
    status = worker.status()
    print(
        f"{language}: {(now() - begin) / 60:4.1f} min, {counts['acknowledged']:,} acknowledged, "
        f"{counts['received']:,} received, {counts['again']} of QoS 1 twice, {cuts} cuts, "
        f"{counts['connected']} connections, {status['memory'] / 1024:.1f} MiB, "
        f"{status['tasks']} tasks, {status['descriptors']} descriptors",
        flush=True,
    )


def main() -> int:
    """Let both languages run, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=1000, help="messages a second")
    parser.add_argument("--language", choices=LANGUAGES, action="append")
    given = parser.parse_args()
    wrong = False
    for language in given.language or LANGUAGES:
        problems = soak(language, given.minutes, given.rate)
        wrong |= bool(problems)
        print(f"{language}: {'all held' if not problems else 'BREACH'}", *problems, sep="\n    ")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
