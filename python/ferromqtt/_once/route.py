"""A handler of a router that handles each message exactly once."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import inspect
import json
import math
import time
import weakref
from collections.abc import AsyncIterator, Callable, Sequence, Sized
from typing import Any, NamedTuple, Self, cast

from ferromqtt import _checks
from ferromqtt._internals import Internals
from ferromqtt._native import Message
from ferromqtt._once.batch import (
    Abandoned,
    Batch,
    Handled,
    OnceBatches,
    OnceTerms,
    first_line,
    has_surrogates,
)
from ferromqtt._once.errors import StoreFailedError
from ferromqtt._once.identifiers import Ledger, identifiers_of
from ferromqtt._once.store import Store, Transactions, run_without_waiting
from ferromqtt._once.worker import Worker
from ferromqtt.options import ProtocolVersion
from ferromqtt.types import SubscriptionTopic

GRACE = 10.0
"""Seconds that a run which is cancelled waits for a handler in a thread."""

_locks: weakref.WeakKeyDictionary[
    Store[Any], tuple[weakref.ref[asyncio.AbstractEventLoop], asyncio.Lock]
] = weakref.WeakKeyDictionary()
"""Handlers on the event loop that share a store share its connection, one batch at a time."""


class Options(NamedTuple):
    """The keywords of `Router.exactly_once` that are about handling."""

    key: object
    batch: int
    retries: int
    on_failure: object
    keep_keys_for: object
    name: object

    def checked(self) -> Self:
        """Check them, and return them.

        Raises:
            ValueError: One is out of its range.
            TypeError: One has the wrong type.
        """
        checked_key(self.key)
        if self.on_failure not in ("stop", "dead_letter"):
            raise ValueError(
                f"on_failure must be 'stop' or 'dead_letter', not {str(self.on_failure)[:40]!r}"
            )
        seconds = self.keep_keys_for
        if not _checks.is_number(seconds):
            raise _checks.wrong_type("keep_keys_for", "a number of seconds", seconds)
        if not 0 < cast("float", seconds) < math.inf:
            raise ValueError(f"keep_keys_for must be seconds, and more than 0, not {seconds}")
        if self.name is None:
            return self
        if not isinstance(self.name, str):
            raise _checks.wrong_type("name", "str", self.name)
        if not self.name or "\0" in self.name or has_surrogates(self.name):
            raise ValueError("name must be a text that a database stores, and not an empty one")
        return self

    def of(self, handler: Callable[..., object], shown: str) -> OnceTerms:
        """Return the terms of a handler."""
        return OnceTerms(
            handler,
            shown,
            cast("Callable[[Any], object] | None", self.key),
            self.batch,
            self.retries,
            self.on_failure == "dead_letter",
            cast("float", self.keep_keys_for),
        )


class OnceRoute:
    """What `Router.exactly_once` was given, checked."""

    def __init__(
        self,
        topics: Sequence[SubscriptionTopic],
        store: Store[Any],
        terms: OnceTerms,
        name: str | None,
    ) -> None:
        self.terms = terms
        self._topics = topics
        self._store = store
        self._name = name

    def name(self, internals: Internals) -> str:
        """Return the name of the handler, by which the table tells it from others."""
        identifier = internals.options.identifier or ""
        filters = list(map(str, map(filter_of, self._topics)))
        if self.keeps_identifiers:
            # They mean nothing beside another client's, nor beside keys.
            rest = self._name or " ".join(filters)
            return f"{json.dumps(identifier)} {rest} by Packet Identifier"
        return self._name if self._name is not None else " ".join([identifier, *filters])

    @property
    def keeps_identifiers(self) -> bool:
        """Whether the handler has no key, and knows messages by their Packet Identifiers."""
        return self.terms.key is None

    def check(self, internals: Internals, *, serves: bool) -> None:
        """Raise ValueError for a client with which messages would be lost."""
        options = internals.options
        handler = self.terms.shown
        if self.keeps_identifiers and not serves:
            raise ValueError(
                f"The exactly-once handler {handler} has no key=, and needs router.serve(client): "
                "the Packet Identifiers of a session that the server has lost are deleted before "
                "the client goes on"
            )
        if self.keeps_identifiers and options.protocol == ProtocolVersion.V31:
            raise ValueError(
                f"The exactly-once handler {handler} has no key=, and needs MQTT 3.1.1 or 5.0: a "
                "server of 3.1 does not say whether it has lost the session"
            )
        if internals.entered:
            raise ValueError(
                f"The exactly-once handler {handler} begins too late: the client is entered, and "
                "what the server had kept for it has gone to client.messages. Call "
                "router.serve(client) with a client that is not entered"
            )
        if not internals.core.manual_ack:
            raise ValueError(
                f"The exactly-once handler {handler} needs Client(manual_ack=True): the client "
                "would acknowledge messages that come before the handler runs, or after it"
            )
        if not options.identifier:
            raise ValueError(
                f"The exactly-once handler {handler} needs a client with a name, such as "
                'Client(identifier="orders"): by it the server keeps the session'
            )
        is_5 = options.protocol == ProtocolVersion.V5
        keep = "clean_session=False"
        if is_5:
            keep = "clean_start=False and session_expiry_interval=seconds"
        properties = (is_5 and options.connect_properties) or {}
        is_kept = not is_5 or bool(properties.get("session_expiry_interval"))
        if options.clean is not False or not is_kept:
            raise ValueError(
                f"The exactly-once handler {handler} needs a session that outlives the program, "
                f"since the server sends again what was not acknowledged: give Client {keep}"
            )

    def warn_of_qos(self, internals: Internals, messages: Sequence[Message]) -> bool:
        """Warn if one of these messages may be handled more or less than once; return whether."""
        topic = next((message.topic for message in messages if message.qos == 0), None)
        if topic is not None:
            internals.core.warn(
                "The exactly-once handler %s gets a message of QoS 0, to %s: it is handled at most "
                "once, since the server does not send it again. Publish with QoS 1 or 2, and see "
                "whether the server has granted that",
                self.terms.shown,
                topic,
            )
            return True
        if not self.keeps_identifiers:
            return False
        topic = next((message.topic for message in messages if message.qos == 1), None)
        if topic is None:
            return False
        internals.core.warn(
            "The exactly-once handler %s has no key=, and gets a message of QoS 1, to %s: it may "
            "be handled more than once. Publish with QoS 2, and see whether the server has granted "
            "that, or give the handler a key=",
            self.terms.shown,
            topic,
        )
        return True

    def warn_of_doubt(self, internals: Internals, message: Message) -> None:
        """Warn of a message that may have been handled before, in a session that is lost."""
        internals.core.warn_of_repeating(
            "The exactly-once handler %s may have handled a message to %s twice: the server may "
            "have lost the session and not said so, and uses the Packet Identifier of a message "
            "that was not released",
            self.terms.shown,
            message.topic,
        )

    @contextlib.asynccontextmanager
    async def opened(
        self, internals: Internals, keeping: Keeping | None = None
    ) -> AsyncIterator[OpenedRoute]:
        """Open the store for a run."""
        kind = _InThread if self._store.in_thread else _OnLoop
        opened: OpenedRoute = kind(self, internals, keeping)
        try:
            yield opened
        finally:
            await opened.close()

    async def open(self, internals: Internals) -> OnceBatches[Any]:
        """Open a connection; in the thread that uses it."""
        try:
            transactions: Transactions[Any] = await self._store.open()
        except (TypeError, ValueError):
            raise  # as at registration: it is the program's mistake
        except Exception as error:
            raise StoreFailedError(
                f"The database of the handler {self.terms.shown} cannot be opened: "
                f"{first_line(error)}"
            ) from error
        return OnceBatches(self.terms, self.name(internals), transactions)

    @property
    def lock(self) -> asyncio.Lock:
        """What keeps batches of handlers apart that share a connection on this loop."""
        loop = asyncio.get_running_loop()
        found = _locks.get(self._store)
        if found is None or found[0]() is not loop:
            found = weakref.ref(loop), asyncio.Lock()
            _locks[self._store] = found
        return found[1]


class Keeping(NamedTuple):
    """What a handler without a key has beside its store."""

    ledger: Ledger
    queue: Sized
    """The messages that wait for it."""


class OpenedRoute(abc.ABC):
    """The store of a handler, in one run."""

    def __init__(self, route: OnceRoute, internals: Internals, keeping: Keeping | None) -> None:
        self._route = route
        self._internals = internals
        self._keeping = keeping
        self._batches: OnceBatches[Any] | None = None
        self._taken = 0
        """Messages that have left the queue, and are not handled yet."""

    async def handle(self, messages: Sequence[Message]) -> Handled:
        """Handle messages in a transaction, together with what has become of identifiers."""
        self._taken += len(messages)
        try:
            async with self._lock:
                if self._keeping is None:
                    return await self._commit(Batch(messages, wall_time()))
                return await self._keep(messages, *self._keeping)
        finally:
            self._taken -= len(messages)

    async def _keep(self, messages: Sequence[Message], ledger: Ledger, queue: Sized) -> Handled:
        """Handle messages behind what has become of identifiers before them.

        The end of a session goes behind all messages of that session, since only its rows say which
        of them were handled before: these are all that there are, until the client may subscribe.
        """
        before, behind = ledger.pending
        if len(queue) or self._taken > len(messages):
            behind = ()
        if not messages and not before and not behind:
            return Handled()
        identifiers = identifiers_of(messages)
        handled = await self._commit(Batch(messages, wall_time(), identifiers, before, behind))
        ledger.confirm(before if handled.failure else before + behind)
        return handled

    async def keep_up(self, ledger: Ledger) -> None:
        """Commit what becomes of identifiers while no batch of messages does; does not return."""
        while True:
            await ledger.wait()
            await self.handle(())

    @property
    @abc.abstractmethod
    def _lock(self) -> asyncio.Lock:
        """What keeps transactions apart that use one connection."""

    @abc.abstractmethod
    async def _commit(self, batch: Batch) -> Handled:
        """Handle a batch where the connection is used."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Close the connection, if the store has opened it."""


class _OnLoop(OpenedRoute):
    """A connection of the program's, used where the program runs."""

    @property
    def _lock(self) -> asyncio.Lock:
        return self._route.lock

    async def _commit(self, batch: Batch) -> Handled:
        if self._batches is None:
            self._batches = await self._route.open(self._internals)
        return await self._batches.handle(batch)

    async def close(self) -> None:
        """The connection is the program's."""


class _InThread(OpenedRoute):
    """A connection that is opened, used and closed in a thread of its own."""

    def __init__(self, route: OnceRoute, internals: Internals, keeping: Keeping | None) -> None:
        super().__init__(route, internals, keeping)
        self._own_lock = asyncio.Lock()
        self._worker: Worker | None = None
        self._is_abandoned = False
        self._hangs = False

    @property
    def _lock(self) -> asyncio.Lock:
        return self._own_lock

    async def _commit(self, batch: Batch) -> Handled:
        if self._worker is None:
            self._worker = Worker(f"ferromqtt once: {self._route.terms.shown}")
        job = self._submit(self._handle, batch)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await self._abandon(job)
            raise

    def _submit(self, call: Callable[..., Any], *arguments: object) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._worker, call, *arguments)

    def _handle(self, batch: Batch) -> Handled:
        """Run in the thread."""
        if self._batches is None:
            self._batches = run_without_waiting(self._route.open(self._internals))
        if self._is_abandoned:
            raise Abandoned
        return run_without_waiting(self._batches.handle(batch))

    async def _abandon(self, job: asyncio.Future[Handled]) -> None:
        """Wait until the thread has rolled back, unless the handler hangs."""
        self._is_abandoned = self._hangs = True
        if self._batches is not None:
            self._batches.abandon()
        job.add_done_callback(asyncio.Future.exception)  # nobody else asks for it
        done, _ = await asyncio.wait([job], timeout=GRACE)
        if done:
            self._hangs = False
            return
        self._internals.core.warn(
            "The handler %s still runs in its thread, %s s after its router was cancelled: what it "
            "does is not committed",
            self._route.terms.shown,
            f"{GRACE:g}",
        )

    async def close(self) -> None:
        if self._worker is None:
            return
        job = self._submit(self._close)
        self._worker.shutdown(wait=False)
        if not self._hangs:
            await asyncio.shield(job)

    def _close(self) -> None:
        if self._batches is not None:
            with contextlib.suppress(Exception):  # it has failed before, and that was raised
                run_without_waiting(self._batches.close())


def wall_time() -> int:
    """Return the time of day in seconds since 1970: that of a loop in virtual time is its own."""
    loop = asyncio.get_running_loop()
    clock: Callable[[], float] = getattr(loop, "wall_time", time.time)
    return int(clock())


def filter_of(topic: SubscriptionTopic) -> object:
    """Return the filter of what may be a pair of a filter and its QoS."""
    return topic[0] if isinstance(topic, tuple) else topic


def check_topics(
    topics: Sequence[SubscriptionTopic], name: str | None, qos: object, *, has_key: bool
) -> None:
    """Check what only exactly-once handlers ask of their filters.

    Raises:
        ValueError: One is subscribed to with QoS 0, or is shared and there is no name; or there is
            no key, and it is shared or subscribed to with less than QoS 2.
    """
    for topic in topics:
        own = topic[1] if isinstance(topic, tuple) and len(topic) > 1 else qos
        own = getattr(own, "QoS", getattr(own, "qos", own))
        if own == 0 and isinstance(own, int):
            raise ValueError(
                "An exactly-once handler needs QoS 1 or 2: the server does not send again what it "
                "has sent with QoS 0"
            )
        if not has_key and isinstance(own, int) and own == 1:
            raise ValueError(
                "An exactly-once handler without key= needs qos=2: at QoS 1 a Packet Identifier is "
                "free again after the acknowledgement, and only something in the message tells it "
                "from others, such as key=lambda message: message.value['id']"
            )
        if not has_key and str(filter_of(topic)).startswith("$share/"):
            raise ValueError(
                "An exactly-once handler of a Shared Subscription needs key=: the message that one "
                "program leaves comes to another under another Packet Identifier"
            )
        if name is None and str(filter_of(topic)).startswith("$share/"):
            raise ValueError(
                "An exactly-once handler of a Shared Subscription needs name=, the same in all "
                "programs that share it: the message that one of them leaves comes to another"
            )


def checked_key(key: object) -> None:
    """Check the function that identifies a message.

    Raises:
        TypeError: It is no function.
    """
    if key is None:
        return
    if not callable(key) or inspect.iscoroutinefunction(key):
        raise _checks.wrong_type("key", "a function of the message, and not async", key)


def check_store(store: object, handler: object) -> None:
    """Check the store, and that the handler can be called where its connection is used.

    Raises:
        TypeError: It is no store, or the handler needs an event loop that its thread has not.
    """
    if not callable(getattr(store, "open", None)) or not hasattr(store, "in_thread"):
        raise _checks.wrong_type("store", "a store, such as once.sqlite(connection)", store)
    if store.in_thread and inspect.iscoroutinefunction(handler):
        raise TypeError(
            "The exactly-once handler is a coroutine function, and its store runs it in a thread: "
            "write it with def, or give the store a connection instead of a function that opens one"
        )
