"""Clients that are wrong in one way each, to see that the checks find it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from typing import TYPE_CHECKING, Any

from ferromqtt import Client, Message, MqttError, OutgoingQueue
from ferromqtt._internals import internals_of

from .actor import MARK, Double
from .ledger import Name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

kept: list[Any] = []
"""What is left behind; a test empties it."""


def _reading(read: Callable[[Any], AsyncIterator[Message]]) -> Double:
    """Return what makes a client whose messages go through a generator."""

    def double(base: type[Client]) -> type[Client]:
        class Reading(base):  # type: ignore[valid-type, misc]
            @property
            def messages(self) -> Any:  # noqa: ANN401
                return read(super().messages)

        return Reading

    return double


async def _lossy(messages: Any) -> AsyncIterator[Message]:  # noqa: ANN401
    count = 0
    async for message in messages:
        count += 1
        if count % 5 or _is_mark(message):
            yield message


async def _repeating(messages: Any) -> AsyncIterator[Message]:  # noqa: ANN401
    async for message in messages:
        yield message
        if message.qos == 2:
            yield message


async def _swapping(messages: Any) -> AsyncIterator[Message]:  # noqa: ANN401
    held = None
    async for message in messages:
        if held is None and message.qos and not _is_mark(message):
            held = message
            continue
        yield message
        if held is not None:
            yield held
            held = None


def _is_mark(message: Message) -> bool:
    return bytes(message.payload).startswith(MARK.encode())


def _publishing(publish: Callable[..., Any]) -> Double:
    """Return what makes a client whose `publish` is another one; it is given the right one."""

    def double(base: type[Client]) -> type[Client]:
        class Publishing(base):  # type: ignore[valid-type, misc]
            async def publish(self, *message: Any, timeout: float | None = None) -> None:  # noqa: ANN401
                await publish(self, super().publish, message, timeout)

        return Publishing

    return double


async def _pretending(client: Any, publish: Any, message: Any, timeout: Any) -> None:  # noqa: ANN401
    client.count = getattr(client, "count", 0) + 1
    if client.count % 4:
        await publish(*message, timeout=timeout)


async def _denying(_: Any, publish: Any, message: Any, timeout: Any) -> None:  # noqa: ANN401
    await publish(*message, timeout=timeout)
    error = MqttError("it was not sent")
    error.delivery = "not_sent"
    raise error


async def _silent(_: Any, publish: Any, message: Any, timeout: Any) -> None:  # noqa: ANN401
    await publish(*message, timeout=timeout)
    raise MqttError("it was lost")


async def _surprising(_: Any, publish: Any, message: Any, timeout: Any) -> None:  # noqa: ANN401
    del publish, message, timeout
    raise ConnectionResetError


async def _late(client: Any, publish: Any, message: Any, timeout: Any) -> None:  # noqa: ANN401
    await publish(*message, timeout=timeout)
    await asyncio.sleep(client.timeout + 1)


async def _endless(_: Any, publish: Any, message: Any, timeout: Any) -> None:  # noqa: ANN401
    del publish, message, timeout
    await asyncio.get_running_loop().create_future()


def _entering(enter: Callable[..., Any]) -> Double:
    """Return what makes a client that does something more when it is entered."""

    def double(base: type[Client]) -> type[Client]:
        class Entering(base):  # type: ignore[valid-type, misc]
            async def __aenter__(self) -> Any:  # noqa: ANN401
                await super().__aenter__()
                await enter(self, super())
                return self

        return Entering

    return double


async def _leave_task(client: Any, _: Any) -> None:  # noqa: ANN401
    kept.append(asyncio.create_task(asyncio.sleep(10_000), name=f"of {client.identifier}"))


async def _leave_future(client: Any, _: Any) -> None:  # noqa: ANN401
    del client
    kept.append(asyncio.get_running_loop().create_future())


async def _leave_client(client: Any, _: Any) -> None:  # noqa: ANN401
    kept.append(client)


async def _leave_socket(client: Any, _: Any) -> None:  # noqa: ANN401
    del client
    kept.append(socket.socket())


async def _leave_slot(client: Any, _: Any) -> None:  # noqa: ANN401
    slots = internals_of(client)._slots
    if slots is not None:
        await slots.__aenter__()
        slots._give_back = lambda: None


async def _hurry(client: Any, right: Any) -> None:  # noqa: ANN401
    del client
    await right.__aexit__(None, None, None)
    with contextlib.suppress(MqttError):
        await right.__aenter__()


async def _impatient(_: Any, publish: Any, message: Any, timeout: Any) -> None:  # noqa: ANN401
    await publish(*message, timeout=timeout)
    error = MqttError("The connection to the broker ended before the answer came")
    error.delivery = "unknown"
    raise error


async def _ending(messages: Any) -> AsyncIterator[Message]:  # noqa: ANN401
    async for message in messages:
        yield message
        if not _is_mark(message):
            raise MqttError("Disconnected during message iteration")


def _queueing(**methods: Callable[..., Any]) -> Double:
    """Return what makes a client with other methods; each is given the right one first."""

    def double(base: type[Client]) -> type[Client]:
        class Queueing(base):  # type: ignore[valid-type, misc]
            pass

        for name, method in methods.items():
            setattr(Queueing, name, functools.partialmethod(method, getattr(base, name)))
        return Queueing

    return double


async def _late_expiry(client: Any, enqueue: Any, *message: Any, **terms: Any) -> Any:  # noqa: ANN401
    if terms.get("expires_in"):
        terms["expires_in"] += 1
    return await enqueue(client, *message, **terms)


async def _no_expiry(client: Any, enqueue: Any, *message: Any, **terms: Any) -> Any:  # noqa: ANN401
    return await enqueue(client, *message, **terms | {"expires_in": None})


async def _only_the_latest(client: Any, enqueue: Any, *message: Any, **terms: Any) -> Any:  # noqa: ANN401
    return await enqueue(client, *message, **terms | {"keep": "latest"})


class _Endless:
    def __init__(self, receipt: Any) -> None:  # noqa: ANN401
        self.receipt = receipt

    def done(self) -> bool:
        return False

    def __await__(self) -> Any:  # noqa: ANN401
        return asyncio.sleep(10_000).__await__()


def _without_end(client: Any, publish_nowait: Any, *message: Any, **terms: Any) -> Any:  # noqa: ANN401
    return _Endless(publish_nowait(client, *message, **terms))


async def _too_few(client: Any, publish_many: Any, messages: Any, **terms: Any) -> Any:  # noqa: ANN401
    results = await publish_many(client, messages, **terms)
    return results[1:]


async def _half(client: Any, publish_many: Any, messages: Any, **terms: Any) -> Any:  # noqa: ANN401
    results = await publish_many(client, messages[::2], **terms)
    return [result for result in results for _ in range(2)][: len(messages)]


class _OtherMessages:
    """The messages of a subscription, in another way."""

    def __init__(self, messages: Any) -> None:  # noqa: ANN401
        self._messages = messages

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._messages, name)

    def __len__(self) -> int:
        return len(self._messages)

    def __aiter__(self) -> Any:  # noqa: ANN401
        return self.messages()

    def __anext__(self) -> Any:  # noqa: ANN401
        return anext(self._messages)

    async def messages(self) -> AsyncIterator[Message]:
        async for message in self._messages:
            yield message


class _Acknowledging(_OtherMessages):
    async def messages(self) -> AsyncIterator[Message]:
        async for message in self._messages:
            with contextlib.suppress(RuntimeError):  # it was acknowledged on receipt
                message.ack()
            if _is_mark(message) or hash(message.payload) % 2:
                yield message


class _Silent(_OtherMessages):
    def take_lost(self) -> int:
        self._messages.take_lost()
        return 0


class _Again(_OtherMessages):
    async def messages(self) -> AsyncIterator[Message]:
        async for message in self._messages:
            yield message
            yield message


def _subscribing(other: type[_OtherMessages]) -> Double:
    def subscription(client: Any, right: Any, *filters: Any, **terms: Any) -> Any:  # noqa: ANN401
        @contextlib.asynccontextmanager
        async def entered() -> AsyncIterator[Any]:
            async with right(client, *filters, **terms) as messages:
                yield other(messages)

        return entered()

    return _queueing(subscription=subscription)


def _wider(client: Any, right: Any, *filters: Any, **terms: Any) -> Any:  # noqa: ANN401
    return right(client, *filters, **terms | {"maxsize": 1_000})


def _without_names(client: Any, right: Any, *filters: Any, **terms: Any) -> Any:  # noqa: ANN401
    return right(client, *(getattr(it, "filter", it) for it in filters), **terms)


class _Credulous:
    def decode(self, payload: bytes) -> Name:
        return Name.of(payload)


def _credulously(client: Any, right: Any, *filters: Any, **terms: Any) -> Any:  # noqa: ANN401
    return right(client, *filters, **terms | ({"codec": _Credulous()} if "codec" in terms else {}))


def _without_bounds(base: type[Client]) -> type[Client]:
    class Unbounded(base):  # type: ignore[valid-type, misc]
        def __init__(self, *where: Any, **options: Any) -> None:  # noqa: ANN401
            queue = OutgoingQueue(maxsize=None, maxbytes=None)
            super().__init__(*where, **options | {"outgoing_queue": queue})

    return Unbounded


DOUBLES: dict[str, tuple[Double, str]] = {
    "loses messages": (_reading(_lossy), "its program never got it"),
    "repeats messages": (_reading(_repeating), "times; it was carried"),
    "changes their order": (_reading(_swapping), "behind number"),
    "pretends to have published": (_publishing(_pretending), "and never got"),
    "denies to have published": (_publishing(_denying), "it was written"),
    "does not tell of delivery": (_publishing(_silent), "does not tell of delivery"),
    "raises what is not documented": (_publishing(_surprising), "not documented"),
    "ends calls too late": (_publishing(_late), "it may take"),
    "does not end calls": (_publishing(_endless), "has not published everything"),
    "leaves tasks behind": (_entering(_leave_task), "task left running"),
    "leaves futures behind": (_entering(_leave_future), "a future that nobody completes"),
    "leaves itself behind": (_entering(_leave_client), "a client that nothing frees"),
    "leaves sockets behind": (_entering(_leave_socket), "descriptor left open"),
    "leaves slots behind": (_entering(_leave_slot), "slots left in use"),
    "connects too often": (_entering(_hurry), "are expected"),
}
"""What each does, and what the checks say of it."""

RECONNECTING_DOUBLES: dict[str, tuple[Double, str]] = {
    "fails calls by a loss that passes": (_publishing(_impatient), "for the next connection"),
    "ends iterators by a loss that passes": (_reading(_ending), "has ended for good"),
}
"""The same for clients that reconnect."""

QUEUE_DOUBLES: dict[str, tuple[Double, str]] = {
    "lets messages expire late": (_queueing(enqueue=_late_expiry), "it may wait for"),
    "lets no message expire": (_queueing(enqueue=_no_expiry), "it was written after"),
    "replaces messages that were all to be kept": (
        _queueing(enqueue=_only_the_latest),
        "nothing has replaced it",
    ),
    "has receipts without an end": (
        _queueing(publish_nowait=_without_end),
        "receipts without an outcome",
    ),
    "has too few results": (_queueing(publish_many=_too_few), "messages have"),
    "publishes half of many": (_queueing(publish_many=_half), "never got"),
    "keeps to no bounds with its outgoing queue": (_without_bounds, "the outgoing queue holds"),
    "keeps to no bounds with its subscriptions": (
        _queueing(subscription=_wider),
        "the queue of chaos/",
    ),
    "forgets the names of templates": (_queueing(subscription=_without_names), "has come with {}"),
    "makes values of bad payloads": (
        _queueing(subscription=_credulously),
        "has come with the error None",
    ),
    "acknowledges for its program": (_subscribing(_Acknowledging), "for its program"),
    "does not say what a queue has lost": (_subscribing(_Silent), "its program never got it"),
    "hands out what was acknowledged": (_subscribing(_Again), "again, which it has acknowledged"),
}
"""The same for clients with queues of their own."""

OF_KIND = {"loops": DOUBLES, "reconnecting": RECONNECTING_DOUBLES, "queues": QUEUE_DOUBLES}
"""By what kind of worlds they are found."""
