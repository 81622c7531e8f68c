"""A broker for tests, on a loopback socket of the running event loop.

It is not a production broker: it asks nobody for a password, and all it knows ends with it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, cast

from ferromqtt._native import Broker

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["TestBroker"]

LINGER = 1.0
"""Seconds that a client has to close its side, once the broker closed its own."""


class TestBroker:
    """An MQTT 3.1, 3.1.1 and 5.0 broker in this process.

    ```python
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.publish("greeting", "hello")
    ```

    Args:
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.

    Attributes:
        host: The address it listens on.
        port: The port it listens on, once it is started.

    """

    __test__ = False  # a class that tests use, not one for pytest to collect

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self._requested_port = port
        self._running: _Host | None = None

    @property
    def url(self) -> str:
        """The broker's address as `mqtt://host:port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt://{host}:{self.port}"

    @property
    def dropped(self) -> int:
        """How many messages a limit or their expiry cost, since the start; 0 while not running."""
        return self._running.broker.dropped if self._running else 0

    async def start(self) -> None:
        """Start listening. Sessions and retained messages of an earlier start are forgotten.

        Raises:
            RuntimeError: It is running already.
            OSError: The address cannot be listened on.

        """
        if self._running:
            raise RuntimeError("the test broker is running already: stop it first")
        host = _Host(asyncio.get_running_loop())
        await host.listen(self.host, self._requested_port)
        self._running = host
        self.port = host.port

    async def stop(self) -> None:
        """Stop listening and break every connection. Does nothing when it is not running."""
        host, self._running = self._running, None
        if host:
            await host.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


class _Host:
    """Moves bytes between transports and the broker, and tells it the time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.broker = Broker()
        self.port = 0
        self._loop = loop
        self._server: asyncio.Server | None = None
        self._transports: dict[int, asyncio.Transport] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None

    async def listen(self, host: str, port: int) -> None:
        self._server = await self._loop.create_server(lambda: _Connection(self), host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        if self._timer:
            self._timer.cancel()
        if self._transports:
            self._empty = self._loop.create_future()
            for transport in list(self._transports.values()):
                transport.abort()
            await self._empty
        await server.wait_closed()

    def opened(self, transport: asyncio.Transport) -> int:
        number = self.broker.open()
        self._transports[number] = transport
        if self._server is None:
            transport.abort()  # accepted in the moment of the stop
        self.flush()
        return number

    def lost(self, number: int) -> None:
        self._transports.pop(number, None)
        self.broker.closed(number)
        self.flush()
        if self._empty and not self._transports and not self._empty.done():
            self._empty.set_result(None)

    def flush(self) -> None:
        """Do what the broker asks for. To be called after each call of it."""
        if self._server is None:
            return
        broker, transports = self.broker, self._transports
        for number, data in broker.take_output():
            if transport := transports.get(number):
                transport.write(data)
        for number in broker.take_closed():
            if transport := transports.get(number):
                self._end(transport)
        self._arm()

    def _end(self, transport: asyncio.Transport) -> None:
        """Close, but let a client that still writes read why: it would be a reset else."""
        if not transport.is_closing():
            transport.write_eof()
            self._loop.call_later(LINGER, transport.close)

    def _arm(self) -> None:
        """Wake up for the next deadline; a timer that fires earlier than that stays as it is."""
        timeout = self.broker.timeout()
        if timeout is None:
            return
        due = self._loop.time() + timeout
        if self._timer:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.broker.handle_timeout()
        self.flush()


class _Connection(asyncio.Protocol):
    """One client's transport."""

    def __init__(self, host: _Host) -> None:
        self._host = host
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._number = self._host.opened(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self._host.broker.receive(self._number, data)
        self._host.flush()

    def pause_writing(self) -> None:
        self._host.broker.pause_output(self._number)

    def resume_writing(self) -> None:
        self._host.broker.resume_output(self._number)
        self._host.flush()

    def connection_lost(self, _: Exception | None) -> None:
        self._host.lost(self._number)
