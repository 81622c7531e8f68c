"""Clients that are wrong in one way each, to see that the checks find it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from ferromqtt import Client, Message, MqttError
from ferromqtt._internals import internals_of

from .actor import MARK, Double

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
