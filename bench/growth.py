"""How the Python client's cost grows with those who wait: ratios of CPU time against bars.

Run it as `make bench-growth`, or as `python bench/growth.py [--only TEXT]`. It exits with 1 when a
bar is missed. bench/README.md says how to read it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import random
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from ferromqtt import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

SMALL = 8_000
LARGE = 64_000
ROUNDS = 3
AT_MOST = 10.0

CONNACK = b"\x20\x02\x00\x00"

Waiter: TypeAlias = asyncio.Future[None]
World: TypeAlias = tuple[contextlib.AsyncExitStack, list[Waiter]]
Prepare: TypeAlias = "Callable[[int], Awaitable[World]]"
Order: TypeAlias = "Callable[[list[Waiter]], None]"


class Silent(asyncio.Protocol):
    """A server that accepts a client, and answers nothing else."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with what will answer CONNECT."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(CONNACK)


@contextlib.asynccontextmanager
async def connected(**options: Any) -> AsyncIterator[Client]:
    """Enter a client of such a server."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    logger = logging.getLogger("growth")
    logger.setLevel(logging.CRITICAL)
    client = Client("127.0.0.1", port, keepalive=0, timeout=3600, logger=logger, **options)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            async with client:
                yield client
                raise asyncio.CancelledError  # leaves at once: nothing is waited for
    finally:
        server.close()


async def publishes(waiters: int) -> World:
    """Publishes at QoS 1 that wait for their acknowledgements, most of them for their turn."""
    stack = contextlib.AsyncExitStack()
    client = await stack.enter_async_context(connected())
    return stack, start(lambda: client.publish("growth", b"x", qos=1), waiters)


async def slots(waiters: int) -> World:
    """Publishes that wait for one before them to end."""
    stack = contextlib.AsyncExitStack()
    client = await stack.enter_async_context(connected(max_concurrent_outgoing_calls=1))
    return stack, start(lambda: client.publish("growth", b"x", qos=1), waiters)


async def iterators(waiters: int) -> World:
    """Steps of iterators that wait for a message."""
    stack = contextlib.AsyncExitStack()
    client = await stack.enter_async_context(connected())
    messages = aiter(client.messages)
    return stack, start(lambda: anext(messages), waiters)


async def own_queue(waiters: int) -> World:
    """The same with a class of queue of the user's."""
    stack = contextlib.AsyncExitStack()
    client = await stack.enter_async_context(connected(queue_type=asyncio.Queue))
    messages = aiter(client.messages)
    return stack, start(lambda: anext(messages), waiters)


def start(call: Callable[[], Awaitable[Any]], waiters: int) -> list[Waiter]:
    """Have so many tasks wait for a call each."""

    async def wait() -> None:
        await call()

    return [asyncio.ensure_future(wait()) for _ in range(waiters)]


def shuffle(waiters: list[Waiter]) -> None:
    """The same order each time, which has nothing to do with the one before."""
    random.Random(1).shuffle(waiters)


CASES: dict[str, Prepare] = {
    "calls under way": publishes,
    "calls that wait for a slot": slots,
    "steps of iterators": iterators,
    "steps with a queue of the user's": own_queue,
}
ORDERS: dict[str, Order] = {
    "in order": lambda _: None,
    "from the last": list.reverse,
    "in random order": shuffle,
}


async def cost(prepare: Prepare, order: Order, waiters: int) -> float:
    """CPU seconds that cancelling so many takes, each time, until there were as many as in LARGE.

    The small cases lie ready together and take turns, so that as much memory is touched in the same
    disorder: otherwise the ratio would be above all that of caches. The loop runs in between.
    """
    async with contextlib.AsyncExitStack() as stack:
        worlds = []
        for _ in range(LARGE // waiters):
            client, tasks = await prepare(waiters)
            await stack.enter_async_context(client)
            worlds.append(tasks)
        for _ in range(3):
            await asyncio.sleep(0)
        for tasks in worlds:
            order(tasks)
        turns = [task for together in zip(*worlds, strict=True) for task in together]
        gc.collect()
        gc.disable()
        try:
            before = time.process_time()
            for at in range(0, len(turns), 100):
                for task in turns[at : at + 100]:
                    task.cancel()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            taken = time.process_time() - before
        finally:
            gc.enable()
        await asyncio.wait(turns)
        assert all(task.cancelled() for task in turns), "one of them did not wait"
    return taken


async def growth(prepare: Prepare, order: Order) -> float:
    """How many times the CPU of the small case the large one needs, the median of the rounds."""
    ratios = []
    for _ in range(ROUNDS):
        small = await cost(prepare, order, SMALL)
        large = await cost(prepare, order, LARGE)
        ratios.append(large / small * (LARGE / SMALL))
    return statistics.median(ratios)


def main() -> int:
    """Print a row for each bar, and tell whether all are met."""
    arguments = argparse.ArgumentParser(description="growth of the Python client's cost")
    arguments.add_argument("--only", default="", help='rows with this text, such as "slot"')
    only = arguments.parse_args().only
    rows = [
        (f"cancel {what} {how}: 64,000 against 8,000", prepare, order)
        for what, prepare in CASES.items()
        for how, order in ORDERS.items()
    ]
    rows = [row for row in rows if only in row[0]]
    missed = 0
    print(f"{'':70} {'figure':>10} {'at most':>10}")
    for what, prepare, order in rows:
        figure = asyncio.run(growth(prepare, order))
        met = figure <= AT_MOST
        missed += not met
        print(f"{what:70} {figure:10.2f} {AT_MOST:10.2f}  {'met' if met else 'MISSED'}", flush=True)
    return 0 if rows and not missed else 1


if __name__ == "__main__":
    sys.exit(main())
