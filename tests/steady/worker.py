"""Starts a program that publishes steadily, in either language, and keeps account of its lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
LANGUAGES = ("python", "rust")
_PATIENCE = 60.0
"""Seconds in which a program that is to end has ended."""


class Breach(Exception):  # noqa: N818 - no error of this program
    """Something that must not be."""


def command(language: str) -> list[str]:
    """Return how the program is started."""
    if language == "python":
        return [sys.executable, str(Path(__file__).with_name("steady.py"))]
    program = TARGET / "debug" / "steady"
    if not program.exists():
        message = f"{program} is missing: cargo build -p ferromqtt-test-client --bin steady"
        raise FileNotFoundError(message)
    return [str(program)]


class Account:
    """What became of each number; it holds only what is not finished."""

    def __init__(self, qos: list[int], rate: float) -> None:
        self._qos = qos
        self._rate = rate
        self.sent = -1
        self.counts: Counter[str] = Counter()
        self.pending: set[int] = set()
        """Accepted, and without an outcome."""
        self.missing: set[int] = set()
        """Acknowledged, and not received."""
        self._early: set[int] = set()
        """Received, and without an outcome."""
        self._seen: deque[int] = deque(maxlen=200_000)
        self._recent: set[int] = set()
        self.breaches: list[str] = []
        self.on_acknowledged: Callable[[int], None] = lambda _: None
        self.on_received: Callable[[int], None] = lambda _: None

    def rate_of(self, seconds: float) -> float:
        """Return how many messages are sent in so many seconds."""
        return self._rate * seconds

    def take(self, line: str) -> None:
        """Note a line of the program."""
        what, _, rest = line.partition(" ")
        self.counts[what] += 1
        if what == "sent":
            self.sent = int(rest)
            self.pending.add(self.sent)
        elif what in ("acknowledged", "failed"):
            number = int(rest.partition(" ")[0])
            if number not in self.pending:
                self.breaches.append(f"a second outcome: {line}")
            self.pending.discard(number)
            if what == "failed":
                self.breaches.append(line)
            elif number in self._early:
                self._early.discard(number)
            else:
                self.missing.add(number)
            self.on_acknowledged(number)
        elif what == "received":
            self._received(int(rest))

    def _received(self, number: int) -> None:
        self.on_received(number)
        if number in self._recent:
            self.counts["again"] += 1
            if self._qos[number % len(self._qos)] == 2:
                self.breaches.append(f"{number} came twice at QoS 2")
            return
        if len(self._seen) == self._seen.maxlen:
            self._recent.discard(self._seen[0])
        self._seen.append(number)
        self._recent.add(number)
        if number in self.missing:
            self.missing.discard(number)
        else:
            self._early.add(number)


class Worker:
    """One such program."""

    def __init__(self, language: str, **settings: object) -> None:
        qos, rate = settings["qos"], settings["rate"]
        assert isinstance(qos, list)
        assert isinstance(rate, int | float)
        self.account = Account(qos, rate)
        self.tasks = 0
        self.ends: deque[tuple[float, str]] = deque(maxlen=50)
        """When and how connections and attempts ended."""
        self._lock = threading.Condition()
        self._process = subprocess.Popen(
            [*command(language), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._lock:
                what, _, rest = line.rstrip().partition(" ")
                if what == "tasks":
                    self.tasks = int(rest)
                elif what == "lost":
                    self.ends.append((now(), rest))
                self.account.take(line.rstrip())
                self._lock.notify_all()

    def wait(self, condition: Callable[[Account], object], limit: float, what: str) -> None:
        """Wait until something holds of the account."""
        with self._lock:
            if not self._lock.wait_for(lambda: condition(self.account), limit):
                end = self._process.poll()
                ended = "" if end is None else f"; the program has ended with {end}"
                message = f"{what}: not within {limit:g} s{ended}"
                raise Breach(message)

    def look(self, at: Callable[[Account], object]) -> object:
        """Return something of the account, as it is at a moment."""
        with self._lock:
            return at(self.account)

    def tell(self, word: str) -> None:
        """Give the program a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """End publishing, wait until everything has its outcome and has come, end the program."""
        self.tell("stop")
        self.wait(lambda it: not it.pending, _PATIENCE, "an outcome for each message")
        self.wait(lambda it: not it.missing, _PATIENCE, "each acknowledged message")
        self.tell("quit")
        self._process.wait(_PATIENCE)
        self._reader.join(_PATIENCE)
        if self._process.returncode:
            message = f"the program has ended with {self._process.returncode}"
            raise Breach(message)

    def status(self) -> dict[str, int]:
        """Return the memory, in KiB, the descriptors and the tasks of the program."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        resident = int(text.partition("VmRSS:")[2].split()[0])
        descriptors = len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
        return {"memory": resident, "descriptors": descriptors, "tasks": self.tasks}

    def server_in_use(self, ports: list[int]) -> int | None:
        """Return the port of the server that the program is connected to."""
        own = set()
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                own.add(str(entry.readlink()))
            except FileNotFoundError:
                continue
        for line in Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            port = int(fields[2].rpartition(":")[2], 16)
            if fields[3] == "01" and port in ports and f"socket:[{fields[9]}]" in own:
                return port
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)


def now() -> float:
    """Return the time of this machine, for differences."""
    return time.monotonic()
