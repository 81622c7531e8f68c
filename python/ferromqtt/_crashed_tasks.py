"""Which tasks of a run ended with an exception that the failure of the run does not name."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from typing import Any

_MOST = 5
"""How many tasks are named."""


class CrashedTasks:
    """Watches the tasks of a loop, for the report of a run that failed."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def watch(self, task: asyncio.Task[Any]) -> None:
        """Keep the task once it has ended with an exception."""
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and _exception_of(task) is not None:
            self._tasks.append(task)

    def lines(self, failure: BaseException) -> list[str]:
        """Return a line for each task that crashed behind the back of what failed with `failure`.

        That is a task whose exception nobody has retrieved, or one that `failure` comes from: what
        a `TaskGroup` raises, for example, names neither its tasks nor their exceptions. Exceptions
        that the program has caught are its own affair.
        """
        causes = set(map(id, _causes(failure)))
        crashed = [
            task
            for task in self._tasks
            if _exception_of(task) is not failure
            and (_is_unretrieved(task) or id(_exception_of(task)) in causes)
        ]
        lines = [_line(task) for task in crashed[:_MOST]]
        if len(crashed) > _MOST:
            lines.append(f"and {len(crashed) - _MOST} more")
        return lines


# `Task.exception` would mark it as retrieved, and asyncio would no longer log it.


def _exception_of(task: asyncio.Task[Any]) -> BaseException | None:
    exception: BaseException | None = task._exception  # noqa: SLF001
    return exception


def _is_unretrieved(task: asyncio.Task[Any]) -> bool:
    return bool(task._log_traceback)  # noqa: SLF001


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """Yield an exception, those of its group, and those that it was raised from."""
    seen: set[int] = set()
    left = [failure]
    while left:
        error = left.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        left += [it for it in (error.__cause__, error.__context__) if it is not None]
        if isinstance(error, BaseExceptionGroup):
            left += error.exceptions


def _line(task: asyncio.Task[Any]) -> str:
    error = _exception_of(task)
    coroutine = task.get_coro()
    name = getattr(coroutine, "__qualname__", type(coroutine).__qualname__)
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    text = next(iter(str(error).splitlines()), "")
    return f"{task.get_name()}, {name}: {type(error).__name__}: {text}{place}"
