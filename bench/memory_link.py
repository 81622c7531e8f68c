"""A server in the process: an event loop whose connections are transports in memory.

No byte passes through a socket, so the same program runs the same instructions each time.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from measure import TOPIC

CONNECT, PUBLISH, SUBSCRIBE = 0x10, 0x30, 0x82
QOS_1 = 0x02
CONNACK = b"\x20\x02\x00\x00"
SUBACK_QOS_1 = b"\x90\x03\x00\x01\x01"
PUBACK_HEAD = b"\x40\x02"
PACKET_ID_AT = 2 + 2 + len(TOPIC)  # in a PUBLISH with a Remaining Length of one byte

DISTURB_AFTER = 32 * 1024
"""Bytes in both directions."""
POOL_SIZES = range(1, 480, 16)
"""Lengths of `bytes` objects, one for each pool beyond those of the smallest objects."""


class MemoryTransport(asyncio.Transport):
    """The client's transport, and the server behind it.

    Of what the client writes it reads as little as its answers need, since its own work is counted
    with the client's. Answers come in the next iteration of the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__()
        self.written = 0
        self._loop = loop
        self._protocol = protocol
        self._closing = False
        self._answers: list[bytes] = []
        self._kept: list[object] = []
        self._moved = 0

    def write(self, data: Any) -> None:
        """Take whole packets of one type, and answer them."""
        data = bytes(data)
        self.written += len(data)
        self._disturb(len(data))
        first = data[0]
        if first & 0xF0 == PUBLISH:
            if first & QOS_1:
                self._acknowledge(data, data[1] + 2)
        elif first == CONNECT:
            self._answer(CONNACK)
        elif first == SUBSCRIBE:
            self._answer(SUBACK_QOS_1)

    def _acknowledge(self, data: bytes, size: int) -> None:
        """Acknowledge PUBLISH packets of the same size."""
        places = range(PACKET_ID_AT, len(data), size)
        self._answer(b"".join([PUBACK_HEAD + data[place : place + 2] for place in places]))

    def _answer(self, data: bytes) -> None:
        if not self._answers:
            self._loop.call_soon(self._send_answers)
        self._answers.append(data)

    def _send_answers(self) -> None:
        data = b"".join(self._answers)
        self._answers.clear()
        self.send(data)

    def send(self, data: bytes) -> None:
        """Hand bytes of the server to the client."""
        size = len(data)
        self._disturb(size)
        self._protocol.get_buffer(-1)[:size] = data  # type: ignore[index]
        self._protocol.buffer_updated(size)

    def _disturb(self, size: int) -> None:
        """Keep an object of each size that CPython has memory pools for, now and then.

        An object that is allocated and freed for each message costs more if it is the first of its
        pool. Whether it is depends on chance, for as long as nothing else is allocated: without
        this, counts differed by 0.3 % between two environments.
        """
        self._moved += size
        if self._moved < DISTURB_AFTER:
            return
        self._moved = 0
        self._kept.append([object(), complex(0, len(self._kept)), *map(bytes, POOL_SIZES)])

    def close(self) -> None:
        """End the connection, in the next iteration of the loop."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._closing

    def can_write_eof(self) -> bool:
        """As a socket."""
        return True

    def write_eof(self) -> None:
        """End the connection: the server closes when the client has no more to say."""
        self.close()

    def get_write_buffer_size(self) -> int:
        """Nothing waits: the server takes everything at once."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Without effect, for the same reason."""

    def pause_reading(self) -> None:
        """Without effect: what is sent here, a workload sends when the client has read before."""

    def resume_reading(self) -> None:
        """Without effect."""


class MemoryLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, but every connection is a `MemoryTransport`."""

    transport: MemoryTransport
    """That of the latest connection."""

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Leave the socket alone."""

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BufferedProtocol], **options: Any
    ) -> tuple[MemoryTransport, asyncio.BufferedProtocol]:
        """Connect the protocol to the server in memory."""
        options["sock"].close()
        protocol = protocol_factory()
        self.transport = MemoryTransport(self, protocol)
        protocol.connection_made(self.transport)
        return self.transport, protocol
