"""MQTT over WebSocket: a layer that is a protocol for the socket and a transport for the core."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from ferromqtt._native import WebSocket, websocket_headers

if TYPE_CHECKING:
    from ferromqtt._native import Host
    from ferromqtt.types import WebSocketHeaders

DEFAULT_PATH = "/mqtt"


def request_headers(
    host: Host, port: int, *, secure: bool, headers: WebSocketHeaders | None
) -> dict[str, str]:
    """Return the headers of the opening request: the usual ones with the user's over them."""
    usual = websocket_headers(host, port, secure)
    if headers is None:
        return usual
    given: object = headers(dict(usual)) if callable(headers) else headers
    if not isinstance(given, Mapping):
        what = "must return a dict" if callable(headers) else "must be a dict or a function"
        raise TypeError(f"websocket_headers {what}, not {type(given).__name__}")
    for name, value in given.items():
        _check_header(name, value)
    return dict(given) if callable(headers) else usual | dict(given)


def _check_header(name: object, value: object) -> None:
    """Refuse what is no line of a request. The value may be a token, and is not shown."""
    if not isinstance(name, str):
        raise TypeError(f"websocket_headers must map str to str: one name is {type(name).__name__}")
    if not isinstance(value, str):
        raise TypeError(
            f"websocket_headers must map str to str: {name!r} is {type(value).__name__}"
        )
    if any(character in "\r\n\0" or character > "\xff" for character in value):
        raise ValueError(
            f"websocket_headers: the value of {name!r} must be one line of Latin-1 characters"
        )


class WebSocketLayer(asyncio.Protocol):
    """Speaks WebSocket on the connection below; hands what it carries to the protocol above.

    Attributes:
        above: The protocol above.
        opened: Done when the server has accepted. Fails with OSError when it refuses, or speaks
            something else.
    """

    def __init__(self, above: asyncio.BufferedProtocol, path: str, headers: dict[str, str]) -> None:
        self.above = above
        self._websocket = WebSocket(path, headers)
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._below: asyncio.Transport | None = None
        self._failure: Exception | None = None
        self._finished = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the opening request."""
        self._below = cast("asyncio.Transport", transport)
        self._transmit()

    def data_received(self, data: bytes) -> None:
        """Take what the server sent."""
        failure: ConnectionError | None = None
        try:
            self._websocket.receive(data)
        except ConnectionError as error:
            failure = error  # what came before is good
        if self._websocket.is_open and not self.opened.done():
            self.opened.set_result(None)
            self.above.connection_made(_WebSocketTransport(self))
        self._transmit()
        self._hand_up(self._websocket.take_received())
        told = self._websocket.closed_by_server
        if failure is None and told is not None:
            failure = ConnectionError(told)
        if failure is not None or self._websocket.is_closed:
            self._end(failure)

    def eof_received(self) -> None:
        """Tell the protocol above that the server has ended its side; the transport closes."""
        if self._websocket.is_open:
            self.above.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits, or the protocol above."""
        if not self.opened.done():
            self.opened.set_exception(self._ended_early(exc))
            self.opened.exception()  # seen, if nobody waits any more
        elif not self.opened.cancelled() and self.opened.exception() is None:
            self.above.connection_lost(self._failure or exc)

    def pause_writing(self) -> None:
        """Tell the protocol above that the socket is full."""
        if self._websocket.is_open:
            self.above.pause_writing()

    def resume_writing(self) -> None:
        """Tell the protocol above that the socket takes more."""
        if self._websocket.is_open:
            self.above.resume_writing()

    def send(self, data: bytes) -> None:
        """Send bytes of the protocol above."""
        if not self.below.is_closing():
            self._websocket.send(data)
            self._transmit()

    def finish(self) -> None:
        """End this side: send a Close frame behind everything, and nothing after it."""
        if not self.below.is_closing():
            self._websocket.close()
            self._transmit()
            self._finished = True
            if self.below.can_write_eof():
                self.below.write_eof()

    def close(self) -> None:
        """Close when everything is written."""
        if not self.below.is_closing():
            self._websocket.close()
            self._transmit()
            self.below.close()

    def abort(self) -> None:
        """Close at once."""
        if self._below is not None:
            self._below.abort()

    @property
    def below(self) -> asyncio.Transport:
        """The transport of the socket."""
        if self._below is None:
            raise RuntimeError("the layer has no connection yet")
        return self._below

    def _ended_early(self, exc: Exception | None) -> ConnectionError:
        """Return the error for a connection that ended before the server accepted."""
        try:
            self._websocket.receive(b"")
        except ConnectionError as error:
            if exc is None:
                return error
        ended = ConnectionError(f"WebSocket handshake error: {exc}")
        ended.__cause__ = exc
        return ended

    def _end(self, failure: ConnectionError | None) -> None:
        """Close the connection: the server has closed, refused, or speaks something else."""
        self._failure = failure
        if failure is not None and not self.opened.done():
            self.opened.set_exception(failure)
            self.opened.exception()  # seen, if nobody waits any more
        self.below.close()

    def _transmit(self) -> None:
        data = self._websocket.to_transmit()
        if data and self._below is not None and not self._finished:
            self._below.write(data)

    def _hand_up(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            buffer = memoryview(self.above.get_buffer(len(rest)))
            count = min(len(buffer), len(rest))
            buffer[:count] = rest[:count]
            buffer.release()
            self.above.buffer_updated(count)
            rest = rest[count:]


class _WebSocketTransport(asyncio.Transport):
    """What the protocol above writes to."""

    def __init__(self, layer: WebSocketLayer) -> None:
        super().__init__()
        self._layer = layer

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._layer.send(bytes(data))

    def close(self) -> None:
        self._layer.close()

    def abort(self) -> None:
        self._layer.abort()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._layer.finish()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._layer.below.set_write_buffer_limits(high, low)

    def is_closing(self) -> bool:
        return self._layer.below.is_closing()

    def pause_reading(self) -> None:
        self._layer.below.pause_reading()

    def resume_reading(self) -> None:
        self._layer.below.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._layer.below.get_write_buffer_size()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._layer.below.get_extra_info(name, default)
