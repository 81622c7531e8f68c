"""The limit that no client can beat by much: a bare asyncio transport and encoded bytes.

Publishing writes packets that were encoded before the clock started, many at a time; receiving
counts bytes and looks at none. There is no client here, so there is nothing to await per message.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import cycle, islice

from measure import END_MARKER, HOST, PAYLOAD_SIZE, PAYLOADS, TOPIC, Cost, Meter

CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"
DISCONNECT = b"\xe0\x00"
CONNACK_SIZE = PUBACK_SIZE = 4
SUBACK_SIZE = 5

MESSAGES_PER_WRITE = 512
READ_BUFFER_SIZE = 256 * 1024


def _with_header(first_byte: int, body: bytes) -> bytes:
    """Build a packet whose Remaining Length takes one byte."""
    return bytes((first_byte, len(body))) + body


def _string(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


SUBSCRIBE = _with_header(0x82, b"\x00\x01" + _string(TOPIC) + b"\x00")
PUBLISHES = [_with_header(0x30, _string(TOPIC) + payload) for payload in PAYLOADS]
PUBLISH_SIZE = len(PUBLISHES[0])
END_SIZE = PUBLISH_SIZE - PAYLOAD_SIZE
CHUNKS = [
    b"".join(PUBLISHES[start : start + MESSAGES_PER_WRITE])
    for start in range(0, len(PUBLISHES), MESSAGES_PER_WRITE)
]
END_AT_QOS_1 = _with_header(0x32, _string(TOPIC) + b"\x00\x01" + END_MARKER)


class CountingProtocol(asyncio.BufferedProtocol):
    """Counts bytes, and knows when the transport wants a pause."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray(READ_BUFFER_SIZE)
        self._missing = 0
        self._arrived: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits for bytes that will not come."""
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_exception(exc or ConnectionError("the far side closed"))

    def get_buffer(self, sizehint: int) -> bytearray:
        """Read into the same buffer every time."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Count."""
        self._missing -= nbytes
        if self._missing <= 0 and self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def pause_writing(self) -> None:
        """Hold back the writer."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let the writer go on."""
        self._writable.set()

    async def arrival(self, size: int) -> None:
        """Wait until this many more bytes have come."""
        self._missing += size
        if self._missing > 0:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived

    async def write_messages(self, chunks: Iterable[bytes]) -> None:
        """Write the chunks, waiting whenever the transport is full."""
        for chunk in chunks:
            self.transport.write(chunk)
            await self._writable.wait()


async def _connect(port: int) -> CountingProtocol:
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(CountingProtocol, HOST, port)
    protocol.transport.write(CONNECT)
    await protocol.arrival(CONNACK_SIZE)
    return protocol


def _disconnect(protocol: CountingProtocol) -> None:
    protocol.transport.write(DISCONNECT)
    protocol.transport.close()


async def publish(port: int, warm_up: int, messages: int) -> Cost:
    """Write encoded packets; ends when the far side has counted all."""
    protocol = await _connect(port)
    chunks = cycle(CHUNKS)

    async def run(count: int) -> None:
        await protocol.write_messages(islice(chunks, _number_of_chunks(count)))
        protocol.transport.write(END_AT_QOS_1)
        await protocol.arrival(PUBACK_SIZE)

    await run(warm_up)
    with Meter() as meter:
        await run(messages)
    _disconnect(protocol)
    return meter.cost


def _number_of_chunks(messages: int) -> int:
    number, rest = divmod(messages, MESSAGES_PER_WRITE)
    if rest:
        problem = f"raw pub_qos0 needs a multiple of {MESSAGES_PER_WRITE} messages, got {messages}"
        raise ValueError(problem)
    return number


async def receive(port: int, warm_up: int, messages: int) -> Cost:
    """Read until all bytes of the batch have come."""
    protocol = await _connect(port)

    async def run(count: int) -> None:
        protocol.transport.write(SUBSCRIBE)
        await protocol.arrival(SUBACK_SIZE + count * PUBLISH_SIZE + END_SIZE)

    await run(warm_up)
    with Meter() as meter:
        await run(messages)
    _disconnect(protocol)
    return meter.cost


SCENARIOS: dict[str, Callable[[int, int, int], Awaitable[Cost]]] = {
    "pub_qos0": publish,
    "recv_qos0": receive,
}
