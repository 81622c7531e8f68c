"""Types for annotations."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class PropertiesLike(Protocol):
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


PayloadType: TypeAlias = str | bytes | bytearray | int | float | None
SubscribeTopic: TypeAlias = (
    str
    | tuple[str, int]
    | tuple[str, SubscribeOptionsLike]
    | Sequence[tuple[str, int | SubscribeOptionsLike]]
)
"""What `Client.subscribe` takes: a filter, a pair, or a sequence of pairs."""
WebSocketHeaders: TypeAlias = dict[str, str] | Callable[[dict[str, str]], dict[str, str]]
PahoSocket: TypeAlias = socket.socket | ssl.SSLSocket | Any
SocketOption: TypeAlias = tuple[int, int, int | bytes] | tuple[int, int, None, int]
