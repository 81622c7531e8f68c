"""A client for threads: the calls of `ferromqtt.Client`, which wait instead of being awaited.

```python
from ferromqtt.blocking import Client

with Client("test.mosquitto.org") as client:
    client.subscribe("temperature/#")
    client.publish("temperature/outside", 28.4, qos=1)
    for message in client.messages(timeout=5):
        print(message.topic, message.payload)
```

It is `ferromqtt.Client` on an event loop in a thread of its own, with the same arguments, types and
errors. docs/design/0039-blocking-in-python.md says how.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from ferromqtt import _checks, _shown
from ferromqtt._blocking_calls import Call, Receipt, calls, constructs, make
from ferromqtt._blocking_publishing import Publishing
from ferromqtt._blocking_responder import Request, RequestIterator, Requests, Responder
from ferromqtt._blocking_subscription import Subscription, SubscriptionMessages
from ferromqtt._client_keywords import ClientKeywords, with_defaults_of
from ferromqtt._drain import Drained
from ferromqtt._internals import internals_of
from ferromqtt._loop_thread import LoopThread
from ferromqtt._native import Message
from ferromqtt._subscription import SubscriptionMessages as AsyncMessages
from ferromqtt._url import arguments_of
from ferromqtt.client import Client as AsyncClient
from ferromqtt.connection import ClientState, ConnectResult
from ferromqtt.events import ConnectionEvent
from ferromqtt.exceptions import MqttCodeError, MqttError, MqttReentrantError
from ferromqtt.message import Unacknowledged
from ferromqtt.options import ProtocolVersion
from ferromqtt.outbox import OutboxStats
from ferromqtt.reasons import MQTTErrorCode, ReasonCode
from ferromqtt.stats import Stats

__all__ = [
    "Client",
    "Events",
    "Messages",
    "Receipt",
    "Request",
    "RequestIterator",
    "Requests",
    "Responder",
    "Subscription",
    "SubscriptionMessages",
]

_R = TypeVar("_R")

_AT_EXIT = 2.0
"""Seconds that the interpreter's exit may wait for a client that was not left."""

_PENDING_CALLS = 1000
"""How many calls may wait before a warning is logged: as many threads wait for them."""

_OPEN: set[_State] = set()
"""The clients that are entered: for the end of the interpreter, and for forked children."""


class _State:
    """What a client has: its asyncio client, and while it is entered the thread of that."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        client.pending_calls_threshold = _PENDING_CALLS
        self.internals = internals_of(client)
        self.core = self.internals.core
        self.take: Callable[[], Message | None] = self.core.take_message
        self.thread: LoopThread | None = None
        self.spare: deque[Message] = deque()
        """Messages that an interrupted thread had taken from a queue of the user's class."""
        self.inherited: object = None
        """In a forked child, the parent's thread: kept, since what it holds must not be closed."""
        self._starting = threading.Lock()

    def enter(self) -> None:
        """Start the thread, and connect."""
        self.check_process()
        thread: LoopThread | None = None
        try:
            with self._starting:
                self._refuse_reentrance()
                self.thread = thread = LoopThread(self.client, self.core, "ferromqtt-blocking")
            _OPEN.add(self)
            thread.start()
            thread.run(self.client.__aenter__)
        except BaseException as error:
            if thread is not None:
                try:
                    if self.internals.entered:  # it was, when the interruption came
                        thread.run(functools.partial(self._exit, type(error), error))
                finally:
                    self._end(thread)
            raise

    def _refuse_reentrance(self) -> None:
        if self.thread is not None:
            raise MqttReentrantError("The client context manager is reusable, but not reentrant")

    def leave(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        """Disconnect, and end the thread."""
        thread = self.thread
        if thread is None:
            return  # another thread has left it; or this is a child, and the parent goes on
        thread.refuse_own_thread()
        try:
            if not (thread.has_failed or thread.has_ended.is_set()):
                thread.run(functools.partial(self._exit, kind, error))
        finally:
            self._end(thread)

    def _exit(
        self, kind: type[BaseException] | None, error: BaseException | None
    ) -> Coroutine[Any, Any, None]:
        return self.client.__aexit__(kind, error, None)

    def _end(self, thread: LoopThread) -> None:
        try:
            thread.stop()
        finally:
            if self.thread is thread:
                self.thread = None
                _OPEN.discard(self)

    def call(self, call: Call[_R]) -> _R:
        """Make a call of the asyncio client on its loop, and wait for it."""
        thread = self.thread
        if thread is None:
            return self.call_outside(call)
        return thread.run(call)

    def call_inside(self, call: Call[_R], keep: Callable[[_R], object] | None = None) -> _R:
        """Make a call that only a client that is entered can wait for, as `LoopThread.run`."""
        thread = self.thread
        if thread is None:
            self.check_process()
            raise MqttCodeError(MQTTErrorCode.MQTT_ERR_NO_CONN)
        return thread.run(call, keep)

    def call_outside(self, call: Call[_R]) -> _R:
        """Make a call of a client that is not entered, for the error that it raises."""
        self.check_process()
        for coroutine in map(make, (call,)):
            try:
                while coroutine.send(None) is None:
                    pass
            except StopIteration as end:
                result: _R = end.value
                return result
            finally:
                coroutine.close()
        raise MqttCodeError(MQTTErrorCode.MQTT_ERR_NO_CONN)  # it would wait for a connection

    def check_process(self) -> None:
        """Raise in a child of the process that has the client."""
        if self.inherited is not None:
            raise RuntimeError(
                "The client was entered before this process was forked, and its connection belongs "
                "to the parent. Make a client of its own in the child."
            )

    def become_child(self) -> None:
        """Let go of the connection, without writing to it or closing it."""
        self.inherited, self.thread = self.thread, None
        self.take = self._refuse_child

    def _refuse_child(self) -> None:
        self.check_process()

    def next_message(self, limit: float | None) -> Message | None:
        """Wait for the next message; None when there is none within `limit` seconds."""
        if self.spare:
            return self.spare.popleft()
        thread = self.thread
        if thread is None:
            return self._message_outside()
        if self.internals.queue is not None:
            return thread.run(
                functools.partial(_next_within, self.client.messages, limit), self._keep
            )
        return self._drive(thread, self.core.messages().__anext__(), limit) or self.take()

    def next_of(self, messages: AsyncMessages, limit: float | None) -> Message | None:
        """Wait for the next message of a subscription; None when none comes in time or any more."""
        message = None if self.inherited is not None else messages.try_next()
        if message is not None:
            return message
        thread = self.thread
        if thread is None:
            self.check_process()
            if messages.is_closed:
                return None
            raise self.core.iteration_end() or MqttCodeError(MQTTErrorCode.MQTT_ERR_NO_CONN)
        try:
            return self._drive(thread, messages.__anext__(), limit) or messages.try_next()
        except StopAsyncIteration:
            return None

    @staticmethod
    def _drive(
        thread: LoopThread, step: Coroutine[Any, Any, Message], limit: float | None
    ) -> Message | None:
        """Run the step of an iterator in this thread; None when time runs out."""
        try:
            awaited = step.send(None)
            while True:
                if awaited is None:
                    thread.turn()
                elif not thread.wait(awaited, -1 if limit is None else limit):
                    return None
                awaited = step.send(None)
        except StopIteration as end:
            message: Message = end.value
            return message
        finally:
            step.close()  # gives back the message that it was woken for

    def _keep(self, message: Message | None) -> None:
        if message is not None:
            self.spare.append(message)

    def _message_outside(self) -> Message:
        self.check_process()
        iterator = self.client.messages
        if len(iterator):
            return self.call_outside(iterator.__anext__)
        raise self.core.iteration_end() or MqttCodeError(MQTTErrorCode.MQTT_ERR_NO_CONN)


async def _next_within(iterator: AsyncIterator[_R], limit: float | None) -> _R | None:
    """Take the next item; None when none comes in time, or any more."""
    scope = asyncio.timeout(limit)
    try:
        async with scope:
            return await anext(iterator)
    except (StopAsyncIteration, TimeoutError) as end:
        if isinstance(end, TimeoutError) and not scope.expired():
            raise
        return None


class Messages(Iterator[Message]):
    """An iterator over received messages, from `Client.messages`.

    Any number of threads may iterate, each over one of its own or all over one: each message goes
    to one of them. `len()` is the number of messages that wait to be taken.
    """

    __slots__ = ("_limit", "_state")

    def __init__(self, state: _State, limit: float | None) -> None:
        self._state = state
        self._limit = limit

    def __next__(self) -> Message:
        """Wait for the next message.

        Raises:
            StopIteration: None came within the time limit. A further call waits again.
            MqttError: There is none, and the connection has ended.
        """
        message = self._state.take()
        if message is None:
            message = self._state.next_message(self._limit)
            if message is None:
                raise StopIteration
        return message

    def __len__(self) -> int:
        """How many messages wait to be taken."""
        return len(self._state.client.messages) + len(self._state.spare)

    def __repr__(self) -> str:
        return f"<messages of a client, {len(self)} queued>"


class Events(Iterator[ConnectionEvent]):
    """An iterator over the events of a connection, from `Client.events`.

    As `ferromqtt.events.Events`: each such iterator gets every event, and keeps the latest 64.
    """

    __slots__ = ("_events", "_limit", "_spare", "_state", "_was_inside")

    def __init__(self, state: _State, limit: float | None) -> None:
        self._state = state
        self._events = state.client.events()
        self._was_inside = state.thread is not None
        """The client was entered since this was made, so its end is the end of the events."""
        self._limit = limit
        self._spare: deque[ConnectionEvent | None] = deque()
        """What an interrupted thread had taken."""

    def __repr__(self) -> str:
        return f"<blocking.{type(self).__name__}{repr(self._events).removeprefix('<Events')}"

    def __next__(self) -> ConnectionEvent:
        """Wait for the next event.

        Raises:
            StopIteration: None came within the time limit, after which a further call waits again;
                or the client was left, or connects no more.
            MqttCodeError: The client is not entered.
        """
        event = self._spare.popleft() if self._spare else None
        event = event or self._wait()
        if event is None:
            raise StopIteration
        return event

    def _wait(self) -> ConnectionEvent | None:
        """Return the next event; None when none comes in time, or any more."""
        thread = self._state.thread
        self._was_inside = self._was_inside or thread is not None
        if thread is not None or not self._was_inside:
            step = functools.partial(_next_within, self._events, self._limit)
            try:
                return self._state.call_inside(step, self._spare.append)
            except MqttError:
                if thread is None or not thread.is_ending:
                    raise
        self._state.check_process()
        return self._events._take()  # noqa: SLF001 - what was left behind when the client was left


class Client(Publishing):
    """An MQTT client for threads and plain scripts.

    ```python
    with Client("test.mosquitto.org") as client:
        client.publish("temperature/outside", payload=28.4)
    ```

    Takes the arguments of `ferromqtt.Client`, and raises the same errors. Any number of threads may
    use it at the same time, also while one of them iterates over `messages`. It can be entered
    again after it was left, and keeps its messages and its unacknowledged publishes meanwhile.

    While it is entered, a daemon thread of its own runs the connection. Functions that the client
    is given, such as an `authenticator`, are called in that thread, and so are log handlers for
    most warnings: they must not wait for calls of this client, which raise `RuntimeError` there.
    The calls block: in a program on asyncio use `ferromqtt.Client`.

    A signal whose handler raises, as Ctrl-C does by `KeyboardInterrupt`, ends any wait of the main
    thread, and abandons the call as cancelling it does on asyncio.

    When the interpreter exits while a client is entered, the connection is cut, so the server
    publishes the will. In a child of `os.fork` a client of the parent raises `RuntimeError`, and
    leaving its block does nothing there: the connection stays the parent's.

    Attributes:
        timeout: Seconds that entering and leaving may take, and each call that is given none; may
            be changed at any time.

    """

    @constructs(AsyncClient)
    def __init__(self, client: AsyncClient) -> None:
        self._ferromqtt_blocking = _State(client)

    @classmethod
    @with_defaults_of(AsyncClient.__init__)
    def from_url(cls, url: str, **options: Unpack[ClientKeywords]) -> Self:
        """Make a client for the server that a URL names, as `ferromqtt.Client.from_url`.

        Args:
            url: Such as mqtts://user:secret@host:8883: docs/urls.md.
            options: Any other argument of `Client`, by its name, except `hostname`, `port` and
                `transport`.
        """
        hostname, arguments = arguments_of(url, options)
        return cls(hostname, **arguments)

    def __repr__(self) -> str:
        state = getattr(self, "_ferromqtt_blocking", None)
        if state is None:
            return object.__repr__(self)  # an argument was wrong
        return f"<{_shown.client(f'blocking.{type(self).__name__}', state.internals)}>"

    @property
    def timeout(self) -> float:
        """Seconds that a call may take that is given no `timeout`."""
        return self._ferromqtt_blocking.client.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._ferromqtt_blocking.client.timeout = seconds

    @property
    def identifier(self) -> str:
        """The Client Identifier that was given or made up; not one that the server assigned."""
        return self._ferromqtt_blocking.client.identifier

    @property
    def pending_calls_threshold(self) -> int:
        """How many calls may wait for the server before a warning is logged. Default: 1000.

        As of `ferromqtt.Client`, whose default is 10. Each thread that publishes at QoS 1 or 2 is
        such a call, so a smaller number would warn again and again where many threads publish.
        """
        return self._ferromqtt_blocking.client.pending_calls_threshold

    @pending_calls_threshold.setter
    def pending_calls_threshold(self, threshold: int) -> None:
        self._ferromqtt_blocking.client.pending_calls_threshold = threshold

    def messages(self, *, timeout: float | None = None) -> Messages:
        """Return an iterator over the received messages, each of which goes to one iterator.

        It may be asked for at any time, and several times. On a client that is not entered it
        yields the messages that were received before, and then raises.

        Args:
            timeout: Seconds to wait for each message. When none came in that time the loop ends;
                another loop over the same iterator goes on. 0 takes what is there. None, the
                default, waits until a message comes or the connection ends.

        Raises:
            ValueError: `timeout` is negative or NaN.
            TypeError: `timeout` is no number.

        Iterating raises:
            MqttError: There is no message, and the connection has ended.
            MqttCodeError: There is no message, and the client was never entered.
        """
        return Messages(self._ferromqtt_blocking, _checks.time_limit(timeout))

    def events(self, *, timeout: float | None = None) -> Events:
        """Return a new iterator over what happens to the connection: see `ferromqtt.events`.

        It begins with how the connection stands, and may be iterated while the client is entered.

        Args:
            timeout: Seconds to wait for each event. When none came in that time the loop ends;
                another loop over the same iterator goes on. None, the default, waits until an event
                comes or none will come any more, which ends the loop too.

        Raises:
            ValueError: `timeout` is negative or NaN.
            TypeError: `timeout` is no number.
        """
        return Events(self._ferromqtt_blocking, _checks.time_limit(timeout))

    def protocol(self) -> ProtocolVersion:
        """Return the version of MQTT in use: see `ferromqtt.Client.protocol`."""
        return self._ferromqtt_blocking.client.protocol()

    def state(self) -> ClientState:
        """Return where the client stands: whether there is a connection, and whether one comes."""
        return self._ferromqtt_blocking.client.state()

    @property
    def connack(self) -> ConnectResult | None:
        """What the CONNACK of the latest connection has settled; None before the first one."""
        return self._ferromqtt_blocking.client.connack

    def stats(self) -> Stats:
        """Return what the client has counted, over all its connections."""
        return self._ferromqtt_blocking.client.stats()

    def outbox_stats(self) -> OutboxStats | None:
        """Return what the `Outbox` holds, in figures; None without one."""
        return self._ferromqtt_blocking.client.outbox_stats()

    def unacknowledged(self) -> Unacknowledged:
        """Return what the program has taken and not acknowledged, as `ferromqtt.Client` does."""
        return self._ferromqtt_blocking.client.unacknowledged()

    @calls(AsyncClient.wait_connected)
    def wait_connected(self, call: Call[None]) -> None:
        """Wait until there is a connection, with `reconnect`."""
        self._ferromqtt_blocking.call_inside(call)

    @calls(AsyncClient.drain)
    def drain(self, call: Call[Drained]) -> Drained:
        """End the connection gracefully, and return what was left undone."""
        return self._ferromqtt_blocking.call_inside(call)

    @calls(AsyncClient.re_authenticate)
    def re_authenticate(self, call: Call[None]) -> None:
        """Authenticate again (5.0, section 4.12.1) on the present connection."""
        self._ferromqtt_blocking.call(call)

    @calls(AsyncClient.subscribe)
    def subscribe(self, call: Call[list[ReasonCode]]) -> list[ReasonCode]:
        """Subscribe to one or more filters."""
        return self._ferromqtt_blocking.call(call)

    @calls(AsyncClient.unsubscribe)
    def unsubscribe(self, call: Call[None]) -> None:
        """Unsubscribe from one filter or several."""
        self._ferromqtt_blocking.call(call)

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            MqttReentrantError: The client is entered already.
            ValueError: An option is wrong, or a certificate file cannot be used.
            MqttConnectError: The server refused the connection; `rc` tells why.
            MqttError: There was no connection, or not in time; `phase` and `address` tell what
                failed. The client can be entered again.
            RuntimeError: It was entered before this process was forked.
        """
        self._ferromqtt_blocking.enter()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Disconnect. Quiet when the connection has ended already.

        After a block that has ended well, calls of other threads have the client's `timeout` to get
        their outcomes; after an exception nothing is waited for. Threads that wait for messages get
        `MqttError`. The server gets everything that was accepted, and DISCONNECT last.

        An interruption ends the wait for calls, and leaves a second for the rest; a second one cuts
        the connection.

        Raises:
            MqttError: Not everything could be written, in time or before the connection was lost,
                so the server publishes the will. The client can be entered again.
        """
        self._ferromqtt_blocking.leave(exc_type, exc)


def _stop_all() -> None:
    """Stop all threads when the interpreter exits, before the native module refuses calls."""
    for state in list(_OPEN):
        if state.thread is not None:
            state.internals.start_publish = None  # the fast way needs a loop that runs
            state.thread.stop_at_exit(_AT_EXIT)


def _become_child() -> None:
    """Let go of the parent's connections in a forked child."""
    for state in list(_OPEN):
        state.become_child()
    _OPEN.clear()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_become_child)
