"""What happens to a client's connection: the events of `Client.events`."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

from ferromqtt import _errors
from ferromqtt._driver import NO_CONNECTION, Protocol
from ferromqtt._turn import TURN
from ferromqtt.exceptions import MqttError
from ferromqtt.properties import Properties, from_native
from ferromqtt.reasons import PacketTypes, ReasonCode

__all__ = [
    "Connected",
    "ConnectionEvent",
    "Disconnected",
    "Events",
    "IdentifierContested",
    "Lagged",
    "MessageRefused",
    "MessageSuspected",
    "Missed",
    "NotResubscribed",
    "NotSubscribed",
    "NotUnsubscribed",
    "Stalled",
    "Tolerated",
    "Unclaimed",
    "Unflushed",
]


@dataclasses.dataclass(frozen=True)
class ConnectionEvent:
    """Base of all events. Later versions may add others, so have a case for what is unknown."""


@dataclasses.dataclass(frozen=True)
class Connected(ConnectionEvent):
    """The server has accepted a connection."""

    session_present: bool
    """Whether the server resumed the session."""
    properties: Properties
    """(5.0) CONNACK properties: Assigned Client Identifier, the server's limits, and so on."""


@dataclasses.dataclass(frozen=True)
class Disconnected(ConnectionEvent):
    """The connection has ended, or an attempt to make one has failed."""

    cause: MqttError | None
    """Why; None when the client disconnected, as it was asked to."""
    retry_in: float | None
    """Seconds until the next attempt, from the moment when the event is taken; None: none comes."""
    unflushed: int
    """QoS 0 messages whose calls have returned, and that were not written."""


@dataclasses.dataclass(frozen=True)
class NotResubscribed(ConnectionEvent):
    """The server has lost the session, and this subscription could not be made again.

    No messages come for it any more: it is in `SubscriptionMessages.not_subscribed`.
    """

    filter: str
    """What was subscribed."""
    reason: ReasonCode
    """The server's Reason Code, or the one that stands for what forbids to ask."""
    forbidden_by: str | None = None
    """What forbids to ask the server: its CONNACK, the profile, the version; None: it refused."""


@dataclasses.dataclass(frozen=True)
class Lagged(ConnectionEvent):
    """Received messages were lost: the queue had no capacity for them.

    Or the program was to acknowledge them, and left their subscription before it had taken them.
    """

    filters: tuple[str, ...]
    """The filters of the queue; none for `Client.messages`."""
    lost: int
    """How many when this was reported, which is at the first loss.

    A subscription that loses more is not reported again until its reader calls
    `SubscriptionMessages.take_lost`, which returns how many they are by then; then the next loss
    is. `Stats.lost` counts those of all queues. 0 when `take_lost` was called in between.
    """


@dataclasses.dataclass(frozen=True)
class Missed(ConnectionEvent):
    """So many events were not taken in time, and are gone: the oldest ones."""

    events: int
    """How many."""


@dataclasses.dataclass(frozen=True)
class Unflushed(ConnectionEvent):
    """QoS 0 messages whose calls have returned were not written: closing the transport failed."""

    messages: int
    """How many."""


@dataclasses.dataclass(frozen=True)
class Tolerated(ConnectionEvent):
    """The server broke a rule of MQTT, which is tolerated: see `Client(strict=...)`."""

    slip: str
    """What it did, and what is made of it."""


@dataclasses.dataclass(frozen=True)
class Unclaimed(ConnectionEvent):
    """Messages of the session went to `Client.messages`, because nobody else claimed them."""

    messages: int
    """How many."""


@dataclasses.dataclass(frozen=True)
class NotSubscribed(ConnectionEvent):
    """A subscription that was declared before there was a connection was refused.

    By the server; or the connection has a limit that forbids to ask for it.
    """

    filter: str
    """What was to be subscribed."""
    reason: ReasonCode
    """The server's Reason Code, or the one that stands for what forbids to ask."""
    forbidden_by: str | None = None
    """What forbids to ask the server: its CONNACK, the profile, the version; None: it refused."""


@dataclasses.dataclass(frozen=True)
class NotUnsubscribed(ConnectionEvent):
    """A subscription was not ended, and the server goes on to send its messages.

    The server has refused to end it, for which `Client.unsubscribe` does not raise, as in aiomqtt;
    `SubscriptionMessages.unsubscribe` does, and then there is no event. Or the filter is longer
    than its Maximum Packet Size allows, so that it cannot be asked: an event where no call raises
    it. Messages that no subscription wants come to `Client.messages`.
    """

    filter: str
    """What is still subscribed."""
    reason: ReasonCode
    """The server's Reason Code, or the one that stands for what forbids to ask."""
    forbidden_by: str | None = None
    """What forbids to ask the server, such as its Maximum Packet Size; None: it refused."""


@dataclasses.dataclass(frozen=True)
class MessageSuspected(ConnectionEvent):
    """One connection after another ends while the same messages are in flight.

    One of them may be the reason.
    """

    topic: str
    """Topic of the oldest of them."""
    messages: int
    """How many they are."""
    ends: int
    """How many connections have ended like this."""
    reason: ReasonCode | None
    """The Reason Code of the last DISCONNECT; None before 5.0."""


@dataclasses.dataclass(frozen=True)
class MessageRefused(ConnectionEvent):
    """The server ended the connection each time this message was sent: it is given up."""

    topic: str
    """Its topic."""
    reason: ReasonCode
    """The Reason Code of the last DISCONNECT."""


@dataclasses.dataclass(frozen=True)
class IdentifierContested(ConnectionEvent):
    """Another client has, or seems to have, the same Client Identifier."""

    text: str
    """A sentence for people."""
    ends: int
    """How many connections in a row the server has ended soon after it accepted them."""


@dataclasses.dataclass(frozen=True)
class Stalled(ConnectionEvent):
    """A full queue has withheld acknowledgements for 5 seconds."""

    filters: tuple[str, ...]
    """The filters of the queue; none for `Client.messages`."""


_CLASSES = {kind.__name__: kind for kind in ConnectionEvent.__subclasses__()}


class Events:
    """The events of a client's connection, in their order: from `Client.events`.

    Each such iterator gets every event. It begins with how the connection stands: with the last
    `Connected` or `Disconnected`, if there was one since the client was entered. The latest 64 are
    kept, or fewer where their properties take more than 1 MiB together; an iterator that is further
    behind gets a `Missed`. It ends behind the last `Disconnected`, when the client was left or
    connects no more. On a client that is not entered it waits until a task enters it, and one
    warning is logged.

    A cancelled step loses no event.
    """

    def __init__(self, core: Protocol) -> None:
        self._core = core
        self._reader = core.read_events()

    def __repr__(self) -> str:
        ended = ", ended" if self._reader.ended else ""
        return f"<{type(self).__name__} of {self._core.shown_address}{ended}>"

    def __aiter__(self) -> Self:
        """Iterate over the events."""
        return self

    async def __anext__(self) -> ConnectionEvent:
        """Wait for the next event."""
        suspended = False
        while (event := self._take()) is None:
            if self._reader.ended:
                if suspended:
                    raise StopAsyncIteration
                await TURN  # a loop around it must not keep others from running
            else:
                self._core.warn_if_not_entered(NO_CONNECTION)
                waiter = self._reader.wait()
                try:
                    await waiter
                finally:
                    self._reader.stop_waiting()
            suspended = True
        return event

    def _take(self) -> ConnectionEvent | None:
        """Return the next event; None when there is none yet."""
        taken = self._reader.take()
        return None if taken is None else _event(*taken)


def _event(kind: str, fields: dict[str, Any]) -> ConnectionEvent:
    if kind == "Connected":
        fields["properties"] = from_native(fields["properties"], PacketTypes.CONNACK)
    elif kind == "Disconnected":
        fields["cause"] = _errors.event_cause(fields["cause"])
    if fields.get("reason") is not None:
        fields["reason"] = _errors.any_reason(fields["reason"])
    if "filters" in fields:
        fields["filters"] = tuple(fields["filters"])
    return _CLASSES.get(kind, ConnectionEvent)(**fields)
