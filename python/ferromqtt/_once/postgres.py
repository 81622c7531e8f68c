"""PostgreSQL through psycopg 3."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from ferromqtt._once.errors import OpenTransactionError, SavepointGoneError
from ferromqtt._once.sql import SAVEPOINT, Statements, row
from ferromqtt._once.store import DeadLetter, Tables, is_inserted, settled

C = TypeVar("C")

_INVALID_SAVEPOINT = "3B001"


def statements(tables: Tables) -> Statements:
    """Return the statements of PostgreSQL."""
    identity = "BIGINT GENERATED ALWAYS AS IDENTITY"
    return Statements(tables, "%s", "BIGINT", "BYTEA", identity)


class PostgresTransactions(Generic[C]):
    """A `psycopg.Connection` or `psycopg.AsyncConnection`, whose methods have the same names.

    Outside of autocommit psycopg itself sends BEGIN before the first statement of a transaction.
    """

    def __init__(self, connection: C, tables: Tables, *, owned: bool) -> None:
        import psycopg  # noqa: PLC0415 - imported already: the connection is of it

        check_autocommit(connection)
        self.errors: tuple[type[Exception], ...] = (psycopg.Error,)
        self._idle = psycopg.pq.TransactionStatus.IDLE
        self.db = connection
        self._connection: Any = connection
        self._owned = owned
        texts = statements(tables)
        self._remember, self._forget, self._bury = texts.remember, texts.forget, texts.bury

    async def _run(self, statement: str, *parameters: object) -> int:
        cursor = await settled(self._connection.execute(statement, parameters or None))
        count: int = cursor.rowcount
        return count

    def may_try_again(self, error: BaseException) -> bool:
        """As the protocol says."""
        return is_transaction_rollback(error)

    async def begin(self) -> None:
        """Check that the next statement, which is SAVEPOINT, begins a transaction."""
        check_autocommit(self._connection)
        status = self._connection.info.transaction_status
        if status not in (self._idle, status.UNKNOWN):  # unknown: closed, as that will say
            raise OpenTransactionError

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

    async def _at_savepoint(self, statement: str) -> None:
        if self._connection.closed and not self._connection.broken:
            raise SavepointGoneError  # `with connection:` closes it
        try:
            await self._run(statement)
        except self.errors as error:
            if getattr(error, "sqlstate", None) == _INVALID_SAVEPOINT:
                raise SavepointGoneError from error
            raise

    async def commit(self) -> None:
        """As the protocol says."""
        await settled(self._connection.commit())

    async def roll_back(self) -> None:
        """As the protocol says."""
        if not self._connection.closed:
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


def is_transaction_rollback(error: BaseException) -> bool:
    """Tell whether an error is of the class 40, which deadlocks and serialization failures are."""
    return str(getattr(error, "sqlstate", None)).startswith("40")


def check_autocommit(connection: Any) -> None:  # noqa: ANN401 - sync or async
    """Raise ValueError for a connection in autocommit."""
    if connection.autocommit:
        raise ValueError(
            "The psycopg connection is in autocommit: open it without autocommit=True, or call "
            "connection.set_autocommit(False)"
        )
