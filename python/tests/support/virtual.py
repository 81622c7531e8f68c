"""Runs one coroutine in virtual time and looks for anything left behind."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ferromqtt.testing import TestBroker, VirtualLoop
from support.loops import run_watched, settle

T = TypeVar("T")


def play(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main()` on a `VirtualLoop`; fail on tasks, errors and transports that are left."""
    return run_watched(VirtualLoop, main)


def memory_broker(**options: Any) -> TestBroker:  # noqa: ANN401 - those of the broker
    """Return a broker in memory."""
    return TestBroker(listen=False, **options)


async def stop(broker: TestBroker) -> None:
    """Stop a broker, and let its clients learn of it."""
    await broker.stop()
    await settle()


async def restart(broker: TestBroker, after: float = 3.0) -> None:
    """Stop a broker, and start it again after some seconds."""
    await stop(broker)
    await asyncio.sleep(after)
    await broker.start()
