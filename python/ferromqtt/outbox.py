"""Messages that outlive the program: the outbox of a client.

docs/outbox.md of the repository says what survives what.
"""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Literal

from ferromqtt import _checks
from ferromqtt.outcomes import OVERFLOWS

__all__ = ["Outbox", "OutboxStats"]


@dataclasses.dataclass(frozen=True)
class Outbox:
    """A folder in which a client keeps its outgoing messages and its session, and their bounds.

    What `enqueue` and `publish_nowait` accept survives the end of the program: the next client with
    this folder sends it. One client at a time has a folder.

    ```python
    outbox = Outbox("data/outbox")
    async with Client("test.mosquitto.org", reconnect=True, outbox=outbox) as client:
        receipt = await client.enqueue("site/7/level", 28.4, qos=1)
        await receipt.stored()
    ```

    Args:
        path: The folder; it is made if it is missing, for its owner alone.
        maxsize: How many messages it holds at most, those included that are on their way; None for
            no limit. Messages in quarantine do not count.
        maxbytes: How many bytes they take at most: topics, payloads and properties, and 128 bytes
            for each message. On the disk they take at most a third more, and 20 MiB; in memory
            are the next ones, 12 MiB at most, and 60 bytes of each other one. None for no limit.
        overflow: What happens to a message for which there is no capacity, as for `OutgoingQueue`.
        max_age: Seconds that a message may wait to be sent, whatever its `expires_in` says; None
            for no limit. The time goes on while the program does not run, by the wall clock.
        quarantine: Whether a message that will not get through is kept, to be looked at, sent again
            or dropped by `ferromqtt outbox`: one that the server refuses for good, that is too
            large for it, or that it closes each connection for. False ends it as what the server
            says of it. Where it says nothing the message is kept in any case: a QoS 2 message whose
            session it has lost, and before 5.0 one that it closes each connection for.
        sync: What "stored" means. "always": on the disk, so that it survives a power cut. A number
            of seconds: written, and on the disk after that time. "never": written, which survives
            the end of the program, and a power cut as the system pleases.

    Raises:
        ValueError: A number is out of its range, or there is no such `overflow` or `sync`.
        TypeError: An argument has the wrong type.
    """

    path: str | os.PathLike[str]
    _: dataclasses.KW_ONLY
    maxsize: int | None = 100_000
    maxbytes: int | None = 64 << 20
    overflow: Literal["wait", "drop_oldest", "drop_newest", "fail"] = "wait"
    max_age: float | None = 7 * 86_400.0
    quarantine: bool = True
    sync: Literal["always", "never"] | float = "always"

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike):
            raise _checks.wrong_type("Outbox: path", "str or os.PathLike", self.path)
        path = os.fspath(self.path)
        if not isinstance(path, str):
            raise _checks.wrong_type("Outbox: path", "a path that is a str", path)
        if not path:
            raise ValueError("Outbox: path must not be empty: give the name of a folder.")
        _checks.check_bounds("Outbox", self.maxsize, self.maxbytes, self.overflow, OVERFLOWS)
        if self.max_age is not None:
            _check_seconds("max_age", self.max_age)
        if not isinstance(self.quarantine, bool):
            raise _checks.wrong_type("Outbox: quarantine", "bool", self.quarantine)
        if isinstance(self.sync, str):
            if self.sync not in ("always", "never"):
                must_be = '"always", "never" or a number of seconds'
                raise ValueError(f"Outbox: sync must be {must_be}, not {self.sync!r}.")
        else:
            _check_seconds("sync", self.sync)

    @property
    def native_sync(self) -> tuple[str, float]:
        """`sync` as the native module takes it."""
        return (self.sync, 0.0) if isinstance(self.sync, str) else ("interval", float(self.sync))


def _check_seconds(name: str, value: object) -> None:
    if not _checks.is_number(value) or isinstance(value, bool):
        raise _checks.wrong_type(f"Outbox: {name}", "a number of seconds", value)
    seconds = float(value)  # type: ignore[arg-type]  # a number
    if not 0 < seconds < math.inf:
        raise ValueError(f"Outbox: {name} must be more than 0 seconds, and finite, not {value}.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStats:
    """What an outbox holds, and how many messages took which way since its folder was made.

    Attributes:
        messages: Messages that have not ended, those in quarantine included.
        bytes: Their bytes on the disk.
        quarantined: Messages in quarantine.
        disk_bytes: The bytes of all its files.
        accepted: Messages accepted.
        finished: Messages that were sent, and at QoS 1 and 2 acknowledged.
        refused: Messages that the server refused.
        expired: Messages that waited too long.
        dropped: Messages that left for lack of capacity, or by a command.
        replaced: Messages whose place newer ones took.
        requeued: Messages of the quarantine that were sent again.
        damaged: Messages whose bytes on the disk were damaged.
        is_full: The disk is full: nothing is accepted until there is space.
        has_failed: The disk has failed: nothing more is stored.
    """

    messages: int
    bytes: int
    quarantined: int
    disk_bytes: int
    accepted: int
    finished: int
    refused: int
    expired: int
    dropped: int
    replaced: int
    requeued: int
    damaged: int
    is_full: bool
    has_failed: bool
