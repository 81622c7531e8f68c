"""The thread that a handler runs in when its store opens the connections itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Worker(Executor):
    """One thread, which does what it is given in order.

    Not a `ThreadPoolExecutor`: the interpreter waits for its threads at exit, and so for a handler
    that hangs. This thread is a daemon. What it has not committed by then is rolled back by the
    database, when the connection is gone.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in the thread."""
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - it is raised where the future is awaited
                future.set_exception(error)
            else:
                future.set_result(result)

        self._jobs.put(job)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the thread behind what it was given."""
        del cancel_futures
        self._jobs.put(None)
        if wait:
            self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # nothing of the last batch is kept while there is no other


def name_of(handler: Callable[..., Any]) -> str:
    """Return the name of a handler, for texts."""
    return str(getattr(handler, "__qualname__", None) or type(handler).__name__)
