"""Python code that uses the native module while the module drops or makes objects."""

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from ferromqtt import Message, MqttError, ProtocolVersion
from ferromqtt._native import Broker, Core, Link
from support import packets
from support.loops import LoopRunner
from test_misuse_protocol import HandTransport, Wire


def take(wire: Wire) -> Message:
    """Take a message that is there, without a loop's help."""
    step: Any = anext(wire.client.messages)
    try:
        step.send(None)
    except StopIteration as stop:
        message: Message = stop.value
        return message
    raise AssertionError("it waits")


def test_a_topic_that_is_replaced_as_it_is_made_may_use_the_core(run: LoopRunner) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        wire.message(b"first")
        wire.message(b"second")
        payloads: list[bytes] = []
        lengths: list[int] = []
        callbacks: list[object] = []

        def profile(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and frame.f_code.co_name == "_trusted_topic":
                sys.setprofile(None)
                message = take(wire)
                payloads.append(message.payload)
                callback = lambda _: lengths.append(len(wire.client.messages))  # noqa: E731
                callbacks.append(weakref.ref(message.topic, callback))

        sys.setprofile(profile)
        try:
            payloads.append(take(wire).payload)
        finally:
            sys.setprofile(None)
        assert payloads == [b"second", b"first"]
        assert lengths == [0]
        wire.lose()

    run(main)


class Handle:
    """A timer's handle that looks at the core as it goes."""

    core: Core
    cancelled = 0
    gone: list[int]

    def cancel(self) -> None:
        Handle.cancelled += 1

    def __del__(self) -> None:
        self.gone.append(len(self.core.messages()))


def test_a_timer_that_the_loop_arms_twice_is_cancelled_with_the_core_released() -> None:
    class Hooked(Core):
        def _on_connected(self, *_: object) -> None:
            pass

    class Loop:
        nested = False

        def time(self) -> float:
            return 0.0

        def call_later(self, _delay: float, _callback: object) -> Handle:
            if not self.nested:
                self.nested = True
                core.flush()  # arms the timer before this call has
            return Handle()

    core = Hooked(1)
    Handle.core, Handle.gone, Handle.cancelled = core, [], 0
    core.configure(protocol=4, client_identifier="t", keep_alive=60)
    core.begin(Loop(), "the server")  # type: ignore[arg-type]
    link = Link(core)
    link.connection_made(HandTransport())
    link.get_buffer(-1)[: len(packets.CONNACK_311)] = packets.CONNACK_311
    link.buffer_updated(len(packets.CONNACK_311))
    assert (Handle.cancelled, Handle.gone) == (1, [0])
    del Handle.__del__  # the last one goes with the core


@pytest.fixture
def collecting() -> Iterator[None]:
    threshold = gc.get_threshold()
    gc.collect()
    gc.disable()
    yield
    gc.set_threshold(*threshold)
    gc.enable()


@pytest.mark.usefixtures("collecting")
def test_properties_are_made_with_the_message_released(run: LoopRunner) -> None:
    """CPython 3.11 collects garbage in any allocation; a finalizer may then change the message."""

    class Garbage:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            message.mid = 7

    async def main() -> None:
        nonlocal message
        wire = Wire(ProtocolVersion.V5)
        await wire.connect()
        wire.feed(packets.publish("topic", b"\x00x"))  # no properties
        message = take(wire)
        kept = [{} for _ in range(200)]  # so that the next one is no reused one
        Garbage()
        gc.set_threshold(1)
        gc.enable()
        properties = message.properties
        gc.disable()
        assert properties is message.properties
        assert message.mid in (0, 7)
        del kept
        wire.lose()

    message: Message
    run(main)


class Quiet(Core):
    """A core that does not mind a step that waits before a connection."""

    def warn_if_not_entered(self) -> None:
        pass


def test_a_step_that_its_loop_runs_while_it_queues_up_holds_one_place() -> None:
    real = asyncio.new_event_loop()
    made: list[asyncio.Future[None]] = []

    class Loop:
        nested = False

        def create_future(self) -> asyncio.Future[None]:
            if not self.nested:
                self.nested = True
                step.send(None)
            made.append(real.create_future())
            return made[-1]

    core = Quiet(1)
    step: Any = anext(core.messages())
    asyncio._set_running_loop(Loop())  # type: ignore[arg-type]
    try:
        step.send(None)
    finally:
        asyncio._set_running_loop(None)
    assert len(made) == 2
    assert core.take_foreign_waiters() == made[1:]
    real.close()


@pytest.mark.parametrize("happens", ["a message", "the end"])
def test_a_step_sees_what_happens_while_its_loop_makes_its_future(happens: str) -> None:
    class Loop(asyncio.SelectorEventLoop):
        armed = False

        def create_future(self) -> asyncio.Future[Any]:
            if self.armed:
                self.armed = False
                wire.message(b"meanwhile") if happens == "a message" else wire.lose()
            return super().create_future()

    async def main() -> None:
        nonlocal wire
        wire = Wire()
        await wire.connect()
        step: Any = anext(wire.client.messages)
        loop.armed = True
        if happens == "a message":
            with pytest.raises(StopIteration) as stop:
                step.send(None)
            assert stop.value.value.payload == b"meanwhile"
            wire.lose()
        else:
            assert step.send(None) is None  # it gives the loop a turn before it raises
            with pytest.raises(MqttError, match="Disconnected"):
                step.send(None)

    wire: Wire
    loop = Loop()
    loop.run_until_complete(main())
    loop.close()


def test_a_step_that_is_done_is_used_again_once_nobody_has_it(run: LoopRunner) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        one, other = wire.client.messages, wire.client.messages
        for number in range(4):
            wire.message(b"%d" % number)
        kept: Any = anext(one)
        first = await kept
        step: Any = anext(other)
        assert step is not kept
        with pytest.raises(RuntimeError, match="to its end"):
            kept.send(None)
        second = await step
        address = id(step)
        del step
        again: Any = anext(one)
        assert id(again) == address
        third = await again
        assert again is not anext(one)
        with pytest.raises(RuntimeError, match="to its end"):
            again.send(None)
        payloads = [first.payload, second.payload, third.payload]
        assert payloads == [b"0", b"1", b"2"]
        assert len(one) == 1
        wire.lose()

    run(main)


def test_a_step_that_waited_is_not_kept_and_gives_back_its_place(run: LoopRunner) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        wire.message(b"a step that is done is there to be used again")
        assert take(wire)
        waiting: Any = anext(wire.client.messages)
        waiting.send(None)
        task = asyncio.ensure_future(anext(wire.client.messages))
        await asyncio.sleep(0)
        wire.message(b"for the task, since the first one has gone")
        del waiting
        assert (await task).payload.startswith(b"for the task")
        wire.lose()

    run(main)


def test_a_client_with_a_step_to_use_again_is_freed_without_the_collector() -> None:
    async def main() -> weakref.ref[Core]:
        wire = Wire()
        await wire.connect()
        wire.message(b"x")
        assert take(wire)
        wire.lose()
        return weakref.ref(wire.core)

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(main())() is None
    finally:
        gc.enable()


class Waiting:
    """A core with steps that wait, on a loop that makes the futures it is told to make."""

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], object]) -> None:
        self.loop = asyncio.new_event_loop()
        self.core = Quiet(1)
        self.made: list[object] = []
        self._make = make

    def create_future(self) -> object:
        self.made.append(self._make(self.loop))
        return self.made[-1]

    def wait(self) -> Any:  # noqa: ANN401  a step has no public type
        """Return a step that has begun to wait."""
        step: Any = anext(self.core.messages())
        self.go_on(step)
        return step

    def go_on(self, step: Any) -> None:  # noqa: ANN401
        asyncio._set_running_loop(self)  # type: ignore[arg-type]
        try:
            step.send(None)
        finally:
            asyncio._set_running_loop(None)


def test_no_waiting_step_is_lost_when_one_cannot_tell_its_loop() -> None:
    class Future(asyncio.Future[None]):
        asked = 0

        def get_loop(self) -> asyncio.AbstractEventLoop:
            Future.asked += 1
            if Future.asked == 2:
                raise KeyError("get_loop")
            return super().get_loop()

    waiting = Waiting(lambda loop: Future(loop=loop))
    steps = [waiting.wait() for _ in range(3)]
    with pytest.raises(KeyError, match="get_loop"):
        waiting.core.take_foreign_waiters()
    assert waiting.core.take_foreign_waiters() == waiting.made
    steps.clear()
    waiting.loop.close()


def test_a_step_that_leaves_while_loops_are_looked_at_leaves_no_place() -> None:
    class Future(asyncio.Future[None]):
        def get_loop(self) -> asyncio.AbstractEventLoop:
            steps[1].close()
            return super().get_loop()

    waiting = Waiting(lambda loop: Future(loop=loop))
    steps = [waiting.wait() for _ in range(3)]
    assert waiting.core.take_foreign_waiters() == [waiting.made[0], waiting.made[2]]
    steps.clear()
    waiting.loop.close()


def test_a_step_whose_future_raises_as_it_is_awaited_leaves_no_place() -> None:
    class Future(asyncio.Future[None]):
        def __await__(self) -> Iterator[Any]:  # type: ignore[override]
            return self

        def __next__(self) -> None:
            raise KeyError("__next__")

    waiting = Waiting(lambda loop: Future(loop=loop))
    step = waiting.wait()  # it gives the loop a turn before it raises
    with pytest.raises(KeyError, match="__next__"):
        waiting.go_on(step)
    assert waiting.core.take_foreign_waiters() == []
    waiting.loop.close()


def test_a_wrong_reason_code_may_use_the_broker_as_it_is_printed() -> None:
    class Reason(int):
        def __str__(self) -> str:
            timeouts.append(broker.timeout())
            return "mine"

    timeouts: list[float | None] = []
    broker = Broker()
    with pytest.raises(ValueError, match="reason must be in the range 0-255, not mine"):
        broker.disconnect_client("nobody", Reason(1000), None)
    assert timeouts == [None]
