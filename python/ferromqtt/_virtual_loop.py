"""An event loop whose clock jumps over idle time, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import Executor
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from ferromqtt._checks import wrong_type

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_SECOND = 10**9
"""Time is counted in whole nanoseconds: sums of floats would differ from what they should be."""

_YEAR = 365 * 86_400.0

_GRACE = 3600 * _SECOND
"""How much longer the clock goes each time that its end was reported, for cleaning up."""

_DELIVERY = 0.001
"""Real seconds that the system gets to deliver what one socket of the loop has sent to another."""

_OUTSIDE = 0.01
"""Real seconds that peers outside of the loop get to send or connect, before each jump of time."""


_MOST_JUMPS = 1000
"""So many of the latest jumps are recorded."""


class Jump(NamedTuple):
    """A jump of the clock of a `VirtualLoop`."""

    at: float
    """The time that the clock jumped to."""
    who: str
    """What the timer is for: the task that waits, and where, or the function that is called."""


class StuckError(RuntimeError):
    """A program on a `VirtualLoop` cannot go on. The text says which tasks wait, and where."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which waiting takes no time.

    When no callback is ready, the clock jumps to the next timer: `asyncio.sleep(3600)` returns at
    once, and `time()` has moved by 3600. The clock begins at 0. Clients and a `TestBroker` on the
    loop go by it, with their time limits, Keep Alive and expiry.

    ```python
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    ```

    - While a job of `run_in_executor` runs, such as `asyncio.to_thread` or name resolution, and
      while an outbox writes, the clock stands still and the loop waits for that. For threads and
      processes that the loop does not know of there is `hold_time`.
    - Sockets work. They are looked at before each jump, so peers in the same loop find each other.
      A peer outside of it, of an open socket or one that listens, gets 10 real milliseconds before
      each jump. What needs longer to answer needs `hold_time`.
    - If nothing can happen any more, since there is neither a timer, nor a job, nor a peer outside,
      the call that runs the loop raises `StuckError`. So does the end of time: a program that waits
      for what never comes would run forever if it has a timer that repeats, such as a Keep Alive.
      What `run_until_complete` ran is cancelled first.

    It is asyncio's selector loop otherwise, on every system. Not thread-safe, as any loop.

    Args:
        end_at: How far the clock goes, in seconds; None is no limit. Default: a year. For another
            one give `functools.partial(VirtualLoop, end_at=86_400)` as the loop factory.
        record_jumps: Keep `jumps`, which makes a jump several times as long. Default: no.

    Raises:
        TypeError: `end_at` is neither a number nor None.
        ValueError: `end_at` is not a finite number, or less than 0.
    """

    _clock_resolution: float

    def __init__(self, *, end_at: float | None = _YEAR, record_jumps: bool = False) -> None:
        self._jumping = _JumpingSelector(self)
        if record_jumps:
            self._jumping.jumps = deque(maxlen=_MOST_JUMPS)
        self._start = time.time()
        self.work_outside = self._jumping.work_outside
        super().__init__(self._jumping)
        try:
            self.end_at(end_at)
        except BaseException:
            self.close()
            raise

    def run_until_complete(self, future: Generator[Any, None, _T] | Awaitable[_T]) -> _T:
        """As of any loop. A task that is stuck is cancelled before StuckError is raised.

        Otherwise it would go on when the loop runs again: in the fixtures of a test that has
        failed, or among the tests behind it.
        """
        try:
            return super().run_until_complete(future)
        except StuckError:
            if isinstance(future, asyncio.Task):
                self._give_up(future)
            raise

    def _give_up(self, task: asyncio.Task[Any]) -> None:
        task.cancel()
        with contextlib.suppress(StuckError):  # it may wait on, and gets stuck again
            super().run_until_complete(asyncio.wait([task]))
        if task.done() and not task.cancelled():
            task.exception()  # its answer to being cancelled, which is of no use to anybody

    def time(self) -> float:
        """Return the virtual time: seconds since the loop was made."""
        return self._jumping.now / _SECOND

    def wall_time(self) -> float:
        """Return the virtual time of day in seconds since 1970, as `time.time` does.

        It began with the real one when the loop was made. `time.time` itself stays real.
        """
        return self._start + self.time()

    @property
    def jumps(self) -> list[Jump]:
        """The latest thousand jumps of the clock, if the loop was made with `record_jumps`."""
        return list(self._jumping.jumps or ())

    def end_at(self, seconds: float | None) -> None:
        """Let the clock go no further than this time; None is no limit.

        The call that runs the loop raises `StuckError` instead. What is cancelled may go on for
        another hour of virtual time each time, to clean up; then it raises again.

        Raises:
            TypeError: `seconds` is neither a number nor None.
            ValueError: `seconds` is not a finite number, or has passed.
        """
        if seconds is None:
            self._jumping.end = None
            return
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
            raise wrong_type("end_at", "float or None", seconds)
        now = self._jumping.now / _SECOND  # a class that derives from this may show another time
        if not (now <= seconds and math.isfinite(seconds * _SECOND)):
            raise ValueError(
                f"end_at must be a finite number of seconds, not before {now:g}, or None; "
                f"not {seconds}"
            )
        self._jumping.end = round(seconds * _SECOND)

    @contextlib.contextmanager
    def hold_time(self) -> Iterator[None]:
        """Let the clock stand still, and the loop wait for what really happens.

        For what the loop does not know of: threads of your own, subprocesses, servers in another
        process. No timer fires meanwhile, and so no time limit ends: what you wait for has to come.
        To be used in the loop's own thread.
        """
        self._jumping.holds += 1
        try:
            yield
        finally:
            self._jumping.holds -= 1

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """As of any loop. The clock stands still until the job has ended or is cancelled."""
        job = super().run_in_executor(executor, func, *args)
        self._jumping.jobs.add(job)
        job.add_done_callback(self._jumping.jobs.discard)
        return job

    async def shutdown_default_executor(self, *args: float | None, **kwargs: float | None) -> None:
        """As of any loop: waits for threads, which are not jobs of the executor."""
        with self.hold_time():
            await super().shutdown_default_executor(*args, **kwargs)


class _JumpingSelector(selectors.DefaultSelector):
    """Waits by moving the clock. Keeps the clock, since `select` is what a loop waits in."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self.now = 0
        self.end: int | None = None
        self.holds = 0
        self.jobs: set[asyncio.Future[Any]] = set()
        self.work_outside: set[Callable[[], bool]] = set()
        """What tells whether something outside is about to wake the loop, such as a disk."""
        self.jumps: deque[Jump] | None = None
        self.refuse: Callable[[], None] | None = None
        """Called, to raise, for what would be waited for outside of the loop."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401
        if self.refuse is not None:
            self.refuse()
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.holds or self.jobs or any(is_at_work() for is_at_work in self.work_outside):
            return super().select(None)
        if ready := self._delivered():
            return ready
        if timeout is not None:
            self._jump(max(1, round(timeout * _SECOND)))
        elif self._has_peer_outside():
            return super().select(None)
        else:
            raise StuckError(
                f"Nothing can happen any more at {self._loop.time():g} s of virtual time: "
                "no callback is ready, no timer is set, and no job of run_in_executor is under way "
                "(for threads and processes of your own there is VirtualLoop.hold_time). "
                f"{self._waiting()}"
            )
        return []

    def _jump(self, nanoseconds: int) -> None:
        self.now += nanoseconds
        if self.end is not None and self.now > self.end:
            self.now, self.end = self.end, self.end + _GRACE
            raise StuckError(
                f"The virtual time has reached its end, {self._loop.time():g} s "
                f"(VirtualLoop.end_at). {self._waiting()}"
            )
        # A loop runs a timer once its time is *before* now plus this. Of a float that is so large
        # that it has no nanoseconds, the sum would be no later than now.
        now = self._loop.time()
        self._loop._clock_resolution = max(1 / _SECOND, math.ulp(now))  # noqa: SLF001
        if self.jumps is not None:
            self.jumps.append(Jump(now, _next_timer(self._loop)))

    def _delivered(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Let the system deliver what is on its way to the loop's sockets.

        Peers in the loop need a moment where the system has not confirmed yet what they were sent.
        One outside may be about to send something, or to connect.
        """
        if len(self.get_map()) == 1:  # what wakes the loop
            return []
        if self._may_hear_from_outside():
            return super().select(_OUTSIDE)
        if any(_unconfirmed(key.fd) for key in self.get_map().values()):
            return super().select(_DELIVERY)
        return []

    def _may_hear_from_outside(self) -> bool:
        """Whether something is open that a peer outside of the loop may send to, or connect to."""
        ends = self._own_ends()
        here = {end[0] for end in ends if end is not None}
        return any(end is None or end[1] is None or end[1] not in here for end in ends)

    def _has_peer_outside(self) -> bool:
        """Whether something is open whose other end is not in this loop."""
        ends = self._own_ends()
        here = {end[0] for end in ends if end is not None}
        return any(end is None or (end[1] is not None and end[1] not in here) for end in ends)

    def _own_ends(self) -> list[tuple[object, object | None] | None]:
        own = self._loop._ssock.fileno()  # type: ignore[attr-defined] # noqa: SLF001 - what wakes it
        return [_ends(key.fd) for key in self.get_map().values() if key.fd != own]

    def _waiting(self) -> str:
        tasks = sorted(asyncio.all_tasks(self._loop), key=_order)
        if not tasks:
            return "No task waits."
        return "\n".join(["Tasks that wait:", *(f"- {_place(task)}" for task in tasks)])


def _unconfirmed(descriptor: int) -> bool:
    if sys.platform != "linux":
        return False
    from fcntl import ioctl  # noqa: PLC0415 - not on every system
    from termios import TIOCOUTQ  # noqa: PLC0415

    try:
        return any(ioctl(descriptor, TIOCOUTQ, bytes(4)))
    except OSError:  # it is no socket, or one that listens
        return False


def _ends(descriptor: int) -> tuple[object, object | None] | None:
    """Return a socket's own address and its peer's, None for one that listens.

    None for what is no connected socket.
    """
    try:
        end = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        if end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return end.getsockname(), None
        peer = end.getpeername()
        return (end.getsockname(), peer) if peer else None  # a Unix socket without a name
    except OSError:
        return None
    finally:
        end.detach()


def _next_timer(loop: VirtualLoop) -> str:
    """Return what the loop's next timer is for: a task that waits, or what is called."""
    timer = loop._scheduled[0]  # type: ignore[attr-defined] # noqa: SLF001 - a heap of timers
    callback = timer._callback  # noqa: SLF001
    for task in asyncio.all_tasks(loop):
        awaited = getattr(task, "_fut_waiter", None)
        if awaited is not None and any(awaited is it for it in timer._args):  # noqa: SLF001
            return _place(task)  # in asyncio.sleep
    limited = getattr(getattr(callback, "__self__", None), "_task", None)
    if isinstance(limited, asyncio.Task):
        return f"a time limit of {_place(limited)}"  # of asyncio.timeout
    return str(getattr(callback, "__qualname__", type(callback).__qualname__))


def _order(task: asyncio.Task[Any]) -> tuple[int, str]:
    return len(task.get_name()), task.get_name()  # Task-2 before Task-10


def _place(task: asyncio.Task[Any]) -> str:
    """Return a task's name, and where it waits: its coroutine, and those that this one awaits."""
    places = []
    step: Any = task.get_coro()
    while step is not None:
        frame = _first(step, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            name = getattr(step, "__qualname__", frame.f_code.co_name)
            places.append(f"{name} ({frame.f_code.co_filename}:{frame.f_lineno})")
        step = _first(step, "cr_await", "gi_yieldfrom", "ag_await")
    awaited = getattr(task, "_fut_waiter", None)
    if isinstance(awaited, asyncio.Task):
        places.append(f"the task {awaited.get_name()}")
    return f"{task.get_name()}: {' > '.join(places)}"


def _first(step: object, *names: str) -> Any:  # noqa: ANN401 - whatever a program awaits
    """Return the first of these attributes that is there."""
    values = (getattr(step, name, None) for name in names)
    return next((value for value in values if value is not None), None)
