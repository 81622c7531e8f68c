"""Runs one coroutine in a fresh event loop and looks for anything left behind."""

import asyncio
import gc
import sysconfig
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
FACTORIES: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
}
if not sysconfig.get_config_var("Py_GIL_DISABLED"):  # for which uvloop may have no wheel
    import uvloop

    FACTORIES["uvloop"] = uvloop.new_event_loop


class LoopRunner:
    """Calls a coroutine function to its end; fails on what a clean program does not leave behind.

    That is: errors that reached the loop's exception handler (exceptions nobody retrieved, tasks
    destroyed while pending, callbacks that raised), tasks still running, coroutines never awaited,
    transports and sockets never closed.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(
        self, main: Callable[..., Coroutine[Any, Any, T]], *args: object, limit: float = 50
    ) -> T:
        """Run `main(*args)`; it has `limit` seconds."""
        return run_watched(FACTORIES[self.name], main, *args, limit=limit)


def run_watched(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    main: Callable[..., Coroutine[Any, Any, T]],
    *args: object,
    limit: float | None = None,
) -> T:
    """Run `main(*args)` on a new loop, and fail on what it leaves behind, as `LoopRunner` says."""
    problems: list[str] = []

    async def bounded() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(repr(context)))
        async with asyncio.timeout(limit):
            result = await main(*args)
        await settle()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        problems.extend(f"task left running: {task!r}" for task in left)
        return result

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            result = runner.run(bounded())
        gc.collect()
    problems += [
        str(warning.message)
        for warning in caught
        if issubclass(warning.category, ResourceWarning | RuntimeWarning)
    ]
    assert not problems, "\n".join(problems)
    return result


async def settle() -> None:
    """Give the callbacks that are already due a few turns of the loop."""
    for _ in range(5):
        await asyncio.sleep(0)
