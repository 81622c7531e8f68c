"""Types for annotations."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeAlias, TypeVar

from ferromqtt.properties import SubscribeOptions
from ferromqtt.types import (
    P,
    PahoSocket,
    PayloadType,
    SocketOption,
    SubscribeTopic,
    T,
    WebSocketHeaders,
)

__all__ = [
    "Any",
    "Callable",
    "P",
    "PahoSocket",
    "ParamSpec",
    "PayloadType",
    "SocketOption",
    "SubscribeOptions",
    "SubscribeTopic",
    "T",
    "TypeAlias",
    "TypeVar",
    "WebSocketHeaders",
    "socket",
    "ssl",
    "sys",
]
