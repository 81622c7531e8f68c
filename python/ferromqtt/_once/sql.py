"""The statements of sqlite3, aiosqlite and psycopg."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

from ferromqtt._once.store import DeadLetter, Tables, is_inserted, settled

C = TypeVar("C")

SAVEPOINT = "ferromqtt_once"
MOST_IDENTIFIERS = 500
"""An SQLite from before 2020 has 999 parameters for a statement."""


@dataclasses.dataclass(frozen=True)
class Statements:
    """The four statements about the tables, in the words of one database."""

    tables: Tables
    mark: str
    """How parameters are written."""
    integer: str
    blob: str
    identity: str
    """How a column is declared that numbers its rows."""

    def create(self) -> list[str]:
        """Make the tables; the index is for `forget`."""
        handled, letters = self.tables.handled, self.tables.dead_letters
        index = f"{handled.rpartition('.')[2]}_at"
        return [
            (
                f"CREATE TABLE IF NOT EXISTS {handled} (\n"
                "    handler TEXT NOT NULL,\n"
                "    message_key TEXT NOT NULL,\n"
                f"    handled_at {self.integer} NOT NULL,\n"
                "    PRIMARY KEY (handler, message_key)\n"
                ")"
            ),
            self._index(index, handled),
            (
                f"CREATE TABLE IF NOT EXISTS {letters} (\n"
                f"    id {self.identity} PRIMARY KEY,\n"
                "    handler TEXT NOT NULL,\n"
                "    message_key TEXT,\n"
                "    topic TEXT NOT NULL,\n"
                f"    payload {self.blob} NOT NULL,\n"
                "    qos INTEGER NOT NULL,\n"
                "    properties TEXT NOT NULL,\n"
                "    error TEXT NOT NULL,\n"
                f"    failed_at {self.integer} NOT NULL\n"
                ")"
            ),
        ]

    def _index(self, index: str, table: str) -> str:
        schema, _, name = table.rpartition(".")
        if schema and self.mark == "?":  # in SQLite the index has the schema, and not the table
            index, table = f"{schema}.{index}", name
        return f"CREATE INDEX IF NOT EXISTS {index} ON {table} (handler, handled_at)"

    @property
    def remember(self) -> str:
        """Insert a row, unless it is there."""
        columns = "handler, message_key, handled_at"
        # The names of tables are checked by `Tables`, here and below.
        row = f"{self.tables.handled} ({columns}) VALUES ({self._marks(3)})"
        return f"INSERT INTO {row} ON CONFLICT DO NOTHING"

    @property
    def forget(self) -> str:
        """Delete old rows, but a bounded number."""
        table = self.tables.handled
        is_old = f"handler = {self.mark} AND handled_at < {self.mark} LIMIT {self.mark}"
        old = f"SELECT handler, message_key FROM {table} WHERE {is_old}"  # noqa: S608 - as above
        return f"DELETE FROM {table} WHERE (handler, message_key) IN ({old})"  # noqa: S608 - as above

    @property
    def release_all(self) -> str:
        """Delete all rows of a handler."""
        return f"DELETE FROM {self.tables.handled} WHERE handler = {self.mark}"  # noqa: S608 - as above

    def release(self, count: int) -> str:
        """Delete the rows of a handler that have one of so many keys."""
        return f"{self.release_all} AND message_key IN ({self._marks(count)})"

    @property
    def bury(self) -> str:
        """Insert a dead letter."""
        names = [field.name for field in dataclasses.fields(DeadLetter)]
        columns = ", ".join("message_key" if name == "key" else name for name in names)
        row = f"({columns}) VALUES ({self._marks(len(names))})"
        return f"INSERT INTO {self.tables.dead_letters} {row}"

    def _marks(self, count: int) -> str:
        return ", ".join([self.mark] * count)


def portions(identifiers: Sequence[str]) -> Iterator[Sequence[str]]:
    """Return as many at a time as one statement of any database has parameters for."""
    return (
        identifiers[first : first + MOST_IDENTIFIERS]
        for first in range(0, len(identifiers), MOST_IDENTIFIERS)
    )


def row(letter: DeadLetter) -> tuple[object, ...]:
    """Return the parameters of `Statements.bury`."""
    return dataclasses.astuple(letter)


class StatementTransactions(Generic[C]):
    """A connection that takes statements as texts: what sqlite3 and psycopg have in common."""

    def __init__(self, connection: C, statements: Statements, *, owned: bool) -> None:
        self.db = connection
        self._connection: Any = connection
        self._owned = owned
        self._statements = statements
        self._remember, self._forget = statements.remember, statements.forget
        self._bury = statements.bury

    async def _run(self, statement: str, *parameters: object) -> int:
        """Run a statement, and return the driver's number of rows."""
        raise NotImplementedError

    async def _at_savepoint(self, statement: str) -> None:
        """Run a statement that raises SavepointGoneError without the savepoint."""
        raise NotImplementedError

    async def savepoint(self) -> None:
        """As the protocol says."""
        await self._run(f"SAVEPOINT {SAVEPOINT}")

    async def release(self) -> None:
        """As the protocol says."""
        await self._at_savepoint(f"RELEASE SAVEPOINT {SAVEPOINT}")

    async def roll_back_to(self) -> None:
        """As the protocol says."""
        await self._at_savepoint(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
        await self._at_savepoint(f"RELEASE SAVEPOINT {SAVEPOINT}")

    async def commit(self) -> None:
        """As the protocol says."""
        await settled(self._connection.commit())

    async def roll_back(self) -> None:
        """As the protocol says."""
        await settled(self._connection.rollback())

    async def remember(self, handler: str, key: str, now: int) -> bool:
        """As the protocol says."""
        return is_inserted(await self._run(self._remember, handler, key, now))

    async def forget(self, handler: str, before: int, most: int) -> None:
        """As the protocol says."""
        await self._run(self._forget, handler, before, most)

    async def release_identifiers(self, handler: str, identifiers: Sequence[str] | None) -> None:
        """As the protocol says."""
        if identifiers is None:
            await self._run(self._statements.release_all, handler)
            return
        for some in portions(identifiers):
            await self._run(self._statements.release(len(some)), handler, *some)

    async def bury(self, letter: DeadLetter) -> None:
        """As the protocol says."""
        await self._run(self._bury, *row(letter))

    async def close(self) -> None:
        """As the protocol says."""
        if self._owned:
            await settled(self._connection.close())
