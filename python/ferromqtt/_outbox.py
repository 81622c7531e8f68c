"""How a client on an event loop has its outbox: opened before it connects, watched, and closed."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING

from ferromqtt._native import OutboxFolder, open_outbox
from ferromqtt.exceptions import MqttError

if TYPE_CHECKING:
    from ferromqtt._native import Core
    from ferromqtt.outbox import Outbox


async def opened(outbox: Outbox, identifier: str) -> OutboxFolder:
    """Open the folder of an outbox, in a thread: its disk may be slow.

    Raises:
        MqttError: It cannot be opened; the text says why.
    """
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(None, _open, outbox, identifier)
    except OSError as error:
        raise MqttError(f"Could not open the outbox: {error}") from None


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
            loop.add_reader(self._descriptor, self._woken)
            _watches.add(self)

    def _woken(self) -> None:
        self._core.outbox_woken()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def close(self) -> None:
        """Write what there is, and close the outbox: its folder is free then.

        Cancelling it leaves that to the thread of the outbox.
        """
        if self._descriptor is None:
            return
        try:
            while not self._core.close_outbox():
                self._waiter = self._loop.create_future()
                await self._waiter
        finally:
            self.stop()

    def stop(self) -> None:
        """Watch no more."""
        if self._descriptor is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._descriptor)
        self._descriptor = None

    def forget(self) -> None:
        """Leave the outbox to the process that this one was forked from."""
        self._descriptor = None
        lock = self._core.forget_outbox()
        if lock is not None:
            os.close(lock)


_watches: weakref.WeakSet[OutboxWatch] = weakref.WeakSet()


def _forget_all() -> None:
    for watch in list(_watches):
        watch.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
