"""`ferromqtt.blocking`: loops over messages."""

import asyncio
import math
import threading
from collections.abc import Iterator

import pytest

from ferromqtt import Message, MqttError
from ferromqtt._loop_thread import Parker
from ferromqtt.blocking import Client
from support import packets
from support.blocking import Outcome, loop_threads, take, watched_waits
from support.clients import LIMIT
from support.scripted import Connection, ScriptedServer

THREADS = 8


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No test leaves a thread that runs a client."""
    yield
    assert loop_threads() == []


def test_the_loop_ends_when_nothing_comes_in_time_and_goes_on_when_it_is_begun_again() -> None:
    send = threading.Event()

    def script(connection: Connection) -> None:
        connection.accept()
        assert send.wait(LIMIT)
        connection.send(packets.publish("a", b"late"))
        connection.read_to_end()

    with ScriptedServer(script) as server, Client(server.host, server.port) as client:
        messages = client.messages(timeout=0.01)
        assert list(messages) == []
        assert next(messages, None) is None
        send.set()
        assert [message.payload for message in take(client, 1)] == [b"late"]
        assert list(messages) == []


def test_a_time_limit_of_0_takes_what_is_there() -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.SUBSCRIBE)
        connection.send(packets.publish("a", b"1") + packets.publish("a", b"2"))
        connection.send(packets.ack(packets.SUBACK, 1, b"\0"))
        connection.read_to_end()

    with ScriptedServer(script) as server, Client(server.host, server.port) as client:
        assert list(client.messages(timeout=0)) == []
        client.subscribe("a")
        assert len(client.messages()) == 2
        assert repr(client.messages()) == "<messages of a client, 2 queued>"
        assert [message.payload for message in client.messages(timeout=0)] == [b"1", b"2"]


@pytest.mark.parametrize("limit", [None, math.inf, 1e300])
def test_without_a_time_limit_the_loop_ends_with_the_connection(limit: float | None) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.send(packets.publish("a", b"last"))
        connection.close()

    with ScriptedServer(script) as server, Client(server.host, server.port) as client:
        received = []
        with pytest.raises(MqttError, match="during message iteration: the server closed"):
            received.extend(client.messages(timeout=limit))
        messages = client.messages(timeout=limit)
        with pytest.raises(MqttError, match="during message iteration: the server closed"):
            received += [next(messages), next(messages)]


@pytest.mark.parametrize(
    ("limit", "error", "text"),
    [(-1, ValueError, "0 or more"), (math.nan, ValueError, "0 or more"), ("1", TypeError, "str")],
)
def test_a_wrong_time_limit_is_refused_at_once(
    limit: float, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Client("localhost").messages(timeout=limit)


def test_each_message_goes_to_one_of_the_threads_that_wait() -> None:
    go = threading.Event()
    count = 10 * THREADS

    def script(connection: Connection) -> None:
        connection.accept()
        assert go.wait(LIMIT)
        for number in range(count):
            connection.send(packets.publish("a", b"%d" % number))
        connection.read_to_end()

    def consume(messages: Iterator[Message], taken: list[int]) -> None:
        for message in messages:
            taken.append(int(message.payload))
            if len(taken) == count:
                client.__exit__(None, None, None)

    with ScriptedServer(script) as server, Client(server.host, server.port) as client:
        taken: list[int] = []
        shared = client.messages()
        with watched_waits() as waits:
            outcomes = [
                Outcome(lambda: consume(client.messages(), taken)) for _ in range(THREADS // 2)
            ]
            outcomes += [Outcome(lambda: consume(shared, taken)) for _ in range(THREADS // 2)]
            waits.expect(THREADS)
            go.set()
            errors = [outcome.error() for outcome in outcomes]
        assert sorted(taken) == list(range(count))
        assert {type(error) for error in errors} == {MqttError}


def test_a_message_that_a_thread_was_woken_for_and_did_not_take_goes_to_another() -> None:
    """Here its time is up when it has just been woken: it looks once more itself."""
    go = threading.Event()

    def script(connection: Connection) -> None:
        connection.accept()
        assert go.wait(LIMIT)
        connection.send(packets.publish("a", b"x"))
        connection.read_to_end()

    with ScriptedServer(script) as server, Client(server.host, server.port) as client:
        messages = client.messages(timeout=LIMIT)
        original = Parker.wait

        def late(self: Parker, limit: float) -> bool:
            go.set()
            original(self, limit)
            return False

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Parker, "wait", late)
            assert next(messages).payload == b"x"


@pytest.mark.parametrize("queue", [asyncio.Queue, asyncio.LifoQueue])
def test_a_queue_of_another_class_is_used(queue: type[asyncio.Queue[Message]]) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.SUBSCRIBE)
        connection.send(packets.publish("a", b"1") + packets.publish("a", b"2"))
        connection.send(packets.ack(packets.SUBACK, 1, b"\0"))
        connection.read_to_end()

    with ScriptedServer(script) as server:
        with Client(server.host, server.port, queue_type=queue) as client:
            assert list(client.messages(timeout=0)) == []
            client.subscribe("a")
            first = next(client.messages(timeout=LIMIT)).payload
            assert first == (b"2" if queue is asyncio.LifoQueue else b"1")
        messages = client.messages()
        assert len(messages) == 1
        next(messages)
        with pytest.raises(MqttError, match="during message iteration"):
            next(messages)
