"""The Python workloads of the instruction counts: fixed work for the asyncio client.

`bench/instructions.py` runs this program under callgrind. Run by itself it only checks that every
workload does what it says.
"""

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from measure import HOST, PAYLOADS, TOPIC
from memory_link import MemoryLoop, MemoryTransport

import ferromqtt

WARM_UP = 1_000
MESSAGES = 5_000
TASKS = 100
BATCH = 500
"""Messages that arrive together."""

Work = Callable[[int], Awaitable[None]]


def mark() -> None:
    """End a section of the count: callgrind writes what it has counted when `getppid` is entered.

    Nothing else calls it.
    """
    os.getppid()


async def measure(name: str, work: Work) -> None:
    """Run a workload between two marks, and print its name and its number of messages.

    An argument leaves out all workloads but the one that it names.
    """
    if sys.argv[1:] not in ([], [name]):
        return
    await work(WARM_UP)
    gc.collect()
    mark()
    await work(MESSAGES)
    mark()
    print(name, MESSAGES, flush=True)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[ferromqtt.Client, MemoryTransport]]:
    """Enter a client of the server in memory. Without Keep Alive nothing depends on the time."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MemoryLoop)
    async with ferromqtt.Client(HOST, keepalive=0, max_inflight_messages=TASKS) as client:
        client.pending_calls_threshold = 2 * TASKS  # without the warning that calls wait
        yield client, loop.transport


async def publish(qos: int) -> None:
    """Publish one after another at QoS 0, otherwise from so many tasks that 100 are in flight."""
    payload = PAYLOADS[0]
    async with connected() as (client, transport):

        async def some(count: int) -> None:
            for _ in range(count):
                await client.publish(TOPIC, payload, qos=qos)

        async def all_of_them(count: int) -> None:
            before = transport.written
            if qos == 0:
                await some(count)
                await asyncio.sleep(0)  # the last ones are written at the end of the iteration
            else:
                async with asyncio.TaskGroup() as group:
                    for _ in range(TASKS):
                        group.create_task(some(count // TASKS))
            assert transport.written - before == count * len(packet(0, qos))

        await measure(f"python_publish_qos{qos}", all_of_them)


async def receive(qos: int) -> None:
    """Receive in the plain loop; topic and payload of each message are read."""
    batch = b"".join(packet(number, qos) for number in range(1, BATCH + 1))
    payload = PAYLOADS[0]
    async with connected() as (client, transport):
        loop = asyncio.get_running_loop()
        await client.subscribe(TOPIC, qos=1)

        async def all_of_them(count: int) -> None:
            before = transport.written
            taken = 0
            loop.call_soon(transport.send, batch)
            async for message in client.messages:
                assert message.payload == payload
                assert message.topic.value == TOPIC
                taken += 1
                if taken % BATCH == 0:
                    if taken == count:
                        break
                    loop.call_soon(transport.send, batch)
            await asyncio.sleep(0)
            assert transport.written - before == count * 4 * qos  # PUBACK

        await measure(f"python_receive_qos{qos}", all_of_them)


def packet(number: int, qos: int) -> bytes:
    """Return a PUBLISH packet."""
    topic = TOPIC.encode()
    body = len(topic).to_bytes(2, "big") + topic
    if qos:
        body += number.to_bytes(2, "big")
    body += PAYLOADS[0]
    return bytes((0x30 | qos << 1, len(body))) + body


async def main() -> None:
    """Run all workloads."""
    for qos in (0, 1):
        await publish(qos)
    for qos in (0, 1):
        await receive(qos)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=MemoryLoop) as runner:
        runner.run(main())
