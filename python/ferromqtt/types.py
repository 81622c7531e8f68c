"""Types for annotations."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class PropertiesLike(Protocol):
    """`ferromqtt.Properties`, or an object like it: read by its attributes."""

    packetType: int  # noqa: N815


class SubscribeOptionsLike(Protocol):
    """`ferromqtt.SubscribeOptions`, or an object like it: read by its attributes."""

    QoS: int
    noLocal: bool  # noqa: N815
    retainAsPublished: bool  # noqa: N815
    retainHandling: int  # noqa: N815


PayloadType: TypeAlias = str | bytes | bytearray | int | float | None
SubscribeTopic: TypeAlias = (
    str
    | tuple[str, int]
    | tuple[str, SubscribeOptionsLike]
    | list[tuple[str, int]]
    | list[tuple[str, SubscribeOptionsLike]]
    | list[tuple[str, int | SubscribeOptionsLike]]
)
WebSocketHeaders: TypeAlias = dict[str, str] | Callable[[dict[str, str]], dict[str, str]]
PahoSocket: TypeAlias = socket.socket | ssl.SSLSocket | Any
SocketOption: TypeAlias = tuple[int, int, int | bytes] | tuple[int, int, None, int]
