"""`ferromqtt.blocking` and its process: signals, the interpreter's exit, forks, misused threads.

Each program is a function of this file, which runs in a process of its own.
"""

import asyncio
import contextlib
import functools
import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from ferromqtt import Message, MqttError, blocking
from ferromqtt._loop_thread import Parker
from ferromqtt.blocking import Client
from support import packets, program
from support.blocking import Outcome, left_in_order, loop_threads, mute, watched_waits
from support.clients import LIMIT
from support.scripted import Connection, ScriptedServer, answer, serve_5, serve_311


def run(name: str, *arguments: str) -> str:
    """Run a function of this file in a new process, to its end; return what it printed."""
    assert callable(globals()[name])
    code = "import sys, test_blocking_process as here\ngetattr(here, sys.argv[1])(*sys.argv[2:])"
    return program.run(code, name, *arguments)


# Signals.


def interrupt_when(waits: int, times: int = 1) -> Callable[[], None]:
    """Send SIGINT to this process when so many waits have begun, and again at the next ones."""
    watch = watched_waits()
    begun = watch.__enter__()

    def interrupt() -> None:
        begun.expect(waits)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            if times > 1:
                begun.expect()

    threading.Thread(target=interrupt, daemon=True).start()
    return lambda: watch.__exit__(None, None, None)


CALLS: dict[str, Callable[[Client], object]] = {
    "publish": lambda client: client.publish("a", qos=1),
    "subscribe": lambda client: client.subscribe("a"),
    "unsubscribe": lambda client: client.unsubscribe("a"),
    "iterate": lambda client: next(client.messages()),
    "iterate in time": lambda client: next(client.messages(timeout=LIMIT)),
}


def interrupt_a_call(name: str, kind: str) -> None:
    options: dict[str, Any] = {
        "plain": {},
        "queue": {"queue_type": asyncio.Queue},
        "slots": {"max_concurrent_outgoing_calls": 1},
    }[kind]
    with ScriptedServer(mute) as server:
        stop = interrupt_when(waits=2)
        try:
            with Client(server.host, server.port, timeout=LIMIT, **options) as client:
                CALLS[name](client)
        except KeyboardInterrupt:
            print("interrupted")
        stop()
        server.join()
        print("left" if left_in_order(server.connections[0]) else "cut", loop_threads())


@pytest.mark.parametrize("kind", ["plain", "queue", "slots"])
@pytest.mark.parametrize("name", CALLS)
def test_an_interruption_ends_a_call_and_leaves_in_order(name: str, kind: str) -> None:
    assert run("interrupt_a_call", name, kind) == "interrupted\nleft []\n"


def go_on_after_an_interruption() -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        with contextlib.suppress(EOFError):
            while True:
                first, body = connection.read_packet()
                if b"unanswered" not in body:
                    answer(connection, first, body)

    with ScriptedServer(script) as server, Client(server.host, server.port) as client:
        stop = interrupt_when(waits=1)
        with contextlib.suppress(KeyboardInterrupt):
            client.publish("a", "unanswered", qos=1)
            print("not interrupted")
        stop()
        client.publish("a", qos=1)
        client.publish("a", qos=0)
        print(client.subscribe("a"), loop_threads())


def test_a_client_goes_on_after_an_interruption_that_was_caught() -> None:
    expected = "[ReasonCode(Suback, 'Granted QoS 0')] ['ferromqtt-blocking']\n"
    assert run("go_on_after_an_interruption") == expected


def interrupt_entering() -> None:
    def script(connection: Connection) -> None:
        connection.read_to_end()

    with ScriptedServer(script, serve_311) as server:
        client = Client(server.host, server.port, timeout=LIMIT)
        stop = interrupt_when(waits=1)
        try:
            with client:
                pass
        except KeyboardInterrupt:
            print("interrupted", loop_threads())
        stop()
        with client:
            client.publish("a", qos=1)
        print("entered again")


def test_an_interruption_ends_entering() -> None:
    assert run("interrupt_entering") == "interrupted []\nentered again\n"


def interrupt_leaving() -> None:
    with ScriptedServer(mute) as server:
        client = Client(server.host, server.port, timeout=LIMIT)
        stop = interrupt_when(waits=3)  # entering, the other thread, leaving
        try:
            with client, watched_waits() as waits:
                other = Outcome(lambda: client.publish("a", qos=1))
                waits.expect()
        except KeyboardInterrupt:
            print("interrupted")
        stop()
        print(type(other.error()).__name__)
        server.join()
        print("left" if left_in_order(server.connections[0]) else "cut", loop_threads())


def test_an_interruption_ends_leaving_in_order() -> None:
    assert run("interrupt_leaving") == "interrupted\nMqttError\nleft []\n"


# The interpreter's exit.


def exit_entered(how: str) -> None:
    server = ScriptedServer(mute).__enter__()
    client = Client(server.host, server.port)
    client.__enter__()
    with watched_waits() as waits:
        if how != "plain":
            call = CALLS["iterate" if how == "iterating" else "publish"]
            threading.Thread(target=lambda: call(client), daemon=True).start()
            waits.expect()
    print("end", flush=True)
    if how == "raising":
        sys.exit(0)


@pytest.mark.parametrize("how", ["plain", "iterating", "publishing", "raising"])
def test_the_interpreter_exits_with_a_client_that_was_not_left(how: str) -> None:
    process = program.start(
        "import sys, test_blocking_process as here; here.exit_entered(sys.argv[1])", how
    )
    output, errors = process.communicate(timeout=LIMIT * 2)
    assert (process.returncode, output, errors) == (0, "end\n", "")


def leave_after_exit() -> None:
    server = ScriptedServer(serve_311).__enter__()
    client = Client(server.host, server.port)
    client.__enter__()
    blocking._stop_all()  # as the interpreter calls it; another handler may come after it
    for qos in (0, 1):
        try:
            client.publish("a", qos=qos)
        except MqttError:
            print("refused")
    client.__exit__(None, None, None)
    print("left", loop_threads())


def test_a_client_can_be_left_after_its_thread_was_stopped_at_exit() -> None:
    assert run("leave_after_exit") == "refused\nrefused\nleft []\n"


def exit_while_a_thread_goes_on() -> None:
    server = ScriptedServer(serve_311).__enter__()
    entered = threading.Event()

    def work() -> None:
        with Client(server.host, server.port) as client:
            entered.set()
            threading.main_thread().join()
            client.publish("a", qos=1)
            client.subscribe("a")
        server.join()
        print("left" if left_in_order(server.connections[0]) else "cut")

    threading.Thread(target=work).start()
    entered.wait(LIMIT)


def test_a_thread_that_outlives_the_main_one_goes_on() -> None:
    assert run("exit_while_a_thread_goes_on") == "left\n"


# Forks.


def expect_refusals(client: Client) -> None:
    publish: Callable[[Client], object] = lambda it: it.publish("a")  # noqa: E731
    for call in (*CALLS.values(), publish, Client.__enter__):
        with pytest.raises(RuntimeError, match="forked"):
            call(client)


def in_child(how: str, client: Client, server: ScriptedServer) -> None:
    server._listener = server._acceptor = mock.Mock()  # they are the parent's
    server._threads.clear()
    if how == "collects":
        del client
        gc.collect()
    elif how == "leaves":
        client.__exit__(None, None, None)
    elif how == "raises":
        message = "the child"
        raise SystemExit(message)
    elif how == "connects":
        with Client(server.host, server.port) as own:
            own.publish("own", "of the child", qos=1)
    else:
        expect_refusals(client)
    if how == "exits":
        sys.exit(0)
    if how != "returns":
        os._exit(0)


def fork_entered(how: str) -> None:
    with ScriptedServer(serve_311) as server:
        with Client(server.host, server.port) as client:
            client.publish("a", "before", qos=1)
            client.subscribe("a")
            if how == "multiprocessing":
                child = multiprocessing.get_context("fork").Process(
                    target=expect_refusals, args=(client,)
                )
                child.start()
                child.join(LIMIT)
                assert child.exitcode == 0, child.exitcode
            else:
                process = os.fork()
                if not process:
                    in_child(how, client, server)
                    return
                _, status = os.waitpid(process, 0)
                assert os.waitstatus_to_exitcode(status) == (how == "raises"), status
            (parents, *_) = server.connections
            client.publish("a", "after", qos=1)
            assert isinstance(client.subscribe("b"), list)
        server.join()
        sent = parents.received
        print(sent.count(packets.string("a") + b"\0"), sent.count(packets.DISCONNECT_PACKET))
        print("after" if b"after" in sent else "lost", left_in_order(parents), loop_threads())


FORKS = ["ends", "exits", "returns", "raises", "leaves", "collects", "connects", "multiprocessing"]


@pytest.mark.parametrize("how", FORKS)
def test_a_forked_child_leaves_the_parents_connection_alone(how: str) -> None:
    process = program.start(
        "import sys, test_blocking_process as here; here.fork_entered(sys.argv[1])", how
    )
    output, errors = process.communicate(timeout=LIMIT * 2)
    assert process.returncode == 0, errors
    assert output.endswith("after True []\n"), (output, errors)
    assert errors == ("the child\n" if how == "raises" else "")


# Threads that must not wait.


def test_a_callback_of_the_client_cannot_wait_for_it() -> None:
    """A log handler, here: it runs in the client's thread."""
    errors: list[BaseException] = []

    class Handler(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            leave: Callable[[Client], object] = lambda it: it.__exit__(None, None, None)  # noqa: E731
            for call in (*CALLS.values(), lambda it: it.publish("a"), leave):
                try:
                    call(client)
                except Exception as error:  # noqa: BLE001  whatever it is
                    errors.append(error)

    logger = logging.Logger("of this test", logging.WARNING)  # noqa: LOG001  for this test alone
    logger.addHandler(Handler())

    with ScriptedServer(serve_311) as server:
        with Client(server.host, server.port, logger=logger) as client:
            state = client._ferromqtt_blocking
            state.thread._loop.call_soon_threadsafe(state.core.warn, "a line")  # type: ignore[union-attr]
            client.publish("a", "it goes on", qos=1)
        server.join()
        sent = server.received
    assert len(errors) == len(CALLS) + 2
    assert {type(error) for error in errors} == {RuntimeError}
    assert all("wait for itself" in str(error) for error in errors)
    assert sent.count(packets.string("a")) == 1


def test_it_may_be_used_in_a_coroutine_which_it_blocks() -> None:
    async def main() -> None:
        with ScriptedServer(serve_5) as server, Client(server.host, server.port, protocol=5) as it:
            it.publish("a", qos=2)
            assert len(it.subscribe("a")) == 1
            assert list(it.messages(timeout=0)) == []

    asyncio.run(main())


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_callback_that_would_end_the_process_does_not_end_the_client(
    error: type[BaseException],
) -> None:
    def stop() -> None:
        raise error

    with ScriptedServer(serve_311) as server, Client(server.host, server.port) as client:
        reports: list[dict[str, Any]] = []
        loop = client._ferromqtt_blocking.thread._loop  # type: ignore[union-attr]
        loop.set_exception_handler(lambda _, context: reports.append(context))
        loop.call_soon_threadsafe(stop)
        client.publish("a", qos=1)
        client.subscribe("a")
        assert isinstance(reports[0]["exception"], error)


def let_the_loop_fail() -> None:
    with ScriptedServer(mute, serve_311) as server, watched_waits() as waits:
        client = Client(server.host, server.port)
        with client:
            waits.expect()
            outcomes = [Outcome(functools.partial(call, client)) for call in CALLS.values()]
            waits.expect(len(CALLS))
            loop: Any = client._ferromqtt_blocking.thread._loop  # type: ignore[union-attr]

            def fail() -> None:
                loop._selector.select = lambda _: 1 / 0

            loop.call_soon_threadsafe(fail)
            errors = [outcome.error() for outcome in outcomes]
            publish: Callable[[Client], object] = lambda it: it.publish("a")  # noqa: E731
            for call in (*CALLS.values(), publish):
                with pytest.raises(MqttError) as caught:
                    call(client)
                errors.append(caught.value)
        print({isinstance(error, MqttError) for error in errors}, loop_threads())
        with client:
            client.publish("a", qos=1)


def test_every_wait_ends_when_the_event_loop_fails() -> None:
    process = program.start("import test_blocking_process as here; here.let_the_loop_fail()")
    output, errors = process.communicate(timeout=LIMIT * 2)
    assert (process.returncode, output) == (0, "{True} []\n"), errors
    assert "event loop has failed by ZeroDivisionError. Enter it again." in errors


def test_a_parker_is_set_once() -> None:
    loop = asyncio.new_event_loop()
    parker = Parker(loop)
    assert (parker.done(), parker.wait(0), parker.get_loop()) == (False, False, loop)
    parker.set_result(1)
    assert (parker.done(), parker.wait(-1), parker.result()) == (True, True, 1)
    with pytest.raises(asyncio.InvalidStateError):
        parker.set_result(2)
    with pytest.raises(asyncio.InvalidStateError):
        parker.set_exception(ValueError())
    loop.close()


class InterruptionError(BaseException):
    """Takes the place of what a signal handler raises."""


def thread_of(client: Client) -> Any:  # noqa: ANN401  its private parts are meant
    return client._ferromqtt_blocking.thread


@pytest.mark.parametrize("wakes", [False, True])
def test_a_call_that_is_interrupted_as_it_is_handed_over_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, wakes: bool
) -> None:
    """Before the loop was woken for it, or behind that, when the loop may be at work on it."""
    with ScriptedServer(serve_311) as server, Client(server.host, server.port) as client:
        wake = thread_of(client)._loop._write_to_self

        def be_interrupted() -> None:
            monkeypatch.undo()
            if wakes:
                wake()
            raise InterruptionError

        for call in (CALLS["subscribe"], CALLS["publish"]):
            monkeypatch.setattr(thread_of(client)._loop, "_write_to_self", be_interrupted)
            with pytest.raises(InterruptionError):
                call(client)
        client.publish("a", qos=1)
        client.subscribe("a")


def test_an_interruption_does_not_keep_the_thread_from_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedServer(serve_311) as server:
        client = Client(server.host, server.port)
        for _ in range(2):
            client.__enter__()
            ended = thread_of(client).has_ended
            wait = ended.wait

            def be_interrupted(ended: Any = ended, wait: Callable[[], bool] = wait) -> bool:  # noqa: ANN401
                monkeypatch.setattr(ended, "wait", wait)
                raise InterruptionError

            monkeypatch.setattr(ended, "wait", be_interrupted)
            with pytest.raises(InterruptionError):
                client.__exit__(None, None, None)
            assert loop_threads() == []
        server.join()
        assert all(map(left_in_order, server.connections))
    assert caplog.text == ""


def test_a_publish_that_is_interrupted_as_it_waits_for_the_loop_abandons_no_other_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ScriptedServer(serve_311) as server, Client(server.host, server.port) as client:
        thread = thread_of(client)
        abandoned: list[int] = []
        monkeypatch.setattr(type(thread._core), "abandon", lambda _, op: abandoned.append(op))

        def be_interrupted() -> None:
            raise InterruptionError

        monkeypatch.setattr(thread, "turn", be_interrupted)

        def publish_until_it_waits() -> None:
            for _ in range(1_000_000):  # the loop's thread may write in between
                client.publish("a")

        with pytest.raises(InterruptionError):
            publish_until_it_waits()
        assert abandoned == []


def test_a_call_that_comes_as_the_thread_ends_is_refused() -> None:
    with ScriptedServer(serve_311) as server, Client(server.host, server.port) as client:
        thread_of(client).is_ending = True
        with pytest.raises(MqttError, match="was left"):
            client.subscribe("a")
        thread_of(client).is_ending = False


def test_an_interrupted_thread_gives_back_the_message_it_was_woken_for() -> None:
    """Here another error takes the place of an interruption."""

    def script(connection: Connection) -> None:
        connection.accept()
        connection.send(packets.publish("a", b"x"))
        connection.read_to_end()

    with ScriptedServer(script) as server, Client(server.host, server.port) as client:
        original = Parker.wait

        def wait(self: Parker, limit: float) -> bool:
            original(self, limit)
            raise InterruptionError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Parker, "wait", wait)
            message: Message | None = None
            with contextlib.suppress(InterruptionError):
                message = next(client.messages(timeout=LIMIT))
        message = message or next(client.messages(timeout=LIMIT))
        assert message.payload == b"x"
