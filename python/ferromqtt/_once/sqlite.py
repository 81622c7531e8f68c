"""SQLite through the standard library's sqlite3, and through aiosqlite."""

from __future__ import annotations

import sqlite3
from typing import Any, TypeVar

from ferromqtt._once.errors import OpenTransactionError, SavepointGoneError
from ferromqtt._once.sql import Statements, StatementTransactions
from ferromqtt._once.store import Tables, settled

C = TypeVar("C")

_LEGACY = -1
"""`sqlite3.LEGACY_TRANSACTION_CONTROL` of Python 3.12."""


def statements(tables: Tables) -> Statements:
    """Return the statements of SQLite."""
    return Statements(tables, "?", "INTEGER", "BLOB", "INTEGER")


class SqliteTransactions(StatementTransactions[C]):
    """A connection of sqlite3 or aiosqlite, whose methods have the same names."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, connection: C, tables: Tables, *, owned: bool) -> None:
        check_autocommit(connection)
        super().__init__(connection, statements(tables), owned=owned)

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

    async def _at_savepoint(self, statement: str) -> None:
        try:
            await self._run(statement)
        except sqlite3.OperationalError as error:
            if "no such savepoint" in str(error):
                raise SavepointGoneError from error
            raise


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
