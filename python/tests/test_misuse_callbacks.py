"""Code of the user's that runs in the middle of the core's, and calls back into it."""

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from conftest import Broker
from ferromqtt import (
    Client,
    MqttCodeError,
    MqttError,
    ProtocolVersion,
)
from ferromqtt._internals import internals_of
from support import packets
from support.builtin import BrokerInMemory
from support.clients import LIMIT, receive_many, unique
from support.loops import FACTORIES, LoopRunner
from test_misuse_protocol import HandTransport, Wire


def look_at(client: Client) -> None:
    """Use everything of a client that may be used without awaiting."""
    len(client.messages)
    _ = client.identifier, client.pending_calls_threshold, internals_of(client).core.transport
    step: Any = anext(client.messages)
    # Not where it would take a message, nor in a thread without a loop.
    if not len(client.messages) and asyncio._get_running_loop() is not None:
        with contextlib.suppress(MqttError):
            step.send(None)
    step.close()


def publish_by_hand(client: Client, topic: str, qos: int = 0) -> None:
    """Begin a publish outside of any task, as a finalizer would have to."""
    coroutine = client.publish(topic, b"by hand", qos)
    with contextlib.suppress(StopIteration, MqttError):
        coroutine.send(None)
    coroutine.close()


@contextlib.contextmanager
def at_every_collection(use: Callable[[], None], threshold: int = 1) -> Iterator[list[int]]:
    """Collect garbage at nearly every allocation, and call `use` each time."""
    calls = [0]
    inside = False

    def callback(phase: str, info: dict[str, int]) -> None:
        nonlocal inside
        del phase, info
        if inside:
            return
        inside = True
        calls[0] += 1
        try:
            use()
        finally:
            inside = False

    previous = gc.get_threshold()
    gc.callbacks.append(callback)
    gc.set_threshold(threshold)
    try:
        yield calls
    finally:
        gc.set_threshold(*previous)
        gc.callbacks.remove(callback)


async def converse(client: Client, topic: str) -> None:
    """Use most of what a client can do."""
    async with client:
        await client.subscribe(topic + "/#", qos=2)
        for number in range(10):
            for qos in (0, 1, 2):
                await client.publish(f"{topic}/{number}", bytes(number * 1000), qos)
        received = await receive_many(client, 30)
        assert {len(message.payload) for message in received} == {n * 1000 for n in range(10)}
        _ = [message.properties for message in received]
        await client.unsubscribe(topic + "/#")
        with pytest.raises((ValueError, MqttCodeError)):
            await client.publish("a/#")


def test_a_client_may_be_looked_at_whenever_memory_is_allocated(
    run: LoopRunner, in_memory: BrokerInMemory, protocol: ProtocolVersion
) -> None:
    async def main() -> None:
        client = Client(*in_memory.where, protocol=protocol)
        with at_every_collection(lambda: look_at(client)) as calls:
            await converse(client, unique("collect"))
        assert calls[0] > 100

    run(main)


def test_frozen_garbage_and_collections_change_nothing(
    run: LoopRunner, in_memory: BrokerInMemory
) -> None:
    async def main() -> None:
        client = Client(*in_memory.where)

        def freeze() -> None:
            gc.freeze()
            gc.unfreeze()

        with at_every_collection(freeze, threshold=50):
            await converse(client, unique("freeze"))

    run(main)


@pytest.mark.parametrize("install", [sys.settrace, sys.setprofile])
def test_a_client_may_be_looked_at_by_a_tracer(
    run: LoopRunner, in_memory: BrokerInMemory, install: Callable[[Any], None]
) -> None:
    async def main() -> None:
        client = Client(*in_memory.where)
        inside = False
        events = 0

        def trace(frame: Any, event: str, argument: object) -> Any:  # noqa: ANN401
            nonlocal inside, events
            del event, argument
            if not inside and "ferromqtt" in frame.f_code.co_filename:
                inside = True
                events += 1
                look_at(client)
                inside = False
            return trace

        previous = sys.gettrace(), sys.getprofile()
        install(trace)
        try:
            await converse(client, unique("trace"))
        finally:
            sys.settrace(previous[0])
            sys.setprofile(previous[1])
        assert events > 100

    run(main)


def sent_packets(data: bytes) -> list[bytes]:
    """Cut a stream into packets; what is left over is the last of them."""
    found = []
    while data:
        length, shift, at = 0, 0, 1
        while at < len(data):
            length |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                break
        found.append(data[: at + length])
        data = data[at + length :]
    return found


def test_a_publish_out_of_a_collection_leaves_other_packets_whole(run: LoopRunner) -> None:
    async def publish_within(moment: int) -> tuple[int, list[bytes]]:
        """Publish in the collection of this number; return how many came, and what was sent."""
        wire = Wire()
        await wire.connect()
        wire.transport.written.clear()
        collections = 0

        def at_the_moment() -> None:
            nonlocal collections
            collections += 1
            if collections == moment:
                publish_by_hand(wire.client, "inner", 1)

        with at_every_collection(at_the_moment):
            waiter: Any = wire.core.publish("outer", b"o" * 5000, 1, False, None, 10.0)
        wire.core.flush()
        wire.lose()
        assert isinstance(waiter.exception(), MqttError)
        return collections, sent_packets(b"".join(wire.transport.written))

    async def main() -> None:
        for moment in range(1, 1000):
            collections, sent = await publish_within(moment)
            topics = [packet.partition(b"\0\x05")[2][:5] for packet in sent]
            assert set(topics) <= {b"inner", b"outer"}, (moment, topics)
            assert b"outer" in topics
            if collections < moment:
                break
        assert moment > 1

    run(main)


class Handler(logging.Handler):
    """Does something with each record."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self.act = act
        self.calls = 0

    def emit(self, record: logging.LogRecord) -> None:
        del record
        self.calls += 1
        if self.calls < 30:  # an act that is logged itself must end somewhere
            self.act()


def logger_with(handler: logging.Handler) -> logging.Logger:
    logger = logging.Logger("misuse", logging.WARNING)  # noqa: LOG001  nobody else's
    logger.addHandler(handler)
    return logger


def raise_it() -> None:
    raise KeyError("raised by the user's code")


def test_a_log_handler_may_use_the_client_that_logs(run: LoopRunner, broker: Broker) -> None:
    async def main() -> None:
        topic = unique("log")

        def act() -> None:
            look_at(client)
            publish_by_hand(client, topic)
            gc.collect()

        handler = Handler(act)
        client = Client(*broker.where, logger=logger_with(handler))
        client.pending_calls_threshold = 2
        async with client:
            await client.subscribe(topic)
            calls = [client.publish(topic, str(number), qos=1) for number in range(20)]
            async with asyncio.timeout(LIMIT):
                await asyncio.gather(*calls)
            received = await receive_many(client, 20)
            assert handler.calls >= 3
            assert len({message.payload for message in received}) > 1

    run(main)


@pytest.mark.parametrize("where", ["handler", "filter"])
def test_what_logging_raises_ends_neither_a_call_nor_the_connection(
    broker: Broker, where: str
) -> None:
    async def main() -> None:
        logger = logger_with(Handler(raise_it if where == "handler" else lambda: None))
        if where == "filter":
            logger.addFilter(lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))
        client = Client(*broker.where, logger=logger, max_queued_incoming_messages=1)
        topic = unique("raise")
        client.pending_calls_threshold = 0
        async with client:
            await client.subscribe(topic)
            async with asyncio.timeout(LIMIT):
                await asyncio.gather(*(client.publish(topic, "x", qos=1) for _ in range(5)))
            assert (await anext(client.messages)).payload == b"x"
            await client.publish(topic, "alive", qos=1)
        assert reported
        assert {type(what["exception"]) for what in reported} <= {KeyError, ZeroDivisionError}

    asyncio.run(main())


def test_a_publish_by_a_log_handler_is_not_the_one_that_is_cancelled(run: LoopRunner) -> None:
    """A handler that publishes what is logged; with eager tasks it does so at once."""

    async def main() -> None:
        inner: list[Any] = []

        def act() -> None:
            if not inner:
                inner.append(None)
                inner[0] = wire.core.publish("inner", b"", 1, False, None, 10.0)

        wire = Wire()
        wire.core.logger = logger_with(Handler(act))
        wire.client.pending_calls_threshold = 0
        await wire.connect()
        outer = asyncio.create_task(wire.client.publish("outer", b"", 1))
        await asyncio.sleep(0)
        outer.cancel()
        await asyncio.wait([outer])
        for packet_id in (1, 2):
            wire.feed(packets.ack(packets.PUBACK, packet_id))
        try:
            assert inner[0].done()  # it was acknowledged, and somebody waits for it
        finally:
            wire.lose()
            inner[0].cancel()

    run(main)


def test_calls_near_the_recursion_limit_raise_or_work(run: LoopRunner) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        refused = 0

        def deep(levels: int, act: Callable[[], object]) -> None:
            nonlocal refused
            if levels:
                deep(levels - 1, act)
                return
            try:
                act()
            except RecursionError:
                refused += 1

        depth = len(list(_frames()))
        limit = sys.getrecursionlimit()
        acts: list[Callable[[], object]] = [
            lambda: wire.core.publish("deep", b"", 0, False, None, 10.0),
            lambda: wire.core.publish("deep", b"", 1, False, None, 10.0),
            lambda: look_at(wire.client),
            lambda: wire.message(b"x"),
            wire.core.flush,
        ]
        sys.setrecursionlimit(depth + 120)
        try:
            for act in acts:
                for levels in range(60, 125):
                    with contextlib.suppress(RecursionError):
                        deep(levels, act)
        finally:
            sys.setrecursionlimit(limit)
        assert refused
        wire.core.flush()
        assert set(await wire.rest()) <= {b"x"}
        wire.lose()

    run(main)


def _frames() -> Iterator[Any]:
    frame: Any = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def test_a_transport_that_publishes_from_write_leaves_packets_whole(run: LoopRunner) -> None:
    class Publishing(HandTransport):
        left = 5

        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            if self.left:
                self.left -= 1
                publish_by_hand(wire.client, "inner")

    wire: Wire

    async def main() -> None:
        nonlocal wire
        wire = Wire()
        await wire.connect()
        transport = Publishing()
        wire.link.connection_lost(None)
        wire.transport = transport
        await wire.connect()
        for _ in range(5):
            await wire.client.publish("outer", b"o")
        wire.core.flush()
        found = sent_packets(b"".join(transport.written))
        assert all(packet[0] in (0x10, 0x30) for packet in found)
        wire.lose()

    run(main)


def test_destroyed_tasks_may_use_the_client_as_they_go() -> None:
    """Their `finally` blocks run when the collector finds them, long after their loop."""
    for factory in FACTORIES.values():
        entered: list[Client] = []
        seen: list[int] = []

        async def wait_for_ever(client: Client, seen: list[int] = seen) -> None:
            try:
                async for _ in client.messages:
                    pass
            finally:
                seen.append(len(client.messages))
                look_at(client)

        loop = factory()
        client = Client("localhost")
        entered.append(client)
        loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"

        async def start(client: Client = client) -> None:
            for _ in range(3):
                task = asyncio.ensure_future(wait_for_ever(client))
                await asyncio.sleep(0)
                del task

        loop.run_until_complete(start())
        loop.close()
        entered.clear()
        del client, loop, start
        gc.collect()
        assert seen == [0, 0, 0]


class Leaving:
    """Uses a client when it is collected."""

    def __init__(self, client: Client, log: list[int]) -> None:
        self.client, self.log, self.me = client, log, self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __del__(self) -> None:
        self.log.append(len(self.client.messages))
        look_at(self.client)
        publish_by_hand(self.client, "finalized")


def test_finalizers_may_use_the_client(run: LoopRunner, broker: Broker) -> None:
    async def main() -> None:
        log: list[int] = []
        topic = unique("finalizer")
        threshold = gc.get_threshold()
        gc.set_threshold(20)
        try:
            async with Client(*broker.where) as client:
                await client.subscribe(topic)
                for number in range(200):
                    with Leaving(client, log):
                        await client.publish(topic, str(number), qos=number % 3)
                received = await receive_many(client, 200)
                assert [m.payload for m in received] == [b"%d" % n for n in range(200)]
        finally:
            gc.set_threshold(*threshold)
        gc.collect()
        assert len(log) == 200

    run(main)
