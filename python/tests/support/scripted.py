"""A fake server that follows a script, on a raw socket in its own thread."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from support import packets

LIMIT = 20.0
"""Seconds any single wait of a script may take."""

HEAD_END = b"\r\n\r\n"
"""Ends the head of an HTTP request."""


class Connection:
    """One accepted Network Connection; remembers every byte the client sent."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.parsed = 0
        sock.settimeout(LIMIT)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _fill(self) -> bool:
        """Read once; False at the end of the stream."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        self.received += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        while len(self.received) - self.parsed < count:
            if not self._fill():
                message = f"stream ended, {count} more bytes expected"
                raise EOFError(message)
        self.parsed += count
        return self.received[self.parsed - count : self.parsed]

    def read_packet(self) -> tuple[int, bytes]:
        """Return first byte and body of the client's next packet; EOFError at the end."""
        first, length, shift = self._take(1)[0], 0, 0
        while True:
            byte = self._take(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first, self._take(length)

    def expect(self, packet_type: int) -> tuple[int, bytes]:
        """Return the next packet, which must be of this type (PINGREQ is answered on the way)."""
        while True:
            first, body = self.read_packet()
            if first >> 4 == packets.PINGREQ != packet_type:
                self.send(packets.PINGRESP_PACKET)
                continue
            assert first >> 4 == packet_type, f"got packet type {first >> 4}, not {packet_type}"
            return first, body

    def peek(self, until: bytes = b"") -> bytes:
        """Return what the client has sent, once this is in it, without taking it."""
        while until not in self.received or not self.received:
            if not self._fill():
                message = f"stream ended before {until!r} came"
                raise EOFError(message)
        return self.received

    def take_head(self) -> bytes:
        """Return the head of an HTTP request; what follows is left to be read as packets."""
        end = self.peek(HEAD_END).index(HEAD_END) + len(HEAD_END)
        head, self.received = self.received[:end], self.received[end:]
        return head

    def accept(self, connack: bytes = packets.CONNACK_311) -> bytes:
        """Read the CONNECT, answer it, return its body."""
        _, body = self.expect(packets.CONNECT)
        self.send(connack)
        return body

    def accept_any(self) -> None:
        """Read the CONNECT and answer it in its version."""
        _, body = self.expect(packets.CONNECT)
        self.send(packets.CONNACK_5 if b"MQTT\x05" in body else packets.CONNACK_311)

    def send(self, data: bytes) -> None:
        """Send everything."""
        self.sock.sendall(data)

    def read_to_end(self) -> None:
        """Stay silent until the client closes."""
        while self._fill():
            pass

    def close(self) -> None:
        """End the stream in the ordinary way, also when bytes are still unread."""
        self.sock.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Send a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Connection], None]


class ScriptedServer:
    """Plays one script per Network Connection, in order of arrival; the last one repeats.

    An exception inside a script is raised again when the `with` block ends.
    """

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.connections: list[Connection] = []
        self.errors: list[BaseException] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    @property
    def received(self) -> bytes:
        """All bytes of all connections, in order of the connections."""
        return b"".join(connection.received for connection in self.connections)

    def join(self) -> None:
        """Wait until the scripts started so far have ended."""
        for thread in self._threads:
            thread.join(LIMIT)
            assert not thread.is_alive(), "a server script has not ended in time"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self.scripts[min(len(self.connections), len(self.scripts) - 1)]
            connection = Connection(sock)
            self.connections.append(connection)
            thread = threading.Thread(target=self._play, args=(script, connection), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _play(self, script: Script, connection: Connection) -> None:
        try:
            with connection.sock:
                script(connection)
        except BaseException as error:  # noqa: BLE001  handed to the test by __exit__
            self.errors.append(error)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # shutdown wakes the accept call; close alone would leave it waiting
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(LIMIT)
        if kind is None:
            self.join()
            if self.errors:
                raise self.errors[0]


def over_tls(context: ssl.SSLContext, script: Script) -> Script:
    """Return a script that speaks TLS, and plays `script` in it if the client accepts."""

    def wrapped(connection: Connection) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            sock = context.wrap_socket(connection.sock, server_side=True)
            with sock:
                script(Connection(sock))

    return wrapped


def serve_311(connection: Connection) -> None:
    """Accept, acknowledge what the client sends, until it leaves: a server that behaves."""
    serve(connection, packets.CONNACK_311)


def serve_5(connection: Connection) -> None:
    """Do the same for MQTT 5.0."""
    serve(connection, packets.CONNACK_5)


def serve(connection: Connection, connack: bytes) -> None:
    """Accept with `connack` and acknowledge everything with success until the client leaves."""
    v5 = len(connack) > len(packets.CONNACK_311)
    # the client may leave at any moment, also before its CONNECT
    with contextlib.suppress(EOFError):
        connection.accept(connack)
        while True:
            first, body = connection.read_packet()
            answer(connection, first, body, v5=v5)


def answer(connection: Connection, first: int, body: bytes, *, v5: bool = False) -> None:
    """Answer one packet as a server that accepts everything."""
    kind, packet_id = first >> 4, packets.packet_id_of(first, body)
    properties = b"\x00" if v5 else b""
    if kind == packets.PUBLISH and packet_id:
        reply = packets.PUBACK if first & 0x06 == 2 else packets.PUBREC
        connection.send(packets.ack(reply, packet_id))
    elif kind == packets.PUBREL:
        connection.send(packets.ack(packets.PUBCOMP, packet_id))
    elif kind == packets.SUBSCRIBE:
        # one filter, granted at the QoS asked for (the last byte)
        granted = bytes([body[-1] & 0x03])
        connection.send(packets.ack(packets.SUBACK, packet_id, properties + granted))
    elif kind == packets.UNSUBSCRIBE:
        rest = b"\x00\x00" if v5 else b""
        connection.send(packets.ack(packets.UNSUBACK, packet_id, rest))
    elif kind == packets.PINGREQ:
        connection.send(packets.PINGRESP_PACKET)
