"""A proxy that kills the client behind it at a packet: before or after it, or at its next record.

The client is another process, so the proxy has a thread of its own and no part in what is tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import threading
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from .chaos.stream import Packets, number, publish
from .packets import encode

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from types import TracebackType

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(2, 8)
_CONNECT = 1
UP, DOWN = "to the server", "to the client"


class Way(StrEnum):
    """How the client dies of a packet."""

    BEFORE = "the packet is not delivered"
    AFTER = "killed as soon as the packet is delivered"
    AT_RECORD = "the packet is delivered, and the next write to the outbox kills"
    IN_RECORD = "the same, and a part of that write is in the file"


class Moment(NamedTuple):
    """When the client dies: at the `count`-th packet of a type in one direction, of its life."""

    direction: str
    packet_type: int
    count: int
    way: Way


class KillingProxy:
    """Leads one client at a time to a server.

    Attributes:
        answered: The payloads of QoS 2 messages from the server that the client has answered by
            PUBREC, whether the server has got that or not.
        acknowledged: Those of QoS 1 messages that it has answered by PUBACK.
        carried: The payloads of the QoS 1 and 2 messages that have come to the present client.
        resumed: Of each CONNACK, whether the server had kept the session.
        struck: Whether the client has died of a packet.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = 0
        self.answered: set[str] = set()
        self.acknowledged: set[str] = set()
        self.carried: list[str] = []
        self.resumed: list[bool] = []
        self.struck = threading.Event()
        self._sent: dict[int, str] = {}
        self._version = 0
        self._moment: Moment | None = None
        self._left = 0
        self._folder = Path()
        self._victim: subprocess.Popen[str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._relays: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def aim(self, victim: subprocess.Popen[str], folder: Path, moment: Moment | None) -> None:
        """Choose the next client, before it is told to begin, and when it dies."""
        assert self._loop is not None
        # The connection of the last one is at its end.
        asyncio.run_coroutine_threadsafe(self._rest(), self._loop).result(40)
        self._victim, self._folder, self._moment = victim, folder, moment
        self._left = moment.count if moment else 0
        self.carried = []
        self.struck.clear()

    def _strikes(self, direction: str, packet_type: int) -> Way | None:
        moment = self._moment
        if moment is None or moment[:2] != (direction, packet_type):
            return None
        self._left -= 1
        return None if self._left else moment.way

    def _limit_files(self, way: Way) -> None:
        """Let the next record be deadly: the system sends SIGXFSZ, whose default is to end."""
        newest = max(self._folder.glob("*.log"))
        length = newest.stat().st_size + (10 if way is Way.IN_RECORD else 0)
        assert self._victim is not None
        resource.prlimit(self._victim.pid, resource.RLIMIT_FSIZE, (length, length))

    def _note(self, direction: str, first: int, body: bytes) -> None:
        """Look at a packet before it is passed on."""
        packet_type = first >> 4
        if packet_type == _CONNECT:
            self._version = body[2 + number(body)]
        elif direction == DOWN and packet_type == CONNACK:
            self.resumed.append(bool(body[0] & 1))
            self._sent.clear()
        elif direction == DOWN and packet_type == PUBLISH and first & 0x06:
            packet_id, payload = publish(first, body, self._version)
            self._sent[packet_id] = payload.decode()
            self.carried.append(payload.decode())
        elif direction == UP and packet_type in (PUBACK, PUBREC):
            payload_of = self._sent.get(number(body))
            if payload_of is not None:
                (self.answered if packet_type == PUBREC else self.acknowledged).add(payload_of)

    def _passes(self, direction: str, data: bytes, packets: Packets) -> Iterator[bytes]:
        """Yield what is to be passed on; end the client in the middle of it if it is time."""
        for first, body in packets.feed(data):
            self._note(direction, first, body)
            way = self._strikes(direction, first >> 4)
            if way is Way.BEFORE:
                self._kill()
                return
            if way in (Way.AT_RECORD, Way.IN_RECORD):
                self._limit_files(way)
                self.struck.set()
            yield encode(first, body)
            if way is Way.AFTER:
                self._kill()
                return

    def _kill(self) -> None:
        assert self._victim is not None
        self._victim.kill()
        self.struck.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        async with server:
            await self._stop.wait()
            await self._rest()

    async def _rest(self) -> None:
        if self._relays:
            await asyncio.wait(self._relays)

    async def _relay(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        try:
            far, to_far = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                pumps = {
                    asyncio.ensure_future(self._pump(UP, near, to_far)),
                    asyncio.ensure_future(self._pump(DOWN, far, to_near)),
                }
                _, left = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in left:
                    pump.cancel()
                await asyncio.wait(pumps)
            finally:
                await _close(to_far)
        finally:
            await _close(to_near)
            self._relays.discard(task)

    async def _pump(
        self, direction: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        packets = Packets()
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                for passed in self._passes(direction, data, packets):
                    sink.write(passed)
                    await sink.drain()
                if self.struck.is_set() and not self._is_deadly_later():
                    return

    def _is_deadly_later(self) -> bool:
        return self._moment is not None and self._moment.way in (Way.AT_RECORD, Way.IN_RECORD)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(40)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(40)
        assert not self._thread.is_alive(), "the proxy has not ended in time"


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def let_records_kill() -> None:
    """In the client: die of a file that becomes too large, as Python does not by itself."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
