"""`ferromqtt.blocking` with what the asyncio client has for connections that are lost."""

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ferromqtt import (
    ClientState,
    Credentials,
    MqttCodeError,
    MqttError,
    MqttTimeoutError,
    Reconnect,
    Server,
)
from ferromqtt.blocking import Client
from ferromqtt.events import Connected, Disconnected
from support import packets
from support.blocking import Outcome, loop_threads, mute, watched_waits
from support.clients import LIMIT
from support.scripted import Connection, ScriptedServer, answer, serve_311

SOON = Reconnect(min=0.01, max=0.02)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No test leaves a thread that runs a client."""
    yield
    assert loop_threads() == []


class Loss:
    """Scripts of a connection that is lost when the test says so, and of the one after it."""

    def __init__(self) -> None:
        self.lose, self.accept = threading.Event(), threading.Event()

    def first(self, connection: Connection) -> None:
        connection.accept()
        answer(connection, *connection.expect(packets.SUBSCRIBE))
        assert self.lose.wait(LIMIT)
        connection.close()

    def second(self, connection: Connection) -> None:
        assert self.accept.wait(LIMIT)
        connection.accept()
        connection.send(packets.publish("a", b"after"))
        with suppress(EOFError):
            while True:
                answer(connection, *connection.read_packet())


def test_calls_and_iterators_go_on_over_a_lost_connection() -> None:
    loss = Loss()
    with (
        ScriptedServer(loss.first, loss.second) as server,
        Client(server.host, server.port, reconnect=SOON) as client,
        watched_waits() as waits,
    ):
        assert client.state() is ClientState.CONNECTED
        client.subscribe("a")
        waits.expect()
        iterating = Outcome(lambda: next(client.messages()))
        waits.expect()
        events = client.events(timeout=LIMIT)
        assert isinstance(next(events), Connected)
        loss.lose.set()
        assert isinstance(next(events), Disconnected)
        waits.expect(2)
        assert client.state() is ClientState.RECONNECTING
        with pytest.raises(MqttTimeoutError):
            client.wait_connected(0.01)
        waits.expect()
        publishing = Outcome(lambda: client.publish("a", qos=1))
        connecting = Outcome(client.wait_connected)
        waits.expect(2)
        loss.accept.set()
        publishing.get()
        connecting.get()
        assert iterating.get().payload == b"after"
        assert isinstance(next(events), Connected)
        assert client.state() is ClientState.CONNECTED
        assert list(client.events(timeout=0.01)) != []


def test_events_end_when_the_client_is_left() -> None:
    with ScriptedServer(serve_311) as server, watched_waits() as waits:
        client = Client(server.host, server.port)
        with client:
            waits.expect()
            watching = Outcome(lambda: list(client.events()))
            waits.expect(2)
        assert [type(event) for event in watching.get()] == [Connected, Disconnected]


def test_events_that_were_not_taken_when_the_client_was_left_are_there_afterwards() -> None:
    with ScriptedServer(serve_311) as server:
        client = Client(server.host, server.port)
        with client:
            events = client.events()
            assert isinstance(next(events), Connected)
        assert [type(event) for event in events] == [Disconnected]
        with pytest.raises(MqttCodeError):
            next(client.events())


def test_what_waits_for_a_connection_ends_when_the_client_is_left() -> None:
    loss = Loss()
    with ScriptedServer(loss.first, mute) as server, watched_waits() as waits:
        client = Client(server.host, server.port, reconnect=Reconnect(min=30))
        client.__enter__()
        client.subscribe("a")
        loss.lose.set()
        events = client.events(timeout=LIMIT)
        assert isinstance([next(events), next(events)][1], Disconnected)
        waits.expect(4)
        outcomes = [
            Outcome(client.wait_connected),
            Outcome(lambda: client.publish("a", qos=1)),
            Outcome(lambda: next(client.messages())),
        ]
        waits.expect(3)
        client.__exit__(None, None, None)
        assert all(isinstance(outcome.error(), MqttError) for outcome in outcomes)


def test_credentials_are_asked_for_at_each_attempt() -> None:
    asked: list[tuple[Server, int]] = []

    def credentials(server: Server, attempt: int) -> Credentials:
        asked.append((server, attempt))
        return Credentials("me", f"token {len(asked)}")

    with ScriptedServer(serve_311) as server:
        client = Client(server.host, server.port, credentials=credentials)
        for _ in range(2):
            with client:
                pass
        server.join()
        assert b"token 1" in server.connections[0].received
        assert b"token 2" in server.connections[1].received
    assert asked[0] == (Server(server.host, server.port), 0)


def test_only_a_client_that_is_entered_can_be_waited_for() -> None:
    client = Client("localhost")
    assert client.state() is ClientState.DISCONNECTED
    for wait in (client.wait_connected, lambda: next(client.events())):
        with pytest.raises(MqttCodeError, match="code:4"):
            wait()
