"""Misuse that may end a process: each case is a program of its own, a function of this file."""

import asyncio
import atexit
import contextlib
import gc
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

import ferromqtt
from ferromqtt import Client, Message, MqttError
from ferromqtt._native import Core
from ferromqtt.testing import TestBroker
from support import packets
from support.clients import unique
from support.loops import FACTORIES
from support.scripted import ScriptedServer, serve_311
from test_misuse_protocol import HandTransport, Wire

HERE = Path(__file__).parent


COMPLAINTS = ("panicked", "Panic", "orrowed", "Fatal Python error", "Exception ignored")
"""What no program may leave on its standard error."""


def run_program(name: str, *arguments: str, complaints: tuple[str, ...] = COMPLAINTS) -> str:
    """Run a function of this file in a new process, to its end; return what it printed."""
    assert callable(globals()[name])
    package = Path(ferromqtt.__file__).parents[1]
    code = f"import sys, test_misuse_process as here; here.{name}(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": f"{HERE}:{package}", "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not any(sign in done.stderr for sign in complaints), done.stderr[-2000:]
    return done.stdout


# Finalizers that use the client while the core is at work.


class Curious(bytes):
    """A payload that looks at the client as it goes."""

    client: Client
    by_coroutine = False

    def __del__(self) -> None:
        print("gone", flush=True)
        if not self.by_coroutine:
            len(self.client.messages)
            return

        async def take() -> Message:
            return await anext(self.client.messages)

        with contextlib.closing(take()) as taking:
            taking.send(None)


async def curious_wire() -> Wire:
    wire = Wire()
    Curious.client = wire.client
    await wire.connect()
    return wire


def acknowledge_a_curious_payload(by_coroutine: str) -> None:
    async def main() -> None:
        Curious.by_coroutine = by_coroutine == "True"
        wire = await curious_wire()
        wire.core.publish("t", Curious(10_000), 1, False, None, 10.0)
        wire.core.flush()
        wire.transport.written.clear()
        wire.feed(packets.ack(packets.PUBACK, 1))
        wire.lose()

    asyncio.run(main())


def abandon_a_curious_payload() -> None:
    async def main() -> None:
        wire = await curious_wire()
        wire.link.pause_writing()
        wire.core.publish("t", Curious(10_000), 1, False, None, 10.0)
        wire.core.abandon(wire.core.last_op)
        wire.lose()

    asyncio.run(main())


def let_a_curious_payload_expire() -> None:
    async def main() -> None:
        wire = await curious_wire()
        wire.link.pause_writing()
        waiter: Any = wire.core.publish("t", Curious(10_000), 1, False, None, 0.0)
        wire.core.timer_fired()
        assert isinstance(waiter.exception(), MqttError)
        wire.lose()

    asyncio.run(main())


CURIOUS = [
    ("acknowledge_a_curious_payload", "False"),
    ("acknowledge_a_curious_payload", "True"),
    ("abandon_a_curious_payload",),
    ("let_a_curious_payload_expire",),
]


@pytest.mark.parametrize("program", CURIOUS, ids=" ".join)
def test_a_payload_may_use_the_client_as_it_goes(program: tuple[str, ...]) -> None:
    assert run_program(*program) == "gone\n"


def drop_an_old_loop() -> None:
    class Loop(asyncio.SelectorEventLoop):
        def __del__(self) -> None:
            print("gone", len(client.messages))
            super().__del__()  # type: ignore[misc]

    async def fail() -> None:
        with contextlib.suppress(MqttError):
            await client.__aenter__()

    client = Client("127.0.0.1", 1)
    loop = Loop()
    loop.run_until_complete(fail())
    loop.close()
    del loop
    gc.collect()
    asyncio.run(fail())


def replace_a_sink() -> None:
    class Sink:
        def __call__(self, message: Message) -> None:
            pass

        def __del__(self) -> None:
            print("gone", len(core.messages()))

    core = Core(1)
    core.message_sink = Sink()
    core.message_sink = None


def replace_a_transport() -> None:
    class Curious(HandTransport):
        def __del__(self) -> None:
            print("gone", len(client.messages))

    async def main() -> None:
        wire = Wire()
        nonlocal client
        client = wire.client
        wire.transport = Curious()
        await wire.connect()
        wire.transport = HandTransport()
        gc.collect()
        wire.link.connection_made(wire.transport)
        wire.lose()

    client: Client
    asyncio.run(main())


@pytest.mark.parametrize("program", ["drop_an_old_loop", "replace_a_sink", "replace_a_transport"])
def test_what_a_core_holds_may_use_it_as_it_is_replaced(program: str) -> None:
    assert run_program(program) == "gone 0\n"


def collect_a_loop_that_holds_a_step() -> None:
    class Loop:
        step: object
        core: Core

        def time(self) -> float:
            return 0.0

    class Quiet(Core):
        def warn_if_not_entered(self) -> None:
            pass

    async def main() -> None:
        core = Quiet(1)
        loop = Loop()
        step: Any = anext(core.messages())
        step.send(None)
        loop.step, loop.core = step, core
        core.begin(loop, "the server")  # type: ignore[arg-type]

    for _ in range(5):
        asyncio.run(main())
        gc.collect()
    print("collected")


def test_a_step_that_goes_with_its_core_complains_of_nothing() -> None:
    assert run_program("collect_a_loop_that_holds_a_step") == "collected\n"


def acknowledge_in_a_child() -> None:
    async def main() -> None:
        async with Client(TestBroker(listen=False), manual_ack=True) as client:
            await client.subscribe("a", qos=1)
            await client.publish("a", "x", qos=1)
            message = await anext(client.messages)
            child = os.fork()
            if not child:
                code = 1
                try:
                    message.ack()
                except RuntimeError as error:
                    code = 0 if "was forked" in str(error) else 2
                os._exit(code)
            _, status = os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once
            message.ack()
            print(os.waitstatus_to_exitcode(status), client.unacknowledged().messages)

    asyncio.run(main())


def test_a_forked_child_cannot_acknowledge_on_the_parents_connection() -> None:
    assert run_program("acknowledge_in_a_child") == "0 0\n"


class Subclass(Message):
    """Has attributes of its own."""


def chain_messages(*fields: str) -> None:
    kinds = (Subclass, Subclass) if "of_its_own" in fields else (Message, Message, Subclass)
    for field in fields:
        link: Message | None = None
        for number in range(100_000):
            message = kinds[number % len(kinds)]("t", b"", 0, False, 0, None)
            setattr(message, field, link)
            link = message
        del link, message
    print("gone")


@pytest.mark.parametrize(
    "fields", [("topic",), ("payload", "qos", "retain", "mid", "properties"), ("of_its_own",)]
)
def test_a_long_chain_of_messages_goes_without_a_crash(fields: tuple[str, ...]) -> None:
    """As one of lists does: CPython's own containers bound the recursion (`Py_TRASHCAN`)."""
    assert run_program("chain_messages", *fields) == "gone\n"


# The end of the interpreter.


def end_connected(loop: str, how: str) -> None:
    warnings.simplefilter("ignore")  # the transport that is left open tells so
    server = ScriptedServer(serve_311).__enter__()  # ends with the process, not before
    event_loop = FACTORIES[loop]()
    client = Client(server.host, server.port)
    kept: list[object] = [event_loop, server]

    async def wait() -> None:
        async for _ in client.messages:
            pass

    def run_for_ever() -> None:
        event_loop.run_until_complete(client.__aenter__())
        entered.set()
        event_loop.run_forever()

    entered = threading.Event()
    if how == "thread":
        threading.Thread(target=run_for_ever, daemon=True).start()
        assert entered.wait(20)
        asyncio.run_coroutine_threadsafe(client.publish("t", "x", 1), event_loop).result(10)
    else:
        event_loop.run_until_complete(client.__aenter__())
    if how == "task":
        event_loop.set_exception_handler(lambda *_: None)
        kept.append(event_loop.create_task(wait()))
        event_loop.run_until_complete(asyncio.sleep(0))
    elif how == "atexit":
        atexit.register(lambda: print("messages", len(client.messages)))
        atexit.register(gc.collect)
    elif how == "module":
        kept.append(client)
    sys.modules["kept"] = kept  # type: ignore[assignment]  # to the very end
    print("end", flush=True)


@pytest.mark.parametrize("how", ["plain", "task", "atexit", "thread", "module"])
@pytest.mark.parametrize("loop", FACTORIES)
def test_the_interpreter_ends_with_a_client_connected(loop: str, how: str) -> None:
    expected = "end\nmessages 0\n" if how == "atexit" else "end\n"
    assert run_program("end_connected", loop, how) == expected


# A child process that inherits a connected client.


def fork_with_a_client(loop: str, child: str) -> None:
    async def main() -> None:
        topic = unique("fork")
        with ScriptedServer(serve_311) as server:
            client = Client(server.host, server.port)
            await client.__aenter__()
            await client.publish(topic, "before", 1)
            sent = server.received
            process = os.fork()
            if not process:
                if child == "collects":
                    for thing in gc.get_objects():
                        with contextlib.suppress(Exception):
                            thing.__dict__.pop("_FerromqttInternalsHolder__internals", None)
                    del client
                    gc.collect()
                elif child == "looks":
                    len(client.messages)
                    step: Any = anext(client.messages)
                    step.close()
                elif child == "publishes":
                    with (
                        contextlib.suppress(RuntimeError),
                        contextlib.closing(client.publish(topic, "child", 1)) as coroutine,
                    ):
                        coroutine.send(None)
                os._exit(0)
            _, status = os.waitpid(process, 0)  # noqa: ASYNC222  it ends at once
            assert status == 0, status
            await client.publish(topic, "after", 1)
            await client.__aexit__(None, None, None)
            server.join()
            new = server.received[len(sent) :]
            print("after" if b"after" in new else "lost", "child" if b"child" in new else "alone")

    with asyncio.Runner(loop_factory=FACTORIES[loop]) as runner:
        runner.run(main())


@pytest.mark.parametrize("loop", FACTORIES)
@pytest.mark.parametrize("child", ["ends", "looks", "collects"])
def test_a_forked_child_that_ends_leaves_the_parents_connection_alone(
    loop: str, child: str
) -> None:
    assert run_program("fork_with_a_client", loop, child) == "after alone\n"


@pytest.mark.parametrize("loop", FACTORIES)
def test_a_forked_child_cannot_send_on_the_parents_connection(loop: str) -> None:
    """asyncio itself refuses: `get_running_loop` raises in the child of the loop's process."""
    assert run_program("fork_with_a_client", loop, "publishes") == "after alone\n"


def fork_and_connect_anew() -> None:
    async def main() -> None:
        async with TestBroker() as broker, Client(broker.host, broker.port) as client:
            await client.subscribe("t")
            reading, writing = os.pipe()
            process = os.fork()
            if not process:
                os.close(reading)

                async def in_child() -> None:
                    async with Client(broker.host, broker.port) as own:
                        await own.publish("t", "from the child", 1)

                asyncio.events._set_running_loop(None)
                asyncio.run(in_child())
                os.write(writing, b"sent")
                os._exit(0)
            os.close(writing)
            async with asyncio.timeout(20):
                print((await anext(client.messages)).payload.decode())
            os.waitpid(process, 0)  # noqa: ASYNC222  it has sent all
            os.close(reading)

    asyncio.run(main())


def test_a_forked_child_may_have_a_client_of_its_own() -> None:
    assert run_program("fork_and_connect_anew") == "from the child\n"


# Memory that cannot be had.


def run_out_of_memory(what: str) -> None:
    testing = pytest.importorskip("_testcapi", reason="this build of CPython has no _testcapi")

    async def main() -> None:
        wire = Wire()
        await wire.connect()
        for number in range(200):
            wire.message(b"%d" % number)

        async def take() -> Message:
            return await anext(wire.client.messages)

        def step() -> None:
            with contextlib.suppress(StopIteration), contextlib.closing(take()) as taking:
                taking.send(None)

        acts = {
            "length": lambda: len(wire.client.messages),
            "read": lambda: wire.message(b"x"),
            "flush": wire.core.flush,
            "buffer": lambda: wire.link.get_buffer(-1),
            "step": step,
            "publish": lambda: wire.core.publish("t", b"x" * 10, 0, False, None, 10.0),
            "call": lambda: wire.core.publish("t", b"x" * 10, 1, False, None, 10.0),
        }
        refused = 0
        for moment in range(30):
            testing.set_nomemory(moment, moment + 1)
            try:
                acts[what]()
            except BaseException as error:
                if type(error).__name__ not in ("MemoryError", "PanicException"):
                    raise
                refused += 1
            finally:
                testing.remove_mem_hooks()
        assert refused
        wire.message(b"alive")
        wire.core.flush()
        print("alive")
        os._exit(0)  # what was half made may complain at its end

    asyncio.run(main())


@pytest.mark.parametrize("what", ["length", "read", "buffer"])
def test_memory_that_cannot_be_had_is_a_memory_error(what: str) -> None:
    assert run_program("run_out_of_memory", what) == "alive\n"


@pytest.mark.parametrize(
    "what",
    [
        "publish",
        "call",
        "step",
    ],
)
def test_memory_that_cannot_be_had_ends_no_process(what: str) -> None:
    """Where PyO3 makes small objects it panics without memory, which it turns into an exception."""
    assert run_program("run_out_of_memory", what, complaints=()) == "alive\n"
