"""MQTT over WebSocket: the headers of its opening request, and the layer above the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ferromqtt._native import WebSocketTransport, websocket_headers

if TYPE_CHECKING:
    from ferromqtt._native import Host
    from ferromqtt.types import WebSocketHeaders

DEFAULT_PATH = "/mqtt"


def request_headers(
    host: Host, port: int, *, secure: bool, headers: WebSocketHeaders | None
) -> list[tuple[str, str]]:
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
    return list((dict(given) if callable(headers) else dict(usual) | dict(given)).items())


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


class WebSocketLayer(WebSocketTransport, asyncio.BufferedProtocol):
    """A WebSocket on the transport of a socket.

    Attributes:
        opened: Done when the server has accepted. Fails with OSError when it refuses, or speaks
            something else.
    """

    def __init__(self, *_: object) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _on_answer(self, refusal: ConnectionError | None) -> bool:
        """Tell whoever waits; return whether anybody does."""
        if self.opened.done():
            return False
        if refusal is None:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(refusal)
            self.opened.exception()  # seen, if nobody waits any more
        return True
