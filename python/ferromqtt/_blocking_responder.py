"""Responders for threads: `ferromqtt.blocking.Client.responder`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, overload

from ferromqtt import _checks, _keywords, _requests
from ferromqtt._blocking_subscription import Block
from ferromqtt._native import Message, TypedMessage, admit_request
from ferromqtt._queue_answers import QueueAnswers
from ferromqtt._responder import LoopSubscription, V_co, empty, inside, plain, without_client
from ferromqtt._responder import Requests as AsyncRequests
from ferromqtt._responder import Responder as AsyncResponder
from ferromqtt._subscription import queue_of
from ferromqtt.codecs import Dumps, Encoder
from ferromqtt.types import PayloadType, PropertiesLike

if TYPE_CHECKING:
    from ferromqtt.blocking import _State

_T = TypeVar("_T")


class Request(TypedMessage[V_co]):
    """A message that asks for a response: from `ferromqtt.blocking.Client.responder`.

    With a `codec` its `value` has the type that the codec decodes to: `Request[Reading]`.

    A copy of it, and what is unpickled, is a `TypedMessage`, which `Client.respond` answers.
    """

    __slots__ = ("_state", "_timeout")

    _state: _State
    _timeout: float

    @overload
    def respond(
        self,
        payload: PayloadType = None,
        *,
        qos: int | None = None,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.RequestKeywords],
    ) -> None: ...
    @overload
    def respond(
        self,
        payload: _T,
        *,
        codec: Encoder[_T] | Dumps,
        qos: int | None = None,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.RequestKeywords],
    ) -> None: ...
    @_keywords.takes(_keywords.RequestCodecKeywords, "Request.respond")
    def respond(
        self,
        payload: PayloadType | Any = None,
        *,
        qos: int | None = None,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.RequestCodecKeywords],
    ) -> None:
        """Publish a response: to the Response Topic, with the Correlation Data of the request.

        As `ferromqtt.Request.respond`, whose parameters and errors it has.
        """
        state: _State | None = getattr(self, "_state", None)
        if state is None:
            raise without_client()
        state.call(
            partial(
                _requests.respond,
                state.internals,
                self,
                payload,
                qos,
                retain,
                properties,
                keywords,
                self._timeout if timeout is None else timeout,
                call="Request.respond",
            )
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out the client."""
        return plain(super().__reduce__())


class Requests(QueueAnswers, Iterator[Request[V_co]]):
    """The requests that a responder gets, in order of arrival: as `ferromqtt.Requests`.

    Any number of threads may iterate: each request goes to one of them. `len()` is the number of
    messages that wait to be taken. The loop ends when the block is left, or each filter was
    unsubscribed.
    """

    def __init__(
        self, state: _State, requests: AsyncRequests[V_co], limit: float | None = None
    ) -> None:
        self._state = state
        self._requests = requests
        self._limit = limit
        self._messages, self._timeout = inside(requests)
        self._queue = queue_of(self._messages)

    def __repr__(self) -> str:
        return repr(self._requests)

    def __next__(self) -> Request[V_co]:
        """Wait for the next request.

        Raises:
            StopIteration: The subscription has ended; or no message came within the time limit,
                after which a further call waits again.
            ValueError: A later connection has a version before 5.0, which has no requests.
            MqttOverflowError: The queue has lost messages under `overflow="fail"`, and those before
                the gap are taken.
            MqttError: There is none, and the connection has ended, or the client is not entered.
        """
        while True:
            message = self._state.next_of(self._messages, self._limit)
            if message is None:
                raise StopIteration
            request = self._admit(message)
            if request is not None:
                return request

    def within(self, timeout: float | None) -> Self:
        """Return an iterator over the same requests that ends when none came in `timeout` seconds.

        Another loop over it goes on. 0 takes what is there, None is no limit.

        Raises:
            ValueError: `timeout` is negative or NaN.
            TypeError: `timeout` is no number.
        """
        return type(self)(self._state, self._requests, _checks.time_limit(timeout))

    def try_next(self) -> Request[V_co] | None:
        """Return a request that is there already; None without one."""
        while (message := self._messages.try_next()) is not None:
            request = self._admit(message)
            if request is not None:
                return request
        return None

    def _admit(self, message: Message) -> Request[V_co] | None:
        request: Request[V_co] = empty(Request)
        request._state = self._state  # noqa: SLF001 - it is made here
        request._timeout = self._timeout  # noqa: SLF001 - likewise
        if admit_request(self._state.core, message, request):
            return request
        self._requests.passed_over += 1
        return None

    @property
    def passed_over(self) -> int:
        """How many messages asked for no response, and were passed over."""
        return self._requests.passed_over

    def unsubscribe(self, *, timeout: float | None = None) -> None:
        """End the subscription, and wait until the server has confirmed it."""
        self._state.call(partial(self._requests.unsubscribe, timeout=timeout))


class Responder(Block[AsyncRequests[V_co]], Generic[V_co]):
    """What `Client.responder` returns: to be entered by `with`, or iterated over directly.

    As `ferromqtt.Responder`: directly, the first step subscribes, and the subscription ends as soon
    as no loop over this object is left.
    """

    _block: AsyncResponder[V_co]

    def __enter__(self) -> Requests[V_co]:
        """Subscribe, and return the requests.

        Raises:
            ValueError: The connection has a version before 5.0. Nothing was sent.
            MqttError: As for entering a `Subscription`.
        """
        return Requests(self._state, self._enter())

    def __iter__(self) -> RequestIterator[V_co]:
        """Subscribe with the first step, and iterate over the requests.

        Loops over the same object, such as those of several threads, share one subscription.
        """
        return RequestIterator(self._state, self._block.shared())


class RequestIterator(Iterator[Request[V_co]]):
    """The iterator of a loop over `Client.responder`."""

    def __init__(self, state: _State, subscription: LoopSubscription[V_co]) -> None:
        self._state = state
        self._subscription: LoopSubscription[V_co] | None = subscription
        self._requests: Requests[V_co] | None = None
        self._entering = threading.Lock()

    def __next__(self) -> Request[V_co]:
        """Wait for the next request; the first step subscribes.

        Raises:
            StopIteration: The subscription has ended, or this was closed.
            ValueError: The connection has a version before 5.0. Nothing was sent.
            MqttError: As for entering a `Subscription`, and for iterating over its messages.
        """
        with self._entering:
            if self._subscription is None:
                raise StopIteration
            if self._requests is None:
                requests = self._state.call(self._subscription.requests)
                self._requests = Requests(self._state, requests)
            requests_of_thread = self._requests
        try:
            return next(requests_of_thread)
        finally:
            del self  # an exception that is kept has this frame

    def close(self) -> None:
        """Leave the subscription, which ends unless another loop has it: as dropping this does."""
        self._subscription = self._requests = None
