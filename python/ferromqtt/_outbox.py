"""How a client on an event loop has its outbox: opened before it connects, watched, and closed."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING

from ferromqtt._native import OutboxFolder, open_outbox
from ferromqtt.exceptions import MqttError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ferromqtt._native import Core
    from ferromqtt.outbox import Outbox


async def opened(outbox: Outbox, identifier: str) -> OutboxFolder:
    """Open the folder of an outbox, in a thread: its disk may be slow.

    Raises:
        MqttError: It cannot be opened; the text says why.
    """
    job = asyncio.get_running_loop().run_in_executor(None, _open, outbox, identifier)
    try:
        return await asyncio.shield(job)
    except OSError as error:
        raise MqttError(f"Could not open the outbox: {error}") from None
    except asyncio.CancelledError:
        await asyncio.wait([job])  # the thread goes on: the folder is free again when this ends
        if job.exception() is None:
            job.result().close()
        raise


def _open(outbox: Outbox, identifier: str) -> OutboxFolder:
    return open_outbox(
        os.fspath(outbox.path),
        outbox.maxsize,
        outbox.maxbytes,
        outbox.overflow,
        outbox.max_age,
        outbox.quarantine,
        outbox.native_sync,
        identifier,
    )


class OutboxWatch:
    """Reads on a loop what the thread of an outbox has to say."""

    def __init__(self, core: Core, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch. The core has begun, and so has its outbox."""
        self._core = core
        self._loop = loop
        self._descriptor = core.outbox_descriptor()
        self._waiter: asyncio.Future[None] | None = None
        if self._descriptor is not None:
            self._watch(self._descriptor, core.outbox_woken)
            _watches.add(self)

    def _watch(self, descriptor: int, woken: Callable[[], object]) -> None:
        """Have this called on the loop when the thread has something to say."""
        self._loop.add_reader(descriptor, woken)
        _work_outside(self._loop).add(self._core.outbox_is_writing)

    async def close(self) -> None:
        """Write what there is, and close the outbox: its folder is free then.

        Cancelling it leaves that to the thread of the outbox.
        """
        if self._descriptor is None:
            return
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # which is closed
            self._loop = loop
        self._watch(self._descriptor, self._woken_to_close)
        try:
            while not self._core.close_outbox():
                self._waiter = loop.create_future()
                await self._waiter
        except BaseException:
            self._core.give_up_outbox()
            raise
        finally:
            self.stop()

    def _woken_to_close(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def stop(self) -> None:
        """Watch no more."""
        if self._descriptor is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._descriptor)
            _work_outside(self._loop).discard(self._core.outbox_is_writing)
        self._descriptor = None

    def forget(self) -> None:
        """Leave the outbox to the process that this one was forked from."""
        self._descriptor = None
        lock = self._core.forget_outbox()
        if lock is not None:
            os.close(lock)


def _work_outside(loop: asyncio.AbstractEventLoop) -> set[Callable[[], bool]]:
    """Return what a `VirtualLoop` asks before its clock jumps; nothing on other loops."""
    work: set[Callable[[], bool]] = getattr(loop, "work_outside", set())
    return work


_watches: weakref.WeakSet[OutboxWatch] = weakref.WeakSet()


def _forget_all() -> None:
    for watch in list(_watches):
        watch.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
