"""A subscriber with an outbox that is killed again and again, and what its lives have brought."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ferromqtt import blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .killing import KillingProxy, Moment

TESTS = Path(__file__).parents[1]


class Taken(NamedTuple):
    """A message that a life has taken."""

    life: int
    qos: int
    number: int
    dup: bool

    @property
    def name(self) -> str:
        return f"{self.qos}:{self.number}"


@dataclass
class Listener:
    """A program, its folder, and everything that its lives have said."""

    proxy: KillingProxy
    folder: Path
    version: str
    ack: str
    store: str = "outbox"
    taken: list[Taken] = field(default_factory=list)
    lives: int = 0
    reports: set[int] = field(default_factory=set)
    """The lives in which the log has said that a message may have come twice."""
    carried: dict[int, list[str]] = field(default_factory=dict)
    """By life: what has come to it, in that order."""
    answered: dict[int, frozenset[str]] = field(default_factory=dict)
    """By life: the QoS 2 messages that earlier ones have answered, in the session of the server."""

    def live(
        self,
        moment: Moment | None = None,
        *,
        when_subscribed: Callable[[], None] | None = None,
        kill_after: int | None = None,
        until: Callable[[], bool] | None = None,
    ) -> list[Taken]:
        """Live once: to the moment, or until so much is taken, and return what was taken.

        `until` is asked after each message; the life is ended when it says so.
        """
        self.lives += 1
        self.answered[self.lives] = frozenset(self.proxy.answered)
        before = len(self.taken)
        arguments = [self.proxy.port, self.folder, self.version, self.ack, self.store]
        worker = str(TESTS / "support" / "outbox_listener.py")
        with subprocess.Popen(
            [sys.executable, worker, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, PYTHONPATH=str(TESTS)),
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            self.proxy.aim(process, self.folder, moment)
            print(file=process.stdin, flush=True)
            for line in process.stdout:
                if not line.endswith("\n"):
                    break  # it died in the middle of it
                if line == "subscribed\n" and when_subscribed:
                    when_subscribed()
                self._hear(line.strip())
                enough = kill_after is not None and len(self.taken) - before >= kill_after
                if enough or (until is not None and until()):
                    process.kill()
        assert process.returncode < 0, "it ended by itself"
        self.carried[self.lives] = self.proxy.carried
        return self.taken[before:]

    def _hear(self, line: str) -> None:
        if line == "reported":
            self.reports.add(self.lives)
        elif line != "subscribed":
            payload, dup = line.split()
            qos, number = payload.split(":")
            self.taken.append(Taken(self.lives, int(qos), int(number), dup == "1"))

    def problems(self, must_come: Iterable[str]) -> list[str]:
        """Return what is wrong with what was taken. Each message of `must_come` has to be in it."""
        found = [*self._disorder()]
        came: set[str] = set()
        lives: dict[str, int] = {}
        for it in self.taken:
            name = it.name
            if name in came:
                is_reported = it.dup or it.life in self.reports
                if it.qos == 2 and (not is_reported or lives[name] == it.life):
                    found.append(f"life {it.life} has taken {name} again, and nothing says so")
            if it.qos == 2 and name in self.answered[it.life]:
                found.append(f"life {it.life} has taken {name}, which was answered before")
            came.add(name)
            lives[name] = it.life
        found += [f"{name} is lost" for name in must_come if name not in came]
        return found

    def _disorder(self) -> Iterator[str]:
        """Yield what was not taken in the order in which the server sent it in that life.

        MQTT-4.6.0-6 binds the server, and mosquitto 2.0 at times sends a message before an older
        one when a client comes back. So the order is that on the wire.
        """
        for life, carried in self.carried.items():
            for qos in (1, 2):
                left = iter(carried)
                for it in self.taken:
                    if (it.life, it.qos) == (life, qos) and it.name not in left:
                        yield f"life {life} has taken {it.name} out of order"


class Numbers:
    """Publishes numbers at QoS 1 and 2 in turn, straight to the broker."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._next = 0

    def publish(self, count: int, qualities: tuple[int, ...] = (1, 2)) -> list[str]:
        """Publish so many; return their names when the broker has them all."""
        names = []
        with blocking.Client("127.0.0.1", self._port, protocol=5) as client:
            for _ in range(count):
                qos = qualities[self._next % len(qualities)]
                names.append(f"{qos}:{self._next}")
                client.publish(f"numbers/{qos}", names[-1], qos=qos)
                self._next += 1
        return names
