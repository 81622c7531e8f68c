"""PostgreSQL through psycopg 3."""

from __future__ import annotations

from typing import Any, TypeVar

from ferromqtt._once.errors import OpenTransactionError, SavepointGoneError
from ferromqtt._once.sql import Statements, StatementTransactions
from ferromqtt._once.store import Tables, settled

C = TypeVar("C")

_INVALID_SAVEPOINT = "3B001"


def statements(tables: Tables) -> Statements:
    """Return the statements of PostgreSQL."""
    identity = "BIGINT GENERATED ALWAYS AS IDENTITY"
    return Statements(tables, "%s", "BIGINT", "BYTEA", identity)


class PostgresTransactions(StatementTransactions[C]):
    """A `psycopg.Connection` or `psycopg.AsyncConnection`, whose methods have the same names.

    Outside of autocommit psycopg itself sends BEGIN before the first statement of a transaction.
    """

    def __init__(self, connection: C, tables: Tables, *, owned: bool) -> None:
        import psycopg  # noqa: PLC0415 - imported already: the connection is of it

        check_autocommit(connection)
        self.errors: tuple[type[Exception], ...] = (psycopg.Error,)
        self._idle = psycopg.pq.TransactionStatus.IDLE
        super().__init__(connection, statements(tables), owned=owned)

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

    async def _at_savepoint(self, statement: str) -> None:
        if self._connection.closed and not self._connection.broken:
            raise SavepointGoneError  # `with connection:` closes it
        try:
            await self._run(statement)
        except self.errors as error:
            if getattr(error, "sqlstate", None) == _INVALID_SAVEPOINT:
                raise SavepointGoneError from error
            raise

    async def roll_back(self) -> None:
        """As the protocol says."""
        if not self._connection.closed:
            await super().roll_back()


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
