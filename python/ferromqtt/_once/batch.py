"""One batch of messages in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from ferromqtt._handler_checks import check_result
from ferromqtt._native import Message
from ferromqtt._once.errors import (
    HandlerFailedError,
    OpenTransactionError,
    SavepointGoneError,
    StoreFailedError,
    TransactionEndedError,
)
from ferromqtt._once.identifiers import Change
from ferromqtt._once.store import DeadLetter, Transactions

D = TypeVar("D")

LONGEST_KEY = 255
_LONGEST_ERROR = 2000
_TRIES = 3
"""How often a batch is begun that another transaction has made fail."""
_FORGET_EVERY = 100
"""So many rows are inserted before old ones are looked for, of which twice as many may go."""
_CONNECTING = "connecting"
"""In place of an identifier: a CONNECT is on its way, or was when a program ended."""


@dataclasses.dataclass(frozen=True)
class OnceTerms:
    """What a handler was registered with."""

    handler: Callable[..., object]
    shown: str
    """The handler and its filters, for texts."""
    key: Callable[[Any], object] | None
    """None: messages of QoS 2 are known by their Packet Identifiers."""
    batch: int
    retries: int
    dead_letter: bool
    keep_keys_for: float


@dataclasses.dataclass(frozen=True)
class Batch:
    """What one transaction is about."""

    messages: Sequence[Message]
    now: int
    """Seconds since 1970."""
    identifiers: Sequence[str | None] = ()
    """Of each message, for a handler without a key."""
    changes: Sequence[Change] = ()
    """What has become of identifiers before these messages came."""
    ending: Sequence[Change] = ()
    """What has become of them behind these messages: the end of their session, and what follows."""


@dataclasses.dataclass
class Handled:
    """What has become of the messages of a batch, from its beginning."""

    count: int = 0
    """So many are handled or dead letters, and committed: they are to be acknowledged."""
    dead: list[tuple[Exception, Message]] = dataclasses.field(default_factory=list)
    doubtful: list[Message] = dataclasses.field(default_factory=list)
    """These are handled, and may have been before: nobody knows whether their identifiers are
    those of a session that is lost."""
    failure: HandlerFailedError | None = None
    """Why the next one is not, and the handler stops."""


@dataclasses.dataclass(frozen=True)
class Doubt:
    """Whether the identifiers on record may be those of a session that the server has lost."""

    is_open: bool = False
    """A CONNECT is on record, and no answer to it."""
    stays: bool = False
    """Another one was, when the program began: which session that one met is lost with its
    program."""

    def covers(self, message: Message, identifier: str | None) -> bool:
        """Tell whether a message is new although its identifier is on record.

        The server would have set DUP on the one that the identifier is of (MQTT-3.3.1-1).
        """
        return self.is_open and identifier is not None and not message.dup


class Abandoned(Exception):  # noqa: N818 - the run is over, and nobody sees this
    """The run was cancelled while a thread worked on the batch."""


class OnceBatches(Generic[D]):
    """The batches of one handler over one connection."""

    def __init__(self, terms: OnceTerms, name: str, transactions: Transactions[D]) -> None:
        self._terms = terms
        self._name = name
        self._transactions = transactions
        self._key: str | None = None
        """That of the message at hand, if it has a valid one."""
        self._inserted = 0
        """Rows since old ones were looked for."""
        self._doubt = Doubt()
        """As it is on record."""
        self._is_abandoned = False

    async def handle(self, batch: Batch) -> Handled:
        """Handle messages in a transaction.

        Raises:
            StoreFailedError: The database has failed. Nothing is committed, unless COMMIT
                has failed.
            TransactionEndedError: A handler has ended the transaction.
            Abandoned: `abandon` was called before COMMIT. Nothing is committed.
        """
        for _ in range(_TRIES - 1):
            try:
                return await self._handle(batch)
            except StoreFailedError as error:
                cause = error.__cause__
                if cause is None or not self._transactions.may_try_again(cause):
                    raise
        return await self._handle(batch)

    async def _handle(self, batch: Batch) -> Handled:
        handled, now = Handled(), batch.now
        try:
            await self._begin()
            doubt = await self._apply(batch.changes, now, self._doubt)
            for index, message in enumerate(batch.messages):
                self._check_abandoned()
                key = self._key_of(message, batch, index)
                error = await self._one(message, key, now, doubt, handled)
                if error is not None and not self._terms.dead_letter:
                    handled.failure = self._failed(message, error)
                    break
                if error is not None:
                    await self._bury(message, error, now)
                    handled.dead.append((error, message))
                handled.count += 1
            if handled.failure is None:
                doubt = await self._apply(batch.ending, now, doubt)
            if handled.count or batch.changes or batch.ending:
                await self._forget(now)
                await self._commit()
                self._doubt = doubt
            else:
                await self._transactions.roll_back()
        except BaseException as error:
            if not isinstance(error.__cause__, OpenTransactionError):
                await self._roll_back()
            raise
        return handled

    def abandon(self) -> None:
        """Have the batch that a thread works on roll back, unless its COMMIT is on its way."""
        self._is_abandoned = True

    async def close(self) -> None:
        """Close the connection, if the store has opened it."""
        await self._transactions.close()

    async def _apply(self, changes: Sequence[Change], now: int, doubt: Doubt) -> Doubt:
        """Put on record what has become of identifiers; return what is in doubt then."""
        released: list[str] = []
        for change in changes:
            if change.kind == "released":
                released.append(str(change.identifier))
                continue
            await self._release_identifiers(released)
            released.clear()
            if change.kind == "connecting":
                is_first = await self._remember(_CONNECTING, now)
                doubt = Doubt(is_open=True, stays=doubt.stays or not is_first)
            elif change.kind == "lost":
                await self._release_identifiers(None)
                doubt = Doubt()
            elif not doubt.stays:
                await self._release_identifiers([_CONNECTING])
                doubt = Doubt()
        await self._release_identifiers(released)
        return doubt

    def _key_of(self, message: Message, batch: Batch, index: int) -> Callable[[], str | None]:
        """Return what finds the key of a message: code of the user's, or its identifier."""
        if self._terms.key is None:
            return lambda: batch.identifiers[index]
        key = self._terms.key
        return lambda: key_text(key(message))

    async def _one(
        self,
        message: Message,
        key: Callable[[], str | None],
        now: int,
        doubt: Doubt,
        handled: Handled,
    ) -> Exception | None:
        """Handle a message, unless it is remembered; return what it has raised at its last try."""
        failure = None
        for _ in range(self._terms.retries + 1):
            self._check_abandoned()
            await self._do("set a savepoint", self._transactions.savepoint)
            self._key = None
            try:
                self._key = key()
                is_inserted = self._key is not None and await self._remember(self._key, now)
                is_doubtful = not is_inserted and doubt.covers(message, self._key)
                if is_inserted or is_doubtful or self._key is None:
                    await self._call(message)
                await self._release(message)
            except (StoreFailedError, TransactionEndedError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever the user's code raises
                await self._roll_back_to(message, error)
                failure = error
            else:
                self._inserted += is_inserted
                if is_doubtful:
                    handled.doubtful.append(message)
                return None
        return failure

    async def _call(self, message: Message) -> None:
        try:
            result = self._terms.handler(message, self._transactions.db)
            if inspect.isawaitable(result):
                _check_loop(result)
                result = await result
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            text = "The handler has awaited something that was cancelled"
            raise RuntimeError(text) from error
        check_result(result)

    async def _begin(self) -> None:
        await self._do("begin a transaction", self._transactions.begin)

    async def _remember(self, key: str, now: int) -> bool:
        async def insert() -> bool:
            return await self._transactions.remember(self._name, key, now)

        return bool(await self._do("insert the row that remembers a message", insert))

    async def _release_identifiers(self, identifiers: list[str] | None) -> None:
        if identifiers == []:
            return

        async def delete() -> None:
            await self._transactions.release_identifiers(self._name, identifiers)

        await self._do("delete the identifiers of messages", delete)

    async def _bury(self, message: Message, error: Exception, now: int) -> None:
        key = None if self._terms.key is None else self._key
        letter = dead_letter(self._name, key, message, error, now)

        async def insert() -> None:
            if self._key is not None:
                await self._transactions.remember(self._name, self._key, now)
            await self._transactions.bury(letter)

        await self._do("insert a dead letter", insert)
        self._inserted += self._key is not None

    async def _forget(self, now: int) -> None:
        if self._terms.key is None or self._inserted < _FORGET_EVERY:
            return  # an identifier goes when the server has released it, however old it is
        before, most = max(0, int(now - self._terms.keep_keys_for)), 2 * self._inserted

        async def delete() -> None:
            await self._transactions.forget(self._name, before, most)

        await self._do("delete old keys", delete)
        self._inserted = 0

    async def _commit(self) -> None:
        self._check_abandoned()
        await self._do("commit", self._transactions.commit)

    async def _release(self, message: Message) -> None:
        try:
            await self._transactions.release()
        except SavepointGoneError as gone:
            raise self._ended(message) from gone.__cause__

    async def _roll_back_to(self, message: Message, error: Exception) -> None:
        """Take back what the handler has done, and what remembers its message."""
        try:
            await self._transactions.roll_back_to()
        except SavepointGoneError:
            if isinstance(error, self._transactions.errors):  # a full disk ends it, too
                raise self._store_failed("go on after an error of the database", error) from error
            raise self._ended(message) from error
        except Exception as failed:
            raise self._store_failed("roll back to the savepoint", failed) from failed
        is_of_database = isinstance(error, self._transactions.errors)
        if is_of_database and self._transactions.may_try_again(error):
            # The transaction would see the same again.
            raise self._store_failed("go on beside another transaction", error) from error

    async def _roll_back(self) -> None:
        with contextlib.suppress(Exception):  # the connection is gone, and what is raised says it
            await self._transactions.roll_back()

    async def _do(self, what: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - of the call
        try:
            return await call()
        except Exception as error:
            raise self._store_failed(what, error) from error

    def _check_abandoned(self) -> None:
        if self._is_abandoned:
            raise Abandoned

    def _store_failed(self, what: str, error: Exception) -> StoreFailedError:
        return StoreFailedError(
            f"The database of the handler {self._terms.shown} has failed to {what}: "
            f"{first_line(error)} (no message of the batch is acknowledged: they come again with "
            "the next connection)"
        )

    def _ended(self, message: Message) -> TransactionEndedError:
        return TransactionEndedError(
            f"The handler {self._terms.shown} has ended its transaction on a message to "
            f"{message.topic}: leave out commit(), rollback(), executescript() and `with "
            "connection:`, since its work is committed with the record that the message is handled"
        )

    def _failed(self, message: Message, error: Exception) -> HandlerFailedError:
        tries = self._terms.retries + 1
        often = "" if tries == 1 else f" {tries} times"
        failure = HandlerFailedError(
            f"The handler {self._terms.shown} has failed{often} on a message to {message.topic}: "
            "it is not acknowledged, and comes again with the next connection (with "
            'on_failure="dead_letter" it would go to a table, and the next one be handled)'
        )
        failure.__cause__ = error
        return failure


def _check_loop(result: object) -> None:
    """Raise TypeError for what a handler in a thread has left to be awaited."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError(
            "The handler has returned an awaitable in a thread, where nobody can wait for it"
        ) from None


def first_line(error: Exception) -> str:
    """Return what a driver says, without the details, which may hold values."""
    text = str(error).partition("\n")[0][:200]
    return text or type(error).__name__


def key_text(key: object) -> str:
    """Return a key as the text that is stored.

    Raises:
        TypeError: It has another type than str, int, bytes and UUID.
        ValueError: It is empty or too long, or no text of a database.
    """
    if isinstance(key, bytes):
        text = key.hex()
    elif isinstance(key, str):
        text = key
    elif isinstance(key, (int, uuid.UUID)) and not isinstance(key, bool):
        text = str(key)
    else:
        must_be = "str, int, bytes or UUID"
        raise TypeError(f"the key of a message must be {must_be}, not {type(key).__name__}")
    if not 1 <= len(text) <= LONGEST_KEY:
        raise ValueError(
            f"the key of a message must have 1-{LONGEST_KEY} characters, not {len(text)}"
        )
    if "\0" in text or (not text.isprintable() and has_surrogates(text)):
        raise ValueError("the key of a message must not have the character U+0000, or half of one")
    return text


def has_surrogates(text: str) -> bool:
    """Tell whether a text cannot be encoded in UTF-8."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def dead_letter(
    name: str, key: str | None, message: Message, error: Exception, now: int
) -> DeadLetter:
    """Return the row of a message whose handler has failed."""
    text = "".join(_storable(f"{type(error).__name__}: {error}"))[:_LONGEST_ERROR]
    properties = {} if message.properties is None else message.properties.json()
    return DeadLetter(
        handler=name,
        key=key,
        topic=str(message.topic),
        payload=message.payload,
        qos=message.qos,
        properties=json.dumps(properties),
        error=text,
        failed_at=now,
    )


def _storable(text: str) -> Iterable[str]:
    """Replace what PostgreSQL does not store in a text."""
    bad = "\ufffd"
    return (bad if it == "\0" or "\ud800" <= it <= "\udfff" else it for it in text)
