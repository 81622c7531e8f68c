"""Stores of exactly-once handlers: which database remembers what is handled.

`Router.exactly_once` takes one of them. Each is made of the application's own connection, which the
handler gets too. Nothing here opens a database by itself.

- `sqlite`, `psycopg` and `sqlalchemy` over a connection: handlers run on the event loop, in the
  thread of the connection, and block the loop for as long as they work.
- The same over a function that opens a connection: it is called in a thread of its own, where the
  handler runs as well, and the loop goes on.
- `aiosqlite`, and `psycopg` and `sqlalchemy` over asynchronous connections: handlers are coroutine
  functions on the event loop.

`store.create()` makes the two tables, `store.sql` is the statements that it runs.
docs/exactly-once.md says which rights they need, and what a `Store` of your own has to do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ferromqtt import _checks
from ferromqtt._once import sqlite as _sqlite
from ferromqtt._once.errors import (
    HandlerFailedError,
    OnceError,
    OpenTransactionError,
    SavepointGoneError,
    StoreFailedError,
    TransactionEndedError,
)
from ferromqtt._once.store import (
    DEAD_LETTERS,
    HANDLED,
    AsyncStore,
    DeadLetter,
    Store,
    SyncStore,
    Tables,
    Transactions,
)

if TYPE_CHECKING:
    import psycopg as _psycopg
    from aiosqlite import Connection as _AiosqliteConnection
    from sqlalchemy import Connection as _AlchemyConnection
    from sqlalchemy.ext.asyncio import AsyncConnection as _AlchemyAsyncConnection
    from sqlalchemy.ext.asyncio import AsyncSession as _AlchemyAsyncSession
    from sqlalchemy.orm import Session as _AlchemySession

    _Sync = TypeVar("_Sync", _AlchemyConnection, _AlchemySession)
    _Async = TypeVar("_Async", _AlchemyAsyncConnection, _AlchemyAsyncSession)
else:
    _AiosqliteConnection = Any  # annotations can be resolved where the library is not installed

__all__ = [
    "AsyncStore",
    "DeadLetter",
    "HandlerFailedError",
    "OnceError",
    "OpenTransactionError",
    "SavepointGoneError",
    "Store",
    "StoreFailedError",
    "SyncStore",
    "TransactionEndedError",
    "Transactions",
    "aiosqlite",
    "psycopg",
    "sqlalchemy",
    "sqlite",
]


def sqlite(
    connection: sqlite3.Connection | Callable[[], sqlite3.Connection],
    *,
    table: str = HANDLED,
    dead_letters: str = DEAD_LETTERS,
) -> SyncStore[sqlite3.Connection]:
    """Return a store over a connection of the standard library's sqlite3.

    Args:
        connection: A connection, or a function that opens one.
        table: The name of the table that remembers what is handled.
        dead_letters: The name of the table of messages that could not be handled.

    Raises:
        ValueError: The connection is in autocommit, or a name is none of a table.
        TypeError: An argument has the wrong type.
    """
    tables = Tables(table, dead_letters)
    in_thread = not isinstance(connection, sqlite3.Connection)
    if in_thread:
        _check_opens("sqlite", "an sqlite3.Connection", connection)
    else:
        _sqlite.check_autocommit(connection)
    return SyncStore(
        "sqlite",
        connection,
        in_thread=in_thread,
        adapt=lambda db, owned: _sqlite.SqliteTransactions(db, tables, owned=owned),
        sql=lambda _: _sqlite.statements(tables).create(),
        execute=lambda db, statement: db.execute(statement),
    )


def aiosqlite(
    connection: _AiosqliteConnection, *, table: str = HANDLED, dead_letters: str = DEAD_LETTERS
) -> AsyncStore[_AiosqliteConnection]:
    """Return a store over a connection of aiosqlite that is open already.

    Args:
        connection: The connection.
        table: As for `sqlite`.
        dead_letters: As for `sqlite`.

    Raises:
        ValueError: The connection is in autocommit or not open, or a name is none of a table.
        TypeError: An argument has the wrong type.
    """
    import aiosqlite as library  # noqa: PLC0415 - the application has it

    tables = Tables(table, dead_letters)
    if not isinstance(connection, library.Connection):
        raise _checks.wrong_type(
            "the connection of once.aiosqlite", "an aiosqlite.Connection", connection
        )
    _sqlite.check_autocommit(connection)
    return AsyncStore(
        "aiosqlite",
        connection,
        in_thread=False,
        adapt=lambda db, owned: _sqlite.SqliteTransactions(db, tables, owned=owned),
        sql=lambda _: _sqlite.statements(tables).create(),
        execute=lambda db, statement: db.execute(statement),
    )


@overload
def psycopg(
    connection: _psycopg.AsyncConnection[Any], *, table: str = ..., dead_letters: str = ...
) -> AsyncStore[_psycopg.AsyncConnection[Any]]: ...
@overload
def psycopg(
    connection: _psycopg.Connection[Any] | Callable[[], _psycopg.Connection[Any]],
    *,
    table: str = ...,
    dead_letters: str = ...,
) -> SyncStore[_psycopg.Connection[Any]]: ...
def psycopg(
    connection: Any, *, table: str = HANDLED, dead_letters: str = DEAD_LETTERS
) -> SyncStore[Any] | AsyncStore[Any]:
    """Return a store over a connection of psycopg 3 to PostgreSQL.

    Args:
        connection: A `Connection`, an `AsyncConnection`, or a function that opens a `Connection`.
        table: As for `sqlite`; it may have a schema before it.
        dead_letters: As for `sqlite`; likewise.

    Raises:
        ValueError: The connection is in autocommit, or a name is none of a table.
        TypeError: An argument has the wrong type.
    """
    import psycopg as library  # noqa: PLC0415 - the application has it

    from ferromqtt._once import postgres  # noqa: PLC0415 - as above

    tables = Tables(table, dead_letters)
    is_async = isinstance(connection, library.AsyncConnection)
    in_thread = not (is_async or isinstance(connection, library.Connection))
    if in_thread:
        _check_opens("psycopg", "a psycopg.Connection or AsyncConnection", connection)
    else:
        postgres.check_autocommit(connection)
    return (AsyncStore if is_async else SyncStore)(
        "psycopg",
        connection,
        in_thread=in_thread,
        adapt=lambda db, owned: postgres.PostgresTransactions(db, tables, owned=owned),
        sql=lambda _: postgres.statements(tables).create(),
        execute=lambda db, statement: db.execute(statement),
    )


@overload
def sqlalchemy(
    connection: _Async, *, table: str = ..., dead_letters: str = ...
) -> AsyncStore[_Async]: ...
@overload
def sqlalchemy(
    connection: _Sync, *, table: str = ..., dead_letters: str = ...
) -> SyncStore[_Sync]: ...
@overload
def sqlalchemy(
    connection: Callable[[], _Sync], *, table: str = ..., dead_letters: str = ...
) -> SyncStore[_Sync]: ...
def sqlalchemy(
    connection: Any, *, table: str = HANDLED, dead_letters: str = DEAD_LETTERS
) -> SyncStore[Any] | AsyncStore[Any]:
    """Return a store over SQLAlchemy 2, with SQLite or PostgreSQL below.

    Args:
        connection: A `Connection`, `Session`, `AsyncConnection` or `AsyncSession`, which the
            handler gets; or a function that opens a `Connection` or `Session`, such as a
            `sessionmaker` or `engine.connect`.
        table: As for `psycopg`.
        dead_letters: As for `psycopg`.

    Raises:
        ValueError: The connection is in autocommit, or of another database, or a name is none of a
            table.
        TypeError: An argument has the wrong type.
    """
    from sqlalchemy import text  # noqa: PLC0415 - the application has it

    from ferromqtt._once import alchemy  # noqa: PLC0415 - as above

    tables = alchemy.AlchemyTables(Tables(table, dead_letters))
    in_thread = not alchemy.is_connection(connection) and callable(connection)
    if not in_thread:
        alchemy.check(connection)
    is_async = not in_thread and alchemy.sync_of(connection) is not connection

    def sql(db: Any) -> list[str]:  # noqa: ANN401 - of SQLAlchemy
        if db is not None or not in_thread:
            return tables.create(alchemy.dialect_of(connection if db is None else db))
        with connection() as opened:
            return tables.create(alchemy.dialect_of(opened))

    return (AsyncStore if is_async else SyncStore)(
        "sqlalchemy",
        connection,
        in_thread=in_thread,
        adapt=lambda db, owned: alchemy.AlchemyTransactions(db, tables, owned=owned),
        sql=sql,
        execute=lambda db, statement: db.execute(text(statement)),
    )


def _check_opens(kind: str, connection: str, given: object) -> None:
    is_connection = hasattr(given, "cursor")  # of another library, and callable as sqlite3's is
    if not callable(given) or isinstance(given, type) or is_connection:
        must_be = f"{connection}, or a function that opens one"
        raise _checks.wrong_type(f"the connection of once.{kind}", must_be, given)
