"""Sockets of the test broker: what lies between one and MQTT, and where it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

from ferromqtt._native import TestAuthority, WebSocketServer

_WEBSOCKET_PATH = "/mqtt"
"""The path in the URL of a listener for WebSocket; any other is accepted too."""

_HANDSHAKE = 10.0
"""Seconds that a connection has for the handshake of TLS, before the broker knows of it."""


class Listening(NamedTuple):
    """Where a `TestBroker` listens, until it is stopped."""

    host: str
    """The address, or the path of a Unix socket."""
    port: int | None
    """The port; None for a Unix socket."""
    url: str
    """What `Client.from_url` and other programs take, such as `wss://127.0.0.1:40123/mqtt`."""


def listening_at(host: str, port: int, *, tls: bool, websocket: bool) -> Listening:
    """Return where a TCP socket is."""
    scheme = ("wss" if tls else "ws") if websocket else ("mqtts" if tls else "mqtt")
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = _WEBSOCKET_PATH if websocket else ""
    return Listening(host, port, f"{scheme}://{authority}{path}")


def listening_at_path(path: str) -> Listening:
    """Return where a Unix socket is."""
    from urllib.parse import quote  # noqa: PLC0415 - few tests need it

    return Listening(path, None, f"mqtt+unix://{quote(str(Path(path).absolute()))}")


def server_context(authority: TestAuthority, host: str) -> ssl.SSLContext:
    """Return a context with a certificate for a host, `localhost`, 127.0.0.1 and ::1.

    Raises ValueError if no certificate can hold the host.
    """
    import tempfile  # noqa: PLC0415 - few tests need it, and it is slow to import

    certificate, key = authority.issue(host or "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # OpenSSL takes a key from a file alone. Only this user can read it, and it is gone at once.
    with tempfile.NamedTemporaryFile("w", encoding="ascii", suffix=".pem") as file:
        file.write(key + certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context


class TcpListener:
    """Makes a server on TCP."""

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext | None, *, websocket: bool
    ) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._websocket = websocket

    async def bind(
        self, loop: asyncio.AbstractEventLoop, connection: Callable[[], asyncio.Protocol]
    ) -> asyncio.Server:
        """Listen."""
        return await loop.create_server(
            (lambda: WebSocketLayer(connection())) if self._websocket else connection,
            self._host,
            self._port,
            ssl=self._context,
            ssl_handshake_timeout=_HANDSHAKE if self._context else None,
        )

    def release(self) -> None:
        """Leave nothing behind: there is nothing."""


class UnixListener:
    """Makes a server on a Unix socket, whose file it removes in the end."""

    def __init__(self, path: str) -> None:
        if not path or "\0" in path:  # the system takes both, for sockets without a file
            raise ValueError(f"unix must be the path of a file, not {path!r}")
        self._path = path
        self._is_ours = False

    async def bind(
        self, loop: asyncio.AbstractEventLoop, connection: Callable[[], asyncio.Protocol]
    ) -> asyncio.Server:
        """Listen. Raises OSError if there is such a file, which asyncio would replace."""
        bound = socket.socket(socket.AF_UNIX)
        try:
            bound.bind(self._path)
            self._is_ours = True
            return await loop.create_unix_server(connection, sock=bound)
        except BaseException:
            bound.close()
            self.release()
            raise

    def release(self) -> None:
        """Remove the file."""
        if self._is_ours:
            self._is_ours = False
            with contextlib.suppress(FileNotFoundError):  # Python 3.13 removes it too
                os.unlink(self._path)  # noqa: PTH108 - a path as it was given


class WebSocketLayer(asyncio.Protocol):
    """WebSocket between the transport of a socket and a connection of the broker.

    Below it is the protocol of that transport, above it the transport of the connection.
    """

    def __init__(self, above: asyncio.Protocol) -> None:
        self._above = above
        self._below: asyncio.Transport | None = None
        self._websocket = WebSocketServer()
        self._ends = False
        """The broker has ended its side: what comes is for nobody, and the client ends its own."""

    # What the transport of the socket calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = cast("asyncio.Transport", transport)
        self._above.connection_made(cast("asyncio.Transport", self))

    def data_received(self, data: bytes) -> None:
        received = self._websocket.receive(data)
        self._transmit()
        if received or self._ends:
            self._above.data_received(received)
        if self._websocket.is_closed and not self._ends and self._below:
            self._below.close()

    def pause_writing(self) -> None:
        self._above.pause_writing()

    def resume_writing(self) -> None:
        self._above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._above.connection_lost(exc)

    # What the connection of the broker, and its host, call

    def write(self, data: bytes) -> None:
        """Send bytes, in one frame."""
        self._websocket.send(data)
        self._transmit()

    def can_write_eof(self) -> bool:
        """Return True: a Close frame can be sent."""
        return True

    def write_eof(self) -> None:
        """Send a Close frame, and nothing after it."""
        self._end()
        if self._below and self._below.can_write_eof():
            self._below.write_eof()
        elif self._below:
            self._below.close()

    def close(self) -> None:
        """Send a Close frame, and close when all is written."""
        self._end()
        if self._below:
            self._below.close()

    def abort(self) -> None:
        """End the connection at once."""
        if self._below:
            self._below.abort()

    def is_closing(self) -> bool:
        """Return whether it was closed, or has ended."""
        return self._below is None or self._below.is_closing()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the connection of the broker."""
        return self._above

    def _end(self) -> None:
        self._ends = True
        self._websocket.close()
        self._transmit()

    def _transmit(self) -> None:
        frames = self._websocket.take_output()
        if frames and self._below:
            self._below.write(frames)
