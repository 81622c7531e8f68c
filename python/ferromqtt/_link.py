"""The protocol object of one transport."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from ferromqtt import _native

if TYPE_CHECKING:
    from ferromqtt._driver import Protocol

_ABORT_LIMIT = 1.0
"""Seconds that an aborted transport gets to close, which takes one turn of the loop."""


class Link(_native.Link, asyncio.BufferedProtocol):
    """The protocol of one transport; the methods for each read and write are the native ones.

    Attributes:
        closed: Done when the transport has reported its end; None until there is one.
    """

    def __init__(self, core: Protocol) -> None:
        self._core = core
        self._transport: asyncio.BaseTransport | None = None
        self.closed: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send CONNECT."""
        self._transport = transport
        self.closed = self._core.loop.create_future()
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the core know, and keep the reason as the cause of what is raised."""
        self._transport = None
        if self.is_current:
            self._core.lost_by = exc
        try:
            super().connection_lost(exc)
        finally:
            self._core.forget(self)
            if self.closed is not None and not self.closed.done():
                with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits
                    self.closed.set_result(None)

    def abort(self) -> None:
        """Abort the transport if it has not ended, though the link has."""
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                self._transport.abort()  # type: ignore[attr-defined]  # each transport has it

    async def until_closed(self) -> None:
        """Wait until the transport has ended, which is aborted. uvloop may never report it."""
        if self.closed is not None and self.closed.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([self.closed], timeout=_ABORT_LIMIT)
