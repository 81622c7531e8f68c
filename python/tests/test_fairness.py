"""The event loop stays responsive beside a flood in either direction (ARCHITECTURE.md, Fairness).

What is measured is how many messages one turn of the loop takes, publishes and reads: a timer that
is due, or another task that is ready, waits for no more than that. It is a number that other work
on the machine cannot change, where every measure of time is.
"""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import pytest

from ferromqtt import Client
from support.clients import LIMIT, wait_for_queued
from support.flood import FLOODED, TOPIC, FloodProcess
from support.loops import LoopRunner

IN_A_TURN = 512
"""Messages that may be taken, or published, in one turn of the loop."""
READ_IN_A_TURN = 128 * 1024 // len(FLOODED) + 1
"""Messages that may be read: the buffer full, and what the read before left of a packet."""
INTERVAL = 0.005
BACKLOG = 200_000
UPLOAD = b"." * 64
WORK = 6e-6
"""Seconds for each message, so that the backlog takes longer than a Keep Alive."""


class Turns:
    """Counts in every turn of the loop by how much a number has grown since the turn before."""

    def __init__(self, count: Callable[[], int], allowed: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._count = count
        self._allowed = allowed

    def __enter__(self) -> Self:
        self.turns = self.most = 0
        self._last = self._count()
        self._handle = self._loop.call_soon(self._turn)
        return self

    def _turn(self) -> None:
        self.turns += 1
        self._measure()
        # called in the next turn, once
        self._handle = self._loop.call_soon(self._turn)

    def _measure(self) -> None:
        now = self._count()
        self.most = max(self.most, now - self._last)
        self._last = now

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # a turn that has not ended counts as well: in a loop that is starved there is no other
        self._measure()
        self._handle.cancel()
        if kind is None:
            assert self.most <= self._allowed, f"{self.most} messages in one of {self.turns} turns"


class Uploads:
    """A task that never waits for anything but publish, and how often it has published."""

    MANY = 100 * IN_A_TURN

    def __init__(self, client: Client) -> None:
        self._client = client
        self.count = 0
        self.many = asyncio.Event()

    async def run(self) -> None:
        while True:
            await self._client.publish("upload", UPLOAD)
            self.count += 1
            if self.count == self.MANY:
                self.many.set()

    def turns(self) -> Turns:
        return Turns(lambda: self.count, IN_A_TURN)


def test_timers_and_tasks_beside_an_endless_publish_loop(run: LoopRunner) -> None:
    """A time limit fires, and QoS 1 publishes and subscribes of other tasks complete."""

    async def main(port: int) -> None:
        async with Client("127.0.0.1", port) as client:
            uploads = Uploads(client)
            with uploads.turns(), pytest.raises(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await uploads.run()
            endless = asyncio.ensure_future(uploads.run())
            with uploads.turns():
                for _ in range(20):
                    await client.publish("other", b"x", qos=1, timeout=LIMIT)
                await client.subscribe("other", timeout=LIMIT)
                await asyncio.wait_for(uploads.many.wait(), LIMIT)
            endless.cancel()
            with pytest.raises(asyncio.CancelledError):
                await endless

    with FloodProcess() as flood:
        run(main, flood.port)
        report = flood.report()
    assert report["publishes"] == 20
    assert report["uploads"] >= Uploads.MANY


def test_cancel_of_an_endless_publish_loop(run: LoopRunner) -> None:
    async def main(port: int) -> None:
        async with Client("127.0.0.1", port) as client:
            endless = asyncio.ensure_future(Uploads(client).run())
            for _ in range(20):
                await asyncio.sleep(INTERVAL)
            endless.cancel()
            with pytest.raises(asyncio.CancelledError):
                await endless
            await client.publish("other", qos=1, timeout=LIMIT)

    with FloodProcess() as flood:
        run(main, flood.port)
        assert flood.report()["publishes"] == 1


def test_connection_is_kept_alive_beside_an_endless_publish_loop(run: LoopRunner) -> None:
    """The server drops a client that is silent, the client a server that is."""

    async def main(port: int) -> None:
        async with Client("127.0.0.1", port, keepalive=2) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await Uploads(client).run()
            await client.publish("other", b"still connected", qos=1, timeout=LIMIT)

    with FloodProcess() as flood:
        run(main, flood.port)
        report = flood.report()
    assert report["publishes"] == 1
    assert report["pings"] >= 1
    assert not report["keepalive_expired"]


@pytest.mark.timeout(120)
def test_timers_and_tasks_beside_a_backlog_of_messages(run: LoopRunner) -> None:
    """While it builds up unread, and while `async for` takes it as fast as it can."""

    async def main(port: int) -> None:
        async with Client("127.0.0.1", port) as client:
            with Turns(lambda: len(client.messages), READ_IN_A_TURN):
                await client.subscribe(TOPIC, qos=1, timeout=LIMIT)
                await wait_for_queued(client, BACKLOG)
            taken = 0
            with Turns(lambda: taken, IN_A_TURN):
                async for _ in client.messages:
                    taken += 1
                    if taken == BACKLOG:
                        break
            assert not client.messages

    with FloodProcess(BACKLOG, qos1_every=1000) as flood:
        run(main, flood.port)
        report = flood.report()
    assert report["sent"] == BACKLOG
    # QoS 1 was acknowledged although nobody read, once each
    assert report["pubacks"] == BACKLOG // 1000


@pytest.mark.timeout(120)
def test_pings_deadlines_and_cancel_beside_a_backlog(run: LoopRunner) -> None:
    """Each message costs its reader some work, so that all of them take over a second."""

    async def main(port: int) -> None:
        loop = asyncio.get_running_loop()
        async with Client("127.0.0.1", port, keepalive=1) as client:
            await client.subscribe(TOPIC, qos=1, timeout=LIMIT)
            await wait_for_queued(client, BACKLOG)
            taken, all_taken = 0, asyncio.Event()

            async def consume() -> None:
                nonlocal taken
                async for _ in client.messages:
                    taken += 1
                    if taken == BACKLOG:
                        all_taken.set()
                    until = time.perf_counter() + WORK
                    while time.perf_counter() < until:
                        pass

            started = loop.time()
            with Turns(lambda: taken, IN_A_TURN), pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await consume()
            task = asyncio.ensure_future(consume())
            with Turns(lambda: taken, IN_A_TURN):
                for _ in range(20):
                    await asyncio.sleep(INTERVAL)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert 0 < taken < BACKLOG
            task = asyncio.ensure_future(consume())
            with Turns(lambda: taken, IN_A_TURN):
                await asyncio.wait_for(all_taken.wait(), LIMIT * 2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert loop.time() - started > 1.05, "too fast to show that pings were sent"
            assert taken == BACKLOG
            await client.publish("other", b"still connected", qos=1, timeout=LIMIT)

    with FloodProcess(BACKLOG, qos1_every=1000) as flood:
        run(main, flood.port)
        report = flood.report()
    assert not report["keepalive_expired"]
    assert report["pings"] >= 1
    assert report["pubacks"] == BACKLOG // 1000


@pytest.mark.timeout(120)
def test_consumer_that_publishes_at_qos_1_under_a_flood_never_stalls(run: LoopRunner) -> None:
    """Its PUBACK comes behind the flood: reading must go on although messages are waiting."""

    async def main(port: int) -> None:
        async with Client("127.0.0.1", port) as client:
            await client.subscribe(TOPIC, qos=1, timeout=LIMIT)
            answered = 0
            async for _ in client.messages:
                await client.publish("answer", answered, qos=1, timeout=LIMIT)
                answered += 1
                if answered == 1000:
                    break
            await wait_for_queued(client, BACKLOG - answered)

    with FloodProcess(BACKLOG, qos1_every=1000, last_after_answer=True) as flood:
        run(main, flood.port)
        report = flood.report()
    assert report["publishes"] == 1000
    assert report["publishes_during_flood"] > 0
    assert report["pubacks"] == BACKLOG // 1000
