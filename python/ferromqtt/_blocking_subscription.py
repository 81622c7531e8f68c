"""Subscriptions for threads, each with a queue: `ferromqtt.blocking.Client.subscription`."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar, cast

from ferromqtt import _checks
from ferromqtt._queue_answers import QueueAnswers
from ferromqtt._subscription import M_co, queue_of
from ferromqtt._subscription import SubscriptionMessages as AsyncMessages

if TYPE_CHECKING:
    from ferromqtt.blocking import _State

E_co = TypeVar("E_co", covariant=True)
"""What a block of `async with` is entered as."""


class _AsyncBlock(Protocol[E_co]):
    @property
    def is_open(self) -> bool: ...

    def __aenter__(self) -> Coroutine[Any, Any, E_co]: ...

    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
        /,
    ) -> Coroutine[Any, Any, None]: ...


class Block(Generic[E_co]):
    """A block of `with` around one of `async with`, which is entered and left in the thread."""

    def __init__(self, state: _State, block: _AsyncBlock[E_co]) -> None:
        self._state = state
        self._block = block

    def __repr__(self) -> str:
        return f"<blocking.{repr(self._block)[1:]}"

    def _enter(self) -> E_co:
        was_open = self._block.is_open
        try:
            return self._state.call(self._block.__aenter__)
        except BaseException:
            if not was_open:
                self._leave()  # an interruption may have come behind the answer
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """End the subscription, as leaving `ferromqtt.Subscription` does."""
        self._leave()

    def _leave(self) -> None:
        if self._state.inherited is None:  # in a forked child it is the parent's
            self._state.call(partial(self._block.__aexit__, None, None, None))


class Subscription(Block[AsyncMessages[M_co]], Generic[M_co]):
    """A subscription to be entered by `with`: from `ferromqtt.blocking.Client.subscription`.

    As `ferromqtt.Subscription`, whose errors it raises.
    """

    def __enter__(self) -> SubscriptionMessages[M_co]:
        """Subscribe, and return the messages.

        On a client that is not entered this returns at once, and the client subscribes when it is.

        Raises:
            MqttReentrantError: It is entered already.
            MqttCodeError: The server refuses one of the filters, whose Reason Code is `rc`; or
                there is no connection, or a limit of the server forbids it.
            MqttError: The connection ended or time ran out.
        """
        return SubscriptionMessages(self._state, self._enter())


class SubscriptionMessages(QueueAnswers, Iterator[M_co], Generic[M_co]):
    """The messages of one subscription, in order of arrival.

    Any number of threads may iterate: each message goes to one of them. `len()` is the number of
    messages that wait to be taken. The loop ends when the block is left, or each filter was
    unsubscribed.
    """

    def __init__(
        self, state: _State, messages: AsyncMessages[M_co], limit: float | None = None
    ) -> None:
        self._state = state
        self._messages = messages
        self._queue = queue_of(messages)
        self._limit = limit

    def __repr__(self) -> str:
        return repr(self._messages)

    def __next__(self) -> M_co:
        """Wait for the next message.

        Raises:
            StopIteration: The subscription has ended; or none came within the time limit, after
                which a further call waits again.
            MqttOverflowError: The queue has lost messages under `overflow="fail"`, and those before
                the gap are taken.
            MqttError: There is none, and the connection has ended, or the client is not entered.
        """
        message = self._state.next_of(self._messages, self._limit)
        if message is None:
            raise StopIteration
        return cast("M_co", message)

    def within(self, timeout: float | None) -> Self:
        """Return an iterator over the same messages that ends when none came in `timeout` seconds.

        Another loop over it goes on. 0 takes what is there, None is no limit.

        Raises:
            ValueError: `timeout` is negative or NaN.
            TypeError: `timeout` is no number.
        """
        return type(self)(self._state, self._messages, _checks.time_limit(timeout))

    def try_next(self) -> M_co | None:
        """Return a message that is there already; None without one."""
        return self._messages.try_next()

    def unsubscribe(self, *, timeout: float | None = None) -> None:
        """End the subscription, and wait until the server has confirmed it.

        As `ferromqtt.SubscriptionMessages.unsubscribe`, whose errors it raises.
        """
        self._state.call(partial(self._messages.unsubscribe, timeout=timeout))
