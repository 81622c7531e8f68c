"""Private members of aiomqtt's client that programs and tests were seen to use.

They exist in this module name only, and each is as small as those uses.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import importlib
import logging
import operator
from collections.abc import Callable
from types import ModuleType
from typing import Any, Generic, TypeVar, overload

from ferromqtt import _internals
from ferromqtt._driver import Protocol
from ferromqtt.message import Message
from ferromqtt.reasons import MQTTErrorCode

_T = TypeVar("_T")
_LARGEST_MID = 0xFFFF


class CallbackAPIVersion(enum.Enum):
    """paho's versions of its callbacks. Nothing here depends on them."""

    VERSION1 = 1
    VERSION2 = 2


def paho_names(module: str) -> Callable[[str], ModuleType]:
    """Return the `__getattr__` of a module in which aiomqtt has `mqtt`, the module of paho.

    It is imported when somebody asks for it, and no requirement of ours.
    """

    def find(name: str) -> ModuleType:
        missing = f"module {module!r} has no attribute {name!r}"
        if name != "mqtt":
            raise AttributeError(missing, name=name)
        try:
            return importlib.import_module("paho.mqtt.client")
        except ImportError:
            why = f"{missing}: it is the module paho.mqtt.client, and paho-mqtt is not installed"
            raise AttributeError(why, name=name) from None

    return find


class View(Generic[_T]):
    """A property that may be replaced on an instance. The client itself never reads it."""

    def __init__(self, get: Callable[[Any], _T]) -> None:
        self._get = get
        self.__doc__ = get.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> View[_T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> _T: ...
    def __get__(self, instance: object | None, owner: type) -> View[_T] | _T:
        return self if instance is None else self._get(instance)


class ShimInternals(_internals.Internals):
    """`ferromqtt`'s `Internals`, with the logger of aiomqtt and the `_on_message` of subclasses."""

    default_logger_name = "mqtt"
    pending_calls_text = "There are %d pending publish calls."  # whatever waits
    on_message: Callable[..., None]
    """`Client._on_message` of this module: what a client has unless it is overridden."""

    @functools.cached_property
    def paho(self) -> PahoClient:
        """`client._client`: the same object each time."""
        return PahoClient(self.core)

    def attach(self, client: Any) -> None:  # noqa: ANN401 - of this module, or of a subclass
        """Pass messages through `_on_message`, if a subclass, or the instance, overrides it.

        As in aiomqtt it is read once, by the constructor: later assignments change nothing.
        """
        on_message = client._on_message  # noqa: SLF001 - the shim's own
        if getattr(on_message, "__func__", None) is ShimInternals.on_message:
            return
        if self.queue is None:
            self.use_queue(asyncio.Queue)
        paho = self.paho

        def route(message: Message) -> None:
            on_message(paho, None, message)

        self.core.message_sink = route


_INSTEAD = {
    "on_message": "iterate over `client.messages`, or override `_on_message` in a subclass",
    "on_connect": "what follows `async with client:` runs once the client is connected",
    "on_disconnect": "the block and `client.messages` raise MqttError when the connection ends",
    "on_publish": "`await client.publish(...)` returns when the message is acknowledged",
    "on_subscribe": "`await client.subscribe(...)` returns the Reason Codes",
    "on_unsubscribe": "`await client.unsubscribe(...)` returns when it is acknowledged",
    "on_log": "give the client a `logger`, and set it to DEBUG",
}
"""What does the work of paho's callbacks here."""


class PahoClient:
    """`client._client`: what stands in for the paho client.

    What it has may be replaced on it, for tests; what paho has beyond that raises AttributeError.
    """

    def __init__(self, core: Protocol) -> None:
        self._core = core

    def __setattr__(self, name: str, value: object) -> None:
        if name != "_core" and not hasattr(type(self), name):
            raise AttributeError(_absent(name), name=name, obj=self)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - there is none
        raise AttributeError(_absent(name), name=name, obj=self)

    @property
    def _logger(self) -> logging.Logger:
        return self._core.logger

    def is_connected(self) -> bool:
        """Tell whether the server has accepted the connection and it has not ended."""
        return self._core.connected

    def socket(self) -> Any:  # noqa: ANN401 - asyncio's or uvloop's object around the socket
        """Return what asyncio gives of the connection's socket; None without a connection."""
        transport = self._core.transport
        return None if transport is None else transport.get_extra_info("socket")

    def manual_ack_set(self, on: bool) -> None:
        """Set whether the program acknowledges the messages that come from now on.

        With it on, each message of QoS 1 and 2 is to be given to `ack`. The server has a limit for
        messages that are not acknowledged and then sends no more.
        """
        self._core.manual_ack = bool(on)

    def ack(self, mid: int, qos: int) -> MQTTErrorCode:
        """Acknowledge a message that was taken, by its `mid` and `qos`.

        Taken is one that `messages` has yielded; with a `queue_type`, or an `_on_message` of a
        subclass, one that was passed to it.

        The acknowledgements are sent in the order in which the messages came (MQTT-4.6.0-2), so one
        that is given early waits for those before it. A message that is not acknowledged when the
        connection ends is received again if the server has kept the session, and only the new copy
        can be acknowledged then. On a later connection the same `mid` and `qos` may name another
        message, which an old acknowledgement would be taken for.
        At QoS 2 the PUBREC waits for this call, and with it the PUBCOMP. May be called from other
        threads, as paho's.

        Returns:
            MQTT_ERR_SUCCESS, also for a message that is unknown or was acknowledged before, which
            does nothing; MQTT_ERR_NO_CONN when there is no connection.

        Raises:
            TypeError: `mid` or `qos` is no whole number.
        """
        mid, qos = operator.index(mid), operator.index(qos)
        core = self._core
        if not core.connected:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        if not 0 < mid <= _LARGEST_MID or qos not in (1, 2):
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        loop = core.loop
        try:
            is_there = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_there = False
        if is_there:
            core.acknowledge(mid, qos)
        else:
            loop.call_soon_threadsafe(core.acknowledge, mid, qos)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _sock_close(self) -> None:
        """Cut the connection, without a DISCONNECT."""
        self._core.cut()


def _absent(name: str) -> str:
    instead = _INSTEAD.get(name, "use the methods and parameters of `aiomqtt.Client`")
    return f"client._client has no attribute {name!r}: there is no paho client below; {instead}"


class Lock:
    """`client._lock`: held while the client is entered."""

    def __init__(self, *, held: bool) -> None:
        self._held = held

    def locked(self) -> bool:
        """Whether the client is entered."""
        return self._held


class Connected:
    """`client._connected`: done while the server has accepted the connection."""

    def __init__(self, core: Protocol) -> None:
        self._core = core

    def done(self) -> bool:
        """Whether there is an accepted connection."""
        return self._core.connected


class Disconnected:
    """`client._disconnected`: done when the connection has ended; settling it ends it."""

    def __init__(self, core: Protocol) -> None:
        self._core = core

    def done(self) -> bool:
        """Whether there is no accepted connection."""
        return not self._core.connected

    def set_result(self, result: None) -> None:
        """Disconnect, as if the client had been left."""
        del result
        if self._core.connected:
            self._core.disconnect()
