"""A client driven by hand: its transport and its server are the test."""

import asyncio
from typing import Any

from ferromqtt import Client, Message, ProtocolVersion, _driver
from ferromqtt._internals import internals_of
from ferromqtt._link import Link

from . import packets


class HandTransport(asyncio.Transport):
    """Keeps what is written; never calls the protocol by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class Wire:
    """A client whose transport and server are the test."""

    def __init__(
        self,
        protocol: ProtocolVersion = ProtocolVersion.V311,
        queue_type: type[asyncio.Queue[Message]] | None = None,
        *,
        connack: bytes | None = None,
        **options: Any,  # noqa: ANN401 - further ones of the client
    ) -> None:
        self.client = Client("localhost", protocol=protocol, queue_type=queue_type, **options)
        self.core: _driver.Protocol = internals_of(self.client).core
        self.core.connector = None  # the test opens the transport
        self.core.configure(**internals_of(self.client).core_options())
        self.transport = HandTransport()
        self._link: Link | None = None
        v5 = protocol == ProtocolVersion.V5
        self._connack = connack or (packets.CONNACK_5 if v5 else packets.CONNACK_311)

    @property
    def link(self) -> Link:
        """The protocol of the present transport, or of the last one."""
        self._link = self.core.link or self._link
        assert self._link is not None
        return self._link

    async def connect(self) -> None:
        await self.core.start()
        self.link.connection_made(self.transport)
        self.feed(self._connack)
        await self.core.accepted()

    def feed(self, data: bytes) -> None:
        """Let the core read this, as a transport would."""
        view = self.link.get_buffer(-1)
        view[: len(data)] = data
        view.release()
        self.link.buffer_updated(len(data))

    def message(self, payload: bytes) -> None:
        """Let a message arrive."""
        self.feed(packets.publish("topic", payload))

    def lose(self) -> None:
        """End the connection."""
        self.link.connection_lost(None)

    async def rest(self, last: bytes = b"last") -> list[bytes]:
        """Return the payloads that iterators have not taken, up to a last message."""
        self.message(last)
        payloads: list[bytes] = []
        async with asyncio.timeout(10):
            async for message in self.client.messages:
                if message.payload == last:
                    break
                payloads.append(message.payload)
        return payloads
