"""A client in a daemon thread while the interpreter exits.

CPython ends such a thread where it asks for the GIL. Below a native call that aborts the process.
"""

import asyncio
import atexit
import threading
from collections.abc import Callable

import pytest

from ferromqtt import Client
from ferromqtt._native import Core
from ferromqtt.testing import TestBroker
from support import program
from support.loops import FACTORIES
from test_misuse_protocol import HandTransport, Wire

RUN = """
import atexit, sys
late = []
atexit.register(lambda: [function() for function in late])
import test_interpreter_exit as here
here.at_the_end = late
getattr(here, sys.argv[1])(*sys.argv[2:])
"""

at_the_end: list[Callable[[], object]] = []
"""What a program calls as it exits, after the hook of the module, which was imported later."""

AT_ONCE = 4
"""So many programs run at the same time."""


# The programs.


def leave_a_busy_client(loop: str) -> None:
    busy = threading.Event()

    async def main() -> None:
        async with TestBroker() as broker, Client(broker.host, broker.port) as client:
            await client.subscribe("t")

            async def take() -> None:
                async for _ in client.messages:
                    pass

            taking = asyncio.create_task(take())
            for number in range(10**9):
                await client.publish("t", b"x" * 100, number % 3)
                if number == 200:
                    busy.set()
            await taking

    def run() -> None:
        with asyncio.Runner(loop_factory=FACTORIES[loop]) as runner:
            runner.run(main())

    threading.Thread(target=run, daemon=True).start()
    assert busy.wait(20)
    print("end", flush=True)


def in_a_daemon_thread(inside: Callable[[Core], None]) -> None:
    """Call `inside` from the transport that a core writes to, in a daemon thread."""
    called = threading.Event()

    async def connect() -> None:
        wire = Wire()

        class Transport(HandTransport):
            def write(self, _: bytes | bytearray | memoryview) -> None:
                if not called.is_set():
                    called.set()
                    inside(wire.core)

        await wire.core.start()
        wire.link.connection_made(Transport())

    threading.Thread(target=lambda: asyncio.run(connect()), daemon=True).start()
    assert called.wait(20)


def refusal(core: Core) -> str:
    """Call until the module refuses."""
    while True:
        try:
            core.flush()
        except RuntimeError as error:
            return str(error)


def wait_for_a_thread_inside() -> None:
    at_the_end.append(lambda: print("left" if left else "inside", flush=True))
    left: list[bool] = []

    def inside(core: Core) -> None:
        refusal(core)  # the interpreter is exiting: its hook waits for this thread
        left.append(True)

    in_a_daemon_thread(inside)


def call_while_exiting() -> None:
    def late() -> None:
        print(len(core.messages()), flush=True)  # the exiting thread itself may call
        exiting.set()
        assert refused.wait(20)
        print(text, flush=True)

    at_the_end.append(late)
    core = Core(1)
    exiting, refused = threading.Event(), threading.Event()
    text = ""

    def run() -> None:
        nonlocal text
        core.flush()
        print("called", flush=True)
        running.set()
        exiting.wait()
        text = refusal(core)
        refused.set()

    running = threading.Event()
    threading.Thread(target=run, daemon=True).start()
    assert running.wait(20)


def call_from_a_hook_of_the_program() -> None:
    core = Core(1)
    calls: list[int] = []
    begin, done = threading.Event(), threading.Event()

    def run() -> None:
        begin.wait()
        calls.append(len(core.messages()))
        done.set()

    def early() -> None:
        begin.set()
        assert done.wait(20)
        print("called", calls, flush=True)

    threading.Thread(target=run, daemon=True).start()
    atexit.register(early)


def leave_a_thread_that_never_returns() -> None:
    def inside(_core: Core) -> None:
        threading.Event().wait()

    in_a_daemon_thread(inside)
    print("end", flush=True)


def drop_a_client_in_a_thread() -> None:
    dropped: list[bool] = []

    def late() -> None:
        exiting.set()
        assert done.wait(20)
        print("dropped", bool(dropped), flush=True)

    at_the_end.append(late)

    class Sink:
        def __call__(self, _message: object) -> None:
            pass

        def __del__(self) -> None:
            dropped.append(True)

    exiting, done, running = threading.Event(), threading.Event(), threading.Event()

    def run() -> None:
        core = Core(1)
        core.message_sink = Sink()
        running.set()
        exiting.wait()
        del core
        done.set()

    threading.Thread(target=run, daemon=True).start()
    assert running.wait(20)


# The tests.


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_busy_client_in_a_daemon_thread_does_not_abort_the_exit(loop: str) -> None:
    for _ in range(3):
        running = [program.start(RUN, "leave_a_busy_client", loop) for _ in range(AT_ONCE)]
        assert [program.finish(process) for process in running] == ["end\n"] * AT_ONCE


def test_the_exit_waits_until_a_thread_has_left_the_module() -> None:
    assert program.run(RUN, "wait_for_a_thread_inside") == "left\n"


def test_once_the_interpreter_exits_other_threads_are_refused() -> None:
    output = program.run(RUN, "call_while_exiting")
    assert output.startswith("called\n0\nThe interpreter is exiting")


def test_hooks_registered_after_the_import_may_still_use_other_threads() -> None:
    assert program.run(RUN, "call_from_a_hook_of_the_program") == "called [0]\n"


def test_a_thread_that_never_leaves_does_not_hold_up_the_exit() -> None:
    assert program.run(RUN, "leave_a_thread_that_never_returns") == "end\n"


def test_a_core_that_goes_in_a_refused_thread_runs_no_finalizer() -> None:
    """It may run Python code below the module, where the thread is about to be ended."""
    assert program.run(RUN, "drop_a_client_in_a_thread") == "dropped False\n"
