"""What fails gives the event loop a turn first: a loop of failures starves no task (contract 1)."""

import asyncio
import contextlib
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ferromqtt import (
    Client,
    Message,
    MqttCodeError,
    MqttError,
    MqttReentrantError,
    Properties,
    ProtocolVersion,
)
from ferromqtt._internals import internals_of
from support import packets
from support.clients import LIMIT
from support.loops import LoopRunner, settle
from support.scripted import Connection, ScriptedServer, serve_311
from support.wire import HandTransport, Wire

Call = Callable[[], Awaitable[object]]


class Turns:
    """Counts the turns of the running loop."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self.count += 1
        self._handle = self._loop.call_soon(self._turn)

    def stop(self) -> None:
        self._handle.cancel()


async def fail(call: Call) -> Exception:
    """Await what fails; return the error, which must come no sooner than a turn later."""
    turns = Turns()
    try:
        with pytest.raises(Exception) as caught:  # noqa: PT011  the caller looks at it
            await call()
        assert turns.count, f"{caught.value!r} came at once"
        return caught.value
    finally:
        turns.stop()


async def check(call: Call, error: type[Exception], text: str) -> None:
    """Await what fails with this error: as it is, eagerly, and cancelled in the turn."""

    async def tried() -> object:
        return await call()

    def expect(failure: Exception) -> None:
        assert isinstance(failure, error), failure
        assert text in str(failure)

    expect(await fail(call))
    if sys.version_info >= (3, 12):
        expect(await fail(lambda: asyncio.eager_task_factory(asyncio.get_running_loop(), tried())))
    task = asyncio.ensure_future(tried())
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    expect(await fail(call))


def with_time_limit(client: Client, timeout: object) -> Client:
    """Set a time limit that the constructor would refuse."""
    client.timeout = timeout  # type: ignore[assignment]
    return client


def nothing_but_disconnect(connection: Connection) -> None:
    """Accept; fail the test when anything comes before DISCONNECT."""
    connection.accept()
    connection.expect(packets.DISCONNECT)
    connection.read_to_end()


MISSING = Path("/nonexistent/mqtt.sock")
ENTERS: dict[str, tuple[Callable[[], Client], type[Exception], str]] = {
    "empty host": (lambda: Client(""), ValueError, "Invalid host."),
    "port": (lambda: Client("localhost", 0), ValueError, "Invalid port number."),
    "clean start": (lambda: Client("localhost", clean_start=True), ValueError, "Clean start"),
    "properties": (
        lambda: Client("localhost", properties=Properties(1)),
        ValueError,
        "Properties only apply",
    ),
    "missing socket": (lambda: Client(str(MISSING), transport="unix"), MqttError, "No such file"),
    "host": (lambda: Client("a..b"), ValueError, "a..b"),
    "no time": (lambda: Client("127.0.0.1", 1, timeout=0), MqttError, ""),
    "timeout": (
        lambda: with_time_limit(Client("127.0.0.1", 1), "soon"),
        TypeError,
        "",
    ),
}


@pytest.mark.parametrize("name", ENTERS)
def test_entering_that_fails_gives_the_loop_a_turn_1_4(run: LoopRunner, name: str) -> None:
    make, error, text = ENTERS[name]

    async def main() -> None:
        client = make()
        await check(client.__aenter__, error, text)

    run(main)


@pytest.mark.parametrize("seconds", [-1, -0.5, float("nan"), float("-inf")])
def test_a_time_limit_below_zero_is_refused_before_anything_is_sent_1_4(
    run: LoopRunner, seconds: float
) -> None:
    text = f"timeout must be 0 or more seconds, not {seconds}. Give math.inf for no limit."

    async def main(server: ScriptedServer) -> None:
        with pytest.raises(ValueError, match=re.escape(text)):
            Client("localhost", timeout=seconds)
        client = with_time_limit(Client(server.host, server.port), seconds)
        await check(client.__aenter__, ValueError, text)
        client.timeout = LIMIT
        async with client:
            for qos in (0, 1):
                with pytest.raises(ValueError, match=re.escape(text)):
                    await client.publish("t", qos=qos, timeout=seconds)
            with pytest.raises(ValueError, match=re.escape(text)):
                await client.subscribe("t", timeout=seconds)
            with pytest.raises(ValueError, match=re.escape(text)):
                await client.unsubscribe("t", timeout=seconds)

    with ScriptedServer(nothing_but_disconnect) as server:
        run(main, server)


def test_a_time_limit_of_another_type_has_no_note_of_the_binding_1_4(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            with pytest.raises(TypeError, match="timeout must be a number of seconds") as error:
                await client.publish("t", timeout="3")  # type: ignore[arg-type]
            assert not hasattr(error.value, "__notes__")

    with ScriptedServer(nothing_but_disconnect) as server:
        run(main, server)


def test_entering_twice_gives_the_loop_a_turn_1_4(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            await check(client.__aenter__, MqttReentrantError, "not reentrant")

    with ScriptedServer(serve_311) as server:
        run(main, server)


def test_a_client_whose_enter_was_cancelled_in_the_turn_can_be_entered_again_1_4(
    run: LoopRunner,
) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        client.timeout = "soon"  # type: ignore[assignment]
        entering = asyncio.ensure_future(client.__aenter__())
        await asyncio.sleep(0)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        client.timeout = LIMIT
        async with client:
            await client.publish("t", qos=1)

    with ScriptedServer(serve_311) as server:
        run(main, server)


CALLS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "publish 0": lambda client: client.publish("t"),
    "publish 1": lambda client: client.publish("t", qos=1),
    "subscribe": lambda client: client.subscribe("t"),
    "unsubscribe": lambda client: client.unsubscribe("t"),
}


@pytest.mark.parametrize("slots", [None, 1], ids=["", "slots"])
@pytest.mark.parametrize("was_entered", [True, False])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_without_a_connection_gives_the_loop_a_turn_1_6(
    run: LoopRunner, name: str, slots: int | None, *, was_entered: bool
) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, max_concurrent_outgoing_calls=slots)
        if was_entered:
            async with client:
                pass
        await check(lambda: CALLS[name](client), MqttCodeError, "not currently connected")

    with ScriptedServer(serve_311) as server:
        run(main, server)


WRONG: dict[str, tuple[Callable[[Client], Awaitable[object]], type[Exception]]] = {
    "publish topic": (lambda client: client.publish("a/#"), ValueError),
    "publish payload": (lambda client: client.publish("t", object()), TypeError),  # type: ignore[arg-type]
    "publish timeout": (lambda client: client.publish("t", qos=1, timeout="x"), TypeError),  # type: ignore[arg-type]
    "publish properties": (
        lambda client: client.publish("t", properties=SimpleNamespace(ContentType=1)),  # type: ignore[arg-type]
        Exception,
    ),
    "subscribe topic": (lambda client: client.subscribe("a#"), ValueError),
    "subscribe none": (lambda client: client.subscribe([]), ValueError),
    "subscribe timeout": (lambda client: client.subscribe("t", timeout="x"), TypeError),  # type: ignore[arg-type]
    "unsubscribe topic": (lambda client: client.unsubscribe("a#"), ValueError),
    "unsubscribe type": (lambda client: client.unsubscribe(1), Exception),  # type: ignore[arg-type]
    "unsubscribe timeout": (lambda client: client.unsubscribe("t", timeout="x"), TypeError),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("slots", [None, 1], ids=["", "slots"])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_gives_the_loop_a_turn_1_6(
    run: LoopRunner, name: str, slots: int | None
) -> None:
    call, error = WRONG[name]

    async def main() -> None:
        wire = Wire(ProtocolVersion.V5, max_concurrent_outgoing_calls=slots)
        await wire.connect()
        await check(lambda: call(wire.client), error, "")
        wire.lose()

    run(main)


@pytest.mark.parametrize("slots", [None, 2], ids=["", "slots"])
def test_a_full_queue_gives_the_loop_a_turn_1_6(run: LoopRunner, slots: int | None) -> None:
    async def main() -> None:
        wire = Wire(max_queued_outgoing_messages=1, max_concurrent_outgoing_calls=slots)
        await wire.connect()
        first = asyncio.ensure_future(wire.client.publish("t", qos=1))
        await settle()
        await check(lambda: wire.client.publish("t", qos=1), MqttCodeError, "Message queue full")
        wire.feed(packets.ack(packets.PUBACK, 1))
        await first
        wire.lose()

    run(main)


def test_a_limit_of_the_server_gives_the_loop_a_turn_1_6(run: LoopRunner) -> None:
    async def main() -> None:
        maximum_qos_0 = packets.encode(0x20, b"\x00\x00\x02\x24\x00")
        wire = Wire(ProtocolVersion.V5, connack=maximum_qos_0)
        await wire.connect()
        await check(lambda: wire.client.publish("t", qos=1), MqttCodeError, "QoS not supported")
        wire.lose()

    run(main)


@pytest.mark.parametrize("name", ["publish 1", "subscribe", "unsubscribe"])
def test_a_call_whose_write_ends_the_connection_gives_the_loop_a_turn_1_6(
    run: LoopRunner, name: str
) -> None:
    class Breaking(HandTransport):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            if len(self.written) > 1:  # not CONNECT
                wire.lose()

    async def main() -> None:
        wire.transport = Breaking()
        await wire.connect()
        assert isinstance(await fail(lambda: CALLS[name](wire.client)), MqttError)

    wire = Wire()
    run(main)


QUEUES = [None, asyncio.Queue]


@pytest.mark.parametrize("queue_type", QUEUES)
def test_a_step_after_the_end_gives_the_loop_a_turn_1_5(
    run: LoopRunner, queue_type: type[asyncio.Queue[Message]] | None
) -> None:
    async def main() -> None:
        wire = Wire(queue_type=queue_type)
        await wire.connect()
        wire.message(b"last")
        wire.lose()
        assert (await anext(wire.client.messages)).payload == b"last"

        async def iterate() -> None:
            async for _ in wire.client.messages:
                raise AssertionError("there is no message")

        for call in (lambda: anext(wire.client.messages), iterate):
            await check(call, MqttError, "Disconnected during message iteration")

    run(main)


@pytest.mark.parametrize("queue_type", QUEUES)
def test_a_step_that_waited_for_the_end_raises_at_once_1_5(
    run: LoopRunner, queue_type: type[asyncio.Queue[Message]] | None
) -> None:
    """It has suspended: a further turn would only delay its task."""

    async def main() -> None:
        wire = Wire(queue_type=queue_type)
        await wire.connect()
        step: Any = anext(wire.client.messages)
        step.send(None)
        wire.lose()
        with pytest.raises(MqttError, match="Disconnected"):
            step.send(None)

    run(main)


@pytest.mark.parametrize("queue_type", QUEUES)
def test_a_step_takes_what_comes_in_the_turn_before_its_error_1_5(
    run: LoopRunner, queue_type: type[asyncio.Queue[Message]] | None
) -> None:
    async def main() -> None:
        wire = Wire(queue_type=queue_type)
        await wire.connect()
        wire.lose()
        step: Any = anext(wire.client.messages)
        step.send(None)
        await wire.connect()
        wire.message(b"new")
        with pytest.raises(StopIteration) as end:
            step.send(None)
        assert end.value.value.payload == b"new"
        wire.lose()

    run(main)


@pytest.mark.parametrize("in_get", [True, False])
def test_a_queue_that_raises_gives_the_loop_a_turn_1_5(run: LoopRunner, *, in_get: bool) -> None:
    class Raises(asyncio.Queue[Message]):
        def _get(self) -> Message:
            raise KeyError("_get")

    class RaisesInGet(Raises):
        async def get(self) -> Message:
            return self._get()

    async def main() -> None:
        wire = Wire(queue_type=RaisesInGet if in_get else Raises)
        await wire.connect()
        wire.message(b"a")
        await check(lambda: anext(wire.client.messages), KeyError, "_get")
        wire.lose()

    run(main)


ELSEWHERE: dict[str, Callable[[Client], Awaitable[object]]] = {
    **CALLS,
    "anext": lambda client: anext(client.messages),
    "leave": lambda client: client.__aexit__(None, None, None),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_call_on_another_loop_gives_that_loop_a_turn_1_6(run: LoopRunner, name: str) -> None:
    async def main(client: Client) -> None:
        await check(lambda: ELSEWHERE[name](client), RuntimeError, "another event loop")

    with ScriptedServer(serve_311) as server:
        client = Client(server.host, server.port)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(client.__aenter__())
        run(main, client)
        loop.run_until_complete(client.__aexit__(None, None, None))
        loop.close()


@pytest.mark.parametrize("name", CALLS)
def test_a_slot_of_another_loop_gives_the_loop_a_turn_1_6(run: LoopRunner, name: str) -> None:
    async def main(client: Client) -> None:
        await check(lambda: CALLS[name](client), RuntimeError, "different event loop")

    async def occupy() -> None:
        await wire.connect()
        held.extend(asyncio.ensure_future(wire.client.publish("t", qos=1)) for _ in range(2))
        await settle()

    async def free() -> None:
        wire.lose()
        await asyncio.gather(*held, return_exceptions=True)

    held: list[asyncio.Future[None]] = []
    wire = Wire(max_concurrent_outgoing_calls=1)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(occupy())
    run(main, wire.client)
    loop.run_until_complete(free())
    loop.close()


def test_leaving_what_was_never_entered_gives_the_loop_a_turn_1_4(run: LoopRunner) -> None:
    async def main() -> None:
        turns = Turns()
        await Client("localhost").__aexit__(None, None, None)
        assert turns.count
        turns.stop()

    run(main)


async def reconnect(client: Client) -> None:
    """Do as programs do that forget to sleep."""
    while True:
        try:
            async with client:
                raise AssertionError("there is no server")
        except (MqttError, ValueError):
            pass


async def publish(client: Client) -> None:
    while True:
        with contextlib.suppress(MqttError):
            await client.publish("t")


async def iterate(client: Client) -> None:
    while True:
        try:
            async for _ in client.messages:
                raise AssertionError("there is no message")
        except MqttError:
            pass


async def entered(client: Client) -> Client:
    """Return a client that is entered already; to enter it again fails at once."""
    internals_of(client).entered = True
    return client


async def ended(client: Client) -> Client:
    """Return a client whose connection has ended."""
    core = internals_of(client).core
    core.connector = None
    await core.start()
    core._on_connected()
    core._end()
    return client


async def fresh(client: Client) -> Client:
    return client


@pytest.mark.parametrize(
    ("make", "endless"),
    [
        (lambda: fresh(Client("")), reconnect),
        (lambda: fresh(Client(str(MISSING), transport="unix")), reconnect),
        (lambda: entered(Client("localhost")), reconnect),
        (lambda: fresh(Client("localhost")), publish),
        (lambda: ended(Client("localhost")), iterate),
    ],
    ids=["empty host", "missing socket", "reentrant", "publish", "iterate"],
)
def test_another_task_runs_beside_an_endless_loop_of_failures_1_6(
    run: LoopRunner,
    make: Callable[[], Awaitable[Client]],
    endless: Callable[[Client], Any],
) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(endless(await make()))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)
