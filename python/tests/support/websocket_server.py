"""WebSocket as a server speaks it, by hand, on a connection of a scripted server."""

import base64
import hashlib
from typing import Self

from support.scripted import Connection

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(kind: int, payload: bytes, *, final: bool = True) -> bytes:
    """Return an unmasked frame, as servers send them."""
    first = (0x80 if final else 0) | kind
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    return bytes([first, 126]) + len(payload).to_bytes(2, "big") + payload


class WebSocketPeer:
    """The server's side, which has read the opening request."""

    def __init__(self, connection: Connection) -> None:
        self._socket = connection.sock
        self._input = b""
        while b"\r\n\r\n" not in self._input:
            self._input += self._read()
        head, _, self._input = self._input.partition(b"\r\n\r\n")
        self.request, *lines = head.decode("ascii").split("\r\n")
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }

    def accept(self, **headers: str) -> Self:
        """Answer that the protocol is switched."""
        key = self.headers["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        lines = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept,
            "Sec-WebSocket-Protocol": "mqtt",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        self.send(b"HTTP/1.1 101 Switching Protocols\r\n" + _lines(lines) + b"\r\n")
        return self

    def refuse(self, status: str) -> None:
        """Answer with another status."""
        self.send(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def receive(self) -> tuple[int, bytes]:
        """Return the next frame of the client, unmasked."""
        first, second = self._take(2)
        length = second & 0x7F
        assert second & 0x80, "a client masks what it sends"
        if length >= 126:
            length = int.from_bytes(self._take(2 if length == 126 else 8), "big")
        mask = self._take(4)
        payload = self._take(length)
        return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))

    def _take(self, count: int) -> bytes:
        while len(self._input) < count:
            self._input += self._read()
        taken, self._input = self._input[:count], self._input[count:]
        return taken

    def _read(self) -> bytes:
        data = self._socket.recv(65536)
        assert data, "the client closed the connection"
        return data


def _lines(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
