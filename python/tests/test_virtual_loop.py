"""`ferromqtt.testing.VirtualLoop`: waiting takes no time, and what really happens is waited for."""

import asyncio
import contextlib
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ferromqtt.testing import Jump, VirtualLoop

T = TypeVar("T")
LIMIT = 30
"""Real seconds that a thread waits for what the loop is to do."""


def run(main: Callable[..., Coroutine[Any, Any, T]], *args: object) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main(*args))


def now() -> float:
    return asyncio.get_running_loop().time()


def virtual_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


# Timers


def test_waiting_a_year_takes_no_time_and_is_exact() -> None:
    async def main() -> list[float]:
        virtual_loop().end_at(None)
        times = [now()]
        for seconds in (0.1, 0.2, 1e-9, 3600, 365 * 86_400):
            await asyncio.sleep(seconds)
            times.append(now())
        return times

    assert run(main) == [0, 0.1, 0.3, 0.300000001, 3600.300000001, 31_539_600.300000001]


def test_timers_come_in_order_each_at_its_time() -> None:
    async def main() -> list[tuple[str, float]]:
        came: list[tuple[str, float]] = []

        async def wait(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            came.append((name, now()))

        async with asyncio.TaskGroup() as tasks:
            for name, seconds in (("c", 0.3), ("a", 0.1), ("b", 0.1), ("d", 7200.0)):
                tasks.create_task(wait(name, seconds))
        return came

    assert run(main) == [("a", 0.1), ("b", 0.1), ("c", 0.3), ("d", 7200.0)]


def test_sums_of_intervals_do_not_drift() -> None:
    async def main() -> float:
        for _ in range(10_000):
            await asyncio.sleep(0.37)
        return now()

    assert run(main) == 3700.0


def test_a_timeout_is_virtual() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(90):
                await asyncio.Event().wait()
        return now()

    assert run(main) == 90


def test_timers_fire_where_floats_have_no_nanoseconds() -> None:
    """After half a year a float that a nanosecond is added to stays the same."""

    async def main() -> float:
        virtual_loop().end_at(None)
        await asyncio.sleep(2**25 + 0.5)
        await asyncio.sleep(1e-9)
        await asyncio.sleep(1)
        return now()

    assert run(main) == pytest.approx(2**25 + 1.5)


def test_the_wall_clock_goes_with_the_virtual_time() -> None:
    async def main() -> float:
        begin = virtual_loop().wall_time()
        assert time.time() >= begin
        await asyncio.sleep(86_400)
        return virtual_loop().wall_time() - begin

    assert run(main) == pytest.approx(86_400)


def test_jumps_are_recorded_with_who_waits() -> None:
    async def main() -> list[Jump]:
        loop = virtual_loop()
        await asyncio.sleep(60, "slept")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        called = asyncio.Event()
        loop.call_later(0.5, called.set)
        await called.wait()
        return loop.jumps

    with asyncio.Runner(loop_factory=partial(VirtualLoop, record_jumps=True)) as runner:
        slept, limited, called = runner.run(main())
    assert (slept.at, limited.at, called.at) == (60, 65, 65.5)
    assert re.fullmatch(r"Task-\d+: .*main \(.*\) > sleep \(.*\)", slept.who)
    assert limited.who.startswith("a time limit of Task-")
    assert called.who == "Event.set"


def test_only_the_latest_thousand_jumps_are_kept() -> None:
    async def main() -> list[Jump]:
        for _ in range(1100):
            await asyncio.sleep(1)
        return virtual_loop().jumps

    assert run(main) == []
    with asyncio.Runner(loop_factory=partial(VirtualLoop, record_jumps=True)) as runner:
        jumps = runner.run(main())
    assert [jump.at for jump in jumps] == [*range(101, 1101)]


# What really happens


async def ask_and_answer(asked: asyncio.Event, answered: threading.Event) -> float:
    """Answer a thread, which waits for it; return when it asked."""
    await asked.wait()
    when = now()
    answered.set()
    return when


def ask(loop: asyncio.AbstractEventLoop, asked: asyncio.Event, answered: threading.Event) -> bool:
    """Run in a thread: take as long as the loop takes to run some callbacks."""
    loop.call_soon_threadsafe(asked.set)
    return answered.wait(LIMIT)


def test_time_stands_still_while_a_thread_works() -> None:
    async def main() -> float:
        asked, answered = asyncio.Event(), threading.Event()
        timer = asyncio.create_task(asyncio.sleep(10))
        answering = asyncio.create_task(ask_and_answer(asked, answered))
        assert await asyncio.to_thread(ask, asyncio.get_running_loop(), asked, answered)
        assert await answering == now() == 0
        await timer
        return now()

    assert run(main) == 10


def test_time_stands_still_while_a_name_is_resolved() -> None:
    async def main() -> float:
        async with asyncio.timeout(1):
            found = await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        assert found
        return now()

    assert run(main) == 0


def test_a_cancelled_job_does_not_hold_the_time() -> None:
    async def main() -> float:
        release = threading.Event()
        job = asyncio.create_task(asyncio.to_thread(release.wait, LIMIT))
        await asyncio.sleep(0)
        job.cancel()
        await asyncio.sleep(5)
        release.set()
        return now()

    assert run(main) == 5


def test_time_can_be_held_for_threads_that_the_loop_does_not_know() -> None:
    async def main() -> float:
        asked, answered = asyncio.Event(), threading.Event()
        timer = asyncio.create_task(asyncio.sleep(10))
        answering = asyncio.create_task(ask_and_answer(asked, answered))
        arguments = (asyncio.get_running_loop(), asked, answered)
        with virtual_loop().hold_time():
            thread = threading.Thread(target=ask, args=arguments)
            thread.start()
            assert await answering == 0
        thread.join()
        await timer
        return now()

    assert run(main) == 10


def test_time_can_be_held_for_another_process() -> None:
    async def main() -> tuple[bytes, float]:
        timer = asyncio.create_task(asyncio.sleep(10))
        with virtual_loop().hold_time():
            program = (sys.executable, "-c", "print(1)")
            process = await asyncio.create_subprocess_exec(*program, stdout=subprocess.PIPE)
            output, _ = await process.communicate()
        held = now()
        await timer
        return output, held

    assert run(main) == (b"1\n", 0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(100):
            writer.write(data)
    finally:
        writer.close()


def test_sockets_of_one_loop_answer_before_time_passes() -> None:
    async def main() -> float:
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server, asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for number in range(200):
                writer.write(number.to_bytes())
                assert await reader.readexactly(1) == number.to_bytes()
            writer.close()
            await writer.wait_closed()
        return now()

    assert run(main) == 0


def test_a_peer_outside_is_waited_for_when_there_is_no_timer() -> None:
    async def main() -> tuple[bytes, float]:
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            asyncio.get_running_loop().call_soon(
                threading.Thread(target=theirs.send, args=(b"late",)).start
            )
            data = await reader.readexactly(4)
            writer.close()
        return data, now()

    assert run(main) == (b"late", 0)


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> list[float]:
    """Let something happen outside while the loop waits for what is outside; returns when."""
    select = selectors.DefaultSelector.select
    waits: list[float] = []

    def wait(
        self: selectors.DefaultSelector, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0.01:
            if not waits:
                act()
            waits.append(timeout)
        return select(self, timeout)

    monkeypatch.setattr(selectors.DefaultSelector, "select", wait)
    return waits


def test_a_peer_outside_gets_a_moment_before_time_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = socket.socketpair()
    with one, other:
        waits = meanwhile(monkeypatch, lambda: other.send(b"x"))
        one.setblocking(False)

        async def receive() -> tuple[bytes, float]:
            async with asyncio.timeout(60):
                return await asyncio.get_running_loop().sock_recv(one, 1), now()

        assert run(receive) == (b"x", 0)
        assert waits == [0.01]


def test_who_connects_from_outside_gets_a_moment_before_time_jumps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with contextlib.ExitStack() as open_sockets:

        async def accept() -> float:
            arrived = asyncio.Event()

            def arrive(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                arrived.set()
                writer.close()

            server = await asyncio.start_server(arrive, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            meanwhile(
                monkeypatch,
                lambda: open_sockets.enter_context(socket.create_connection(address, 60)),
            )
            async with server, asyncio.timeout(60):
                await arrived.wait()
                return now()

        assert run(accept) == 0


def test_without_a_peer_outside_time_jumps_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = meanwhile(monkeypatch, lambda: None)

    async def main() -> None:
        await asyncio.sleep(3600)
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        with one, other:
            one.setblocking(False)
            loop.add_reader(one, print)
            await asyncio.sleep(3600)
            loop.remove_reader(one)
        await asyncio.sleep(3600)

    run(main)
    assert len(waits) == 1  # for the jump beside the open socket


def test_an_interrupt_ends_a_wait_for_a_thread() -> None:
    release = threading.Event()

    def interrupt_and_wait() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        release.wait(LIMIT)

    async def main() -> None:
        try:
            await asyncio.to_thread(interrupt_and_wait)
        finally:
            release.set()

    # A shell starts its background jobs with this signal ignored, and asyncio leaves that as it is.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(main)
    finally:
        signal.signal(signal.SIGINT, before)


def test_closing_waits_for_threads_and_generators() -> None:
    """The thread that joins the executor's is not one of its jobs."""
    ended: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(1)
            ended.append("generator")

    kept: list[AsyncIterator[int]] = []

    async def main() -> None:
        kept.append(numbers())
        assert await anext(kept[0]) == 1
        release = threading.Event()
        asyncio.get_running_loop().run_in_executor(None, release.wait, LIMIT)
        asyncio.get_running_loop().call_soon(release.set)

    run(main)
    assert ended == ["generator"]


# Test frameworks: each runs in a process of its own, with its plugins.

AUTO_MODE = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")

PYTEST_ASYNCIO = """
from ferromqtt.testing import VirtualLoop

def pytest_asyncio_loop_factories(config, item):
    return {"virtual": VirtualLoop}
"""

ANYIO = """
import pytest
from ferromqtt.testing import VirtualLoop

@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": VirtualLoop}
"""

TEST = """
import asyncio
import pytest
from ferromqtt import Client
from ferromqtt.testing import TestBroker

@pytest.fixture
async def broker():
    async with TestBroker() as broker:
        yield broker

{mark}
async def test_an_hour(broker):
    async with Client(broker.host, broker.port, keepalive=60) as client:
        await asyncio.sleep(3600)
        await client.publish("a", "b", qos=1)
    assert asyncio.get_running_loop().time() == 3600

{mark}
async def test_is_stuck():
    await asyncio.Event().wait()
"""


def framework(folder: Path, conftest: str, mark: str, *options: str) -> str:
    """Run both tests; return what pytest prints."""
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\ntimeout = 50\n")
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_it.py").write_text(TEST.format(mark=mark))
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, folder)
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    ("conftest", "mark", "options"),
    [
        (PYTEST_ASYNCIO, "@pytest.mark.asyncio", AUTO_MODE),
        (ANYIO, "@pytest.mark.anyio", ("-p", "no:asyncio")),
    ],
    ids=["pytest-asyncio", "anyio"],
)
def test_a_framework_takes_the_loop(
    tmp_path: Path, conftest: str, mark: str, options: tuple[str, ...]
) -> None:
    output = framework(tmp_path, conftest, mark, "-p", "no:looptime_plugin", *options)
    assert "1 failed, 1 passed" in output
    assert "StuckError: Nothing can happen any more" in output
    assert "test_is_stuck (" in output
