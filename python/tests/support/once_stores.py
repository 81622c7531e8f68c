"""Each kind of store, over SQLite and PostgreSQL, as the tests of all of them need it."""

import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiosqlite
import psycopg
import sqlalchemy as sa
from sqlalchemy.ext import asyncio as alchemy_asyncio
from sqlalchemy.orm import Session

from ferromqtt import Message, once
from support.once import ORDERS, Db, key

INSERT = "INSERT INTO orders VALUES (:key, :payload)"
Handler = Callable[[Message, Any], Awaitable[None] | None]


class Case(NamedTuple):
    """A store, and what a program does with its connection."""

    store: Any
    db: Any
    """The connection that the program has; None if the store opens its own."""
    insert: Handler
    """Handles an order."""
    enders: dict[str, Handler]
    """What handlers must not do, by names."""


Opened = contextlib.AbstractAsyncContextManager[Case]


def parameters(message: Message) -> dict[str, object]:
    return {"key": key(message), "payload": message.payload}


def _insert_in_sqlite(message: Message, db: sqlite3.Connection) -> None:
    db.execute(INSERT, parameters(message))


def _commit(_: Message, db: Db) -> None:
    db.commit()


def _roll_back(_: Message, db: Db) -> None:
    db.rollback()


def _in_block(message: Message, db: sqlite3.Connection) -> None:
    with db:
        _insert_in_sqlite(message, db)


def _script(_: Message, db: sqlite3.Connection) -> None:
    db.executescript("INSERT INTO orders VALUES ('of a script', x'')")


def _release(_: Message, db: sqlite3.Connection) -> None:
    db.execute("RELEASE ferromqtt_once")


_SQLITE_ENDERS: dict[str, Handler] = {
    "commit": _commit,
    "rollback": _roll_back,
    "with": _in_block,
    "executescript": _script,
    "release": _release,
}


@contextlib.asynccontextmanager
async def sqlite(url: str) -> AsyncIterator[Case]:
    with contextlib.closing(sqlite3.connect(url)) as db:
        yield Case(once.sqlite(db), db, _insert_in_sqlite, _SQLITE_ENDERS)


@contextlib.asynccontextmanager
async def sqlite_in_thread(url: str) -> AsyncIterator[Case]:
    store = once.sqlite(lambda: sqlite3.connect(url))
    yield Case(store, None, _insert_in_sqlite, _SQLITE_ENDERS)


async def _await_insert(message: Message, db: aiosqlite.Connection) -> None:
    await db.execute(INSERT, parameters(message))


async def _await_commit(_: Message, db: Db) -> None:
    await db.commit()


async def _await_roll_back(_: Message, db: Db) -> None:
    await db.rollback()


async def _await_script(_: Message, db: aiosqlite.Connection) -> None:
    await db.executescript("INSERT INTO orders VALUES ('of a script', x'')")


@contextlib.asynccontextmanager
async def with_aiosqlite(url: str) -> AsyncIterator[Case]:
    async with aiosqlite.connect(url) as db:
        enders: dict[str, Handler] = {
            "commit": _await_commit,
            "rollback": _await_roll_back,
            "executescript": _await_script,
        }
        yield Case(once.aiosqlite(db), db, _await_insert, enders)


OF_PSYCOPG = "INSERT INTO orders VALUES (%(key)s, %(payload)s)"


def _insert_by_psycopg(message: Message, db: psycopg.Connection[Any]) -> None:
    db.execute(OF_PSYCOPG, parameters(message))


def _close_by_block(message: Message, db: psycopg.Connection[Any]) -> None:
    with db:
        _insert_by_psycopg(message, db)


def _send_commit(_: Message, db: psycopg.Connection[Any]) -> None:
    db.execute("COMMIT")


def _release_in_psycopg(_: Message, db: psycopg.Connection[Any]) -> None:
    db.execute("RELEASE SAVEPOINT ferromqtt_once")


_PSYCOPG_ENDERS: dict[str, Handler] = {
    "commit": _commit,
    "rollback": _roll_back,
    "with": _close_by_block,
    "COMMIT": _send_commit,
    "release": _release_in_psycopg,
}


@contextlib.asynccontextmanager
async def with_psycopg(url: str) -> AsyncIterator[Case]:
    with contextlib.closing(psycopg.connect(url)) as db:
        yield Case(once.psycopg(db), db, _insert_by_psycopg, _PSYCOPG_ENDERS)


@contextlib.asynccontextmanager
async def psycopg_in_thread(url: str) -> AsyncIterator[Case]:
    store = once.psycopg(lambda: psycopg.connect(url))
    yield Case(store, None, _insert_by_psycopg, _PSYCOPG_ENDERS)


async def _await_insert_by_psycopg(message: Message, db: psycopg.AsyncConnection[Any]) -> None:
    await db.execute(OF_PSYCOPG, parameters(message))


@contextlib.asynccontextmanager
async def psycopg_async(url: str) -> AsyncIterator[Case]:
    db = await psycopg.AsyncConnection.connect(url)
    enders: dict[str, Handler] = {"commit": _await_commit, "rollback": _await_roll_back}
    try:
        yield Case(once.psycopg(db), db, _await_insert_by_psycopg, enders)
    finally:
        await db.close()


_STATEMENT = sa.text(INSERT)


def _insert_by_alchemy(message: Message, db: sa.Connection | Session) -> None:
    db.execute(_STATEMENT, parameters(message))


async def _await_insert_by_alchemy(message: Message, db: Db) -> None:
    await db.execute(_STATEMENT, parameters(message))


def _release_in_alchemy(_: Message, db: sa.Connection | Session) -> None:
    transaction = db.get_nested_transaction()
    assert transaction is not None
    transaction.commit()


def _leave_savepoint(_: Message, db: sa.Connection | Session) -> None:
    db.begin_nested()


_ALCHEMY_ENDERS: dict[str, Handler] = {
    "commit": _commit,
    "rollback": _roll_back,
    "release": _release_in_alchemy,
    "savepoint": _leave_savepoint,
}


def _engine(url: str) -> sa.Engine:
    if not url.startswith("postgresql:"):
        return sa.create_engine(f"sqlite:///{url}")
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))


def _async_engine(url: str) -> alchemy_asyncio.AsyncEngine:
    if not url.startswith("postgresql:"):
        return alchemy_asyncio.create_async_engine(f"sqlite+aiosqlite:///{url}")
    where = url.replace("postgresql:", "postgresql+psycopg:", 1)
    return alchemy_asyncio.create_async_engine(where)


@contextlib.asynccontextmanager
async def alchemy_connection(url: str) -> AsyncIterator[Case]:
    engine = _engine(url)
    with engine.connect() as db:
        yield Case(once.sqlalchemy(db), db, _insert_by_alchemy, _ALCHEMY_ENDERS)
    engine.dispose()


@contextlib.asynccontextmanager
async def alchemy_session(url: str) -> AsyncIterator[Case]:
    engine = _engine(url)
    with Session(engine) as db:
        yield Case(once.sqlalchemy(db), db, _insert_by_alchemy, _ALCHEMY_ENDERS)
    engine.dispose()


@contextlib.asynccontextmanager
async def alchemy_in_thread(url: str) -> AsyncIterator[Case]:
    engine = _engine(url)
    store = once.sqlalchemy(lambda: Session(engine))
    yield Case(store, None, _insert_by_alchemy, _ALCHEMY_ENDERS)
    engine.dispose()


_ASYNC_ENDERS: dict[str, Handler] = {"commit": _await_commit, "rollback": _await_roll_back}


@contextlib.asynccontextmanager
async def alchemy_async_connection(url: str) -> AsyncIterator[Case]:
    engine = _async_engine(url)
    async with engine.connect() as db:
        yield Case(once.sqlalchemy(db), db, _await_insert_by_alchemy, _ASYNC_ENDERS)
    await engine.dispose()


@contextlib.asynccontextmanager
async def alchemy_async_session(url: str) -> AsyncIterator[Case]:
    engine = _async_engine(url)
    async with alchemy_asyncio.AsyncSession(engine) as db:
        yield Case(once.sqlalchemy(db), db, _await_insert_by_alchemy, _ASYNC_ENDERS)
    await engine.dispose()


SQLITE: list[Callable[[str], Opened]] = [sqlite, sqlite_in_thread, with_aiosqlite]
POSTGRES: list[Callable[[str], Opened]] = [with_psycopg, psycopg_in_thread, psycopg_async]
ALCHEMY: list[Callable[[str], Opened]] = [
    alchemy_connection,
    alchemy_session,
    alchemy_in_thread,
    alchemy_async_connection,
    alchemy_async_session,
]
ALL = [
    *(("sqlite", each) for each in (*SQLITE, *ALCHEMY)),
    *(("postgres", each) for each in (*POSTGRES, *ALCHEMY)),
]
"""Pairs of a database and what opens it."""
ASYNC = [it for it in ALL if "async" in it[1].__name__ or it[1] is with_aiosqlite]
"""Those whose handlers are coroutine functions."""


class Rows:
    """Looks into a database from beside."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_postgres = url.startswith("postgresql:")
        orders = ORDERS.replace("BLOB", "BYTEA") if self._is_postgres else ORDERS
        self.execute(orders)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in a connection of its own."""
        if self._is_postgres:
            with psycopg.connect(self._url) as db:
                cursor = db.execute(statement)
                return cursor.fetchall() if cursor.description else []
        with contextlib.closing(sqlite3.connect(self._url)) as connection, connection:
            return connection.execute(statement).fetchall()

    def wait_for(self, statement: str) -> None:
        """Wait until a statement finds something. It blocks its thread."""
        end = time.monotonic() + 30
        while not self.execute(statement):
            assert time.monotonic() < end, statement

    def orders(self) -> list[bytes]:
        """Return what was handled, in order of the payloads."""
        rows = self.execute("SELECT payload FROM orders ORDER BY payload")
        return [bytes(payload) for (payload,) in rows]

    def remembered(self) -> list[str]:
        """Return the keys that are remembered."""
        rows = self.execute("SELECT message_key FROM ferromqtt_handled ORDER BY message_key")
        return [each for (each,) in rows]


@contextlib.contextmanager
def sqlite_file(folder: Path) -> Any:  # noqa: ANN401 - as `Postgres.database`
    """Return where a file for a test is."""
    yield str(folder / "orders.db")
