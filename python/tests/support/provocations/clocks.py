"""Virtual time, and clocks of event loops."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

from ferromqtt._native import Core
from ferromqtt.testing import VirtualLoop
from ferromqtt_pytest import VirtualTime
from ferromqtt_pytest._seeds import OfEachSeed
from support.provocations.registry import VIRTUAL_TIME, World, provokes


async def wait_forever() -> None:
    await asyncio.Event().wait()


async def reach_the_end() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.end_at(1)
    await asyncio.sleep(2)


def playing(part: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program on a virtual loop, in another thread."""

    def play() -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())

    @provokes(VIRTUAL_TIME, part)
    async def fail(_: World) -> None:
        await asyncio.to_thread(play)


playing("Nothing can happen any more", wait_forever)
playing("has reached its end", reach_the_end)


@provokes(VIRTUAL_TIME, "virtual_time speaks of")
async def _(_: World) -> None:
    _ = VirtualTime().now


@provokes(VIRTUAL_TIME, "belongs to one seed")
async def _(_: World) -> None:
    _ = OfEachSeed("mqtt_broker").client


@provokes(VIRTUAL_TIME, "must be a finite number")
async def _(_: World) -> None:
    VirtualLoop(end_at=math.nan)


@provokes(VIRTUAL_TIME, "end_at must be float or None")
async def _(_: World) -> None:
    VirtualLoop(end_at="noon")  # type: ignore[arg-type]


def showing(part: str, time: Any) -> None:  # noqa: ANN401 - whatever a loop may return
    """Connect on a loop with such a clock."""

    class Clock:
        def time(self) -> Any:  # noqa: ANN401
            return time

    @provokes(VIRTUAL_TIME, part)
    async def fail(_: World) -> None:
        Core(1).begin(Clock(), "somewhere")  # type: ignore[arg-type]


showing("must return a number of seconds", "noon")
showing("must return a finite number of seconds", math.inf)
