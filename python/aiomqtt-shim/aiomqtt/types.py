"""Types for annotations."""

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
    "P",
    "PahoSocket",
    "PayloadType",
    "SocketOption",
    "SubscribeTopic",
    "T",
    "WebSocketHeaders",
]
