"""The thread that runs the event loop of a blocking client, and what other threads wait on."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from ferromqtt._internals import internals_of
from ferromqtt.exceptions import MqttError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from ferromqtt._driver import Protocol
    from ferromqtt.client import Client

_T = TypeVar("_T")

# Not what a policy says: that may be a loop that belongs to the main thread, such as a GUI's.
_new_loop: Callable[[], asyncio.AbstractEventLoop]
if sys.platform == "win32":
    _new_loop = asyncio.ProactorEventLoop
else:
    _new_loop = asyncio.SelectorEventLoop

_LEFT = "The client was left, or could not be entered, while this call waited."

_LOOK_FOR_SIGNALS = 0.5
"""Seconds after which the main thread looks whether a signal has come that did not wake it: one
that another thread of the process got, or that came just before the wait began."""

_MOST_INTERRUPTIONS = 3
"""From this interruption on, a call that is handed over is no longer waited for."""

_ENDING = 1.0
"""Seconds for calls to end, and again for those that are cancelled, when the thread ends."""


class Parker:
    """What a thread waits on for one result. To the native module it is a future.

    A bare lock, and not a `concurrent.futures.Future`: that has a condition, with a second lock,
    for callbacks and states that nobody here uses. The main thread can be interrupted by a signal
    while it acquires a lock.
    """

    __slots__ = ("_acquire", "_error", "_is_done", "_loop", "_value", "_wake", "op", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        lock = threading.Lock()
        lock.acquire()
        self._acquire, self._wake = lock.acquire, lock.release
        self._loop = loop
        self._is_done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self.op = 0
        """The number of the call that it waits for, for `Core.abandon`."""
        self.task: asyncio.Task[Any] | None = None
        """The task of the loop that it waits for."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that sets it."""
        return self._loop

    def done(self) -> bool:
        """Return whether it has a result or an exception."""
        return self._is_done

    def set_result(self, value: Any) -> None:  # noqa: ANN401 - any call's result
        """Set the result, and wake the thread that waits."""
        if self._is_done:
            raise asyncio.InvalidStateError
        self._value, self._is_done = value, True
        self._wake()

    def set_exception(self, error: BaseException) -> None:
        """Set an exception in place of a result, and wake the thread that waits."""
        if self._is_done:
            raise asyncio.InvalidStateError
        self._error, self._is_done = error, True
        self._wake()

    def replace(self, error: BaseException) -> None:
        """Have `result` raise this, whatever was set or will be."""
        self._error, self._is_done = error, True

    def result(self) -> Any:  # noqa: ANN401 - any call's result
        """Return the result, or raise the exception that was set."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback refers to this frame
        return self._value

    def wait(self, limit: float) -> bool:
        """Wait until it is done, for `limit` seconds at most or -1 for no limit; False if not."""
        if self._is_done:
            return True
        if threading.get_ident() != threading.main_thread().ident:
            return self._acquire(timeout=limit)
        if limit < 0:
            limit = math.inf
        until = time.monotonic() + limit
        while not self._acquire(timeout=min(_LOOK_FOR_SIGNALS, limit)):
            limit = until - time.monotonic()
            if limit <= 0:
                return False
        return True

    def __await__(self) -> Generator[Parker, None, Any]:
        """Wait in a coroutine that a thread drives, by `LoopThread.drive`."""
        yield self
        return self.result()


class LoopThread:
    """A daemon thread with an event loop of its own, for one client from its enter to its leave."""

    def __init__(self, client: Client, core: Protocol, name: str) -> None:
        self._client = client
        self._core = core
        self._loop = _new_loop()
        self._executor = ThreadPoolExecutor(thread_name_prefix=name)
        self._loop.set_default_executor(self._executor)
        # Those that wait, so that none is forgotten when the thread ends. A set is safe to change
        # from any thread as long as nobody iterates over it.
        self._waiting: set[Parker] = set()
        self._end: str | None = None
        """Why nothing is waited for any more."""
        self.is_ending = False
        """Calls are taken no more."""
        self._is_exit = False
        self.has_failed = False
        """The event loop has ended by itself, and with it the connection."""
        self.ident: int | None = None
        self._is_started = False
        self._has_begun = threading.Event()
        self.has_ended = threading.Event()
        """The loop runs no more."""
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread. Until it ends, calls of the client may come from any thread."""
        self._core.parker = self.park
        self._is_started = True
        self._thread.start()
        self.ident = self._thread.ident

    def stop(self) -> None:
        """Have the thread end what is left, cut a connection that is there, and wait for that.

        An interruption is raised when the thread has ended, unless there are too many.
        """
        interruption: BaseException | None = None
        for _ in range(_MOST_INTERRUPTIONS):
            try:
                self._stop_loop()
                if not (self._is_started and self._has_begun.wait(_ENDING)):
                    self._loop.close()  # its start was interrupted
                    break
                # Not by `join` alone: interrupted, it takes the thread for ended (CPython 3.11).
                self.has_ended.wait()
                self._thread.join()
                self._loop.close()  # else it is, unless the thread was stopped at exit
                break
            except BaseException as error:  # noqa: BLE001 - raised below
                interruption = interruption or error
        if interruption is not None:
            raise interruption

    def stop_at_exit(self, limit: float) -> None:
        """Stop the thread, for `limit` seconds at most, as the interpreter exits.

        Daemon threads that wait are not woken: the interpreter is about to end them, and whatever
        they got would end them with a traceback.
        """
        self._is_exit = True
        self._stop_loop()
        self._thread.join(limit)

    def _stop_loop(self) -> None:
        def stop() -> None:
            if not self.is_ending:
                self.is_ending = True
                self._loop.stop()

        with contextlib.suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(stop)

    def park(self) -> Parker:
        """Return something to wait on. The core calls it for what a thread has to wait for."""
        return Parker(self._loop)

    def refuse_own_thread(self) -> None:
        """Raise RuntimeError in the loop's own thread, which would wait for itself."""
        if threading.get_ident() == self.ident:
            raise RuntimeError(
                "The call would wait for itself: a callback of the client makes it, such as an "
                "`authenticator` or a log handler, in the thread that runs the connection. Make it "
                "in another thread."
            )

    def wait(self, parker: Parker, limit: float = -1) -> bool:
        """Wait until `parker` is done; False when it is not within `limit` seconds."""
        self.refuse_own_thread()
        self._waiting.add(parker)
        try:
            if self._end is not None and not parker.done():
                if self._is_exit and threading.current_thread().daemon:
                    limit = -1  # for its end
                else:
                    parker.replace(MqttError(self._end))
            return parker.wait(limit)
        finally:
            self._waiting.discard(parker)

    def flush(self) -> None:
        """Have the loop write what is to be written."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._core.flush)

    def turn(self) -> None:
        """Wait until the loop has written what was published before."""
        parker = self.park()
        try:
            self._loop.call_soon_threadsafe(parker.set_result, None)
        except RuntimeError:
            return  # the loop is closed
        self.wait(parker)

    def drive(self, coroutine: Coroutine[Any, Any, _T], awaited: Parker | None) -> _T:
        """Run a coroutine on, in this thread, that awaits a parker, or None for a turn.

        An interruption abandons the call, as cancelling does in a task.
        """
        while True:
            try:
                if awaited is None:
                    self.turn()
                else:
                    self.wait(awaited)
            except BaseException as error:  # noqa: BLE001 - the coroutine raises it again
                if awaited is not None:
                    self._core.abandon(awaited.op)
                # Not closed: it would abandon what it takes for its call by a number that another
                # thread may have changed meanwhile.
                coroutine.throw(error)
            try:
                awaited = coroutine.send(None)
            except StopIteration as end:
                result: _T = end.value
                return result

    def run(
        self,
        call: Callable[[], Coroutine[Any, Any, _T]],
        keep: Callable[[_T], object] | None = None,
    ) -> _T:
        """Run the coroutine that `call` returns as a task of the loop, and wait for its end.

        It is made in the loop's thread, where no signal handler runs: one that raises in this
        thread would drop a coroutine that was never awaited. An interruption cancels the task, and
        is raised once that has ended; a further one cancels it again. What it returns all the same
        is given to `keep`.
        """
        self.refuse_own_thread()
        parker = self.park()
        interruption: BaseException | None = None
        try:
            self._loop.call_soon_threadsafe(self._begin, call, parker)
        except BaseException as error:  # noqa: BLE001 - raised below
            if isinstance(error, RuntimeError) and self._loop.is_closed():
                raise MqttError(self._end or _LEFT) from None
            interruption = error  # it may have been handed over before
            self._cancel(parker)
        for _ in range(_MOST_INTERRUPTIONS):
            try:
                self.wait(parker)
                break
            except BaseException as error:  # noqa: BLE001 - raised below
                interruption = interruption or error
                self._cancel(parker)
        if interruption is None:
            result: _T = parker.result()
            return result
        if keep is not None and parker.done():
            with contextlib.suppress(BaseException):  # its own error matters no more
                keep(parker.result())
        raise interruption

    def _begin(self, call: Callable[[], Coroutine[Any, Any, Any]], parker: Parker) -> None:
        if self.is_ending:
            parker.set_exception(MqttError(_LEFT))
            return
        try:
            coroutine = call()
        except Exception as error:  # noqa: BLE001 - arguments that the function does not have
            parker.set_exception(error)
            return
        parker.task = task = self._loop.create_task(coroutine)
        task.add_done_callback(lambda task: self._end_task(task, parker))

    def _cancel(self, parker: Parker) -> None:
        def cancel() -> None:
            if parker.task is not None:
                # Behind its first step: a task that is cancelled before never runs, and leaving
                # must.
                self._loop.call_soon(parker.task.cancel)
            elif not parker.done():  # it was interrupted before it was handed over
                parker.set_exception(MqttError(_LEFT))

        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(cancel)

    @staticmethod
    def _end_task(task: asyncio.Task[Any], parker: Parker) -> None:
        parker.task = None
        error = MqttError(_LEFT) if task.cancelled() else task.exception()
        if parker.done():
            return
        if error is not None:
            parker.set_exception(error)
        else:
            parker.set_result(task.result())

    def _main(self) -> None:
        self._has_begun.set()
        asyncio.set_event_loop(self._loop)  # for code of the user's that asks for it
        end = _LEFT
        try:
            self._run_until_stopped()
            if not self._is_exit:
                self._loop.run_until_complete(self._finish())
        except BaseException as error:  # noqa: BLE001 - nobody else would learn of it
            end = f"The client's event loop has failed by {type(error).__name__}. Enter it again."
            self.has_failed = True
            self._core.warn(end)
            self._end_connection()
        self._end = end
        if not self._is_exit:
            for parker in list(self._waiting):
                with contextlib.suppress(asyncio.InvalidStateError):
                    parker.set_exception(MqttError(end))
            self._core.parker = None
            self._executor.shutdown(wait=False, cancel_futures=True)
            with contextlib.suppress(Exception):
                self._loop.close()
        self.has_ended.set()

    def _end_connection(self) -> None:
        """Let client and callers know that the connection is lost: by the loop, or without it."""
        try:
            self._loop.run_until_complete(self._finish())
        except BaseException:  # noqa: BLE001 - what it failed by before
            transport = self._core.transport
            with contextlib.suppress(Exception):
                self._loop.close()
            with contextlib.suppress(Exception), contextlib.closing(_new_loop()) as loop:
                loop.run_until_complete(self._leave())
            with contextlib.suppress(Exception):  # a link in memory has no socket
                if transport is not None:
                    transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _run_until_stopped(self) -> None:
        while True:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # Raised by a callback of the user's. In this thread it must end nothing.
                self._core.report("a callback raised", error)
            else:
                return

    async def _finish(self) -> None:
        """Cut a connection that was not left, and have all tasks end."""
        self.is_ending = True
        await self._leave()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=_ENDING)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_ENDING)
        await self._loop.shutdown_asyncgens()

    async def _leave(self) -> None:
        with contextlib.suppress(RuntimeError):  # its loop is closed
            self._core.cut()
        if internals_of(self._client).entered:
            with contextlib.suppress(MqttError):
                await self._client.__aexit__(RuntimeError, None, None)
