"""SQLite through the standard library's sqlite3, and through aiosqlite."""

from __future__ import annotations

import sqlite3
from typing import Any, Generic, TypeVar

from ferromqtt._once.errors import OpenTransactionError, SavepointGoneError
from ferromqtt._once.sql import SAVEPOINT, Statements, row
from ferromqtt._once.store import DeadLetter, Tables, is_inserted, settled

C = TypeVar("C")

_LEGACY = -1
"""`sqlite3.LEGACY_TRANSACTION_CONTROL` of Python 3.12."""


def statements(tables: Tables) -> Statements:
    """Return the statements of SQLite."""
    return Statements(tables, "?", "INTEGER", "BLOB", "INTEGER")


class SqliteTransactions(Generic[C]):
    """A connection of sqlite3 or aiosqlite, whose methods have the same names."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, connection: C, tables: Tables, *, owned: bool) -> None:
        check_autocommit(connection)
        self.db = connection
        self._connection: Any = connection
        self._owned = owned
        texts = statements(tables)
        self._remember, self._forget, self._bury = texts.remember, texts.forget, texts.bury

    async def _run(self, statement: str, *parameters: object) -> int:
        cursor = await settled(self._connection.execute(statement, parameters))
        count: int = cursor.rowcount
        await settled(cursor.close())
        return count

    def may_try_again(self, error: BaseException) -> bool:
        """Never: the connection has waited for its time limit already."""
        del error
        return False

    async def begin(self) -> None:
        """Take the write lock at once: SQLite waits for that, and not for one that is upgraded."""
        check_autocommit(self._connection)
        if self._connection.in_transaction:
            raise OpenTransactionError
        await self._run("BEGIN IMMEDIATE")

    async def savepoint(self) -> None:
        """As the protocol says."""
        await self._run(f"SAVEPOINT {SAVEPOINT}")

    async def release(self) -> None:
        """As the protocol says."""
        await self._at_savepoint(f"RELEASE {SAVEPOINT}")

    async def roll_back_to(self) -> None:
        """As the protocol says."""
        await self._at_savepoint(f"ROLLBACK TO {SAVEPOINT}")
        await self._at_savepoint(f"RELEASE {SAVEPOINT}")

    async def _at_savepoint(self, statement: str) -> None:
        try:
            await self._run(statement)
        except sqlite3.OperationalError as error:
            if "no such savepoint" in str(error):
                raise SavepointGoneError from error
            raise

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

    async def bury(self, letter: DeadLetter) -> None:
        """As the protocol says."""
        await self._run(self._bury, *row(letter))

    async def close(self) -> None:
        """As the protocol says."""
        if self._owned:
            await settled(self._connection.close())


def check_autocommit(connection: Any) -> None:  # noqa: ANN401 - of sqlite3 or aiosqlite
    """Raise ValueError for a connection that does not begin transactions as sqlite3 does.

    In autocommit what a handler does after a COMMIT of its own would commit itself.
    """
    if connection.isolation_level is None:
        raise ValueError(
            "The SQLite connection is in autocommit (isolation_level=None): open it without "
            "isolation_level, or set connection.isolation_level to 'DEFERRED'"
        )
    if getattr(connection, "autocommit", _LEGACY) != _LEGACY:
        raise ValueError(
            "The SQLite connection was opened with autocommit=True or autocommit=False: open it "
            "without, since exactly-once handlers begin and end their transactions themselves"
        )
