"""The futures that calls wait on, which wake their tasks together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, Self


class CallFuture(asyncio.Future[Any]):
    """A future whose first callback the native module runs, and not the loop.

    asyncio schedules a callback for each future that is done, which costs more than the rest of a
    publish. One acknowledgement rarely comes alone, so the native module schedules `wake` once for
    all futures that it completes at a time (`docs/design/0041-python-hot-paths.md`).
    """

    __slots__ = ("callback", "context")

    callback: Callable[[Any], object] | None
    """What `wake` calls: the step of the task that waits. None until a task waits."""
    context: Context
    """What it is called in, once there is one."""

    def add_done_callback(
        self, fn: Callable[[Self], object], /, *, context: Context | None = None
    ) -> None:
        """As of any future."""
        if self.callback is None and context is not None:
            self.callback = fn
            self.context = context
        else:
            super().add_done_callback(fn, context=context)

    def remove_done_callback(self, fn: Callable[[Self], object], /) -> int:
        """As of any future."""
        removed = super().remove_done_callback(fn)
        if self.callback == fn:
            self.callback = _nothing if self.done() else None
            removed += 1
        return removed

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401 - asyncio's type
        """As of any future."""
        cancelled = super().cancel(msg)
        if cancelled:
            callback, self.callback = self.callback, _nothing
            if callback is not None:
                self.get_loop().call_soon(callback, self, context=self.context)
        return cancelled


def _nothing(_: asyncio.Future[Any], /) -> None:
    """Stand for the first callback once that was called or will not be: others are asyncio's."""


def wake(futures: list[CallFuture]) -> None:
    """Run the first callbacks of futures that are done, in order, as the loop runs callbacks."""
    waiting = iter(futures)
    for future in waiting:
        callback = future.callback
        future.callback = _nothing
        if callback is None or callback is _nothing:
            continue  # no task waits yet, or it was cancelled
        try:
            future.context.run(callback, future)
        except (SystemExit, KeyboardInterrupt):  # they end the loop, which may be run again
            future.get_loop().call_soon(wake, list(waiting))
            raise
        except BaseException as error:  # noqa: BLE001 - what the loop does with any callback's
            loop = future.get_loop()
            message = f"Exception in callback {callback!r}"
            loop.call_exception_handler({"message": message, "exception": error})
