"""One turn of the event loop, for calls that would otherwise never suspend.

A task that only makes calls that return or raise at once starves all other tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType


class _Turn:
    """Awaiting it lets everything else that is ready run once."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield


TURN = _Turn()
"""What a publish awaits when it has filled a chunk, and a call before it fails."""


class _TurnBeforeError:
    """`async with` over code that raises without suspending: waits one turn before the error.

    A cancellation in that turn replaces the error.
    """

    __slots__ = ()

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if isinstance(exc, Exception):  # a task that is cancelled, or closed, goes on at once
            await TURN


TURN_BEFORE_ERROR = _TurnBeforeError()
