"""A TCP proxy on the loopback that can reset a connection after an exact number of bytes."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

UPSTREAM, DOWNSTREAM = "client to server", "server to client"


@dataclass
class Cut:
    """Reset both sides once `after` bytes have gone in this direction."""

    direction: str
    after: int
    done: threading.Event = field(default_factory=threading.Event)


class CuttingProxy:
    """Runs in a thread with a loop of its own, so that the loop under test is not involved."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._cuts: deque[Cut | None] = deque()
        self._open: set[asyncio.StreamWriter] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def cut_next(self, direction: str, after: int) -> Cut:
        """Plan a cut for the next connection without a plan; `.done` is set when it happens."""
        cut = Cut(direction, after)
        self._cuts.append(cut)
        return cut

    def cut_now(self) -> None:
        """Reset every open connection."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._reset_all)

    def _reset_all(self) -> None:
        for writer in tuple(self._open):
            reset(writer)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._relay, sock=self._listener)
        async with server:
            await self._stop.wait()
            self._reset_all()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = self._cuts.popleft() if self._cuts else None
        up_reader, up_writer = await asyncio.open_connection(*self._target)
        self._open |= {writer, up_writer}

        def reset_both() -> None:
            reset(writer)
            reset(up_writer)

        async def pump(
            direction: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter
        ) -> None:
            # with no buffer allowed, drain returns only when every byte is in the kernel
            sink.transport.set_write_buffer_limits(high=0)
            left = cut.after if cut is not None and cut.direction == direction else None
            with contextlib.suppress(OSError):
                while data := await source.read(65536 if left is None else min(left, 65536)):
                    sink.write(data)
                    await sink.drain()
                    if left is not None:
                        left -= len(data)
                        if left == 0:
                            reset_both()
                            cut.done.set()
                            return
                sink.write_eof()
                return
            reset_both()

        try:
            await asyncio.gather(
                pump(UPSTREAM, reader, up_writer),
                pump(DOWNSTREAM, up_reader, writer),
            )
        finally:
            self._open -= {writer, up_writer}
            writer.close()
            up_writer.close()

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
        assert not self._thread.is_alive(), "the proxy has not ended in time"


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset instead of the ordinary end of stream."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
