"""The futures that calls wait on: tasks that are acknowledged together are woken together."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ferromqtt import MqttError
from ferromqtt._call_future import CallFuture, wake
from ferromqtt.testing import VirtualLoop
from support import packets
from support.loops import settle
from support.wire import Wire

Main = Callable[[], Coroutine[Any, Any, None]]


class CountingLoop(VirtualLoop):
    """Counts what it is given to call."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduled: list[object] = []

    def call_soon(
        self,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401  as of any loop
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        self.scheduled.append(callback)
        return super().call_soon(callback, *args, context=context)

    def count(self, callback: object) -> int:
        return self.scheduled.count(callback)


def run(main: Main) -> None:
    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        runner.run(main())


def counting_loop() -> CountingLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountingLoop)
    return loop


def acknowledge(wire: Wire, *packet_ids: int) -> None:
    """Acknowledge several messages in one read."""
    wire.feed(b"".join(packets.ack(packets.PUBACK, packet_id) for packet_id in packet_ids))


def new(loop: asyncio.AbstractEventLoop) -> CallFuture:
    """Make one as the native module does."""
    future = CallFuture(loop=loop)
    future.callback = None
    return future


def test_tasks_that_one_read_acknowledges_are_woken_in_order_by_one_callback() -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        ended: list[int] = []

        async def publish(number: int) -> None:
            await wire.client.publish("t", qos=1)
            ended.append(number)

        tasks = [asyncio.create_task(publish(number)) for number in range(1, 6)]
        await settle()
        acknowledge(wire, 2, 1, 5, 4, 3)
        assert not ended  # it is the loop that runs tasks
        await asyncio.wait(tasks)
        assert ended == [2, 1, 5, 4, 3]
        assert counting_loop().count(wake) == 1
        wire.lose()

    run(main)


def test_tasks_are_woken_in_the_order_of_what_they_wait_for() -> None:
    """A message between two acknowledgements wakes its reader between their tasks."""

    async def main() -> None:
        wire = Wire()
        await wire.connect()
        ended: list[str] = []

        async def publish(name: str) -> None:
            await wire.client.publish("t", qos=1)
            ended.append(name)

        async def read() -> None:
            await anext(wire.client.messages)
            ended.append("read")

        tasks = [asyncio.create_task(it) for it in (publish("first"), publish("last"), read())]
        await settle()
        body = packets.string("t") + b"payload"
        acknowledgements = [packets.ack(packets.PUBACK, packet_id) for packet_id in (1, 2)]
        wire.feed(packets.encode(0x30, body).join(acknowledgements))
        await asyncio.wait(tasks)
        assert ended == ["first", "read", "last"]
        wire.lose()

    run(main)


def test_each_task_goes_on_in_its_own_context() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def main() -> None:
        wire = Wire()
        await wire.connect()

        async def publish(number: int) -> int:
            variable.set(number)
            await wire.client.publish("t", qos=1)
            return variable.get()

        tasks = [asyncio.create_task(publish(number)) for number in range(3)]
        await settle()
        acknowledge(wire, 1, 2, 3)
        assert await asyncio.gather(*tasks) == [0, 1, 2]
        wire.lose()

    run(main)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_task_that_ends_the_loop_leaves_the_others_to_be_woken(
    error: type[BaseException],
) -> None:
    ended: list[int] = []
    wire = Wire()

    async def publish(number: int) -> None:
        await wire.client.publish("t", qos=1)
        if number == 2:
            raise error
        ended.append(number)

    async def begin() -> list[asyncio.Task[None]]:
        await wire.connect()
        tasks = [asyncio.create_task(publish(number)) for number in range(1, 5)]
        await settle()
        return tasks

    async def end() -> None:
        await asyncio.wait(tasks)
        wire.lose()

    loop = VirtualLoop()
    tasks = loop.run_until_complete(begin())
    loop.call_soon(acknowledge, wire, 1, 2, 3, 4)
    with pytest.raises(error):
        loop.run_until_complete(end())
    assert ended == [1]
    loop.run_until_complete(end())
    assert ended == [1, 3, 4]
    assert isinstance(tasks[1].exception(), error)
    loop.close()


@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_task_is_cancelled_while_it_waits_and_until_it_is_woken(acknowledged: bool) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        tasks = [asyncio.create_task(wire.client.publish("t", qos=1)) for _ in range(3)]
        await settle()
        if acknowledged:
            acknowledge(wire, 1, 2, 3)
        tasks[1].cancel("enough")
        if not acknowledged:
            acknowledge(wire, 1, 2, 3)
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks] == [False, True, False]
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        wire.lose()

    run(main)


def test_calls_that_an_end_fails_are_woken_together() -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        calls = [wire.client.publish("t", qos=1) for _ in range(3)]
        tasks = [asyncio.create_task(call) for call in calls]
        await settle()
        wire.lose()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [MqttError] * 3
        assert counting_loop().count(wake) == 1

    run(main)


def test_a_loop_that_makes_its_own_futures_makes_those_of_calls() -> None:
    class OwnFuture(asyncio.Future[Any]):
        pass

    class Loop(VirtualLoop):
        def create_future(self) -> OwnFuture:
            return OwnFuture(loop=self)

    async def main() -> None:
        wire = Wire()
        await wire.connect()
        task = asyncio.create_task(wire.client.publish("t", qos=1))
        await settle()
        waits_for: Any = getattr(task, "_fut_waiter")  # noqa: B009  a private slot of C
        assert type(waits_for) is OwnFuture
        acknowledge(wire, 1)
        await task
        wire.lose()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())


def test_it_has_callbacks_as_any_future_has() -> None:
    async def main() -> None:
        loop = counting_loop()
        context = contextvars.copy_context()
        called: list[str] = []
        callbacks: dict[str, Callable[[Any], None]] = {
            name: lambda _, name=name: called.append(name)
            for name in ("first", "second", "third", "removed", "late")
        }
        future = new(loop)
        future.add_done_callback(callbacks["removed"], context=context)
        assert future.remove_done_callback(callbacks["removed"]) == 1
        assert future.remove_done_callback(callbacks["removed"]) == 0
        future.add_done_callback(callbacks["first"], context=context)
        future.add_done_callback(callbacks["second"], context=context)
        future.add_done_callback(callbacks["third"])
        future.add_done_callback(callbacks["removed"])
        assert future.remove_done_callback(callbacks["removed"]) == 1
        future.set_result(None)
        wake([future])
        wake([future])
        future.add_done_callback(callbacks["late"], context=context)
        await asyncio.sleep(0)
        assert called == ["first", "second", "third", "late"]

    run(main)


@pytest.mark.parametrize("waits", [False, True])
def test_it_is_cancelled_as_any_future_is(waits: bool) -> None:
    async def main() -> None:
        future = new(counting_loop())
        called: list[object] = []
        if waits:
            future.add_done_callback(called.append, context=contextvars.copy_context())
        assert future.cancel("why")
        assert not future.cancel()
        future.add_done_callback(called.append, context=contextvars.copy_context())
        await asyncio.sleep(0)
        assert called == [future] * (1 + waits)
        with pytest.raises(asyncio.CancelledError, match="why"):
            future.result()

    run(main)


def test_one_that_was_cancelled_while_nobody_waited_is_passed_over() -> None:
    async def main() -> None:
        loop = counting_loop()
        future = new(loop)
        future.cancel()
        reported: list[object] = []
        loop.set_exception_handler(lambda _, context: reported.append(context))
        wake([future])
        assert reported == []

    run(main)


def test_a_callback_that_raises_is_reported_and_keeps_up_no_other() -> None:
    async def main() -> None:
        loop = counting_loop()
        reported: list[Any] = []
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        futures = [new(loop) for _ in range(3)]
        called: list[object] = []

        def fail(_: object) -> None:
            raise KeyError("callback")

        for future, callback in zip(futures, (fail, called.append, None), strict=True):
            if callback is not None:
                future.add_done_callback(callback, context=contextvars.copy_context())
            future.set_result(None)
        wake(futures)
        assert [type(error) for error in reported] == [KeyError]
        assert called == [futures[1]]

    run(main)
