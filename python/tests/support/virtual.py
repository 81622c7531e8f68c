"""Runs one coroutine in virtual time and looks for anything left behind."""

import asyncio
import gc
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ferromqtt.testing import TestBroker, VirtualLoop
from support.loops import settle

T = TypeVar("T")


def play(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main()` on a `VirtualLoop`; fail on tasks, errors and transports that are left."""
    problems: list[str] = []

    async def watched() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(repr(context)))
        result = await main()
        await settle()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        problems.extend(f"task left running: {task!r}" for task in left)
        return result

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            result = runner.run(watched())
        gc.collect()
    problems += [
        str(warning.message)
        for warning in caught
        if issubclass(warning.category, ResourceWarning | RuntimeWarning)
    ]
    assert not problems, "\n".join(problems)
    return result


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
