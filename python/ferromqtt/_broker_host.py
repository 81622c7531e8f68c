"""The test broker on an event loop: its clients' transports, and the time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from typing import cast

from ferromqtt._native import Broker
from ferromqtt._transport.memory import MemoryTransport

_LINGER = 10.0
"""Seconds that a client has to close its side, once the broker closed its own."""
_SILENCE = 1.0
"""A client that is silent for so many seconds meanwhile is not waited for."""
_MOST_LINGERING = 1000
"""So many clients are waited for so at the same time."""


_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""A socket with this linger is reset when it is closed."""


class Host:
    """Moves bytes between transports of one event loop and the broker, and tells it the time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, broker: Broker) -> None:
        broker.run_on(loop)
        self.loop = loop
        self.broker = broker
        self.port = 0
        self.lingering = 0
        self._stopped = False
        self._server: asyncio.Server | None = None
        self._transports: dict[int, asyncio.Transport] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None
        self.watches_input = False
        """Whether a fault may have stalled a link: then connections ask before they read on."""
        self._paused: set[int] = set()
        self._waiters: list[asyncio.Future[None]] = []

    async def listen(self, host: str, port: int) -> None:
        server = await self.loop.create_server(lambda: Connection(self), host, port)
        if self._stopped:
            server.close()
            await server.wait_closed()
            return
        self._server = server
        self.port = server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._stopped = True
        if self._server:
            self._server.close()
        if self._timer:
            self._timer.cancel()
        if self._transports:
            self._empty = self.loop.create_future()
            for transport in list(self._transports.values()):
                transport.abort()
            await self._empty
        if self._server:
            await self._server.wait_closed()

    def abandon(self) -> None:
        """Take every connection for lost: the loop is closed, and none will report its end."""
        self._stopped = True
        for number in self._transports:
            self.broker.closed(number)
        self._transports.clear()

    def opened(self, transport: asyncio.Transport) -> int:
        """Take a new connection; `flush` is to follow."""
        number = self.broker.open()
        self._transports[number] = transport
        if self._stopped:
            transport.abort()  # accepted in the moment of the stop
        return number

    def lost(self, number: int) -> None:
        self._transports.pop(number, None)
        self._paused.discard(number)
        if self._empty and not self._transports and not self._empty.done():
            self._empty.set_result(None)
        self.broker.closed(number)
        self.flush()

    def flush(self) -> None:
        """Do what the broker asks for. To be called after each call of it."""
        if self._stopped:
            return
        broker, transports = self.broker, self._transports
        while output := broker.take_output():
            for number, data in output:
                if transport := transports.get(number):
                    transport.write(data)  # calls pause_writing as soon as it is full
        for number, reset in broker.take_closed():
            if transport := transports.get(number):
                connection = cast("Connection", transport.get_protocol())
                connection.reset() if reset else connection.end()
        if self.watches_input:
            self._watch_input()
        self._arm()
        self.notify()

    def _watch_input(self) -> None:
        for number, transport in self._transports.items():
            self.watch_input(number, transport)

    def watch_input(self, number: int, transport: asyncio.Transport) -> None:
        """Read on from a transport, or not, as its link is stalled."""
        if transport.is_closing():
            return
        stalled = self.broker.input_paused(number)
        if stalled and number not in self._paused:
            self._paused.add(number)
            transport.pause_reading()
        elif not stalled and number in self._paused:
            self._paused.discard(number)
            transport.resume_reading()

    async def changed(self) -> None:
        """Wait until something has happened."""
        waiter = self.loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def notify(self) -> None:
        """Wake those that wait for something to happen."""
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def is_idle(self) -> bool:
        """Whether no byte is on its way that can be seen."""
        return not any(
            transport.in_transit
            if isinstance(transport, MemoryTransport)
            else transport.get_write_buffer_size()
            for transport in self._transports.values()
        )

    def _arm(self) -> None:
        """Wake up for the next deadline; a timer that fires earlier than that stays as it is."""
        timeout = self.broker.timeout()
        if timeout is None:
            if self._timer:  # which would keep the broker alive, and wake it for nothing
                self._timer.cancel()
                self._timer = None
            return
        due = self.loop.time() + timeout
        if self._timer:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(due, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.broker.handle_timeout()
        self.flush()


class Connection(asyncio.Protocol):
    """One client's transport."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._number = 0
        self._transport: asyncio.Transport | None = None
        self._heard = False
        self._lingers = False
        self._silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if isinstance(transport, MemoryTransport):
            transport.observer = self._host.notify
        self._number = self._host.opened(self._transport)
        self._host.flush()

    def reset(self) -> None:
        """End the transport at once; the client sees a reset."""
        transport = self._transport
        if isinstance(transport, MemoryTransport):
            transport.reset()
        elif transport and not transport.is_closing():
            if stream := transport.get_extra_info("socket"):
                with contextlib.suppress(OSError):  # then it ends in order
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            transport.abort()

    def end(self) -> None:
        """Close the broker's side, and the transport once the client has closed its own.

        Closing it while the client still writes would reset the connection, and the client could
        not read why.
        """
        if not self._transport or self._transport.is_closing():
            return
        if self._host.lingering >= _MOST_LINGERING:
            self._transport.close()
        else:
            self._lingers = True
            self._host.lingering += 1
            self._transport.write_eof()
            self._await_silence(self._host.loop.time() + _LINGER)

    def _await_silence(self, limit: float) -> None:
        self._heard = False
        self._silence = self._host.loop.call_later(_SILENCE, self._close_if_silent, limit)

    def _close_if_silent(self, limit: float) -> None:
        if self._heard and self._host.loop.time() < limit:
            self._await_silence(limit)
        elif self._transport:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        self._host.broker.receive(self._number, data)
        self._host.flush()

    def pause_writing(self) -> None:
        self._host.broker.pause_output(self._number)

    def resume_writing(self) -> None:
        self._host.broker.resume_output(self._number)
        self._host.flush()

    def connection_lost(self, _: Exception | None) -> None:
        if self._silence:
            self._silence.cancel()
        self._host.lingering -= self._lingers
        self._host.lost(self._number)
