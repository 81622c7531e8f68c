"""The asyncio side of one connection: futures and logging around the native core, which is the protocol."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ferromqtt import _errors
from ferromqtt._native import Core
from ferromqtt.exceptions import MqttError, MqttTimeoutError

if TYPE_CHECKING:
    import logging
    from collections.abc import Generator


class _Turn:
    """Awaiting it lets everything else that is ready run once."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield


TURN = _Turn()
"""What a publish awaits that has filled a chunk: a loop of publishes must not starve the others."""


class Protocol(Core, asyncio.BufferedProtocol):
    """The core as an asyncio protocol. It lives as long as its client: its session outlives connections."""

    logger: logging.Logger
    session_present = False
    """What the last CONNACK said."""
    connack_properties: dict[str, object]
    """CONNACK properties of the last connection."""

    _loop: asyncio.AbstractEventLoop
    _connecting: asyncio.Future[None] | None = None
    _closed: asyncio.Future[None] | None = None
    _cause: Exception | None = None

    # Entering and leaving

    def start(self) -> None:
        """Get ready for a transport that is about to be opened on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._connecting = self._loop.create_future()
        self._closed = None
        self._cause = None
        self.begin(self._loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send CONNECT."""
        self._closed = self._loop.create_future()
        super().connection_made(transport)

    async def accepted(self) -> None:
        """Wait for CONNACK; raise when the server refuses or the connection ends before."""
        assert self._connecting is not None
        await self._connecting

    def fail_to_start(self, reason: str) -> None:
        """Take note that there will be no transport, or drop the one that there is."""
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        transport = self.transport
        if transport is not None:
            transport.abort()
        else:
            self.give_up(reason)

    async def stop(self, timeout: float, *, with_will: bool) -> None:
        """Send DISCONNECT, and wait until all is written and the transport is closed."""
        if self.connected:
            self.disconnect(with_will)
        await self.wait_closed(timeout)

    async def wait_closed(self, timeout: float) -> None:
        """Wait for the end of the transport, and abort it when that takes longer than `timeout` seconds."""
        closed, transport = self._closed, self.transport
        if closed is None or transport is None:
            return
        limit = None if timeout == float("inf") else timeout
        done, _ = await asyncio.wait([closed], timeout=limit)
        if done:
            return
        unwritten = transport.get_write_buffer_size()
        transport.abort()
        await closed
        if unwritten:
            raise MqttTimeoutError("Operation timed out")

    # What the core calls

    def _on_connected(self, session_present: bool, properties: dict[str, object]) -> None:
        self.session_present = session_present
        self.connack_properties = properties
        connecting, self._connecting = self._connecting, None
        if connecting is not None and not connecting.done():
            connecting.set_result(None)

    def _on_disconnected(
        self, kind: str, code: int, text: str, properties: dict[str, object], unflushed: int
    ) -> None:
        del properties
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            if not connecting.done():
                connecting.set_exception(_errors.connect_error(kind, code, text))
            return
        self._cause = _errors.disconnect_cause(kind, code, text)
        if unflushed:
            self.logger.warning("%d QoS 0 messages had not been written when the connection ended.", unflushed)
        self.end_messages()

    def _on_closed(self) -> None:
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def _on_pending_calls(self, what: str, count: int) -> None:
        self.logger.warning("There are %d pending %s calls.", count, what)

    def _on_lost(self, count: int) -> None:
        for _ in range(count):
            self.logger.warning("Message queue is full. Discarding message.")

    def _iteration_error(self) -> MqttError:
        error = MqttError("Disconnected during message iteration")
        error.__cause__ = self._cause
        return error

    def _disconnect_cause(self) -> Exception | None:
        return self._cause

    if TYPE_CHECKING:

        def __init__(self, seed: int, **options: Any) -> None: ...
