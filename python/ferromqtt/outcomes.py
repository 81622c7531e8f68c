"""What becomes of messages: receipts, outcomes, and the queue that messages wait in.

docs/outcomes.md of the repository says which call to use when.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Generator, Mapping
from typing import Any, Literal, NoReturn, Protocol, TypeAlias

from ferromqtt import _checks
from ferromqtt._native import Core
from ferromqtt._option_values import OUTGOING_BYTES, OUTGOING_MESSAGES, OUTGOING_OVERFLOW
from ferromqtt.properties import Properties
from ferromqtt.reasons import ReasonCode
from ferromqtt.topic import TopicLike
from ferromqtt.types import PayloadType

__all__ = ["MessageLike", "OutgoingMessage", "OutgoingQueue", "Published", "Receipt"]

OVERFLOWS = ("wait", "drop_oldest", "drop_newest", "fail")


@dataclasses.dataclass(frozen=True, slots=True)
class Published:
    """The server has a message; at QoS 0, the socket.

    Attributes:
        reason_code: The server's Reason Code: of PUBACK or PUBCOMP (5.0), otherwise Success.
        properties: (5.0) The `Properties` of the acknowledgement, if it has any.
        resent_as_new: The server had lost the session, and the message was published again: it may
            have come twice.
    """

    reason_code: ReasonCode
    properties: Properties | None = None
    resent_as_new: bool = False

    @property
    def reason_string(self) -> str | None:
        """(5.0) What the server says about it, in words."""
        text: str | None = getattr(self.properties, "ReasonString", None)
        return text


def ignore(future: asyncio.Future[Any]) -> None:
    """Take what is in a future that nobody waits for any more, now or when it is done."""
    if not future.done():
        future.add_done_callback(ignore)
    elif not future.cancelled():
        future.exception()


class Receipt:
    """A message that was accepted: awaiting it gives what became of the message.

    ```python
    receipt = await client.enqueue("readings", 21.5, qos=1)
    ...
    published = await receipt
    ```

    It may be awaited any number of times, by any number of tasks of the client's event loop.
    Cancelling that neither withdraws the message nor ends the receipt. A receipt may be dropped:
    the message goes its way all the same.

    Awaiting it raises what `Client.publish` would have raised, with its `delivery`; and
    `MqttDiscardedError` when the message expired, or was replaced or dropped. With an `Outbox`
    also `MqttQuarantinedError`, and `MqttKeptError` when the client is left first.
    """

    __slots__ = ("__weakref__", "_core", "_future", "_key")

    def __init__(self, core: Core, future: asyncio.Future[Published], key: int) -> None:
        """Made by `Client.enqueue` and `Client.publish_nowait` only."""
        self._core = core
        self._future = future
        self._key = key

    def done(self) -> bool:
        """Whether the message has ended, so that awaiting the receipt does not wait."""
        return self._future.done()

    async def stored(self) -> None:
        """Wait until the message is stored in the client's `Outbox`, as its `sync` says.

        It also returns once the message has ended: there is nothing left to store.

        Raises:
            MqttError: The outbox has failed first, or was closed without it.
            RuntimeError: The client has no outbox, or is not entered.
        """
        future = self._core.await_stored(self._key)
        try:
            # Shielded, since the native module completes it.
            await asyncio.shield(future)
        except asyncio.CancelledError:
            ignore(future)
            raise

    def __await__(self) -> Generator[Any, None, Published]:
        """Wait for the end of the message."""
        # Shielded, since a task that is cancelled cancels what it waits on.
        return (yield from asyncio.shield(self._future).__await__())

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Receipt cannot be copied or pickled: it stands for one message")

    def __repr__(self) -> str:
        if not self._future.done():
            return "<Receipt pending>"
        failed = self._future.cancelled() or self._future.exception() is not None
        return "<Receipt failed>" if failed else "<Receipt done>"

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the constructor failed, or the interpreter exits
            if not self._future.done():
                self._core.release_receipt(self._key)
            elif not self._future.cancelled():
                self._future.exception()  # nobody wants it: asyncio is not to report that


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutgoingQueue:
    """The bounds of the queue that `enqueue` and `publish_nowait` accept messages into.

    It counts messages until they have ended: those that wait for a connection, and those that are
    on their way and not acknowledged.

    ```python
    queue = OutgoingQueue(maxsize=500, overflow="drop_oldest")
    async with Client("test.mosquitto.org", reconnect=True, outgoing_queue=queue) as client:
        ...
    ```

    Args:
        maxsize: How many messages it holds at most; None for no limit.
        maxbytes: How many bytes of memory they take at most: topics, payloads and properties, and
            128 bytes for each message. None for no limit. A larger message is accepted alone.
        overflow: What happens to a message for which there is no capacity. "wait": `enqueue` waits
            until there is some. "drop_oldest": the oldest messages are dropped that never were on
            the wire. "drop_newest": the new one is dropped. "fail": `enqueue` raises
            `MqttQueueFullError`. `publish_nowait` raises that with "wait" too. The receipt of a
            dropped message raises `MqttDiscardedError`.

    Raises:
        ValueError: A number is below 1, or there is no such `overflow`.
        TypeError: An argument has the wrong type.
    """

    maxsize: int | None = OUTGOING_MESSAGES
    maxbytes: int | None = OUTGOING_BYTES
    overflow: Literal["wait", "drop_oldest", "drop_newest", "fail"] = OUTGOING_OVERFLOW

    def __post_init__(self) -> None:
        _checks.check_bounds("OutgoingQueue", self.maxsize, self.maxbytes, self.overflow, OVERFLOWS)


class MessageLike(Protocol):
    """An object with the attributes of a message, such as a received `Message`."""

    @property
    def topic(self) -> TopicLike:
        """The topic to publish to."""

    @property
    def payload(self) -> PayloadType:
        """The payload."""


OutgoingMessage: TypeAlias = tuple[Any, ...] | Mapping[str, Any] | MessageLike
"""What `Client.publish_many` takes: (topic, payload, qos, retain, properties), of which all behind
the payload may be left out; a dict with these names; or an object with these attributes."""
