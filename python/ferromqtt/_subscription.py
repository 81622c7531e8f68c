"""Subscriptions with a queue of their own: `Client.subscription`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeAlias, cast

from ferromqtt import _checks
from ferromqtt._arguments import SubscribeFilter
from ferromqtt._codec_arguments import Reading
from ferromqtt._native import Batches, Message, SubscriptionQueue
from ferromqtt._queue_answers import FAILED, QueueAnswers, refused
from ferromqtt._turn import TURN_BEFORE_ERROR
from ferromqtt.exceptions import (
    MqttOverflowError,
    MqttReentrantError,
    MqttTimeoutError,
)

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from ferromqtt._internals import Internals

    M_co = TypeVar("M_co", bound=Message, default=Message, covariant=True)
    """The type of a subscription's messages: `TypedMessage` with a codec."""
else:
    from typing import TypeVar

    M_co = TypeVar("M_co", covariant=True)  # before Python 3.13 it takes no default

Overflow: TypeAlias = Literal["wait", "drop_oldest", "drop_newest", "fail"]
"""What happens to a message that finds the queue of its subscription full."""
Ack: TypeAlias = Literal["auto", "manual"]
"""Whether the client acknowledges the messages of a subscription, or the program."""

MAXSIZE = 100_000
MAXBYTES = 64 << 20
_OVERFLOW = ("wait", "drop_oldest", "drop_newest", "fail")
_ACK = ("auto", "manual")


class QueueTerms(NamedTuple):
    """The bounds of a subscription's queue, and who acknowledges its messages."""

    maxsize: int | None
    maxbytes: int | None
    overflow: Overflow
    ack: Ack | None
    """None: as the client's `manual_ack` says when the subscription is entered."""

    def check(self) -> None:
        """Raise TypeError or ValueError for one that is wrong."""
        _check_bound("maxsize", self.maxsize, "maxbytes")
        _check_bound("maxbytes", self.maxbytes, "maxsize")
        if self.maxsize is None and self.maxbytes is None:
            raise ValueError(
                "maxsize and maxbytes are both None, and the queue of a subscription has a bound: "
                "give one of them, such as maxbytes=1 << 30"
            )
        _check_choice("overflow", self.overflow, _OVERFLOW)
        if self.ack is not None:
            _check_choice("ack", self.ack, _ACK)


_MOST = 2**63 - 1


def _check_bound(name: str, count: int | None, other: str) -> None:
    if count is None:
        return
    if not _checks.is_count(count):
        raise _checks.wrong_type(name, "int or None", count)
    if not 1 <= count <= _MOST:
        must_be = f"in the range 1-{_MOST}, or None for no bound but {other}"
        raise ValueError(f"{name} must be {must_be}, not {count}")


def _check_choice(name: str, given: object, choices: tuple[str, ...]) -> None:
    must_be = ", ".join(map(repr, choices[:-1])) + f" or {choices[-1]!r}"
    if not isinstance(given, str):
        raise _checks.wrong_type(name, must_be, given)
    if given not in choices:
        raise ValueError(f"{name} must be {must_be}, not {given[:40]!r}")


class Subscription(Generic[M_co]):
    """A subscription to be entered by `async with`: from `Client.subscription`.

    It may be entered again after it was left.
    """

    def __init__(
        self,
        internals: Internals,
        filters: list[SubscribeFilter],
        properties: dict[str, object] | None,
        queue: QueueTerms,
        timeout: float,
        reading: Reading,
    ) -> None:
        self._internals = internals
        self._filters = filters
        self._properties = properties
        self._terms = queue
        self._timeout = timeout
        self._reading = reading
        self._queue: SubscriptionQueue | None = None
        self._of_requests = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self._reading.shown(self._filters)}>"

    @property
    def is_open(self) -> bool:
        """Whether it is entered."""
        return self._queue is not None

    async def __aenter__(self) -> SubscriptionMessages[M_co]:
        """Subscribe, and return the messages.

        On a client that has no connection yet, this returns at once, and the client subscribes when
        it is entered: what the server refuses then is an event `NotSubscribed`, and a line of the
        log. With `reconnect` it waits for the connection instead, like other calls. When cancelled,
        the subscription is taken back.

        Raises:
            MqttReentrantError: It is entered already.
            MqttCodeError: The server refuses one of the filters, whose Reason Code is `rc`; its
                notes name each. Or the connection has ended, or a limit of the server forbids it.
                Nothing stays subscribed.
            MqttError: The connection ended or time ran out.
        """
        async with TURN_BEFORE_ERROR:
            if self._queue is not None:
                raise MqttReentrantError(
                    "The subscription is open already: make another one by client.subscription()"
                )
            maxsize, maxbytes, overflow, ack = self._terms
            core = self._internals.core
            manual = core.manual_ack if ack is None else ack == "manual"
            queue = SubscriptionQueue(
                core,
                maxsize,
                maxbytes,
                overflow,
                manual,
                self._reading.decoding,
                self._of_requests,
            )
            self._queue = queue
        try:
            await self._subscribe(queue)
        except BaseException:
            self._close()
            raise
        shown = self._reading.shown(self._filters)
        return SubscriptionMessages(self._internals, queue, shown, self._timeout)

    async def _subscribe(self, queue: SubscriptionQueue) -> None:
        if self._internals.has_yet_to_connect:
            queue.declare(self._filters, self._properties)
            return
        await self._internals.subscribe_queue(queue, self._filters, self._properties, self._timeout)
        failed = [each for each in queue.answer if each[1] >= FAILED]
        if failed:
            raise refused(failed)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """End the subscription, without waiting for the server, and drop what was not taken.

        What was dropped is acknowledged. What was taken under `ack="manual"` is still the
        program's to acknowledge.

        In a session that outlives the program (`clean_session=False`, or on 5.0
        `clean_start=False`) the subscription stays, so that the server keeps what is published
        until the next time. What was not taken, and what still comes, goes to `Client.messages`
        then. `SubscriptionMessages.unsubscribe` ends it there too.
        """
        self._close()

    def _close(self) -> None:
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.close()


class SubscriptionMessages(QueueAnswers, Generic[M_co]):
    """The messages of one subscription, in order of arrival.

    Any number of tasks may iterate: each message goes to one of them, first come first served. A
    message is taken only when a step ends, so a cancelled one loses nothing. `len()` is the number
    of messages that wait to be taken.

    Iterating ends when the subscription does: its block is left, or each filter was unsubscribed. A
    connection that is lost does not end it with `reconnect`, nor when the client is entered again.
    """

    def __init__(
        self,
        internals: Internals,
        queue: SubscriptionQueue,
        filters: str,
        timeout: float,
    ) -> None:
        self._internals = internals
        self._queue = queue
        self._filters = filters
        self._timeout = timeout
        self._iterator = queue.messages()

    def __repr__(self) -> str:
        return f"<messages of {self._filters}, {len(self)} queued>"

    def __aiter__(self) -> AsyncIterator[M_co]:
        """Return a new iterator over the messages."""
        return cast("AsyncIterator[M_co]", self._queue.messages())

    def __anext__(self) -> Coroutine[Any, Any, M_co]:
        """Wait for the next message.

        Raises:
            StopAsyncIteration: The subscription has ended.
            MqttOverflowError: The queue has lost messages under `overflow="fail"`, and those before
                the gap are taken. `take_lost` lets it go on.
            MqttCodeError: The server has refused the filters in a later connection: see
                `not_subscribed`.
            MqttError: The connection has ended, and none follows.
        """
        return cast("Coroutine[Any, Any, M_co]", self._iterator.__anext__())

    def batches(self, max: int = 100) -> Batches[M_co]:  # noqa: A002 - as of `Client.messages`
        """Iterate over lists of 1 to `max` messages that are there, without waiting for more.

        A step waits for one message, and raises what `__anext__` does. A cancelled one loses none.

        Raises:
            ValueError: `max` is below 1.
            TypeError: `max` is no int.
        """
        return cast("Batches[M_co]", self._queue.messages().batches(max))

    @property
    def is_closed(self) -> bool:
        """Whether its block was left, or it was unsubscribed by `unsubscribe`."""
        return self._queue.is_closed

    def try_next(self) -> M_co | None:
        """Return a message that is there already, and that no task waits for; None without one."""
        return cast("M_co | None", self._queue.take_message())

    async def unsubscribe(self, *, timeout: float | None = None) -> None:
        """End the subscription, and wait until the server has confirmed it.

        Messages that were not taken are dropped, also when this fails. A filter that another
        subscription has too stays subscribed for that one. When cancelled, or when time runs out,
        it goes on in the background: what the server then refuses is a `NotUnsubscribed` event.

        Args:
            timeout: Seconds to wait; None for the one that `Client.subscription` was given.

        Raises:
            MqttCodeError: The client is not connected, and the subscription has gone with the
                connection. Or the server refused to end it (5.0), and goes on to send its messages,
                which come to `Client.messages`: the notes name the filters.
            MqttError: The connection ended or time ran out.
        """
        limit = self._timeout if timeout is None else timeout
        _checks.check_timeout(limit)
        async with TURN_BEFORE_ERROR:
            answer = self._queue.unsubscribe()
        if answer is None:
            return
        filters, waiter = answer
        try:
            async with asyncio.timeout(None if limit == math.inf else limit) as scope:
                codes = await waiter
        except TimeoutError:
            if not scope.expired():
                raise
            address = self._internals.core.address
            text = f"Operation timed out: no UNSUBACK from {address} within {limit:g} s"
            raise MqttTimeoutError(text) from None
        kept = [(it, code) for it, code in zip(filters, codes, strict=False) if code >= FAILED]
        if kept:
            raise refused(kept, "to end the subscription")


def queue_of(messages: SubscriptionMessages[Any]) -> SubscriptionQueue:
    """Return the queue that messages are taken from, for other iterators over it."""
    return messages._queue  # noqa: SLF001 - the way to it


def overflow_error(lost: int) -> MqttOverflowError:
    """Return the exception for a queue that has overflown under "fail"."""
    return MqttOverflowError(lost)
