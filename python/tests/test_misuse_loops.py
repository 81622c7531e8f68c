"""A client on other event loops and in other threads than the one it was entered on."""

import asyncio
import contextlib
import gc
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ferromqtt import Client, Message, MqttCodeError, MqttError
from ferromqtt._internals import internals_of
from ferromqtt._native import Host
from ferromqtt._transport.websocket import WebSocketLayer, request_headers
from support import packets
from support.builtin import BuiltinBroker
from support.clients import LIMIT, receive, unique
from support.loops import FACTORIES, LoopRunner
from support.scripted import Connection, ScriptedServer, serve_311
from support.websocket_server import BINARY, WebSocketPeer, frame
from test_misuse_protocol import Wire

Factory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=FACTORIES)
def factory(request: pytest.FixtureRequest) -> Factory:
    """Make loops of one kind."""
    return FACTORIES[request.param]


# The transport of a loop that is closed cannot be closed any more, which it tells as it goes.
# (uvloop waits forever when that warning is an error.)
abandons_a_transport = pytest.mark.filterwarnings("ignore::ResourceWarning")


def in_a_thread(main: Callable[[], object]) -> object:
    """Run it in another thread; return what it returns or the exception it raises."""
    outcome: list[object] = []

    def target() -> None:
        try:
            outcome.append(main())
        except Exception as error:  # noqa: BLE001  the test looks at it
            outcome.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive()
    return outcome[0]


CALLS: dict[str, Callable[[Client], Coroutine[Any, Any, object]]] = {
    "publish": lambda client: client.publish("other", "x"),
    "publish at QoS 1": lambda client: client.publish("other", "x", qos=1),
    "publish much": lambda client: client.publish("other", b"x" * 200_000),
    "subscribe": lambda client: client.subscribe("other"),
    "unsubscribe": lambda client: client.unsubscribe("other"),
    "leave": lambda client: client.__aexit__(None, None, None),
}


async def iterate(client: Client) -> Message:
    return await anext(client.messages)


@pytest.mark.parametrize("call", [*CALLS, "iterate"])
def test_a_call_from_another_threads_loop_is_refused_and_nothing_sent(
    run: LoopRunner, call: str
) -> None:
    begin = CALLS.get(call, iterate)
    with ScriptedServer(serve_311) as server:

        async def main() -> None:
            async with Client(server.host, server.port) as client:
                error = await asyncio.to_thread(
                    in_a_thread, lambda: asyncio.run(asyncio.wait_for(begin(client), LIMIT))
                )
                assert isinstance(error, RuntimeError)
                assert "event loop" in str(error)
                await client.publish("mine", "alive", qos=1)

        run(main)
    assert b"mine" in server.received
    assert b"other" not in server.received


@pytest.mark.parametrize("call", CALLS)
def test_a_call_from_a_second_loop_in_the_same_thread_is_refused(
    factory: Factory, call: str
) -> None:
    with ScriptedServer(serve_311) as server:
        first, second = factory(), factory()
        client = Client(server.host, server.port)
        try:
            first.run_until_complete(client.__aenter__())
            with pytest.raises(RuntimeError, match="event loop"):
                second.run_until_complete(asyncio.wait_for(CALLS[call](client), LIMIT))
            first.run_until_complete(client.publish("mine", "alive", qos=1))
            first.run_until_complete(client.__aexit__(None, None, None))
        finally:
            first.close()
            second.close()
    assert b"mine" in server.received
    assert b"other" not in server.received


def resume_twice(call: Any) -> None:  # noqa: ANN401  a coroutine, or a step
    """Run a call that gives the loop a turn before it fails."""
    for _ in range(2):
        call.send(None)


def test_a_call_without_a_loop_is_refused(run: LoopRunner) -> None:
    with ScriptedServer(serve_311) as server:

        async def main() -> None:
            async with Client(server.host, server.port) as client:

                def by_hand() -> None:
                    with contextlib.closing(client.publish("other", "x")) as coroutine:
                        resume_twice(coroutine)

                error = await asyncio.to_thread(in_a_thread, by_hand)
                assert isinstance(error, RuntimeError)

        run(main)
    assert b"other" not in server.received


def test_a_loop_may_go_on_in_another_thread(factory: Factory, builtin: BuiltinBroker) -> None:
    """Entered by `run_until_complete`, and then used while the loop runs in the background."""
    loop = factory()
    client = Client(builtin.host, builtin.port)
    loop.run_until_complete(client.__aenter__())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        publishing = client.publish("t", "x", qos=1)
        asyncio.run_coroutine_threadsafe(publishing, loop).result(LIMIT)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(LIMIT)
        loop.run_until_complete(client.__aexit__(None, None, None))
        loop.close()


@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
def test_an_iterator_that_waited_elsewhere_is_told(
    builtin: BuiltinBroker, queue_type: type[asyncio.Queue[Message]] | None
) -> None:
    """It began to wait in a thread's loop before the client was entered on another one."""
    client = Client(builtin.host, builtin.port, queue_type=queue_type)
    topic = unique("elsewhere")
    waiting = threading.Event()

    async def wait() -> str:
        step = asyncio.ensure_future(iterate(client))
        await asyncio.sleep(0)
        waiting.set()
        loop = asyncio.get_running_loop()
        begin = loop.time()
        done, _ = await asyncio.wait([step], timeout=LIMIT)
        if not done or loop.time() - begin > LIMIT / 2:  # what ended the wait was its own timer
            step.cancel()
            return "not told"
        return "told"  # a message, or an error that says what is wrong

    outcome: list[str] = []
    thread = threading.Thread(target=lambda: outcome.append(asyncio.run(wait())))
    thread.start()
    assert waiting.wait(LIMIT)

    async def main() -> None:
        async with client:
            await client.subscribe(topic)
            await client.publish(topic, "x", qos=1)
            await asyncio.to_thread(thread.join, LIMIT)

    asyncio.run(main())
    assert outcome == ["told"]


def test_threads_that_all_look_at_once_do_no_harm(run: LoopRunner, builtin: BuiltinBroker) -> None:
    async def main() -> None:
        topic = unique("threads")
        stop = threading.Event()
        problems: list[BaseException] = []

        def look() -> None:
            while not stop.is_set():
                try:
                    len(client.messages)
                    _ = (
                        internals_of(client).core.connected,
                        internals_of(client).core.transport,
                        client.identifier,
                    )
                    step: Any = anext(client.messages)
                    step.close()
                except BaseException as error:  # noqa: BLE001  a panic is none of Exception
                    problems.append(error)
                    return

        async with Client(builtin.host, builtin.port) as client:
            threads = [threading.Thread(target=look) for _ in range(3)]
            for thread in threads:
                thread.start()
            try:
                await client.subscribe(topic)
                for number in range(60):
                    await client.publish(topic, str(number), qos=number % 3)
                for _ in range(60):
                    await receive(client)
            finally:
                stop.set()
                for thread in threads:
                    await asyncio.to_thread(thread.join, LIMIT)
        assert not problems

    run(main)


@abandons_a_transport
def test_a_client_lives_on_after_its_loop_was_closed_while_connected(
    factory: Factory, builtin: BuiltinBroker
) -> None:
    client = Client(builtin.host, builtin.port, max_concurrent_outgoing_calls=1)
    topic = unique("closed")

    async def use() -> None:
        await client.subscribe(topic)
        await asyncio.gather(*(client.publish(topic, "x", qos=1) for _ in range(5)))
        for _ in range(5):
            assert (await receive(client)).payload == b"x"

    for leaves in (False, True, False, True):
        loop = factory()
        try:
            loop.run_until_complete(client.__aenter__())
            loop.run_until_complete(asyncio.wait_for(use(), LIMIT))
            waiting = loop.create_task(iterate(client))
            loop.run_until_complete(asyncio.sleep(0))
            waiting.cancel()
            loop.run_until_complete(asyncio.wait([waiting]))
        finally:
            loop.close()
        other = factory()
        try:
            if leaves:
                other.run_until_complete(client.__aexit__(None, None, None))
            else:
                with pytest.raises((RuntimeError, MqttError)):
                    other.run_until_complete(client.publish(topic, "x", qos=1, timeout=0.1))
                other.run_until_complete(client.__aexit__(None, None, None))
        finally:
            other.close()
    gc.collect()


@abandons_a_transport
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_calls_on_a_closed_loop_raise_and_leave_nothing_waiting(
    factory: Factory, builtin: BuiltinBroker, qos: int
) -> None:
    client = Client(builtin.host, builtin.port)
    loop = factory()
    loop.run_until_complete(client.__aenter__())
    loop.close()
    for _ in range(3):
        coroutine = client.publish("t", "x", qos)
        with pytest.raises((RuntimeError, MqttError, StopIteration)):
            resume_twice(coroutine)
        coroutine.close()
    step: Any = anext(client.messages)
    with pytest.raises((RuntimeError, MqttError)):
        resume_twice(step)
    step.close()
    asyncio.run(client.__aexit__(None, None, None))
    with pytest.raises(MqttError):
        asyncio.run(iterate(client))


@abandons_a_transport
def test_tasks_that_waited_as_the_loop_was_closed_take_no_message(
    factory: Factory, builtin: BuiltinBroker
) -> None:
    client = Client(builtin.host, builtin.port)
    topic = unique("pending")
    loop = factory()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"

    async def begin() -> None:
        await client.__aenter__()
        tasks.extend(asyncio.ensure_future(iterate(client)) for _ in range(3))
        tasks.append(asyncio.ensure_future(client.publish(topic, "old", qos=1)))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[Any]] = []
    loop.run_until_complete(begin())
    loop.close()

    async def main() -> None:
        await client.__aexit__(None, None, None)
        async with client:
            await client.subscribe(topic)
            for number in range(3):
                await client.publish(topic, str(number), qos=1)
            payloads = [(await receive(client)).payload for _ in range(3)]
            assert [p for p in payloads if p != b"old"][:2] == [b"0", b"1"]

    asyncio.run(main())
    for task in tasks:
        task.get_coro().close()
    tasks.clear()
    gc.collect()


@pytest.mark.parametrize("over", ["tcp", "websockets"])
def test_the_late_end_of_an_earlier_transport_ends_no_later_one(
    factory: Factory, over: str
) -> None:
    """Its loop stood still when the client was connected on another one."""
    wire = Wire()

    async def connect(ours: socket.socket, theirs: socket.socket) -> None:
        ours.setblocking(False)
        await wire.core.start()
        loop = asyncio.get_running_loop()
        if over == "tcp":
            await loop.create_connection(lambda: wire.link, sock=ours)
            theirs.sendall(packets.CONNACK_311)
        else:
            headers = request_headers(Host("there"), 80, secure=False, headers=None)
            layer = WebSocketLayer(wire.link, "/mqtt", headers)
            await loop.create_connection(lambda: layer, sock=ours)
            peer = WebSocketPeer(Connection(theirs)).accept()
            await asyncio.wait_for(layer.opened, LIMIT)
            peer.send(frame(BINARY, packets.CONNACK_311))
        await asyncio.wait_for(wire.core.accepted(), LIMIT)

    first, second = factory(), factory()
    pairs = socket.socketpair(), socket.socketpair()
    first.run_until_complete(connect(*pairs[0]))
    second.run_until_complete(connect(*pairs[1]))
    for _ in range(3):
        first.run_until_complete(asyncio.sleep(0))
    assert wire.core.connected
    pairs[0][1].close()
    pairs[1][1].close()
    leaving = wire.core.stop(LIMIT, publish_will=False, wait=False)
    with contextlib.suppress(MqttError):  # the other side has gone
        second.run_until_complete(leaving)
    assert wire.core.transport is None
    first.close()
    second.close()


def test_a_message_wakes_no_task_of_a_closed_loop(factory: Factory) -> None:
    loop = factory()
    wire: Wire

    async def begin() -> None:
        nonlocal wire
        wire = Wire()
        await wire.connect()
        steps.extend(anext(wire.client.messages) for _ in range(3))
        for step in steps:
            step.send(None)

    steps: list[Any] = []
    loop.run_until_complete(begin())
    loop.close()
    for future_payload in (b"a", b"b"):
        with contextlib.suppress(RuntimeError):  # the core's own loop is closed too
            wire.message(future_payload)
    steps.clear()
    gc.collect()
    assert len(wire.client.messages) == 2
    wire.core.end_messages()

    async def take() -> list[bytes]:
        return [(await iterate(wire.client)).payload for _ in range(2)]

    wire.lose()
    assert asyncio.run(take()) == [b"a", b"b"]


@pytest.mark.parametrize("enters", [True, False])
@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
def test_a_message_reserved_on_a_closed_loop_goes_to_an_iterator_on_another(
    factory: Factory, queue_type: type[asyncio.Queue[Message]] | None, *, enters: bool
) -> None:
    """An iterator was woken for it, and its loop was closed before the iterator ran."""
    loop = factory()
    wire: Wire
    steps: list[Any] = []

    async def begin() -> None:
        nonlocal wire
        wire = Wire(queue_type=queue_type)
        await wire.connect()
        steps.append(anext(wire.client.messages))
        steps[0].send(None)
        wire.message(b"a")

    async def go_on() -> None:
        if enters:
            await wire.connect()
            assert await wire.rest() == [b"a"]
        wire.lose()
        if not enters:
            assert (await receive(wire.client)).payload == b"a"
        with pytest.raises(MqttError):
            await receive(wire.client)

    loop.run_until_complete(begin())
    loop.close()
    asyncio.run(go_on())
    steps[0].close()


@abandons_a_transport
def test_calls_that_a_closed_loop_left_hold_no_slot_once_the_client_has_left(
    factory: Factory, builtin: BuiltinBroker
) -> None:
    client = Client(builtin.host, builtin.port, max_concurrent_outgoing_calls=1)
    loop = factory()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
    calls: list[asyncio.Task[None]] = []

    async def begin() -> None:
        await client.__aenter__()
        calls.extend(asyncio.ensure_future(client.publish("t", "x", qos=1)) for _ in range(2))
        await asyncio.sleep(0)  # one runs, and one waits for its slot

    async def leave_and_call() -> None:
        await client.__aexit__(None, None, None)
        with pytest.raises(MqttCodeError, match="not currently connected"):
            await client.publish("t", "x", qos=1)

    loop.run_until_complete(begin())
    loop.close()
    asyncio.run(leave_and_call())
    for call in calls:
        call.get_coro().close()
    calls.clear()
    gc.collect()


def test_a_semaphore_of_calls_belongs_to_each_loop_anew(
    factory: Factory, builtin: BuiltinBroker
) -> None:
    client = Client(builtin.host, builtin.port, max_concurrent_outgoing_calls=1)

    async def main() -> None:
        async with client:
            calls = [client.publish("t", "x", qos=1) for _ in range(5)]
            await asyncio.wait_for(asyncio.gather(*calls), LIMIT)

    for _ in range(3):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())


def test_entering_on_a_second_loop_while_connected_is_refused(factory: Factory) -> None:
    with ScriptedServer(serve_311) as server:
        first, second = factory(), factory()
        client = Client(server.host, server.port)
        try:
            first.run_until_complete(client.__aenter__())
            with pytest.raises(MqttError, match="not reentrant"):
                second.run_until_complete(client.__aenter__())
            first.run_until_complete(client.publish("t", "alive", qos=1))
            first.run_until_complete(client.__aexit__(None, None, None))
        finally:
            first.close()
            second.close()
    assert server.received.count(packets.string("MQTT")) == 1


def test_three_hundred_clients_come_and_go_and_leave_no_memory(
    run: LoopRunner, builtin: BuiltinBroker
) -> None:
    def resident() -> int:
        with open("/proc/self/statm") as statm:  # noqa: PTH123  not a file
            return int(statm.read().split()[1]) * 4096

    async def main() -> None:
        async def cycles(count: int) -> None:
            for _ in range(count):
                async with Client(builtin.host, builtin.port) as client:
                    await client.subscribe("cycle/#")
                    await client.publish("cycle/x", b"x" * 100_000, qos=1)
                    assert len((await receive(client)).payload) == 100_000

        await cycles(100)
        gc.collect()
        before = resident()
        await cycles(200)
        gc.collect()
        assert resident() - before < 8_000_000

    run(main)
