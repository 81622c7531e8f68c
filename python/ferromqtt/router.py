"""Handlers of messages by filter: `Router`."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, Unpack, cast

from ferromqtt import _checks, _handler_checks, _keywords
from ferromqtt._internals import FerromqttInternalsHolder, Internals, internals_of
from ferromqtt._native import (
    Message,
    TypedMessage,
    acknowledge_committed,
    hold_for_transaction,
    is_unacknowledged,
)
from ferromqtt._once.store import Store
from ferromqtt._responder import Request, Requests, Responder, Responding
from ferromqtt._subscription import Subscription, SubscriptionMessages
from ferromqtt._subscription_keywords import (
    OnceKeywords,
    SubscriptionKeywords,
    subscription_of,
    takes_subscription,
)
from ferromqtt.client import Client
from ferromqtt.codecs import can_encode
from ferromqtt.exceptions import MqttError
from ferromqtt.types import SubscriptionTopic

if TYPE_CHECKING:
    from ferromqtt._once.identifiers import Identifiers
    from ferromqtt._once.route import OnceRoute, OpenedRoute

__all__ = ["Router"]

_Any = TypeVar("_Any", bound=Callable[..., object])
_Handler = TypeVar("_Handler", bound=Callable[[TypedMessage[Any]], object])
_RequestHandler = TypeVar("_RequestHandler", bound=Callable[[Request], object])
_Db = TypeVar("_Db")
_OnceHandler: TypeAlias = Callable[[TypedMessage[Any], _Db], object]
_Source: TypeAlias = Subscription | Responder
_Messages: TypeAlias = SubscriptionMessages | Requests

ErrorHandler: TypeAlias = Callable[[Exception, Message], object]
"""What a `Router` calls when a handler has failed: a function, or a coroutine function."""


@dataclasses.dataclass(frozen=True)
class _Route:
    """A handler, and what it gets."""

    handler: Callable[..., object]
    topics: tuple[SubscriptionTopic, ...]
    concurrency: int
    keywords: SubscriptionKeywords
    responds: bool
    once: OnceRoute | None = None

    def source(self, client: Client) -> _Source:
        if self.responds:  # not by an attribute of the client, which a subclass may have redefined
            responder: Callable[..., Responder] = Responding.responder  # of any codec
            return responder(client, *self.topics, **self.keywords)
        return subscription_of(client, *self.topics, **self.keywords)

    def acknowledges(self, internals: Internals) -> bool:
        """Whether the router acknowledges the messages that the handler has returned from."""
        ack = self.keywords.get("ack")
        return internals.core.manual_ack if ack is None else ack == "manual"

    def __str__(self) -> str:
        name = getattr(self.handler, "__qualname__", None) or type(self.handler).__name__
        return f"{name} of {', '.join(map(str, self.topics))}"


class _Run:
    """One run of a router."""

    def __init__(self, routes: list[_Route], client: Client, *, serves: bool) -> None:
        self.internals = internals_of(client)
        _check_names(self.internals, routes)
        self.sources = [(route, self._source(route, client, serves)) for route in routes]
        self.kept: dict[OnceRoute, OpenedRoute] = {}
        """The stores of handlers without a key, which are open before the client is."""
        self.is_stopped = False
        self.messages: list[_Messages] = []
        self.end: MqttError | None = None
        """What iterating raised at the end of the connection."""
        self.left: dict[_Messages, int] = {}
        """How many messages lay in each queue then: they are handled before the router ends."""

    @staticmethod
    def _source(route: _Route, client: Client, serves: bool) -> _Source:
        try:
            if route.once is not None:
                route.once.check(internals_of(client), serves=serves)
            return route.source(client)
        except (TypeError, ValueError) as error:
            error.add_note(f"It is an argument of the handler {route}.")
            raise

    def finish(self, end: MqttError) -> None:
        """Note what lies in the queues at the end of the connection.

        The client may be entered again while handlers work on that, and what comes then would keep
        some of them busy, and the router half dead, for as long as it comes.
        """
        if self.end is None:
            self.end = end
            self.left = {messages: len(messages) for messages in self.messages}

    def take_left(self, messages: _Messages) -> Message | None:
        if self.left[messages] <= 0:
            return None
        self.left[messages] -= 1
        return messages.try_next()

    def stop(self) -> None:
        self.is_stopped = True
        for _, source in self.sources:
            source._close()  # noqa: SLF001 - of this package


class Router:
    """Handlers of messages, each for filters of its own.

    ```python
    router = Router()

    @router.on("alarms/#", qos=1)
    async def alarm(message):
        print(message.topic, message.payload)

    @router.on("room/+/temp", concurrency=4, overflow="drop_oldest")
    async def temperature(message):
        await store(message)

    async with Client("test.mosquitto.org") as client:
        await router.run(client)
    ```

    Each handler has a subscription with a queue of its own, as of `Client.subscription`: a message
    that matches the filters of several handlers goes to each of them.

    A handler that raises ends neither the router nor another handler. Its exception goes to
    `on_error`. docs/routing.md says more.

    Args:
        on_error: Called with the exception and the message when a handler has raised. A function,
            or a coroutine function. What it raises itself ends the router, and comes out of `run`.
            By default the exception is logged at ERROR by the client's logger, with the filter and
            the topic.

    Raises:
        TypeError: `on_error` cannot be called.
    """

    def __init__(self, *, on_error: ErrorHandler | None = None) -> None:
        if on_error is not None and not callable(on_error):
            raise _checks.wrong_type(
                "on_error", "a function of the error and the message", on_error
            )
        self._on_error = on_error
        self._routes: list[_Route] = []
        self._runs: list[_Run] = []

    def __repr__(self) -> str:
        handlers = "1 handler" if len(self._routes) == 1 else f"{len(self._routes)} handlers"
        return f"<{type(self).__name__} with {handlers}>"

    @takes_subscription("on")
    def on(
        self,
        *topics: SubscriptionTopic,
        concurrency: int = 1,
        **keywords: Unpack[SubscriptionKeywords],
    ) -> Callable[[_Handler], _Handler]:
        """Decorate a handler: what is called with each message of these filters.

        The handler is a coroutine function, or a function that returns soon. It can be called as
        before, so a test needs no router. A handler that is added while the router runs takes part
        in the next run.

        With `ack="manual"`, or a client with `manual_ack`, the router acknowledges a message when
        its handler has returned. One whose handler has raised, or was cancelled, stays
        unacknowledged, unless the handler or `on_error` acknowledges or rejects it: it holds up
        those behind it until the connection ends, and comes again if the session is kept.

        Args:
            topics: The filters, as for `Client.subscription`.
            concurrency: How many messages the handler works on at once, each in a task of the
                router's. Others wait in the queue, whose bounds and `overflow` say what happens
                when that is full. With 1, the default, messages are handled one after the other,
                in order.
            keywords: The keywords of `Client.subscription`, which mean the same here. Their values
                are checked by `run`.

        Raises:
            ValueError: There is no filter, or `concurrency` is below 1.
            TypeError: There is no keyword of that name, or what is decorated cannot be called.
        """
        _check_made(self)
        return self._adds("on", topics, concurrency, keywords)

    @takes_subscription("Router.respond")
    def respond(
        self,
        *topics: SubscriptionTopic,
        concurrency: int = 1,
        **keywords: Unpack[SubscriptionKeywords],
    ) -> Callable[[_RequestHandler], _RequestHandler]:
        """Decorate a handler of requests (5.0), whose return value is the payload of the response.

        ```python
        @router.respond("square", qos=1)
        async def square(request):
            return int(request.payload) ** 2
        ```

        None is an empty payload. With a `codec` that encodes, it encodes what the handler returns,
        None too. A handler that raises leaves the request without a response. To a
        message without a Response Topic the handler is not called: see `Client.responder`.

        Args:
            topics: As for `on`.
            concurrency: As for `on`. It includes publishing the response.
            keywords: As for `on`.

        Raises:
            ValueError: As for `on`.
            TypeError: As for `on`.
        """
        _check_made(self)
        return self._adds("Router.respond", topics, concurrency, keywords)

    @takes_subscription("exactly_once", OnceKeywords)
    def exactly_once(
        self,
        *topics: SubscriptionTopic,
        store: Store[_Db],
        key: Callable[[TypedMessage[Any]], object] | None,
        batch: int = 100,
        retries: int = 2,
        on_failure: Literal["stop", "dead_letter"] = "stop",
        keep_keys_for: float = 7 * 86_400,
        name: str | None = None,
        qos: int = 1,
        **keywords: Unpack[OnceKeywords],
    ) -> Callable[[_OnceHandler[_Db]], _OnceHandler[_Db]]:
        """Decorate a handler that handles each message once, in a transaction of your database.

        ```python
        store = once.sqlite(sqlite3.connect("orders.db"))
        store.create()

        @router.exactly_once("orders/#", store=store, key=lambda message: message.value["id"],
                             codec=json)
        def order(message, db):
            db.execute("INSERT INTO orders VALUES (?, ?)", (message.value["id"], message.payload))
        ```

        The row that remembers a message and what the handler does with `db` are committed together,
        and the message is acknowledged after that. A message that comes again, since the program or
        the connection has died in between, finds the row: the handler is not called, and the
        message is acknowledged. docs/exactly-once.md has what the guarantee needs and where it
        ends.

        Messages that wait share a transaction, each with a savepoint of its own: what a handler
        that raises has done is taken back, and the others are not. Messages are handled one after
        the other. The handler must leave the transaction alone.

        The client needs `manual_ack=True`, an `identifier` and a session that the server keeps.

        Args:
            topics: The filters, as for `on`.
            store: The database: see `ferromqtt.once`.
            key: Returns what identifies a message: a str, int, bytes or UUID, of at most 255
                characters as a text. Whoever publishes a message twice gives both the same key.
                None is for messages of QoS 2 alone: each is known by its Packet Identifier in the
                session, until the server has let go of it. It needs `qos=2`, and `serve`.
            batch: How many messages share a transaction at most. It never waits for more than are
                there.
            retries: How often a handler that has raised is called again, at once.
            on_failure: What follows then: "stop" (the default) commits the messages before it, and
                `run` raises `once.HandlerFailedError`. "dead_letter" puts the message into the
                table of dead letters, in the same transaction, acknowledges it, and reports the
                error as for `on`.
            keep_keys_for: Seconds for which rows are kept: by default a week. It must be longer
                than a message can be on its way, from the first time that it is published to the
                last one. Without a key it means nothing.
            name: Tells the rows of this handler from those of others in the same table. Default:
                the Client Identifier and the filters. To be given where these may change, and for
                a Shared Subscription. Without a key the Client Identifier is always a part of it.
            qos: As for `Client.subscription`: 1 (the default) or 2.
            keywords: As for `on`, without `ack` and `overflow`, since no message may be lost, and
                `concurrency`, since a connection is used by one handler at a time.

        Raises:
            ValueError: There is no filter, an argument is out of its range, or there is no key and
                less than QoS 2 or a Shared Subscription is asked for.
            TypeError: An argument has the wrong type, or what is decorated cannot be called, or is
                a coroutine function and the store runs in a thread.
        """
        _check_made(self)
        from ferromqtt._once import route  # noqa: PLC0415 - most routers have none

        _keywords.check_names("exactly_once", keywords)
        usage = '@router.exactly_once("orders/#", store=..., key=...)'
        _handler_checks.check_topics(topics, usage)
        _handler_checks.check_count("batch", batch, 1)
        _handler_checks.check_count("retries", retries, 0)
        terms = route.Options(key, batch, retries, on_failure, keep_keys_for, name).checked()
        route.check_topics(topics, name, qos, has_key=key is not None)
        subscribed: SubscriptionKeywords = {
            **keywords,
            "qos": qos,
            "ack": "manual",
            "overflow": "wait",
        }

        def add(handler: _OnceHandler[_Db]) -> _OnceHandler[_Db]:
            _handler_checks.check_handler(handler, "a function of the message and the database")
            route.check_store(store, handler)
            plain = _Route(handler, topics, 1, subscribed, responds=False)
            once = route.OnceRoute(topics, store, terms.of(handler, str(plain)), name)
            self._routes.append(dataclasses.replace(plain, once=once))
            return handler

        return add

    def _adds(
        self,
        call: str,
        topics: tuple[SubscriptionTopic, ...],
        concurrency: int,
        keywords: SubscriptionKeywords,
    ) -> Callable[[_Any], _Any]:
        _keywords.check_names(call, keywords)
        responds = call == "Router.respond"
        usage = f'@router.{"respond" if responds else "on"}("room/+/temp")'
        _handler_checks.check_topics(topics, usage)
        _handler_checks.check_count("concurrency", concurrency, 1)

        def add(handler: _Any) -> _Any:
            _handler_checks.check_handler(handler, "a function of the message")
            self._routes.append(_Route(handler, topics, concurrency, keywords, responds))
            return handler

        return add

    async def run(self, client: Client, *, started: asyncio.Event | None = None) -> None:
        """Subscribe for all handlers, and call them until the subscriptions end.

        Handlers begin when the server has granted all subscriptions. On a client that is not
        entered yet they begin at once, and the client subscribes when it is entered. A lost
        connection does not end the router with `Client(reconnect=...)`. It may run for several
        clients at a time.

        When the connection has ended for good, what lies in the queues is handled, handlers
        finish, and then it raises. Cancelled, or when it raises for another reason, it cancels the
        handlers that are at work. When it is over all tasks have ended, and the subscriptions are
        ended as leaving a `Subscription` ends them.

        Args:
            client: Whose messages the handlers get.
            started: Set when the handlers begin, for tasks that wait for that.

        Raises:
            ValueError: There are no handlers, an argument of one of them is wrong, or the version
                of MQTT has no requests. Nothing was sent.
            TypeError: An argument has the wrong type. Nothing was sent.
            MqttCodeError: The server refuses a subscription: `rc` is its Reason Code, and the notes
                name the filter.
            MqttError: The connection has ended, and none follows; or as for iterating over the
                messages of a subscription.
            Exception: What `on_error` has raised.
        """
        await self._run_for(client, started, contextlib.nullcontext())

    async def serve(self, client: Client, *, started: asyncio.Event | None = None) -> None:
        """Enter a client, run, and leave the client.

        As `run` in the block of a client, but the client subscribes with the connection, so that
        nothing is missed of what a session that the server has kept brings at once. A router with
        `exactly_once` handlers needs that.

        Args:
            client: Whose messages the handlers get. It is not entered yet.
            started: Set when the client is entered, and the handlers begin.

        Raises:
            MqttError: As for entering a client, and as for `run`. What the server refuses to
                subscribe to is `MqttCodeError`, when no filter of a handler is left.
            ValueError: As for `run`.
            TypeError: As for `run`.
            Exception: As for `run`.
        """
        await self._run_for(client, started, client)

    async def _run_for(
        self,
        client: Client,
        started: asyncio.Event | None,
        entering: contextlib.AbstractAsyncContextManager[object],
    ) -> None:
        if not isinstance(client, FerromqttInternalsHolder):
            raise _handler_checks.no_client(type(client))
        event = cast("object", started)
        if event is not None and not isinstance(event, asyncio.Event):
            raise _checks.wrong_type("started", "an asyncio.Event", event)
        if not self._routes:
            raise ValueError("The router has no handlers: decorate them with its methods")
        run = _Run(self._routes, client, serves=entering is client)
        self._runs.append(run)
        try:
            await self._subscribe(run)
            async with _keeping_identifiers(run) as identifiers, entering:
                if identifiers is not None:
                    await identifiers.catch_up()  # SUBSCRIBE waits for that
                await self._run(run, started)
        finally:
            self._runs.remove(run)
            for _, source in run.sources:
                await source.__aexit__(None, None, None)

    def stop(self) -> None:
        """Let each `run` that has begun return once the handlers that are at work have finished.

        One that begins later is not stopped. Ends the subscriptions at once, as leaving a
        `Subscription` does: messages that no handler has got are acknowledged and lost, unless the
        session outlives the program. It is to be called on the client's event loop.
        """
        for run in self._runs:
            run.stop()

    async def _subscribe(self, run: _Run) -> None:
        entering: list[tuple[_Route, asyncio.Task[_Messages]]] = []
        with _alone() as failed:
            async with asyncio.TaskGroup() as group:
                for route, source in run.sources:
                    entering.append((route, group.create_task(_enter(source))))
        # One that is stopped while it subscribes has closed what was to be subscribed.
        if not (run.is_stopped and isinstance(failed.error, MqttError)):
            failed.check()
            run.messages = [task.result() for _, task in entering]

    async def _run(self, run: _Run, started: asyncio.Event | None) -> None:
        if started is not None:
            started.set()
        if run.is_stopped:
            return
        with _alone() as failed:
            async with asyncio.TaskGroup() as group:
                workers = {
                    group.create_task(self._worker(run, route, messages))
                    for (route, _), messages in zip(run.sources, run.messages, strict=True)
                    for _ in range(route.concurrency)
                }
                while workers:
                    done, workers = await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
                    if any(worker.cancelled() for worker in done):
                        raise RuntimeError("A handler has cancelled the task that it runs in")
        failed.check()
        if run.end is not None:
            raise run.end

    def _worker(self, run: _Run, route: _Route, messages: _Messages) -> Coroutine[None, None, None]:
        if route.once is None:
            return self._work(run, route, messages)
        return self._work_once(run, route, route.once, cast("SubscriptionMessages", messages))

    async def _work_once(
        self, run: _Run, route: _Route, once: OnceRoute, messages: SubscriptionMessages
    ) -> None:
        """Call an exactly-once handler with one batch after the other.

        What the end of the connection leaves in the queue cannot be acknowledged any more. It is
        handled all the same, and found to be so when it comes again.
        """
        batches = messages.batches(once.terms.batch)
        has_warned = False
        kept = run.kept.get(once)
        opening = once.opened(run.internals) if kept is None else contextlib.nullcontext(kept)
        async with opening as opened:
            while True:
                _check_cancelled()
                try:
                    batch = await anext(batches)
                except StopAsyncIteration:
                    return
                except MqttError as end:
                    if run.end is None and run.internals.core.iteration_end() is None:
                        raise  # as in `_work`
                    run.finish(end)
                    return
                has_warned = has_warned or once.warn_of_qos(run.internals, batch)
                for message in batch:
                    hold_for_transaction(message)
                handled = await opened.handle(batch)
                for message in batch[: handled.count]:
                    acknowledge_committed(message)
                for message in handled.doubtful:
                    once.warn_of_doubt(run.internals, message)
                for error, message in handled.dead:
                    await self._report(run.internals, route, message, error)
                if handled.failure is not None:
                    raise handled.failure
                await asyncio.sleep(0)  # others have their turn where batches follow at once

    async def _work(self, run: _Run, route: _Route, messages: _Messages) -> None:
        """Call the handler with one message after the other."""
        iterator = aiter(messages)
        while True:
            _check_cancelled()
            if run.end is not None:
                left = run.take_left(messages)
                if left is None:
                    return
                await self._call(run.internals, route, left)
                continue
            try:
                message = await anext(iterator)
            except StopAsyncIteration:
                if run.end is None:
                    return
            except MqttError as error:
                if run.end is None and run.internals.core.iteration_end() is None:
                    raise  # of this subscription alone: it would be dead among the others
                run.finish(error)
            else:
                await self._call(run.internals, route, message)

    async def _call(self, internals: Internals, route: _Route, message: Message) -> None:
        try:
            result = route.handler(message)
            if inspect.isawaitable(result):
                result = await result
            _handler_checks.check_result(result)
            if route.responds:
                codec = route.keywords.get("codec")
                respond: Callable[..., Awaitable[None]] = cast("Request", message).respond
                await respond(result, codec=codec if can_encode(codec) else None)
            if route.acknowledges(internals):
                message.ack()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # What the handler has awaited was cancelled, and not the router.
            failure = RuntimeError("The handler has awaited something that was cancelled")
            failure.__cause__ = error
            await self._report(internals, route, message, failure)
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises
            await self._report(internals, route, message, error)

    async def _report(
        self, internals: Internals, route: _Route, message: Message, error: Exception
    ) -> None:
        if self._on_error is not None:
            result = self._on_error(error, message)
            if inspect.isawaitable(result):
                await result
            return
        left = "; it is not acknowledged, and holds up those behind it"
        internals.core.log_failure(
            "The handler %s failed on a message to %s%s",
            route,
            message.topic,
            left if is_unacknowledged(message) else "",
            error=error,
        )


@contextlib.asynccontextmanager
async def _keeping_identifiers(run: _Run) -> AsyncIterator[Identifiers | None]:
    """Let handlers without a key commit what becomes of identifiers, from before CONNECT on."""
    found = [
        (route.once, messages)
        for (route, _), messages in zip(run.sources, run.messages, strict=not run.is_stopped)
        if route.once is not None and route.once.keeps_identifiers
    ]
    if not found:
        yield None
        return
    from ferromqtt._once import identifiers as kept  # noqa: PLC0415 - most routers have none
    from ferromqtt._once.route import Keeping  # noqa: PLC0415 - likewise

    identifiers = kept.Identifiers(run.internals.core)
    with _alone() as failed:
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[None]] = []
            for once, messages in found:
                ledger = identifiers.ledger()
                keeping = Keeping(ledger, cast("SubscriptionMessages", messages))
                opened = await stack.enter_async_context(once.opened(run.internals, keeping))
                run.kept[once] = opened
                tasks.append(group.create_task(opened.keep_up(ledger)))
            identifiers.begin()
            try:
                yield identifiers
            finally:
                identifiers.end()
                for task in tasks:
                    task.cancel()
    failed.check()


def _check_cancelled() -> None:
    """Raise CancelledError where a handler has swallowed that of its task.

    A task group cancels each of its tasks once, and would wait for this one forever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _check_names(internals: Internals, routes: list[_Route]) -> None:
    """Raise ValueError where a message that one handler has handled would be another's, too."""
    names: dict[str, _Route] = {}
    for route in routes:
        if route.once is None:
            continue
        other = names.setdefault(route.once.name(internals), route)
        if other is not route:
            raise ValueError(
                f"The exactly-once handlers {other} and {route} have the same name, and would take "
                "each other's messages for handled: give each a name="
            )


def _check_made(router: object) -> None:
    if not isinstance(router, Router):
        raise TypeError("Make a router first: router = Router(), and then @router.on(...)")


async def _enter(source: _Source) -> _Messages:
    return await source.__aenter__()


class _Failed:
    """The first exception of a task group, which is raised alone."""

    error: BaseException | None = None

    def check(self) -> None:
        """Raise it as it is: inside of `except` it would get a context."""
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def _alone() -> Iterator[_Failed]:
    failed = _Failed()
    try:
        yield failed
    except BaseExceptionGroup as group:
        failed.error = group.exceptions[0]
