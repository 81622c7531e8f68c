"""The client and its options, and the other names that aiomqtt's module has at run time.

Those of paho are ours. Its module itself, `mqtt`, is there when paho-mqtt is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import functools
import logging
import math
import socket
import ssl
import sys
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, Self, TypeVar, cast

from aiomqtt import _private
from aiomqtt._private import CallbackAPIVersion
from aiomqtt.exceptions import MqttCodeError, MqttConnectError, MqttError, MqttReentrantError
from aiomqtt.message import Message
from aiomqtt.types import (
    P,
    PahoSocket,
    PayloadType,
    SocketOption,
    SubscribeTopic,
    T,
    WebSocketHeaders,
)
from ferromqtt import client
from ferromqtt._internals import internals_of
from ferromqtt.client import MessagesIterator
from ferromqtt.options import ProtocolVersion, ProxySettings, TLSParameters, Will
from ferromqtt.properties import Properties, SubscribeOptions
from ferromqtt.reasons import ReasonCode

__all__ = [
    "MQTT_LOGGER",
    "Any",
    "AsyncIterator",
    "Awaitable",
    "Callable",
    "CallbackAPIVersion",
    "Client",
    "ClientT",
    "Concatenate",
    "Coroutine",
    "Generator",
    "Iterable",
    "Iterator",
    "Literal",
    "Message",
    "MessagesIterator",
    "MqttCodeError",
    "MqttConnectError",
    "MqttError",
    "MqttReentrantError",
    "P",
    "PahoSocket",
    "PayloadType",
    "Properties",
    "ProtocolVersion",
    "ProxySettings",
    "ReasonCode",
    "Self",
    "SocketOption",
    "SubscribeOptions",
    "SubscribeTopic",
    "T",
    "TLSParameters",
    "TracebackType",
    "TypeVar",
    "WebSocketHeaders",
    "Will",
    "asyncio",
    "cast",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "logging",
    "math",
    "socket",
    "ssl",
    "sys",
]

MQTT_LOGGER = logging.getLogger("mqtt")
"""Where a client logs that is given no logger. Its level is the program's to set."""

ClientT = TypeVar("ClientT", bound="Client")

if not TYPE_CHECKING:
    __getattr__ = _private.paho_names(__name__)


class Client(client.Client):
    """`ferromqtt.Client` that logs where aiomqtt does, unless it is given a logger."""

    _FerromqttInternalsHolder__internals_class = _private.ShimInternals

    def _on_message(self, client: object, userdata: object, message: Message) -> None:
        """Queue a message that came: called for each one, but only if a subclass overrides it."""
        del client, userdata
        queue = internals_of(self).queue
        if queue is not None:
            queue.put(message)

    @_private.View
    def _client(self) -> Any:  # noqa: ANN401 - used as if it were a paho client
        return cast("_private.ShimInternals", internals_of(self)).paho

    @_private.View
    def _logger(self) -> logging.Logger:
        return internals_of(self).core.logger

    @_private.View
    def _lock(self) -> _private.Lock:
        return _private.Lock(held=internals_of(self).entered)

    @_private.View
    def _connected(self) -> _private.Connected:
        return _private.Connected(internals_of(self).core)

    @_private.View
    def _disconnected(self) -> _private.Disconnected:
        return _private.Disconnected(internals_of(self).core)


def _outgoing_call(
    method: Callable[Concatenate[ClientT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[ClientT, P], Coroutine[Any, Any, T]]:
    """Return the method as it is: the calls in it count against the client's limit themselves."""
    return method


def _set_client_socket_defaults(
    client_socket: PahoSocket | None, socket_options: Iterable[SocketOption]
) -> None:
    """Set options of a socket; something else than a socket has none."""
    if isinstance(client_socket, socket.socket):
        for option in socket_options:
            client_socket.setsockopt(*option)


_private.ShimInternals.on_message = Client._on_message  # noqa: SLF001 - its own
