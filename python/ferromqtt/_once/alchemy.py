"""SQLAlchemy: its connections and sessions, with and without `await`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Generic, TypeVar

from ferromqtt import _checks
from ferromqtt._once.errors import OpenTransactionError, SavepointGoneError
from ferromqtt._once.postgres import is_transaction_rollback
from ferromqtt._once.sql import portions
from ferromqtt._once.store import DeadLetter, Tables, is_inserted, settled

C = TypeVar("C")

_DIALECTS = ("sqlite", "postgresql")


class AlchemyTables:
    """The tables, as SQLAlchemy knows them."""

    def __init__(self, tables: Tables) -> None:
        import sqlalchemy as sa  # noqa: PLC0415 - imported already: the connection is of it

        metadata = sa.MetaData()
        big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
        schema, _, name = tables.handled.rpartition(".")
        self.handled = sa.Table(
            name,
            metadata,
            sa.Column("handler", sa.Text, primary_key=True),
            sa.Column("message_key", sa.Text, primary_key=True),
            sa.Column("handled_at", big, nullable=False),
            schema=schema or None,
        )
        self.index = sa.Index(f"{name}_at", self.handled.c.handler, self.handled.c.handled_at)
        schema, _, name = tables.dead_letters.rpartition(".")
        self.dead_letters = sa.Table(
            name,
            metadata,
            sa.Column("id", big, sa.Identity(always=True), primary_key=True),
            sa.Column("handler", sa.Text, nullable=False),
            sa.Column("message_key", sa.Text),
            sa.Column("topic", sa.Text, nullable=False),
            sa.Column("payload", sa.LargeBinary, nullable=False),
            sa.Column("qos", sa.Integer, nullable=False),
            sa.Column("properties", sa.Text, nullable=False),
            sa.Column("error", sa.Text, nullable=False),
            sa.Column("failed_at", big, nullable=False),
            schema=schema or None,
        )

    def create(self, dialect: Any) -> list[str]:  # noqa: ANN401 - of SQLAlchemy
        """Return the statements that make them, in the words of a database."""
        from sqlalchemy.schema import CreateIndex, CreateTable  # noqa: PLC0415 - as above

        ddl = (
            CreateTable(self.handled, if_not_exists=True),
            CreateIndex(self.index, if_not_exists=True),
            CreateTable(self.dead_letters, if_not_exists=True),
        )
        return [str(each.compile(dialect=dialect)).strip() for each in ddl]

    def remember(self, dialect: str) -> Any:  # noqa: ANN401 - of SQLAlchemy
        """Insert a row, unless it is there: SQLAlchemy has this for each database apart."""
        insert = import_module(f"sqlalchemy.dialects.{dialect}").insert
        return insert(self.handled).on_conflict_do_nothing()


class AlchemyTransactions(Generic[C]):
    """A Connection, AsyncConnection, Session or AsyncSession, whose methods have the same names."""

    def __init__(self, connection: C, tables: AlchemyTables, *, owned: bool) -> None:
        import sqlalchemy as sa  # noqa: PLC0415 - imported already

        self._dialect = check(connection)
        self.errors: tuple[type[Exception], ...] = (sa.exc.SQLAlchemyError,)
        self._statement_error = sa.exc.StatementError
        self.db = connection
        self._connection: Any = connection
        self._sync: Any = sync_of(connection)
        self._owned = owned
        self._outer: Any = None
        self._nested: Any = None
        self._tables = tables
        # Otherwise SQLAlchemy does not ask every driver how many rows an INSERT has inserted.
        remember = tables.remember(self._dialect)
        self._remember = remember.execution_options(preserve_rowcount=True)
        self._bury = sa.insert(tables.dead_letters)

    async def _execute(self, statement: Any, parameters: Any) -> int:  # noqa: ANN401 - Core
        try:
            result = await settled(self._connection.execute(statement, parameters))
        except self._statement_error as error:
            error.params = None  # they hold keys and dead letters, and would be shown
            raise
        count: int = result.rowcount
        return count

    def may_try_again(self, error: BaseException) -> bool:
        """As the protocol says."""
        return is_transaction_rollback(getattr(error, "orig", None) or error)

    async def begin(self) -> None:
        """Begin a transaction, and see to it that the driver has begun it, too."""
        if self._sync.in_transaction():
            raise OpenTransactionError
        await settled(self._connection.begin())
        self._outer = self._sync.get_transaction()
        if self._dialect == "sqlite":
            await self._begin_in_sqlite()

    async def _begin_in_sqlite(self) -> None:
        """Send BEGIN, unless the engine was set up to do that.

        The drivers of SQLite begin a transaction before the first change. A savepoint before that
        would be the transaction, and its release the commit.
        """
        connection = await self._of_core()
        raw = await settled(connection.get_raw_connection()) if self._is_async else None
        driver = raw.driver_connection if raw else connection.connection.driver_connection
        if not driver.in_transaction:
            await settled(connection.exec_driver_sql("BEGIN IMMEDIATE"))

    async def _of_core(self) -> Any:  # noqa: ANN401 - a connection, also of a session
        is_session = hasattr(self._connection, "get_bind")
        return await settled(self._connection.connection()) if is_session else self._connection

    @property
    def _is_async(self) -> bool:
        return self._sync is not self._connection

    async def savepoint(self) -> None:
        """As the protocol says."""
        await settled(self._connection.begin_nested())
        self._nested = self._sync.get_nested_transaction()

    def _check_savepoint(self) -> None:
        is_outer = self._sync.get_transaction() is self._outer
        if not is_outer or self._sync.get_nested_transaction() is not self._nested:
            raise SavepointGoneError

    async def release(self) -> None:
        """As the protocol says. A session writes its changes before that."""
        self._check_savepoint()
        await self._end_nested("commit")

    async def roll_back_to(self) -> None:
        """As the protocol says."""
        self._check_savepoint()
        await self._end_nested("rollback")

    async def _end_nested(self, how: str) -> None:
        end = getattr(self._nested, how)
        if not self._is_async:
            end()
            return
        await settled(self._connection.run_sync(lambda _: end()))

    async def commit(self) -> None:
        """As the protocol says."""
        await settled(self._connection.commit())

    async def roll_back(self) -> None:
        """As the protocol says."""
        await settled(self._connection.rollback())

    async def remember(self, handler: str, key: str, now: int) -> bool:
        """As the protocol says."""
        row = {"handler": handler, "message_key": key, "handled_at": now}
        return is_inserted(await self._execute(self._remember, row))

    async def forget(self, handler: str, before: int, most: int) -> None:
        """As the protocol says."""
        import sqlalchemy as sa  # noqa: PLC0415 - imported already

        table = self._tables.handled
        primary = (table.c.handler, table.c.message_key)
        is_old = (table.c.handler == handler) & (table.c.handled_at < before)
        old = sa.select(*primary).where(is_old).limit(most)
        await self._execute(sa.delete(table).where(sa.tuple_(*primary).in_(old)), None)

    async def release_identifiers(self, handler: str, identifiers: Sequence[str] | None) -> None:
        """As the protocol says."""
        import sqlalchemy as sa  # noqa: PLC0415 - imported already

        table = self._tables.handled
        all_of_handler = sa.delete(table).where(table.c.handler == handler)
        if identifiers is None:
            await self._execute(all_of_handler, None)
            return
        for some in portions(identifiers):
            await self._execute(all_of_handler.where(table.c.message_key.in_(some)), None)

    async def bury(self, letter: DeadLetter) -> None:
        """As the protocol says."""
        row = dataclasses.asdict(letter)
        row["message_key"] = row.pop("key")
        await self._execute(self._bury, row)

    async def close(self) -> None:
        """As the protocol says."""
        if self._owned:
            await settled(self._connection.close())


def sync_of(connection: Any) -> Any:  # noqa: ANN401 - of SQLAlchemy
    """Return what is behind a connection or session with `await`; others are that themselves."""
    for name in ("sync_session", "sync_connection"):
        if hasattr(connection, name):
            found = getattr(connection, name)
            if found is None:
                raise ValueError(
                    "The AsyncConnection is not started: await it, or enter it by async with, first"
                )
            return found
    return connection


def is_connection(given: object) -> bool:
    """Tell whether it is a connection or a session."""
    from sqlalchemy import Connection  # noqa: PLC0415 - the application has it
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession  # noqa: PLC0415 - likewise
    from sqlalchemy.orm import Session  # noqa: PLC0415 - likewise

    return isinstance(given, (Connection, Session, AsyncConnection, AsyncSession))


def check(given: Any) -> str:  # noqa: ANN401 - what the application gives
    """Return the name of the database of a connection or session.

    Raises:
        TypeError: It is none.
        ValueError: It is in autocommit, or of another database than SQLite and PostgreSQL.
    """
    if not is_connection(given):
        raise _checks.wrong_type(
            "the connection of once.sqlalchemy",
            "a Connection, Session, AsyncConnection or AsyncSession, or a function that opens one",
            given,
        )
    sync = sync_of(given)
    bind = sync.get_bind() if hasattr(sync, "get_bind") else sync
    engine = bind.engine
    levels = [
        bind.get_execution_options().get("isolation_level"),
        engine.get_execution_options().get("isolation_level"),
        getattr(engine.dialect, "_on_connect_isolation_level", None),
    ]
    if "AUTOCOMMIT" in levels:
        raise ValueError(
            "The connection of SQLAlchemy is in autocommit: give its engine another "
            "isolation_level than 'AUTOCOMMIT'"
        )
    name: str = engine.dialect.name
    if name not in _DIALECTS:
        raise ValueError(
            f"once.sqlalchemy knows {' and '.join(_DIALECTS)}, not {name}: write a Store for it"
        )
    return name


def dialect_of(given: Any) -> Any:  # noqa: ANN401 - of SQLAlchemy
    """Return the dialect of a connection or session, for the texts of statements."""
    sync = sync_of(given)
    return (sync.get_bind() if hasattr(sync, "get_bind") else sync).dialect
