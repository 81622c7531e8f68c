"""A program with an exactly-once handler, which kills itself: `test_once_kill.py` runs it.

It writes a byte for each thing that happens: `k` or, for a message that was sent before, `d` when
the key is asked for or the identifier is read, `h` when the handler has inserted its row, `b`
before a commit of such rows and `c` after. Around other commits, of what the session has become,
it writes `e` and `f`.
"""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ferromqtt import Client, Message, Router, once
from ferromqtt._once import route
from ferromqtt._once.sqlite import SqliteTransactions


class Death:
    """Kills the program once so many things of a kind have happened; never for a kind of `-`."""

    def __init__(self, kind: str, count: int) -> None:
        self._kind = kind
        self._left = count
        self._has_rows = False

    def commits(self) -> tuple[str, str]:
        """Return what happens around the commit that is next."""
        has_rows, self._has_rows = self._has_rows, False
        return ("b", "c") if has_rows else ("e", "f")

    def happened(self, kind: str) -> None:
        """Write what has happened, and die of it if it is time."""
        os.write(1, kind.encode())
        self._has_rows |= kind == "h"
        self._left -= kind == self._kind
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def connect(path: str) -> sqlite3.Connection:
    """Open the database. What is written survives the program, if not the machine."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    return db


def watch_commits(death: Death) -> None:
    """Let the program die right before a commit, or right behind one."""
    commit = SqliteTransactions.commit

    async def watched(transactions: SqliteTransactions[Any]) -> None:
        before, behind = death.commits()
        death.happened(before)
        await commit(transactions)
        death.happened(behind)

    SqliteTransactions.commit = watched  # type: ignore[method-assign]


def watch_identifiers(death: Death) -> None:
    """Let the program die when it reads the identifiers of a batch."""
    identifiers_of = route.identifiers_of

    def watched(messages: Sequence[Message]) -> list[str | None]:
        for message in messages:
            death.happened("d" if message.dup else "k")
        return identifiers_of(messages)

    route.identifiers_of = watched


def forget_to_remember() -> None:
    """Leave out the insert that remembers: the mistake that the test has to find."""

    async def remember(*_: object) -> bool:
        return True

    SqliteTransactions.remember = remember  # type: ignore[method-assign]


async def main(
    port: int, path: str, qos: int, batch: int, death: Death, *, in_thread: bool, has_key: bool
) -> None:
    router = Router()
    store = once.sqlite((lambda: connect(path)) if in_thread else connect(path))

    def payload(message: Message) -> bytes:
        death.happened("d" if message.dup else "k")
        return message.payload

    key: Callable[[Message], bytes] | None = payload if has_key else None

    @router.exactly_once("orders", store=store, key=key, qos=qos, batch=batch)
    def order(message: Message, db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO orders VALUES (?)", (int(message.payload),))
        death.happened("h")

    client = Client("127.0.0.1", port, identifier="worker", clean_session=False, manual_ack=True)
    await router.serve(client)


if __name__ == "__main__":
    port, path, qos, batch, kind, count, where, remembers, known_by = sys.argv[1:]
    if remembers == "no":
        forget_to_remember()
    fate = Death(kind, int(count))
    watch_commits(fate)
    watch_identifiers(fate)
    asyncio.run(
        main(
            int(port),
            path,
            int(qos),
            int(batch),
            fate,
            in_thread=where == "thread",
            has_key=known_by == "key",
        )
    )
