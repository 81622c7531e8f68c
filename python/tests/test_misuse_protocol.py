"""The core driven by hand: callbacks of a transport that no transport would make in that order."""

import asyncio
import gc
import sys

import pytest

from ferromqtt import Message, MqttError, _native
from ferromqtt._link import Link
from ferromqtt._native import Core
from support import packets
from support.loops import LoopRunner
from support.wire import HandTransport, Wire

READ_SIZE = 128 * 1024


@pytest.mark.parametrize("count", [0, 1, READ_SIZE, READ_SIZE + 1, 2**40])
def test_bytes_that_were_never_read_do_no_harm(run: LoopRunner, count: int) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        wire.link.buffer_updated(count)  # no buffer was asked for
        wire.message(b"alive")
        assert (await anext(wire.client.messages)).payload == b"alive"
        wire.lose()

    run(main)


@pytest.mark.parametrize("count", [READ_SIZE + 1, 2**40])
def test_a_read_longer_than_the_buffer_does_no_harm(run: LoopRunner, count: int) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        view = wire.link.get_buffer(-1)
        view[:] = (packets.PINGRESP_PACKET * len(view))[: len(view)]
        view.release()
        wire.link.buffer_updated(count)
        wire.lose()
        with pytest.raises(MqttError, match="Disconnected"):
            await anext(wire.client.messages)

    run(main)


@pytest.mark.parametrize(
    ("count", "error"), [(-1, OverflowError), (2**70, OverflowError), ("1", TypeError)]
)
def test_a_read_of_a_senseless_length_is_refused(
    run: LoopRunner, count: int, error: type[Exception]
) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        wire.link.get_buffer(-1).release()
        with pytest.raises(error):
            wire.link.buffer_updated(count)
        wire.message(b"alive")
        assert (await anext(wire.client.messages)).payload == b"alive"
        wire.lose()

    run(main)


def test_each_buffer_that_is_still_viewed_is_another_one(run: LoopRunner) -> None:
    async def main() -> None:
        one, other = Wire(), Wire()
        await one.connect()
        await other.connect()
        kept = [wire.link.get_buffer(-1) for wire in (one, other, one)]
        for number, view in enumerate(kept):
            view[:] = bytes([number]) * len(view)
        assert [set(view) for view in kept] == [{0}, {1}, {2}]
        one.lose()
        other.lose()

    run(main)


def test_a_view_of_the_read_buffer_outlives_its_client(run: LoopRunner) -> None:
    async def main() -> memoryview:
        wire = Wire()
        await wire.connect()
        view = wire.link.get_buffer(-1)
        wire.lose()
        return view

    view = run(main)
    gc.collect()
    view[:] = b"x" * len(view)

    async def later() -> None:
        wire = Wire()
        await wire.connect()
        wire.message(b"y")
        assert (await anext(wire.client.messages)).payload == b"y"
        wire.lose()

    run(later)
    assert set(view) == {ord("x")}  # nobody else was given this memory


def test_a_chunk_is_read_only_and_outlives_its_client(run: LoopRunner) -> None:
    class Keeping(HandTransport):
        views: list[memoryview] = []  # noqa: RUF012  one transport, one list

        def write(self, data: bytes | bytearray | memoryview) -> None:
            if isinstance(data, memoryview):
                self.views.append(data)

    async def main() -> None:
        wire = Wire()
        wire.transport = Keeping()
        await wire.connect()
        with pytest.raises(MqttError):
            await wire.client.publish("t", b"p" * 10_000, qos=1, timeout=0.01)
        wire.lose()

    run(main)
    gc.collect()
    assert b"".join(Keeping.views).endswith(b"p" * 10_000)
    for view in Keeping.views:
        assert view.readonly
        with pytest.raises(TypeError):
            view[0] = 1
        with pytest.raises((BufferError, TypeError)):
            memoryview(bytearray(1)).obj.__class__ = type(view.obj)
    Keeping.views.clear()


def test_a_second_transport_takes_the_place_of_the_first(run: LoopRunner) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        second = HandTransport()
        wire.link.connection_made(second)
        assert wire.core.transport is second
        wire.lose()
        wire.lose()
        assert wire.core.transport is None

    run(main)


def test_callbacks_without_a_connection_do_no_harm(run: LoopRunner) -> None:
    async def main() -> None:
        wire = Wire()
        core, link = wire.core, Link(wire.core)
        for call in (
            link.pause_writing,
            link.resume_writing,
            link.eof_received,
            core.flush,
            core.timer_fired,
            core.resume_reading,
            core.disconnect,
        ):
            call()
        core.abandon(0)
        core.abandon(2**64 - 1)
        link.get_buffer(-1)[:4] = packets.CONNACK_311
        link.buffer_updated(4)
        link.connection_lost(OSError("never was"))
        assert not core.connected
        wire.core.end_messages()
        with pytest.raises(MqttError):
            await anext(wire.client.messages)

    run(main)


def test_a_call_whose_transport_raises_leaves_nothing_behind(run: LoopRunner) -> None:
    class Raising(HandTransport):
        armed = False

        def write(self, data: bytes | bytearray | memoryview) -> None:
            if self.armed:
                raise RuntimeError("cannot write")
            super().write(data)

    async def main() -> None:
        wire = Wire()
        wire.transport = transport = Raising()
        await wire.connect()
        transport.armed = True
        with pytest.raises(RuntimeError, match="cannot write"):
            await wire.client.publish("t", b"x", qos=1)
        transport.armed = False
        wire.lose()

    run(main)


def test_a_transport_that_calls_back_from_write_does_no_harm(run: LoopRunner) -> None:
    class Calling(HandTransport):
        depth = 0

        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            if self.depth < 20:
                self.depth += 1
                wire.link.pause_writing()
                wire.link.resume_writing()
                wire.core.flush()
                wire.link.buffer_updated(3)

    async def main() -> None:
        nonlocal wire
        wire = Wire()
        wire.transport = transport = Calling()
        await wire.connect()
        for number in range(50):
            await wire.client.publish("t", str(number))
        wire.core.flush()
        wire.lose()
        sent = b"".join(transport.written)
        assert sent.endswith(packets.publish("t", b"49"))

    wire: Wire
    run(main)


def test_a_core_without_hooks_raises_and_lives() -> None:
    core = Core(1)
    for call in (
        lambda: core.publish("t", b"", 0, retain=False, properties=None, timeout=1.0),
        lambda: core.subscribe([("t", 0, False, False, 0)], None, 1.0),
        lambda: core.unsubscribe(["t"], None, 1.0),
        lambda: _native.Link(core).connection_made(object()),  # type: ignore[arg-type]
    ):
        with pytest.raises((AttributeError, MqttError)):
            call()
    assert not core.connected
    assert len(core.messages()) == 0


def test_taking_messages_leaves_reference_counts_as_they_were(run: LoopRunner) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        wire.message(b"first")
        kept = await anext(wire.client.messages)
        for _ in range(3):
            await asyncio.sleep(0)
        topic, none = kept.topic, None
        before = sys.getrefcount(topic), sys.getrefcount(wire.core), sys.getrefcount(none)
        for _ in range(2000):
            wire.message(b"x")
            message = await anext(wire.client.messages)
            assert message.topic is topic
            assert message < Message("t", b"", 0, False, 1, None)
            step = anext(wire.client.messages)
            step.send(None)
            step.close()
            del message, step
        after = sys.getrefcount(topic), sys.getrefcount(wire.core), sys.getrefcount(none)
        assert abs(after[0] - before[0]) <= 1
        assert abs(after[1] - before[1]) <= 2
        assert abs(after[2] - before[2]) <= 50
        wire.lose()

    run(main)
