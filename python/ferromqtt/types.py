"""Types for annotations."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar

from ferromqtt.topic import WildcardLike

T = TypeVar("T")
P = ParamSpec("P")


class PropertiesObject(Protocol):
    """`ferromqtt.Properties`, or an object like it: read by its attributes."""

    packetType: int  # noqa: N815


class SubscribeOptionsLike(Protocol):
    """`ferromqtt.SubscribeOptions`, or an object like it: read by its attributes."""

    QoS: int
    noLocal: bool  # noqa: N815
    retainAsPublished: bool  # noqa: N815
    retainHandling: int  # noqa: N815


PropertiesLike: TypeAlias = PropertiesObject | Mapping[str, Any]
"""Properties, or a dictionary of them: `{"ContentType": "text/plain"}`."""

PayloadType: TypeAlias = str | bytes | bytearray | memoryview | int | float | None
SubscribeTopic: TypeAlias = (
    WildcardLike
    | tuple[WildcardLike, int]
    | tuple[WildcardLike, SubscribeOptionsLike]
    | list[str]
    | list[WildcardLike]
    | list[tuple[str, int]]
    | list[tuple[str, SubscribeOptionsLike]]
    | list[tuple[str, int | SubscribeOptionsLike]]
)
UnsubscribeTopic: TypeAlias = WildcardLike | list[str] | list[WildcardLike]
WebSocketHeaders: TypeAlias = dict[str, str] | Callable[[dict[str, str]], dict[str, str]]
PahoSocket: TypeAlias = socket.socket | ssl.SSLSocket | Any
SocketOption: TypeAlias = tuple[int, int, int | bytes] | tuple[int, int, None, int]
