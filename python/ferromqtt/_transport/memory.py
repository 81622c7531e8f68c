"""A link in memory: two transports of asyncio, each of which reads what the other one writes.

They do what asyncio's transports do on a loopback socket, with the loop's `call_soon` in place of
the operating system: one never calls the protocol of the other while that other one is at work.
"""

from __future__ import annotations

import asyncio
import errno
import os
import warnings
from collections.abc import Callable
from typing import Any, cast

from ferromqtt._transport.progress import PROGRESS

_MOST_UNREAD = 256 * 1024
"""How many bytes the reading side holds unread, as a socket's buffers do; the rest stays unsent."""

_HIGH_WATER = 64 * 1024
"""How many bytes a transport holds unsent before it pauses its protocol: asyncio's default."""


def link(
    loop: asyncio.AbstractEventLoop, client: asyncio.BaseProtocol, server: asyncio.BaseProtocol
) -> None:
    """Connect two protocols, to which it reports `connection_made` at once.

    So there is no moment at which a cancelled attempt could leave half a link behind. To be called
    by a task, and not from inside a call of either protocol.
    """
    near, far = MemoryTransport(loop, client), MemoryTransport(loop, server)
    near.peer, far.peer = far, near
    try:
        server.connection_made(far)
    except BaseException:
        near.detach()  # its protocol does not know of it yet
        far.abort()
        raise
    try:
        client.connection_made(near)
    except BaseException:
        near.abort()
        raise


class MemoryTransport(asyncio.Transport):
    """One end of a link.

    Attributes:
        peer: The other end; None once the end was reported to the protocol of this one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self.peer: MemoryTransport | None = None
        self._loop = loop
        self._protocol = protocol
        self._arrived = bytearray()
        """Bytes that are to be read."""
        self._unsent = bytearray()
        """Bytes that were written, and which do not fit into what the other end may hold unread."""
        self._sent = 0
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        self._reading_due = False
        self._sending_due = False
        self._reading_paused = False
        self._writing_paused = False
        self._eof_written = False
        self._eof_sent = False
        self._eof_arrived = False
        self._eof_read = False
        self._reset = False
        """The peer has gone without having read everything."""
        self._resets = False
        """The peer is to see a reset, whatever this end has read."""
        self.observer: Callable[[], None] | None = None
        """Called when the other end has read something."""
        self._closing = False
        self._ended = False
        """`connection_lost` was called, or is due."""

    # What a protocol calls

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; what does not fit at once is held, and pauses the protocol."""
        if self._eof_written:
            raise RuntimeError("write() must not follow write_eof()")
        if self._ended:
            return
        self._unsent += memoryview(data)
        self._send()
        self._pause_writing_if_full()

    def write_eof(self) -> None:
        """End this direction, behind everything that was written."""
        if not self._closing and not self._eof_written:
            self._eof_written = True
            self._send()

    def can_write_eof(self) -> bool:
        """Return True: a direction may end alone."""
        return True

    def close(self) -> None:
        """End the link when everything is sent; nothing more is read."""
        if not self._closing:
            self._closing = True
            if not self._unsent:
                self._end(None)

    def abort(self) -> None:
        """End the link at once; what is unsent is lost."""
        self._end(None)

    def reset(self) -> None:
        """End the link at once, as `abort` does; the other end is told of a reset."""
        self._resets = True
        self._end(None)

    @property
    def in_transit(self) -> int:
        """How many bytes are on their way, in both directions."""
        peer = self.peer
        if peer is None or self._ended:
            return 0
        return len(self._unsent) + len(self._arrived) + len(peer._unsent) + len(peer._arrived)  # noqa: SLF001 - the other end

    def is_closing(self) -> bool:
        """Return whether it was closed, or has ended."""
        return self._closing

    def pause_reading(self) -> None:
        """Leave what arrives alone."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Read what has arrived, and what will."""
        self._reading_paused = False
        self._read_soon()

    def is_reading(self) -> bool:
        """Return whether what arrives is read."""
        return not self._closing and not self._reading_paused

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pause the protocol with more than `high` bytes unsent, until there are at most `low`."""
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        self._high, self._low = high, high // 4 if low is None else low
        self._pause_writing_if_full()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return `low` and `high`."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent."""
        return len(self._unsent)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol have what happens from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as asyncio
        """Return `PROGRESS`; there is no socket to tell of."""
        return (self._sent, 0) if name == PROGRESS else default

    def __repr__(self) -> str:
        state = "ended" if self._ended else "closing" if self._closing else "open"
        return f"<{type(self).__name__} {state}, {len(self._unsent)} bytes unsent>"

    # As a default, since the module may be gone when the interpreter exits.
    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self.peer is not None:
            _warn(f"unclosed transport {self!r}", ResourceWarning, stacklevel=2, source=self)

    # What the other end calls: each is done later

    def detach(self) -> None:
        """End without a word to the protocol, or to the other end."""
        self.peer = None
        self._ended = self._closing = True

    @property
    def capacity(self) -> int:
        """How many more bytes may arrive."""
        return _MOST_UNREAD - len(self._arrived)

    def arrive(self, data: bytearray | memoryview) -> None:
        """Take bytes, at most `capacity` of them."""
        self._arrived += data
        self._read_soon()

    def arrive_eof(self) -> None:
        """Take the end of the stream, behind all that has arrived."""
        self._eof_arrived = True
        self._read_soon()

    def peer_reads(self) -> None:
        """Send more, later: the other end has read something."""
        if self.observer:
            self.observer()
        if self._unsent and not self._sending_due:
            self._sending_due = True
            self._loop.call_soon(self._send_on)

    def peer_has_ended(self, *, unread: bool) -> None:
        """Take the end of the link.

        It is a reset if the other end has left something unread, and had not ended its direction.
        """
        self._reset = unread and not self._eof_arrived
        self._eof_arrived = True
        if self._unsent and not (self._arrived and self.is_reading()):
            self._end(_reset_error())
        else:
            self._unsent.clear()
            self._read_soon()

    # Sending

    def _send(self) -> None:
        """Hand the other end what fits, and the end of this direction behind it."""
        peer = self.peer
        if peer is None or self._ended:
            return
        if peer.peer is None:  # it has ended: that stands behind what is to be read
            self._unsent.clear()
            if self._reading_paused or self._eof_read:
                self._end(_reset_error())
            return
        if self._unsent:
            count = min(peer.capacity, len(self._unsent))
            # Both views are released, also for an error's traceback: the buffer could not shrink.
            with memoryview(self._unsent) as unsent, unsent[:count] as part:
                peer.arrive(part)
            del self._unsent[:count]
            self._sent += count
        if self._unsent:
            return
        if self._closing:
            self._end(None)
        elif self._eof_written and not self._eof_sent:
            self._eof_sent = True
            peer.arrive_eof()

    def _send_on(self) -> None:
        self._sending_due = False
        self._send()
        if self._writing_paused and not self._ended and len(self._unsent) <= self._low:
            self._writing_paused = False
            self._tell_flow("resume_writing")

    def _pause_writing_if_full(self) -> None:
        if len(self._unsent) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._tell_flow("pause_writing")

    def _tell_flow(self, method: str) -> None:
        try:
            getattr(self._protocol, method)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as asyncio does, the transport goes on
            self._report(error, f"protocol.{method}() failed")

    # Reading

    def _read_soon(self) -> None:
        if not self._reading_due and self.is_reading():
            self._reading_due = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        """Hand the protocol what a socket would give at once: bytes, or the end of the stream."""
        self._reading_due = False
        if not self.is_reading():
            return
        try:
            if self._arrived:
                self._hand_over()
                if self.peer is not None:
                    self.peer.peer_reads()
            elif self._reset:
                self._end(_reset_error())
            elif self._eof_arrived and not self._eof_read:
                self._eof_read = True
                if not cast("asyncio.Protocol", self._protocol).eof_received():
                    self.close()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as asyncio does, it is the link's end
            self._report(error, "a protocol failed to take what it was given")
            self._end(error)
            return
        if self._arrived or self._reset or (self._eof_arrived and not self._eof_read):
            self._read_soon()

    def _hand_over(self) -> None:
        protocol, arrived = self._protocol, self._arrived
        if isinstance(protocol, asyncio.BufferedProtocol):
            buffer = protocol.get_buffer(-1)
            with memoryview(buffer) as view, memoryview(arrived) as there:
                count = min(len(view), len(there))
                view[:count] = there[:count]
            del arrived[:count]
            protocol.buffer_updated(count)
        else:
            data = bytes(arrived)
            arrived.clear()
            cast("asyncio.Protocol", protocol).data_received(data)

    # The end

    def _end(self, error: BaseException | None) -> None:
        """Report the end to the protocol, later and once."""
        if not self._ended:
            self._loop.call_soon(self._lose, error)
            self._ended = self._closing = True
            self._unsent.clear()

    def _lose(self, error: BaseException | None) -> None:
        peer, self.peer = self.peer, None
        try:
            self._protocol.connection_lost(cast("Exception | None", error))
        finally:
            if peer is not None and peer.peer is not None:
                peer.peer_has_ended(unread=self._resets or bool(self._arrived))
            self._arrived.clear()

    def _report(self, error: BaseException, message: str) -> None:
        context = {
            "message": message,
            "exception": error,
            "transport": self,
            "protocol": self._protocol,
        }
        self._loop.call_exception_handler(context)


class BrokerDownError(ConnectionRefusedError):
    """A test broker cannot be reached: a fault has cut it off, or it is being restarted."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def _reset_error() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
