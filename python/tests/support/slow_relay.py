"""A way to a broker that carries so many bytes in a second, or none any more."""

import asyncio
import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

TICK = 0.02

RECEIVE_BUFFER = 4 * 1024
"""What the relay's TCP takes without being read: little, so that the client's TCP knows soon."""

READ_SIZE = 1 << 20


class SlowRelay:
    """Runs in a thread with a loop of its own, so that the loop under test is not involved."""

    def __init__(self, host: str, port: int, rate: int) -> None:
        self._target = (host, port)
        self._rate = rate
        self._silent = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._listener.setblocking(False)
        self.host, self.port = self._listener.getsockname()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def fall_silent(self) -> None:
        """Carry nothing any more, either way, and close nothing."""
        self._silent.set()

    async def _serve(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        accepting = loop.create_task(self._accept(loop))
        await self._stop.wait()
        accepting.cancel()
        await asyncio.wait([accepting])
        self._listener.close()

    async def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                client, _ = await loop.sock_accept(self._listener)
                group.create_task(self._relay(loop, client))

    async def _relay(self, loop: asyncio.AbstractEventLoop, client: socket.socket) -> None:
        with client, socket.socket() as server:
            for end in (client, server):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(server, self._target)
            ways = [
                loop.create_task(self._carry(loop, client, server, int(self._rate * TICK))),
                loop.create_task(self._carry(loop, server, client, READ_SIZE)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways)

    async def _carry(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket,
        sink: socket.socket,
        per_tick: int,
    ) -> None:
        began = loop.time()
        carried = 0
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(source, per_tick):
                if self._silent.is_set():
                    await self._stop.wait()
                    return
                await loop.sock_sendall(sink, data)
                carried += len(data)
                ahead = began + carried / per_tick * TICK - loop.time()
                if ahead > TICK:
                    await asyncio.sleep(ahead)
                elif ahead < 0:
                    began -= ahead  # what was not carried in time is not caught up with

    def __enter__(self) -> Self:
        self._thread.start()
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
        assert not self._thread.is_alive(), "the relay has not ended in time"
