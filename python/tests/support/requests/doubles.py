"""Programs that are wrong in one way each, to see that the checks find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .answering import answer
from .job import JOBS, Job

if TYPE_CHECKING:
    from ferromqtt import Request

    from .answering import Answerer

_last: dict[Answerer, Job] = {}


async def swaps(answerer: Answerer, request: Request[Job]) -> Job:
    """Answer the request before this one."""
    done = await answer(answerer, request)
    last = _last.get(answerer, done)
    _last[answerer] = done
    return last


async def crashes(answerer: Answerer, request: Request[Job]) -> Job:
    """Decode without looking whether that is possible."""
    JOBS.decode(request.payload)
    return await answer(answerer, request)


async def repeats(answerer: Answerer, request: Request[Job]) -> Job:
    """Do everything twice."""
    answerer.look(request)
    return await answer(answerer, request)


async def is_silent(answerer: Answerer, request: Request[Job]) -> Job:
    """Answer when nobody asks any more."""
    await answerer.world.is_done.wait()
    return await answer(answerer, request)


WRONG = {
    "swaps answers": (swaps, "was answered by"),
    "crashes on a bad payload": (crashes, "has ended with"),
    "does everything twice": (repeats, "was handled 2 times"),
    "answers nothing": (is_silent, "gets no answer"),
}
"""What each does, and the text by which it is found."""
