"""Types for annotations."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, ParamSpec, Protocol, TypeAlias, TypeVar

from ferromqtt.topic import TopicTemplate, WildcardLike

T = TypeVar("T")
P = ParamSpec("P")


class MemoryBroker(Protocol):
    """A broker that a client reaches in memory: `ferromqtt.testing.TestBroker`."""

    def _ferromqtt_link(self, protocol: asyncio.BaseProtocol, /) -> None:
        """Connect the protocol, on the running loop."""


class PropertiesObject(Protocol):
    """`ferromqtt.Properties`, or an object like it: read by its attributes."""

    @property
    def packetType(self) -> int:  # noqa: N802 - paho's name
        """The packet that they are for, one of `ferromqtt.PacketTypes`."""


class SubscribeOptionsLike(Protocol):
    """`ferromqtt.SubscribeOptions`, or an object like it: read by its attributes."""

    @property
    def QoS(self) -> int:  # noqa: N802 - paho's names
        """The highest QoS at which the server is to send."""

    @property
    def noLocal(self) -> bool:  # noqa: N802
        """Whether the client's own messages are to be left out."""

    @property
    def retainAsPublished(self) -> bool:  # noqa: N802
        """Whether the retain flag is to be kept as it was published."""

    @property
    def retainHandling(self) -> int:  # noqa: N802
        """When retained messages are to be sent: 0, 1 or 2."""


UserProperties: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""User Properties: a dictionary, or pairs, which may have a name several times."""
PropertiesLike: TypeAlias = PropertiesObject | Mapping[str, Any]
"""Properties, or a dictionary of them: `{"ContentType": "text/plain"}`."""

ServerProfileName: TypeAlias = Literal[
    "aws-iot",
    "azure-event-grid",
    "azure-iot-hub",
    "hivemq-cloud",
    "emqx-cloud",
    "rabbitmq",
    "nats",
    "mosquitto-2.0",
]
"""The name of a server profile: see `ferromqtt.profiles`."""

PayloadType: TypeAlias = str | bytes | bytearray | memoryview | int | float | None
FilterLike: TypeAlias = WildcardLike | TopicTemplate
"""What stands for a Topic Filter."""
_Pair: TypeAlias = tuple[FilterLike, int | SubscribeOptionsLike]
_Entry_co = TypeVar("_Entry_co", covariant=True)


class ListLike(Protocol[_Entry_co]):
    """A list, deque or the like for type checkers: what has an order, and is no tuple and no str.

    `Sequence` will not do: a tuple such as `("a", "b")` is one, and refused.
    """

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_Entry_co]: ...
    def reverse(self) -> None:
        """Reverse it in place, which tuples cannot."""


SubscribeTopic: TypeAlias = (
    FilterLike
    | tuple[FilterLike, int]
    | tuple[FilterLike, SubscribeOptionsLike]
    | ListLike[FilterLike | _Pair]
    | tuple[_Pair, ...]
)
"""What `Client.subscribe` takes: a filter, a pair, or a list of filters and pairs."""
SubscriptionTopic: TypeAlias = (
    FilterLike
    | tuple[FilterLike, int]
    | tuple[FilterLike, SubscribeOptionsLike]
    | ListLike[FilterLike | _Pair]
)
"""Each argument of `Client.subscription`: a filter, a pair, or a list of filters and pairs."""
UnsubscribeTopic: TypeAlias = FilterLike | ListLike[FilterLike]
"""What `Client.unsubscribe` takes: a filter, or a list of filters."""
WebSocketHeaders: TypeAlias = dict[str, str] | Callable[[dict[str, str]], dict[str, str]]
PahoSocket: TypeAlias = socket.socket | ssl.SSLSocket | Any
SocketOption: TypeAlias = tuple[int, int, int | bytes] | tuple[int, int, None, int]
