"""`VirtualLoop` ends a program that is stuck, or goes on forever, and says who waits where."""

import asyncio
import contextlib
import itertools

import pytest

from ferromqtt.testing import StuckError, VirtualLoop
from test_virtual_loop import echo, now, run, virtual_loop


async def sub() -> None:
    await asyncio.Event().wait()


async def stand_still() -> None:
    await sub()


def test_a_stuck_program_ends_and_says_who_waits_where() -> None:
    async def main() -> None:
        await asyncio.sleep(60)
        asyncio.current_task().set_name("first")  # type: ignore[union-attr]
        waiting = asyncio.create_task(stand_still(), name="second")
        await waiting

    with pytest.raises(StuckError) as caught:
        run(main)
    head, first, second = str(caught.value).splitlines()
    assert head.startswith("Nothing can happen any more at 60 s of virtual time: no callback")
    assert first.startswith("- first: test_a_stuck_program_ends_and_says_who_waits_where")
    assert first.endswith(" > the task second")
    assert second.startswith("- second: stand_still (")
    assert f" > sub ({__file__}:" in second


def test_a_stuck_program_is_noticed_beside_open_sockets_of_its_own() -> None:
    async def main() -> None:
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            try:
                await reader.read()
            finally:
                writer.close()

    with pytest.raises(StuckError, match=r"StreamReader\.read"):
        run(main)


def test_a_stuck_program_cleans_up() -> None:
    cleaned: list[float] = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(5)
            cleaned.append(now())

    with pytest.raises(StuckError):
        run(main)
    assert cleaned == [5]


def test_what_is_stuck_does_not_go_on_when_the_loop_runs_again() -> None:
    went_on: list[str] = []

    async def main() -> None:
        await never
        went_on.append("main")

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        never = runner.get_loop().create_future()
        with pytest.raises(StuckError):
            runner.run(main())
        never.cancel()
        runner.run(asyncio.sleep(1))
        assert not asyncio.all_tasks(runner.get_loop())
    assert went_on == []


def test_a_program_that_goes_on_forever_ends_at_the_limit() -> None:
    times: list[float] = []

    async def main() -> None:
        virtual_loop().end_at(86_400)
        try:
            while True:
                await asyncio.sleep(50_000)
                times.append(now())
        finally:
            times.append(now())
            await asyncio.sleep(1)  # to clean up is allowed

    with pytest.raises(StuckError, match=r"reached its end, 86400 s .*Tasks that wait:\n- Task-"):
        run(main)
    assert times == [50_000, 86_400]


def test_a_program_that_goes_on_after_the_limit_is_stopped_again() -> None:
    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        virtual_loop().end_at(600)
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    # An hour for the task that was cancelled first, and one for closing the loop.
    with pytest.raises(StuckError, match="reached its end, 7800 s"):
        run(main)


def test_time_ends_after_a_year_by_itself() -> None:
    async def main() -> None:
        for _ in itertools.count():
            await asyncio.sleep(86_400)

    with pytest.raises(StuckError, match=r"reached its end, 3\.1536e\+07 s"):
        run(main)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e300, -1.0])
def test_an_end_that_is_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="end_at must be a finite number of seconds, not before 0"):
        VirtualLoop(end_at=seconds)


def test_an_end_that_has_passed_is_refused() -> None:
    async def main() -> None:
        await asyncio.sleep(100)
        virtual_loop().end_at(50)

    with pytest.raises(ValueError, match="not before 100, or None; not 50"):
        run(main)


def test_a_limit_can_be_taken_back() -> None:
    async def main() -> float:
        virtual_loop().end_at(10)
        virtual_loop().end_at(None)
        await asyncio.sleep(20)
        return now()

    assert run(main) == 20
