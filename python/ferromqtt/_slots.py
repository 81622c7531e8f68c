"""How many calls may run at once (`Client(max_concurrent_outgoing_calls=...)`)."""

from __future__ import annotations

import asyncio
import collections
from typing import TYPE_CHECKING

from ferromqtt._turn import TURN

if TYPE_CHECKING:
    from types import TracebackType


class CallSlots:
    """As `asyncio.Semaphore`, but a call that gives up waiting is not looked for among the others.

    Calls get slots in the order in which they came. Like a semaphore, it belongs to the loop in
    which a call first waits.
    """

    def __init__(self, limit: int) -> None:
        """Have `limit` slots.

        Raises:
            ValueError: The limit is below 0.
        """
        if limit < 0:
            raise ValueError(
                "Semaphore initial value must be >= 0. "  # asyncio's text
                f"max_concurrent_outgoing_calls must be >=0, not {limit}."
            )
        self._free = limit
        self._waiting: collections.OrderedDict[asyncio.Future[None], None]
        self._waiting = collections.OrderedDict()
        # Calls that were given a slot and have not run since: no other passes them.
        self._woken: set[asyncio.Future[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_left(self) -> bool:
        """Whether the loop that calls waited in is closed: what they held never comes back."""
        return self._loop is not None and self._loop.is_closed()

    async def __aenter__(self) -> None:
        """Take a slot, or wait for one.

        Raises:
            RuntimeError: Calls wait on another event loop.
        """
        if self._free > 0 and not self._woken:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            await TURN
            raise RuntimeError(
                f"{self!r} is bound to a different event loop. "  # asyncio's text
                "Calls wait for max_concurrent_outgoing_calls there: make all of them on one loop."
            )
        slot = loop.create_future()
        self._waiting[slot] = None
        try:
            await slot
        except BaseException:  # cancelled, closed, or thrown into
            self._waiting.pop(slot, None)
            if slot in self._woken:
                self._woken.remove(slot)
                self._give_back()
            raise
        self._woken.remove(slot)
        self._wake_next()  # one that came meanwhile has waited behind this one

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Give the slot back."""
        self._give_back()

    def _give_back(self) -> None:
        self._free += 1
        self._wake_next()

    def _wake_next(self) -> None:
        """Give a free slot to the call that has waited longest."""
        while self._free > 0 and self._waiting:
            slot, _ = self._waiting.popitem(last=False)
            if slot.done():
                continue  # cancelled, and its task has not run since
            try:
                slot.set_result(None)
            except RuntimeError:
                continue  # its loop is closed
            self._free -= 1
            self._woken.add(slot)
            return
