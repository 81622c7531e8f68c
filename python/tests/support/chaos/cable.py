"""The network between one client and the broker, in memory or on loopback sockets.

It carries bytes and shows them to `seen.Conversation`. Each connection has a `Fate`, by which it
fails, and all of them can be cut at any time.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ferromqtt._transport import memory
from support import packets

from .seen import Conversation, Seen
from .stream import V5, Packets, number

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

UP, DOWN = "up", "down"

_TICK = 0.05
"""A slow connection carries something so often, in seconds of a world."""

_MOST_WAITING = 64 * 1024
"""With more bytes than this on their way, no more are read."""


@dataclass(frozen=True)
class Fate:
    """What becomes of one connection.

    "carry": nothing happens to it. "cut" and "silent": it is reset, or carries nothing any more,
    once `after` bytes have gone in `direction`. "slow": it carries `after` bytes a second. "refuse"
    and "forbid": the client gets a CONNACK by which it may try again, or may not. "hang": nothing
    is ever carried.
    """

    kind: str = "carry"
    direction: str = UP
    after: int = 0

    def __str__(self) -> str:
        if self.kind in ("cut", "silent"):
            return f"{self.kind} after {self.after} bytes {self.direction}"
        return f"slow, {self.after} bytes a second" if self.kind == "slow" else self.kind


_CODES = {"refuse": (3, 0x89), "forbid": (5, 0x87)}
"""Server unavailable and Not authorized: before 5.0, and there."""


class Cable:
    """Goes by the fates that it was given, connection by connection; then all goes well."""

    def __init__(self, seen: Seen, fates: list[Fate], pace: float) -> None:
        self.seen = seen
        self.pace = pace
        self.is_down = False
        self.attempts = 0
        self._fates = fates[::-1]
        self._links: set[Link] = set()
        self._dial: Callable[[Far], object] = lambda _: None
        self._server: asyncio.Server | None = None
        self._address: tuple[str, int] | None = None
        self._dialling: set[asyncio.Task[None]] = set()
        self._empty: asyncio.Event | None = None

    # The ways to it

    def to_memory(self, dial: Callable[[asyncio.BaseProtocol], None]) -> None:
        """Lead to a broker in memory."""
        self._dial = dial

    async def to_socket(self, host: str, port: int) -> None:
        """Listen, and lead to a broker on a socket."""
        loop = asyncio.get_running_loop()
        self._dial = lambda far: loop.create_connection(lambda: far, host, port)
        self._server = await loop.create_server(self._near_of_socket, "127.0.0.1", 0)
        self._address = self._server.sockets[0].getsockname()

    @property
    def where(self) -> tuple[Any, ...]:
        """What the client is given."""
        return self._address or (self,)

    def _ferromqtt_link(self, protocol: asyncio.BaseProtocol, /) -> None:
        """Connect a client in memory, as `TestBroker` does."""
        self.attempts += 1
        if self.is_down:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        link = Link(self, self._next_fate())
        if link.goes_through:
            self._dial(link.far)
        memory.link(asyncio.get_running_loop(), protocol, link.near)

    def _near_of_socket(self) -> Near:
        self.attempts += 1
        link = Link(self, Fate("refused") if self.is_down else self._next_fate())
        return link.near

    def _next_fate(self) -> Fate:
        return self._fates.pop() if self._fates else Fate()

    def dial(self, link: Link) -> None:
        """Connect a link to the broker on a socket."""
        if self._address is None:
            return  # in memory that was done before
        connecting = self._dial(link.far)
        task = asyncio.ensure_future(
            self._connect(link, cast("Coroutine[Any, Any, Any]", connecting))
        )
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    @staticmethod
    async def _connect(link: Link, connecting: Coroutine[Any, Any, Any]) -> None:
        try:
            await connecting
        except OSError:
            link.cut()

    # What befalls it

    def cut(self, *, reset: bool = True) -> None:
        """End every connection, in the middle of whatever is on its way."""
        for link in tuple(self._links):
            link.cut(reset=reset)

    def fall_silent(self) -> None:
        """Let no connection that there is carry anything any more."""
        for link in self._links:
            link.silent = True

    def go_down(self) -> None:
        """End every connection, and let nobody connect."""
        self.is_down = True
        self.cut()

    def come_up(self) -> None:
        """Let the client connect again."""
        self.is_down = False

    def heal(self) -> None:
        """Let all go well from now on; connections that do not are ended."""
        self.is_down = False
        self._fates.clear()
        for link in tuple(self._links):
            if link.is_sick:
                link.cut()

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted a connection that carries."""
        return any(link.conversation.accepted and not link.is_sick for link in self._links)

    async def close(self) -> None:
        """End everything, and wait for it."""
        self.go_down()
        if self._server:
            self._server.close()
            await self._server.wait_closed()
        for task in self._dialling:
            task.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)
        if self._links:
            self._empty = asyncio.Event()
            await self._empty.wait()

    def opened(self, link: Link) -> None:
        self._links.add(link)

    def closed(self, link: Link) -> None:
        self._links.discard(link)
        if self._empty and not self._links:
            self._empty.set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {len(self._links)} links>"


class Link:
    """One connection: two ends, and what is between them."""

    def __init__(self, cable: Cable, fate: Fate) -> None:
        self.cable = cable
        self.fate = fate
        self.conversation = Conversation(cable.seen, is_slow=fate.kind == "slow")
        self.near, self.far = Near(self), Far(self)
        self.up = Direction(self, UP, self.near, self.far)
        self.down = Direction(self, DOWN, self.far, self.near)
        self.silent = fate.kind == "hang"
        self.is_cut = False

    @property
    def goes_through(self) -> bool:
        """Whether the broker gets to know of it."""
        return self.fate.kind not in ("refuse", "forbid", "hang", "refused")

    @property
    def is_sick(self) -> bool:
        """Whether it will never do what a connection does."""
        return self.silent or self.fate.kind in ("cut", "silent", "slow") or not self.goes_through

    def cut(self, *, reset: bool = True) -> None:
        """End both sides at once."""
        if self.is_cut:
            return
        self.is_cut = True
        self.conversation.ended()
        for end in (self.near, self.far):
            end.give_up(reset=reset)

    def one_side_ended(self) -> None:
        self.conversation.ended()
        if self.near.is_gone and self.far.is_gone:
            self.cable.closed(self)

    def refuse(self, version: int) -> None:
        """Answer CONNECT in place of the broker."""
        code = _CODES[self.fate.kind][version >= V5]
        body = bytes([0, code]) + (b"\0" if version >= V5 else b"")
        assert self.near.transport
        self.near.transport.write(packets.encode(packets.CONNACK << 4, body))
        self.near.transport.close()


class Direction:
    """Carries bytes one way."""

    def __init__(self, link: Link, name: str, source: End, sink: End) -> None:
        self._link = link
        self._name = name
        self._source = source
        self._sink = sink
        self._waiting = bytearray()
        self._ended = False
        self._gone = False
        self._timer: asyncio.TimerHandle | None = None
        fate = link.fate
        has_end = fate.kind in ("cut", "silent") and fate.direction == name
        self._left = fate.after if has_end else None

    def feed(self, data: bytes) -> None:
        self._waiting += data
        self.move()
        if len(self._waiting) > _MOST_WAITING and self._source.transport:
            self._source.transport.pause_reading()

    def end(self) -> None:
        """Let the end of the stream follow what is on its way."""
        self._ended = True
        self.move()

    def source_is_gone(self) -> None:
        """Close the other end behind what is on its way."""
        self._gone = True
        self.move()

    def move(self) -> None:
        """Carry what can be carried now."""
        transport, link = self._sink.transport, self._link
        if transport is None or link.silent or link.is_cut or self._timer:
            return
        if self._waiting and not self._sink.is_full and not self._carry(transport):
            return
        if not self._waiting and not self._timer and not transport.is_closing():
            if self._gone:
                transport.close()
            elif self._ended:
                self._ended = False
                transport.write_eof()

    def _carry(self, transport: asyncio.Transport) -> bool:
        """Carry the next part; return whether the connection has not met its fate by that."""
        link = self._link
        part = bytes(self._waiting[: self._most()])
        del self._waiting[: len(part)]
        if self._name == DOWN:
            link.conversation.carried_to_client(part)
        transport.write(part)
        if self._source.transport and len(self._waiting) <= _MOST_WAITING:
            self._source.transport.resume_reading()
        if link.fate.kind == "slow":
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_TICK * link.cable.pace, self._move_on)
        if self._left is None:
            return True
        self._left -= len(part)
        if self._left > 0:
            return True
        self._meet_fate()
        return False

    def _most(self) -> int:
        if self._link.fate.kind == "slow":
            return max(1, round(self._link.fate.after * _TICK))
        return len(self._waiting) if self._left is None else self._left

    def _move_on(self) -> None:
        self._timer = None
        self.move()

    def _meet_fate(self) -> None:
        if self._link.fate.kind == "silent":
            self._link.silent = True
        else:
            self._link.cut()


class End(asyncio.Protocol):
    """One end of a link: towards the client, or towards the broker."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.transport: asyncio.Transport | None = None
        self.is_full = False
        self.is_gone = False

    @property
    def _onward(self) -> Direction:
        raise NotImplementedError

    @property
    def _other(self) -> End:
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._link.cable.opened(self._link)
        if self._link.is_cut:
            self.transport.abort()

    def eof_received(self) -> bool:
        self._onward.end()
        return True

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False

    def give_up(self, *, reset: bool) -> None:
        """Abort the transport, with a TCP reset if there is TCP."""
        if self.transport is None:
            self.is_gone = True
            self._link.one_side_ended()
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None and reset and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True
        if self._other.transport is None:
            self._link.cut()
        elif exc is not None:
            self._other.transport.abort()
        else:
            self._onward.source_is_gone()
        self._link.one_side_ended()


class Near(End):
    """The end that the client is connected to."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._connect = Packets()

    @property
    def _onward(self) -> Direction:
        return self._link.up

    @property
    def _other(self) -> End:
        return self._link.far

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._link.fate.kind == "refused":
            self._link.cut()
        elif self._link.goes_through:
            self._link.cable.dial(self._link)
        else:
            self._link.far.is_gone = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self._link.down.move()

    def data_received(self, data: bytes) -> None:
        link = self._link
        if link.is_cut:
            return
        link.conversation.client_wrote(data)
        if link.fate.kind in ("refuse", "forbid"):
            for _, body in self._connect.feed(data):
                link.refuse(body[2 + number(body)])
        else:
            link.up.feed(data)


class Far(End):
    """The end that is connected to the broker."""

    @property
    def _onward(self) -> Direction:
        return self._link.down

    @property
    def _other(self) -> End:
        return self._link.near

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._link.up.move()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._link.up.move()

    def data_received(self, data: bytes) -> None:
        if not self._link.is_cut:
            self._link.conversation.broker_wrote(data)
            self._link.down.feed(data)
