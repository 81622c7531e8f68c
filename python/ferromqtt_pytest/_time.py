"""What the fixture `virtual_time` returns."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

from ferromqtt.testing import Jump, VirtualLoop


class VirtualTime:
    """The time of the virtual loop that runs a test. To be used inside the test's coroutine."""

    @property
    def now(self) -> float:
        """Seconds since the loop was made.

        Raises:
            RuntimeError: No virtual loop runs here.
        """
        return _running().time()

    @property
    def jumps(self) -> list[Jump]:
        """The latest thousand jumps of the clock: when each arrived, and what waited for it.

        Raises:
            RuntimeError: No virtual loop runs here.
        """
        return _running().jumps

    def end_at(self, seconds: float | None) -> None:
        """Let the clock go no further than this time: `VirtualLoop.end_at`.

        Raises:
            RuntimeError: No virtual loop runs here.
            TypeError: `seconds` is neither a number nor None.
            ValueError: `seconds` is not a finite number, or has passed.
        """
        _running().end_at(seconds)

    def hold(self) -> AbstractContextManager[None]:
        """Let the clock stand still inside `with`: `VirtualLoop.hold_time`.

        Raises:
            RuntimeError: No virtual loop runs here.
        """
        return _running().hold_time()


_WEEK = 604_800.0
"""How far the clock of a loop goes, in seconds; `VirtualTime.end_at` sets another end.

A test that waits for what never comes gets there, with each Keep Alive of its clients on the way.
"""


def virtual_loop() -> VirtualLoop:
    """Return a new loop for a test, which records the jumps of its clock."""
    return VirtualLoop(record_jumps=True, end_at=_WEEK)


def _running() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError(  # noqa: TRY004 - the loop is no argument
            "virtual_time speaks of the loop that runs the test, and this one is not virtual"
        )
    return loop
