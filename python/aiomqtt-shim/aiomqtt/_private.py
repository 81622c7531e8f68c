"""Private members of aiomqtt's client that programs and tests were seen to use.

They exist in this module name only, and each is as small as those uses.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ferromqtt import _internals

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from ferromqtt._driver import Protocol
    from ferromqtt.message import Message

_T = TypeVar("_T")


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
    on_message: Callable[..., None]
    """`Client._on_message` of this module: what a client has unless it is overridden."""

    def attach(self, client: Any) -> None:  # noqa: ANN401 - of this module, or of a subclass
        """Pass messages through `_on_message`, if a subclass, or the instance, overrides it.

        As in aiomqtt it is read once, by the constructor: later assignments change nothing.
        """
        on_message = client._on_message  # noqa: SLF001 - the shim's own
        if getattr(on_message, "__func__", None) is ShimInternals.on_message:
            return
        if self.queue is None:
            self.use_queue(asyncio.Queue)
        paho = PahoClient(self.core)

        def route(message: Message) -> None:
            on_message(paho, None, message)

        self.core.message_sink = route


class PahoClient:
    """`client._client`: what stands in for the paho client."""

    def __init__(self, core: Protocol) -> None:
        self._core = core

    @property
    def _logger(self) -> logging.Logger:
        return self._core.logger

    def _sock_close(self) -> None:
        """Cut the connection, without a DISCONNECT."""
        transport = self._core.transport
        if transport is not None:
            transport.abort()


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
