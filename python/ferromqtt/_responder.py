"""Responders: `Client.responder`, and the requests that they get."""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, overload

from ferromqtt import _keywords, _lazy
from ferromqtt._internals import FerromqttInternalsHolder, Internals
from ferromqtt._native import Message, TypedMessage, admit_request, check_responder
from ferromqtt._queue_answers import QueueAnswers
from ferromqtt._subscription import Subscription, SubscriptionMessages, queue_of
from ferromqtt._subscription_keywords import (
    QueueKeywords,
    SubscriptionKeywords,
    subscription_of,
    takes_subscription,
)
from ferromqtt._turn import TURN_BEFORE_ERROR
from ferromqtt.codecs import Decoder, Dumps, Encoder, Loads
from ferromqtt.types import PayloadType, PropertiesLike, SubscriptionTopic

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    from ferromqtt import _requests

    V_co = TypeVarWithDefault("V_co", default=Any, covariant=True)
    """What the codec of a responder makes of a payload."""
else:
    _requests = _lazy.Later("ferromqtt._requests")
    V_co = TypeVar("V_co", covariant=True)  # before Python 3.13 it takes no default

_T = TypeVar("_T")


class Request(TypedMessage[V_co]):
    """A message that asks for a response: from `Client.responder`.

    With a `codec` its `value` has the type that the codec decodes to: `Request[Reading]`.

    A copy of it, and what is unpickled, is a `TypedMessage`, which `Client.respond` answers.
    """

    __slots__ = ("_internals", "_timeout")

    _internals: Internals
    _timeout: float

    @overload
    async def respond(
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
    async def respond(
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
    async def respond(
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

        As `Client.respond`, and when cancelled likewise. Called again it publishes another
        response. `Client.request` returns the first one, and later ones are dropped there.

        Args:
            payload: As for `Client.publish`.
            qos: 0, 1 or 2; None for the QoS that the request came with.
            retain: Whether the server is to keep the response for later subscribers.
            properties: PUBLISH properties, as for `Client.publish`.
            timeout: Seconds to wait; None for the `timeout` that the client had when `responder`
                was called, `math.inf` for no limit.
            keywords: Properties of PUBLISH as plain keywords, and `codec`, as for `Client.publish`.

        Raises:
            ValueError: An argument is wrong. Nothing was sent.
            TypeError: An argument has the wrong type. Nothing was sent.
            MqttError: As for `Client.publish`.
            RuntimeError: The program has made this object, and no responder has handed it out.
        """
        async with TURN_BEFORE_ERROR:
            internals = made_by(self)
        await _requests.respond(
            internals,
            self,
            payload,
            qos,
            retain,
            properties,
            keywords,
            self._timeout if timeout is None else timeout,
            call="Request.respond",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out the client."""
        return plain(super().__reduce__())


def made_by(request: Request) -> Internals:
    """Return the client of a request."""
    internals: Internals | None = getattr(request, "_internals", None)
    if internals is None:
        raise without_client()
    return internals


def without_client() -> RuntimeError:
    """Return the exception for a request that no responder has handed out."""
    return RuntimeError(
        "This Request has no client to respond by: the program has made it. Respond to one that a "
        "responder has handed out, or use Client.respond"
    )


def plain(reduced: Any) -> tuple[Any, ...]:  # noqa: ANN401 - what `__reduce__` returns
    """Return what `TypedMessage.__reduce__` has returned, for a message without attributes."""
    _, _, (fields, _, *others) = reduced
    return empty_message, (), (fields, None, *others)


_Typed = TypeVar("_Typed", bound=TypedMessage)


def empty(message_class: type[_Typed]) -> _Typed:
    """Return a message of a class, without anything in it."""
    make: Any = message_class.__new__
    message: _Typed = make(message_class)
    return message


def empty_message() -> TypedMessage:
    """Return a message for `__setstate__` to fill."""
    return empty(TypedMessage)


class Requests(QueueAnswers, Generic[V_co]):
    """The requests that a responder gets, in order of arrival, from a queue of its own.

    Any number of tasks may iterate: each request goes to one of them, first come first served. A
    cancelled step loses nothing. `len()` is the number of messages that wait to be taken.

    A message without a Response Topic asks for nothing, and nothing could answer it. It is passed
    over: acknowledged, counted, and reported by a warning of the log.

    Iterating ends as it does for a `Subscription`.
    """

    def __init__(
        self, internals: Internals, messages: SubscriptionMessages, timeout: float
    ) -> None:
        self._internals = internals
        self._messages = messages
        self._queue = queue_of(messages)
        self._timeout = timeout
        self.passed_over = 0
        """How many messages asked for no response, and were passed over."""

    def __repr__(self) -> str:
        return repr(self._messages).replace("<messages of", "<requests of", 1)

    def __aiter__(self) -> Self:
        """Iterate over the requests."""
        return self

    async def __anext__(self) -> Request[V_co]:
        """Wait for the next request.

        Raises:
            StopAsyncIteration: The subscription has ended.
            ValueError: A later connection has a version before 5.0, which has no requests.
            MqttError: As for `SubscriptionMessages.__anext__`.
        """
        while True:
            request = self._admit(await self._messages.__anext__())
            if request is not None:
                return request

    def try_next(self) -> Request[V_co] | None:
        """Return a request that is there already, and that no task waits for; None without one."""
        while (message := self._messages.try_next()) is not None:
            request = self._admit(message)
            if request is not None:
                return request
        return None

    def _admit(self, message: Message) -> Request[V_co] | None:
        request = admitted(self._internals, message, self._timeout)
        self.passed_over += request is None
        return request

    @property
    def is_closed(self) -> bool:
        """Whether its block was left, or it was unsubscribed by `unsubscribe`."""
        return self._messages.is_closed

    async def unsubscribe(self, *, timeout: float | None = None) -> None:
        """End the subscription, and wait until the server has confirmed it.

        As `SubscriptionMessages.unsubscribe`, whose errors it raises.
        """
        await self._messages.unsubscribe(timeout=timeout)


def inside(requests: Requests[Any]) -> tuple[SubscriptionMessages, float]:
    """Return the messages that requests are taken from, and how long a response may take."""
    return requests._messages, requests._timeout  # noqa: SLF001 - the way to them


def admitted(internals: Internals, message: Message, timeout: float) -> Request | None:
    """Return the request that a message is; None for one that is passed over."""
    request = empty(Request)
    request._internals = internals  # noqa: SLF001 - it is made here
    request._timeout = timeout  # noqa: SLF001 - likewise
    return request if admit_request(internals.core, message, request) else None


class Responder(Generic[V_co]):
    """What `Client.responder` returns: to be entered by `async with`, or iterated over directly.

    Directly, the first step subscribes, and the subscription lasts as long as the loop: it ends as
    soon as no loop over this object is left, whether by `break`, `return` or an exception.
    """

    def __init__(
        self, internals: Internals, make: Callable[[], Subscription], timeout: float
    ) -> None:
        self._internals = internals
        self._make = make
        self._subscription = make()
        self._timeout = timeout
        self._shared: weakref.ref[LoopSubscription[V_co]] | None = None

    def __repr__(self) -> str:
        return repr(self._subscription).replace("Subscription", type(self).__name__, 1)

    @property
    def is_open(self) -> bool:
        """Whether it is entered."""
        return self._subscription.is_open

    async def __aenter__(self) -> Requests[V_co]:
        """Subscribe, and return the requests.

        On a client that has no connection yet this returns at once, as for a `Subscription`. When
        that turns out to have a version before 5.0, iterating raises.

        Raises:
            ValueError: The connection has a version before 5.0. Nothing was sent.
            MqttError: As for entering a `Subscription`.
        """
        return await self.enter(self._subscription)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """End the subscription, as leaving a `Subscription` does."""
        await self._subscription.__aexit__(exc_type, exc, tb)

    def _close(self) -> None:
        self._subscription._close()  # noqa: SLF001 - of this package

    def __aiter__(self) -> RequestIterator[V_co]:
        """Subscribe with the first step, and iterate over the requests.

        Loops over the same object, such as those of several tasks, share one subscription: each
        request goes to one of them.
        """
        return RequestIterator(self.shared())

    async def enter(self, subscription: Subscription) -> Requests[V_co]:
        """Enter one of its subscriptions."""
        async with TURN_BEFORE_ERROR:
            check_responder(self._internals.version)
        messages = await subscription.__aenter__()
        return Requests(self._internals, messages, self._timeout)

    def shared(self) -> LoopSubscription[V_co]:
        """Return the subscription that the loops share, or make one for the first of them."""
        shared = None if self._shared is None else self._shared()
        if shared is None:
            shared = LoopSubscription(self, self._make(), self._internals)
            self._shared = weakref.ref(shared)
        return shared


class LoopSubscription(Generic[V_co]):
    """The subscription of loops over a responder. It ends when the last of them drops it.

    Not by an asynchronous generator: the event loop closes an abandoned one in a task of its own,
    and where no loop runs any more never.
    """

    def __init__(
        self, responder: Responder[V_co], subscription: Subscription, internals: Internals
    ) -> None:
        self._responder = responder
        self._subscription = subscription
        self._internals = internals
        self._entering = asyncio.Lock()
        self._requests: Requests[V_co] | None = None
        self._process = os.getpid()

    async def requests(self) -> Requests[V_co]:
        """Subscribe, if no loop has yet, and return the requests."""
        if self._requests is None:
            async with self._entering:
                if self._requests is None:
                    self._requests = await self._responder.enter(self._subscription)
        return self._requests

    def __del__(self) -> None:
        """Unsubscribe in the background."""
        if sys.is_finalizing() or os.getpid() != self._process:
            return  # in a forked child it is the parent's
        if self._subscription.is_open:
            close_soon(self._internals, self._subscription)


def close_soon(internals: Internals, subscription: Subscription) -> None:
    """End a subscription on the client's loop: at once, if this is called there.

    A garbage collection may run in any thread.
    """
    close = subscription._close  # noqa: SLF001 - of this package
    loop: asyncio.AbstractEventLoop | None = getattr(internals.core, "loop", None)
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if loop is None or loop is running or loop.is_closed():
        close()
        return
    try:
        loop.call_soon_threadsafe(close)
    except RuntimeError:  # closed meanwhile
        close()


class RequestIterator(Generic[V_co]):
    """The iterator of a loop over `Client.responder`."""

    def __init__(self, subscription: LoopSubscription[V_co]) -> None:
        self._subscription: LoopSubscription[V_co] | None = subscription

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Request[V_co]:
        """Wait for the next request; the first step subscribes.

        Raises:
            StopAsyncIteration: The subscription has ended, or this was closed.
            ValueError: The connection has a version before 5.0. Nothing was sent.
            MqttError: As for entering a `Subscription`, and for iterating over its messages.
        """
        subscription = self._subscription
        if subscription is None:
            raise StopAsyncIteration
        try:
            requests = await subscription.requests()
            return await requests.__anext__()
        finally:
            # A task that was cancelled keeps the traceback, and with it this frame.
            del self, subscription

    async def aclose(self) -> None:
        """Leave the subscription, which ends unless another loop has it: as dropping this does."""
        self._subscription = None


class Responding(FerromqttInternalsHolder):
    """What a `Client` responds by."""

    timeout: float

    @overload
    def responder(
        self,
        *topics: SubscriptionTopic,
        codec: None = None,
        **keywords: Unpack[QueueKeywords],
    ) -> Responder: ...
    @overload
    def responder(
        self,
        *topics: SubscriptionTopic,
        codec: Decoder[_T],
        **keywords: Unpack[QueueKeywords],
    ) -> Responder[_T]: ...
    @overload
    def responder(
        self,
        *topics: SubscriptionTopic,
        codec: Loads,
        **keywords: Unpack[QueueKeywords],
    ) -> Responder[Any]: ...
    @takes_subscription("responder")
    def responder(
        self, *topics: SubscriptionTopic, **keywords: Unpack[SubscriptionKeywords]
    ) -> Responder[Any]:
        """Return a responder (5.0, section 4.10): a subscription to requests, which it answers.

        ```python
        async for request in client.responder("square", qos=1):
            await request.respond(int(request.payload) ** 2)
        ```

        Leaving the loop, by `break` too, ends the subscription at once, without waiting for the
        server: requests that nobody has taken are acknowledged and lost, and an event `Lagged` and
        a line of the log say how many. Where more is to be done with it, such as waiting for the
        first SUBACK or for UNSUBACK, enter it:

        ```python
        async with client.responder("square", qos=1) as requests:
            async for request in requests:
                await request.respond(int(request.payload) ** 2)
        ```

        A message without a Response Topic asks for nothing. It is passed over, with a warning in
        the log, and counted in `Requests.passed_over`. Several clients share the work by a filter
        such as "$share/workers/square": each request goes to one of them. An addition to aiomqtt's
        methods. docs/requests.md says more.

        Args:
            topics: The filters, as for `subscription`.
            keywords: The keywords of `subscription`, which mean the same here.

        Raises:
            ValueError: An argument is wrong, or the client has a version of MQTT before 5.0.
                Nothing was sent.
            TypeError: An argument has the wrong type. Nothing was sent.
        """
        _keywords.check_names("responder", keywords)
        internals = self._FerromqttInternalsHolder__internals
        check_responder(internals.version)

        def make() -> Subscription:
            subscription = subscription_of(self, *topics, **keywords)
            subscription._of_requests = True  # noqa: SLF001 - of this package
            return subscription

        return Responder(internals, make, self.timeout)
