"""Links in memory: their transports, side by side with asyncio's on loopback TCP."""

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from ferromqtt._transport import memory, progress
from support.clients import LIMIT
from support.loops import LoopRunner, settle

MANY = 8 << 20
"""More bytes than the buffers of any link here hold."""


class End(asyncio.Protocol):
    """Remembers what its transport reports."""

    def __init__(self, *, keeps_open: bool = False) -> None:
        self.transport: asyncio.Transport = asyncio.Transport()
        self.received = bytearray()
        self.reports: list[str] = []
        self.lost_by: Exception | None = None
        self.changed = asyncio.Event()
        self._keeps_open = keeps_open

    def note(self, report: str) -> None:
        self.reports.append(report)
        self.changed.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not reached():
                self.changed.clear()
                await self.changed.wait()

    async def reported(self, report: str) -> None:
        await self.until(lambda: report in self.reports)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self.note("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.changed.set()

    def eof_received(self) -> bool:
        self.note("eof")
        return self._keeps_open

    def pause_writing(self) -> None:
        self.note("paused")

    def resume_writing(self) -> None:
        self.note("resumed")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost_by = exc
        self.note("lost")


class BufferedEnd(asyncio.BufferedProtocol):
    """Reads into a small buffer of its own, for another end."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.buffer = bytearray(1000)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.end.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> bytearray:
        del sizehint
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.end.data_received(bytes(self.buffer[:nbytes]))


Connect = Callable[[asyncio.BaseProtocol, asyncio.BaseProtocol], Awaitable[None]]


async def in_memory(near: asyncio.BaseProtocol, far: asyncio.BaseProtocol) -> None:
    memory.link(asyncio.get_running_loop(), near, far)


async def over_tcp(near: asyncio.BaseProtocol, far: asyncio.BaseProtocol) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: far, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    await loop.create_connection(lambda: near, host, port)
    end = far.end if isinstance(far, BufferedEnd) else far
    assert isinstance(end, End)
    await end.reported("made")
    server.close()


@pytest.fixture(params=[in_memory, over_tcp], ids=["memory", "tcp"])
def connect(request: pytest.FixtureRequest) -> Connect:
    chosen: Connect = request.param
    return chosen


def pattern(count: int) -> bytes:
    """Return bytes that differ from place to place."""
    return bytes(range(251)) * (count // 251 + 1)


async def close(*ends: End) -> None:
    for end in ends:
        end.transport.abort()
    for end in ends:
        await end.reported("lost")


def test_bytes_arrive_in_order_whatever_the_reader_takes_at_once(
    run: LoopRunner, connect: Connect
) -> None:
    async def main() -> None:
        near, far = End(), End()
        await connect(near, BufferedEnd(far))
        sent = bytearray()
        for count in (1, 999, 1000, 1001, 70_000, 600_000):
            data = pattern(count)
            sent += data
            near.transport.write(memoryview(data))
        await far.until(lambda: len(far.received) >= len(sent))
        far.transport.write(bytes(sent))
        await near.until(lambda: len(near.received) >= len(sent))
        assert far.received == near.received == sent
        await close(near, far)

    run(main)


def test_nothing_is_reported_inside_the_call_that_causes_it(
    run: LoopRunner, connect: Connect
) -> None:
    async def main() -> None:
        near, far = End(), End()
        await connect(near, far)
        near.transport.write(b"x")
        assert far.received == b""
        await far.until(lambda: far.received == b"x")
        far.transport.write(b"y")
        far.transport.close()
        far.transport.abort()
        assert near.received == b""
        assert (near.reports, far.reports) == (["made"], ["made"])
        await near.reported("lost")
        assert near.received == b"y"
        assert (near.reports, far.reports) == (["made", "eof", "lost"], ["made", "lost"])
        assert near.lost_by is None

    run(main)


def test_a_reader_that_pauses_pauses_the_writer(run: LoopRunner, connect: Connect) -> None:
    async def main() -> None:
        near, far = End(), End()
        await connect(near, far)
        far.transport.pause_reading()
        assert not far.transport.is_reading()
        data = pattern(1 << 16)
        written = 0
        while "paused" not in near.reports:
            near.transport.write(data)
            written += len(data)
            assert written <= MANY, "no bound"
            await asyncio.sleep(0)
        assert near.transport.get_write_buffer_size() > 0
        assert far.received == b""
        far.transport.resume_reading()
        await near.reported("resumed")
        await far.until(lambda: len(far.received) == written)
        assert near.transport.get_write_buffer_size() == 0
        assert far.received == data * (written // len(data))
        await close(near, far)

    run(main)


def test_a_limit_of_zero_tells_when_nothing_is_left(run: LoopRunner, connect: Connect) -> None:
    async def main() -> None:
        near, far = End(), End()
        await connect(near, far)
        far.transport.pause_reading()
        near.transport.set_write_buffer_limits(high=MANY)
        near.transport.write(bytes(MANY))
        assert near.reports == ["made"]
        near.transport.set_write_buffer_limits(0)
        assert near.reports == ["made", "paused"]
        far.transport.resume_reading()
        await near.reported("resumed")
        assert near.transport.get_write_buffer_size() == 0
        await close(near, far)

    run(main)


def test_one_direction_may_end_alone(run: LoopRunner, connect: Connect) -> None:
    async def main() -> None:
        near, far = End(), End(keeps_open=True)
        await connect(near, far)
        assert near.transport.can_write_eof()
        near.transport.write(b"question")
        near.transport.write_eof()
        with pytest.raises(RuntimeError):
            near.transport.write(b"more")
        await far.reported("eof")
        assert far.received == b"question"
        assert not far.transport.is_closing()
        far.transport.write(b"answer")
        await near.until(lambda: near.received == b"answer")
        far.transport.close()
        await far.reported("lost")
        await near.reported("lost")
        assert near.reports == ["made", "eof", "lost"]
        assert near.lost_by is far.lost_by is None

    run(main)


def test_closing_sends_everything_first(run: LoopRunner, connect: Connect) -> None:
    async def main() -> None:
        near, far = End(), End()
        await connect(near, far)
        far.transport.pause_reading()
        data = pattern(MANY)
        near.transport.write(data)
        near.transport.close()
        assert near.transport.is_closing()
        near.transport.write(b"behind the rest")  # asyncio takes it while there is a rest
        await settle()
        assert "lost" not in near.reports
        far.transport.resume_reading()
        await near.reported("lost")
        await far.reported("lost")
        assert far.received == data + b"behind the rest"
        assert far.reports == ["made", "eof", "lost"]
        assert near.lost_by is far.lost_by is None

    run(main)


def test_aborting_loses_what_is_unsent(run: LoopRunner, connect: Connect) -> None:
    async def main() -> None:
        near, far = End(), End()
        await connect(near, far)
        far.transport.pause_reading()
        near.transport.write(bytes(MANY))
        near.transport.abort()
        await near.reported("lost")
        assert near.lost_by is None
        far.transport.resume_reading()
        await far.reported("lost")
        assert 0 < len(far.received) < MANY

    run(main)


def test_a_peer_that_ends_without_reading_everything_resets(
    run: LoopRunner, connect: Connect
) -> None:
    async def main() -> None:
        near, far = End(), End()
        await connect(near, far)
        far.transport.pause_reading()
        near.transport.write(b"unread")
        await settle()
        far.transport.abort()
        await near.reported("lost")
        assert near.reports == ["made", "lost"]
        assert isinstance(near.lost_by, ConnectionResetError)
        assert str(near.lost_by) == "[Errno 104] Connection reset by peer"
        assert far.lost_by is None

    run(main)


def test_a_writer_that_waits_learns_of_the_end(run: LoopRunner, connect: Connect) -> None:
    async def main() -> None:
        near, far = End(), End()
        await connect(near, far)
        far.transport.pause_reading()
        near.transport.write(bytes(MANY))
        near.transport.close()
        await settle()
        far.transport.abort()
        await near.reported("lost")
        assert isinstance(near.lost_by, ConnectionError)
        assert near.transport.get_write_buffer_size() == 0

    run(main)


def test_the_end_waits_for_a_reader_that_pauses(run: LoopRunner, connect: Connect) -> None:
    async def main() -> None:
        near, far = End(), End()
        await connect(near, far)
        far.transport.pause_reading()
        near.transport.write(b"last words")
        near.transport.close()
        await near.reported("lost")
        await settle()
        assert far.reports == ["made"]
        far.transport.resume_reading()
        await far.reported("lost")
        assert far.received == b"last words"
        assert far.reports == ["made", "eof", "lost"]

    run(main)


def test_writing_to_a_peer_that_is_gone_ends_the_link(run: LoopRunner, connect: Connect) -> None:
    async def main() -> None:
        near, far = End(keeps_open=True), End()
        await connect(near, far)
        far.transport.close()
        await near.reported("eof")
        assert not near.transport.is_closing()
        while "lost" not in near.reports:
            near.transport.write(b"to nobody")
            await asyncio.sleep(0)
        assert isinstance(near.lost_by, ConnectionError)

    run(main)


def test_a_protocol_that_raises_ends_its_link(run: LoopRunner, connect: Connect) -> None:
    class Failing(End):
        def data_received(self, data: bytes) -> None:
            del data
            raise LookupError("my own")

    async def main() -> None:
        reported: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, it: reported.append(it))
        near, far = End(), Failing()
        await connect(near, far)
        near.transport.write(b"x")
        await far.reported("lost")
        await near.reported("lost")
        assert isinstance(far.lost_by, LookupError)
        assert [it["exception"] for it in reported] == [far.lost_by]
        assert near.lost_by is None

    run(main)


def test_another_protocol_can_take_over(run: LoopRunner, connect: Connect) -> None:
    async def main() -> None:
        near, far, other = End(), End(), End()
        await connect(near, far)
        far.transport.set_protocol(other)
        assert far.transport.get_protocol() is other
        near.transport.write(b"x")
        await other.until(lambda: other.received == b"x")
        near.transport.close()
        await other.reported("lost")
        assert (far.received, far.reports) == (b"", ["made"])

    run(main)


def test_a_link_in_memory_holds_no_more_than_its_bounds(run: LoopRunner) -> None:
    async def main() -> None:
        near, far = End(), End()
        await in_memory(near, far)
        far.transport.pause_reading()
        near.transport.write(bytes(256 * 1024))
        assert near.transport.get_write_buffer_size() == 0
        assert progress.tcp_progress(near.transport) == (256 * 1024, 0)
        near.transport.write(bytes(64 * 1024))
        assert near.transport.get_write_buffer_size() == 64 * 1024
        assert near.reports == ["made"]
        near.transport.write(b"x")
        assert near.reports == ["made", "paused"]
        assert progress.tcp_progress(near.transport) == (256 * 1024, 0)
        await close(near, far)

    run(main)


def test_a_link_in_memory_has_no_socket(run: LoopRunner) -> None:
    async def main() -> None:
        near, far = End(), End()
        await in_memory(near, far)
        assert near.transport.get_extra_info("socket") is None
        assert near.transport.get_extra_info("peername", "nobody") == "nobody"
        assert repr(near.transport) == "<MemoryTransport open, 0 bytes unsent>"
        near.transport.close()
        assert repr(near.transport) == "<MemoryTransport ended, 0 bytes unsent>"
        await close(near, far)

    run(main)


def test_a_link_that_nobody_closes_is_warned_of() -> None:
    async def main() -> None:
        await in_memory(End(), End())

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    texts = [str(it.message) for it in caught if it.category is ResourceWarning]
    assert texts == ["unclosed transport <MemoryTransport open, 0 bytes unsent>"] * 2


def test_a_protocol_that_fails_at_once_leaves_no_link(run: LoopRunner) -> None:
    class Failing(End):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise LookupError("my own")

    async def main() -> None:
        near, far = Failing(), End()
        with pytest.raises(LookupError, match="my own"):
            await in_memory(near, far)
        await near.reported("lost")
        await far.reported("lost")

    run(main)


def test_a_broker_side_that_fails_at_once_leaves_no_link(run: LoopRunner) -> None:
    class Failing(End):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise LookupError("my own")

    async def main() -> None:
        near, far = End(), Failing()
        with pytest.raises(LookupError, match="my own"):
            await in_memory(near, far)
        await far.reported("lost")
        assert near.reports == [], "it was never connected"

    run(main)


def test_a_cancelled_future_in_a_callback_ends_the_link(run: LoopRunner) -> None:
    class Failing(End):
        def data_received(self, data: bytes) -> None:
            del data
            raise asyncio.CancelledError

        def pause_writing(self) -> None:
            super().pause_writing()
            raise asyncio.CancelledError

    async def main() -> None:
        reported: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, it: reported.append(it))
        near, far = Failing(), Failing()
        await in_memory(near, far)
        near.transport.write(bytes(MANY))
        assert near.reports == ["made", "paused"]
        await far.reported("lost")
        await near.reported("lost")
        assert [type(it["exception"]) for it in reported] == [asyncio.CancelledError] * 2

    run(main)


def test_an_error_while_sending_leaves_the_buffer_usable() -> None:
    near, far = End(), End()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(in_memory(near, far))
    loop.close()
    with pytest.raises(RuntimeError, match="closed") as caught:
        near.transport.write(b"x")
    near.transport.write(b"y")  # `caught` keeps what the first call held
    assert caught
    for end in (near, far):
        cast("memory.MemoryTransport", end.transport).detach()
