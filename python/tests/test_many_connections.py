"""The core driven by hand through thousands of connections: what it holds does not grow."""

import asyncio
import gc
import tracemalloc

import pytest

from ferromqtt import MqttError, ProtocolVersion
from support import packets
from support.loops import LoopRunner
from support.wire import Wire


@pytest.mark.parametrize("version", [ProtocolVersion.V311, ProtocolVersion.V5])
def test_ten_thousand_connections_leave_nothing_behind(
    run: LoopRunner, version: ProtocolVersion
) -> None:
    async def cycles(count: int) -> None:
        for _ in range(count):
            wire = Wire(version)
            await wire.connect()
            assert wire.core.publish("t", b"x" * 10, 0, False, None, 10.0) is None
            waiting = wire.core.publish("t", b"x" * 5000, 1, False, None, 10.0)
            rest = b"\0" if version == ProtocolVersion.V5 else b""
            body = packets.string("in") + rest + b"payload"
            wire.feed(packets.encode(0x30, body) * 2)
            first = await anext(wire.client.messages)
            assert first.payload == b"payload"
            assert (first.properties is None) is (version != ProtocolVersion.V5)
            step = anext(wire.client.messages)
            assert (await step).topic == first.topic
            anext(wire.client.messages).send(None)  # waits, and is dropped
            wire.core.flush()
            wire.lose()
            assert isinstance(waiting, asyncio.Future)
            assert isinstance(waiting.exception(), MqttError)

    def kinds() -> dict[str, int]:
        counted: dict[str, int] = {}
        for thing in gc.get_objects():
            name = type(thing).__name__
            counted[name] = counted.get(name, 0) + 1
        return counted

    async def main() -> None:
        await cycles(200)  # caches and free lists fill
        gc.collect()
        tracemalloc.start()
        before, memory_before = kinds(), tracemalloc.get_traced_memory()[0]
        await cycles(10_000 // 4)  # of four parameters
        await asyncio.sleep(0)
        gc.collect()
        memory_after, after = tracemalloc.get_traced_memory()[0], kinds()
        tracemalloc.stop()
        ours = ("Protocol", "Client", "Message", "NextMessage", "MessagesIterator", "ReadBuffer")
        grown = {name: after.get(name, 0) - before.get(name, 0) for name in (*ours, "Future")}
        assert all(count <= 2 for count in grown.values()), grown
        assert memory_after - memory_before < 100_000

    run(main)
