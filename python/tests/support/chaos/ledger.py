"""What the programs of a world did, and what they saw."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from ferromqtt import MqttDiscardedError, MqttError

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN, RETURNED, RAISED, CANCELLED = "open", "returned", "raised", "cancelled"


@dataclass
class Call:
    """One call of a client, from its begin to its outcome."""

    client: str
    what: str
    begun: int
    """The moment, in the order of all that happens in the world."""
    begun_at: float
    """The loop's time."""
    limit: float | None
    """Seconds that it may take; None if that is bounded by other calls too."""
    outcome: str = OPEN
    error: BaseException | None = None
    """What it raised; None again when the checks are over, since its frames hold the client."""
    delivery: str | None = None
    """What its error says about delivery."""
    text: str = ""
    """The error as text."""
    ended_at: float = 0.0
    ends: int = 0
    expires_in: float | None = None
    """Seconds that the message may wait to be sent."""
    accepted_at: float = 0.0
    """When the outgoing queue had capacity for it, in the loop's time."""
    latest: bool = False
    """Whether a later message to its topic takes its place."""
    discarded: str = ""
    """Why the outgoing queue has given it up."""

    def fail(self, error: BaseException) -> None:
        """Note what it raised."""
        self.error, self.text = error, repr(error)
        if isinstance(error, MqttError):
            self.delivery = error.delivery
        if isinstance(error, MqttDiscardedError):
            self.discarded = error.outcome

    def __str__(self) -> str:
        error = f" {self.text}, delivery={self.delivery}" if self.text else ""
        return (
            f"{self.client}: {self.what}, begun at {self.begun_at:.3f} s, {self.outcome} at "
            f"{self.ended_at:.3f} s{error}"
        )


@dataclass(frozen=True)
class Name:
    """What tells one publication from all others; it is the begin of its payload."""

    publisher: str
    topic: str
    qos: int
    number: int

    def __str__(self) -> str:
        return f"{self.publisher}|{self.topic}|{self.qos}|{self.number}"

    def payload(self, size: int) -> bytes:
        return f"{self} ".encode() + b"." * size

    @classmethod
    def of(cls, payload: bytes) -> Name:
        publisher, topic, qos, number = payload.partition(b" ")[0].decode().split("|")
        return cls(publisher, topic, int(qos), int(number))


@dataclass(frozen=True)
class Receipt:
    """One message that a program took."""

    moment: int
    body: int
    """Which of the program's client objects, by number."""
    name: Name


@dataclass
class Ledger:
    """Everything, in order."""

    calls: list[Call] = field(default_factory=list)
    publications: dict[Name, Call] = field(default_factory=dict)
    receipts: dict[str, list[Receipt]] = field(default_factory=dict)
    """What each client's program took."""
    numbers: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """The last number of each publisher, topic and QoS."""
    moments: Iterator[int] = field(default_factory=count)
    answered: dict[str, set[Name]] = field(default_factory=dict)
    """What each client's program has acknowledged or rejected itself."""
    settled: dict[str, dict[Name, int]] = field(default_factory=dict)
    """The same, at which moment, if that was the copy of the connection that there was."""
    lost: dict[str, Counter[str]] = field(default_factory=dict)
    """How many messages each client's queues say that they have lost, by filter."""
    problems: list[str] = field(default_factory=list)
    """What was seen to be wrong while the world was played."""

    def moment(self) -> int:
        """Return a number that grows: two things may happen at one time of the loop."""
        return next(self.moments)

    def begin(self, client: str, what: str, limit: float | None) -> Call:
        """Note the begin of a call."""
        noted = Call(client, what, self.moment(), asyncio.get_running_loop().time(), limit)
        self.calls.append(noted)
        return noted

    @contextlib.contextmanager
    def ending(self, noted: Call) -> Iterator[Call]:
        """Note the outcome of a call that is made inside, or awaited."""
        try:
            yield noted
        except (asyncio.CancelledError, GeneratorExit) as error:
            noted.outcome = CANCELLED
            noted.fail(error)
            raise
        except BaseException as error:
            noted.outcome = RAISED
            noted.fail(error)
            raise
        else:
            noted.outcome = RETURNED
        finally:
            noted.ends += 1
            noted.ended_at = asyncio.get_running_loop().time()

    def call(
        self, client: str, what: str, limit: float | None
    ) -> contextlib.AbstractContextManager[Call]:
        """Note a call that is made inside."""
        return self.ending(self.begin(client, what, limit))

    def take(self, client: str, body: int, payload: bytes) -> Name:
        """Note a message that a program took."""
        name = Name.of(payload)
        self.receipts.setdefault(client, []).append(Receipt(self.moment(), body, name))
        return name

    def repeats(self) -> list[str]:
        """Return a text for each message that a program took more than once."""
        counts = Counter(
            (client, receipt.name)
            for client, receipts in self.receipts.items()
            for receipt in receipts
        )
        return [f"QoS {name.qos} twice" for (_, name), times in counts.items() if times > 1]
