"""What a store is to exactly-once handlers: the protocol that a database is adapted to."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

from ferromqtt import _checks
from ferromqtt._once.errors import OpenTransactionError, StoreFailedError

_T = TypeVar("_T")
D = TypeVar("D")
D_co = TypeVar("D_co", covariant=True)

HANDLED = "ferromqtt_handled"
DEAD_LETTERS = "ferromqtt_dead_letters"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?")


@dataclasses.dataclass(frozen=True)
class DeadLetter:
    """A message whose handler has failed at each try, as its row in the table of dead letters."""

    handler: str
    """The name of the handler."""
    key: str | None = dataclasses.field(repr=False)
    """What identifies the message; None if there is no valid key."""
    topic: str
    payload: bytes = dataclasses.field(repr=False)
    qos: int
    properties: str = dataclasses.field(repr=False)
    """The properties of MQTT 5.0 as a JSON object."""
    error: str = dataclasses.field(repr=False)
    """The type and the text of what the handler has raised."""
    failed_at: int
    """Seconds since 1970."""


class Transactions(Protocol[D_co]):
    """One connection to a database, as exactly-once handlers use it: what `Store.open` returns.

    Five statements are about the two tables: `remember`, `forget`, `release_identifiers`, `bury`,
    and the one that makes them, which is the application's affair. The others control the
    transaction. For a store that is
    used in a thread none of them may suspend: they are `async def`, and await nothing that waits.

    What they raise stops the handler with `StoreFailedError`, but for `SavepointGoneError`.
    """

    errors: tuple[type[Exception], ...]
    """The base classes of what the driver raises."""

    @property
    def db(self) -> D_co:
        """What handlers get."""

    def may_try_again(self, error: BaseException) -> bool:
        """Tell whether the transaction has failed only for another one that ran beside it.

        So it is with a deadlock, or a serialization failure. The batch is tried again then, from
        its beginning.
        """

    async def begin(self) -> None:
        """Begin a transaction.

        Raises:
            OpenTransactionError: There is one already, which stays as it is.
        """

    async def savepoint(self) -> None:
        """Set a savepoint. There is never more than one."""

    async def release(self) -> None:
        """Release the savepoint.

        Raises:
            SavepointGoneError: It is not there any more, or the transaction is another one.
        """

    async def roll_back_to(self) -> None:
        """Take back what was done since the savepoint, and release it.

        Raises:
            SavepointGoneError: It is not there any more, or the transaction is another one.
        """

    async def commit(self) -> None:
        """Commit the transaction."""

    async def roll_back(self) -> None:
        """Take back the transaction, if there is one."""

    async def remember(self, handler: str, key: str, now: int) -> bool:
        """Insert the row that remembers a message; return False if it is there already.

        Where another transaction has inserted the same row and is not over, this has to wait for
        its end.

        Args:
            handler: The name of the handler, which is a part of the primary key.
            key: What identifies the message among those of the handler, which is the rest of it.
            now: Seconds since 1970.
        """

    async def forget(self, handler: str, before: int, most: int) -> None:
        """Delete at most `most` rows of a handler that were inserted before a time."""

    async def release_identifiers(self, handler: str, identifiers: Sequence[str] | None) -> None:
        """Delete the rows of a handler without a key that have these keys; None is all of them.

        The keys are Packet Identifiers, whose messages the server has let go of. A row that is not
        there is no error. Only handlers without a key call it.
        """

    async def bury(self, letter: DeadLetter) -> None:
        """Insert the row of a dead letter."""

    async def close(self) -> None:
        """Close the connection, if the store has opened it."""


class Store(Protocol[D_co]):
    """A database that remembers which messages are handled."""

    in_thread: bool
    """Whether it opens its connections itself, to be used in a thread: `open`, the handler and
    all else are called in one thread then, which belongs to one handler."""

    async def open(self) -> Transactions[D_co]:
        """Return a connection; called once for each handler in each run of its router."""


@dataclasses.dataclass(frozen=True)
class Tables:
    """The names of the two tables."""

    handled: str
    dead_letters: str

    def __post_init__(self) -> None:
        for option, name in (("table", self.handled), ("dead_letters", self.dead_letters)):
            given: object = name
            if not isinstance(given, str):
                raise _checks.wrong_type(option, "str", given)
            if not _NAME.fullmatch(given):
                raise ValueError(
                    f"{option} must be the name of a table, of letters, digits and _, with or "
                    f"without a schema before it, not {given[:80]!r}"
                )
        if self.handled.lower() == self.dead_letters.lower():
            raise ValueError("table and dead_letters must have different names")


class BuiltInStore(Generic[D]):
    """A store of this package."""

    def __init__(
        self,
        kind: str,
        source: D | Callable[[], D],
        *,
        in_thread: bool,
        adapt: Callable[[D, bool], Transactions[D]],
        sql: Callable[[D | None], list[str]],
        execute: Callable[[D, str], object],
    ) -> None:
        self._kind = kind
        self._source = source
        self.in_thread = in_thread
        self._adapt = adapt
        self._sql = sql
        self._execute = execute

    def __repr__(self) -> str:
        where = "a thread" if self.in_thread else "the event loop"
        return f"<store of {self._kind}, used in {where}>"

    @property
    def sql(self) -> str:
        """The statements that make the tables, if they are not there yet."""
        return "".join(f"{statement};\n" for statement in self._sql(None))

    async def open(self) -> Transactions[D]:
        """Return the connection; or open one, in the thread that calls this."""
        if not self.in_thread:
            return self._adapt(cast("D", self._source), False)
        connection = cast("Callable[[], D]", self._source)()
        if inspect.isawaitable(connection):
            if inspect.iscoroutine(connection):
                connection.close()
            raise TypeError(
                f"once.{self._kind} was given a function that returns an awaitable: make an "
                "asynchronous connection first, and give that"
            )
        return self._adapt(connection, True)

    async def _create(self) -> None:
        transactions = await self.open()
        try:
            try:
                await transactions.begin()
                for statement in self._sql(transactions.db):
                    await settled(self._execute(transactions.db, statement))
                await transactions.commit()
            except Exception as error:
                if not isinstance(error, OpenTransactionError):
                    await transactions.roll_back()
                raise StoreFailedError(f"The tables cannot be created: {error}") from error
        finally:
            await transactions.close()


class SyncStore(BuiltInStore[D]):
    """A store over a connection without `await`: from `once.sqlite` and its kin."""

    def create(self) -> None:
        """Make the tables that are not there yet, in a transaction of its own.

        It needs the right to create tables. A program without it has somebody run `sql` before.
        With a function that opens connections it opens one, and closes it.

        Raises:
            StoreFailedError: The database refuses, or the connection is in a transaction.
        """
        run_without_waiting(self._create())


class AsyncStore(BuiltInStore[D]):
    """A store over a connection with `await`: from `once.aiosqlite` and its kin."""

    async def create(self) -> None:
        """Make the tables that are not there yet, in a transaction of its own.

        It needs the right to create tables. A program without it has somebody run `sql` before.

        Raises:
            StoreFailedError: The database refuses, or the connection is in a transaction.
        """
        await self._create()


async def settled(result: object) -> Any:  # noqa: ANN401 - what a driver returns
    """Return what a driver returns, with or without `await`."""
    if hasattr(result, "__await__"):  # a tenth of what `inspect.isawaitable` costs
        return await cast("Awaitable[object]", result)
    return result


def run_without_waiting(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that never suspends to its end, without an event loop.

    So the same code drives connections with and without `await`.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("_T", end.value)
    coroutine.close()
    raise RuntimeError(
        "A store that is used in a thread has awaited something: only the event loop can wait"
    )


def is_inserted(count: int) -> bool:
    """Tell by the number of rows whether the row that remembers a message is new.

    Raises:
        RuntimeError: The driver does not know. Taken for 0, a message would be lost.
    """
    if count not in (0, 1):
        raise RuntimeError(
            f"the driver says that an INSERT of one row has inserted {count}: update it"
        )
    return count == 1
