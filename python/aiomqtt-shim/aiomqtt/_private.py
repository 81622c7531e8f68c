"""Private members of aiomqtt's client that programs and tests were seen to use.

They exist in this module name only, and each is as small as those uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

    from ferromqtt._driver import Protocol


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
