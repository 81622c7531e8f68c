"""Waiting for tasks that are about to end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


async def until_ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Wait until these tasks have ended, which is soon: they are cancelled, or nearly done.

    Cancelling this does not cut it short, since what they hold would be left behind. It raises
    CancelledError afterwards.
    """
    cancelled: asyncio.CancelledError | None = None
    left = list(tasks)
    while left:
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as error:
            cancelled = error
        left = [task for task in left if not task.done()]
    if cancelled is not None:
        raise cancelled
