"""`ferromqtt.blocking`: the client for threads."""

import asyncio
import functools
import inspect
import threading
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ferromqtt
from conftest import TcpBroker
from ferromqtt import (
    MqttCodeError,
    MqttConnectError,
    MqttError,
    MqttReentrantError,
    MqttTimeoutError,
    ProtocolVersion,
    Topic,
    blocking,
)
from ferromqtt.blocking import Client
from ferromqtt.testing import TestBroker
from support import packets
from support.blocking import Outcome, left_in_order, loop_threads, mute, take, watched_waits
from support.clients import LIMIT, unique
from support.scripted import Connection, ScriptedServer, serve_311

THREADS = 8


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No test leaves a thread that runs a client."""
    yield
    assert loop_threads() == []


def test_a_message_comes_back_at_every_qos(
    tcp_broker: TcpBroker, protocol: ProtocolVersion
) -> None:
    topic = unique("blocking")
    with Client(*tcp_broker.where, protocol=protocol) as client:
        (code,) = client.subscribe(topic, qos=2)
        assert code.value == 2
        for qos in range(3):
            client.publish(topic, f"at {qos}", qos=qos)
        messages = take(client, 3)
    assert sorted((message.qos, message.payload) for message in messages) == [
        (0, b"at 0"),
        (1, b"at 1"),
        (2, b"at 2"),
    ]
    assert messages[0].topic == Topic(topic)


def test_it_unsubscribes(tcp_broker: TcpBroker) -> None:
    topic = unique("blocking")
    with Client(*tcp_broker.where) as client:
        client.subscribe([(topic, 1), (f"{topic}/2", 1)])
        client.unsubscribe(topic)
        client.publish(topic, "not for us", qos=1)
        client.publish(f"{topic}/2", "for us", qos=1)
        assert [message.payload for message in take(client, 1)] == [b"for us"]
        assert len(client.messages()) == 0


def test_it_publishes_while_it_iterates(tcp_broker: TcpBroker) -> None:
    topic = unique("blocking")
    with Client(*tcp_broker.where) as client:
        client.subscribe(f"{topic}/+", qos=1)
        client.publish(f"{topic}/0", b"0", qos=1)
        for message in client.messages(timeout=LIMIT):
            number = int(message.payload)
            if number == 20:
                break
            client.publish(f"{topic}/{number + 1}", number + 1, qos=number % 2)
    assert number == 20


def test_a_block_left_by_an_exception_lets_it_through_and_disconnects() -> None:
    with ScriptedServer(serve_311) as server:
        with pytest.raises(ZeroDivisionError), Client(server.host, server.port):
            _ = 1 / 0
        server.join()
        assert left_in_order(server.connections[0])


def test_the_will_is_asked_for_as_on_asyncio() -> None:
    with ScriptedServer(serve_311) as server:
        client = Client(server.host, server.port, will_on_error=True)
        with pytest.raises(ZeroDivisionError), client:
            _ = 1 / 0
        server.join()
        assert not left_in_order(server.connections[0])


# Several threads.


def test_threads_publish_and_all_arrives_in_the_order_of_each(tcp_broker: TcpBroker) -> None:
    topic, each = unique("blocking"), 200
    with Client(*tcp_broker.where) as receiver, Client(*tcp_broker.where) as sender:
        sender.pending_calls_threshold = 1000
        receiver.subscribe(f"{topic}/#", qos=2)

        def publish(thread: int) -> None:
            for number in range(each):
                sender.publish(f"{topic}/{thread}", number, qos=thread % 3)

        outcomes = [Outcome(functools.partial(publish, it)) for it in range(THREADS)]
        messages = take(receiver, THREADS * each)
        for outcome in outcomes:
            outcome.get()
    for thread in range(THREADS):
        numbers = [int(it.payload) for it in messages if it.topic.value == f"{topic}/{thread}"]
        assert numbers == list(range(each))


def test_publishers_wait_when_much_is_unwritten(builtin: TcpBroker) -> None:
    """So the memory for what was published and is not written is bounded."""
    payload = b"x" * 1000
    with Client(*builtin.where) as client, watched_waits() as waits:
        for _ in range(512):
            client.publish("a", payload)
        waits.expect()
        client.publish("a", b"", qos=1)


def test_calls_take_turns_in_their_slots(tcp_broker: TcpBroker) -> None:
    topic = unique("blocking")
    with Client(*tcp_broker.where, max_concurrent_outgoing_calls=1) as client:
        client.subscribe(topic, qos=1)
        outcomes = [Outcome(lambda: client.publish(topic, "x", qos=1)) for _ in range(THREADS)]
        for outcome in outcomes:
            outcome.get()
        assert len(take(client, THREADS)) == THREADS


# Calls that fail.

CALLS: dict[str, Callable[[Client], object]] = {
    "publish at QoS 0": lambda client: client.publish("a"),
    "publish at QoS 1": lambda client: client.publish("a", qos=1),
    "subscribe": lambda client: client.subscribe("a"),
    "unsubscribe": lambda client: client.unsubscribe("a"),
    "iterate": lambda client: next(client.messages()),
}
WAITING_CALLS: dict[str, Callable[[Client, float], object]] = {
    "publish": lambda client, timeout: client.publish("a", qos=1, timeout=timeout),
    "subscribe": lambda client, timeout: client.subscribe("a", timeout=timeout),
    "unsubscribe": lambda client, timeout: client.unsubscribe("a", timeout=timeout),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("slots", [None, 1])
def test_a_call_outside_of_the_block_is_refused(
    builtin: TcpBroker, name: str, slots: int | None
) -> None:
    client = Client(*builtin.where, max_concurrent_outgoing_calls=slots)
    with pytest.raises(MqttCodeError, match="code:4"):
        CALLS[name](client)
    with client:
        pass
    with pytest.raises(MqttError, match="during message" if name == "iterate" else "code:4"):
        CALLS[name](client)


@pytest.mark.parametrize("name", WAITING_CALLS)
def test_a_call_that_is_not_answered_ends_in_time(name: str) -> None:
    with ScriptedServer(mute) as server, Client(server.host, server.port) as client:
        with pytest.raises(MqttTimeoutError):
            WAITING_CALLS[name](client, 0.01)
        client.timeout = 0.02
        with pytest.raises(MqttTimeoutError, match=r"0\.02"):
            client.publish("a", qos=1)


@pytest.mark.parametrize("name", WAITING_CALLS)
def test_a_call_that_waits_when_the_connection_is_lost_fails(name: str) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.read_packet()
        connection.close()

    with ScriptedServer(script) as server, Client(server.host, server.port) as client:
        with pytest.raises(MqttError, match="closed") as caught:
            WAITING_CALLS[name](client, LIMIT)
        assert not isinstance(caught.value, MqttTimeoutError)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(("",), ValueError), (("a/#",), ValueError), (("a", object()), TypeError), ((1,), TypeError)],
)
def test_wrong_arguments_are_refused_as_on_asyncio(
    arguments: tuple[str, ...], error: type[Exception]
) -> None:
    with ScriptedServer(serve_311) as server, Client(server.host, server.port) as client:
        with pytest.raises(error) as caught:
            client.publish(*arguments)

        async def same() -> None:
            async with ferromqtt.Client(server.host, server.port) as other:
                await other.publish(*arguments)

        with pytest.raises(error) as expected:
            asyncio.run(same())
        assert str(caught.value) == str(expected.value)
        client.publish("a", "it goes on", qos=1)


def test_wrong_options_are_refused_as_on_asyncio() -> None:
    with pytest.raises(ValueError, match="timeout must be"):
        Client("localhost", timeout=-1)
    with pytest.raises(ValueError, match="port must be"), Client("localhost", 0):
        pass
    with pytest.raises(TypeError, match="unexpected keyword argument 'keepalife'"):
        Client("localhost", keepalife=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'quality'"):
        Client("localhost").publish("a", quality=3)  # type: ignore[call-arg]


def test_a_refused_connection_is_told_and_can_be_tried_again() -> None:
    def refuse(connection: Connection) -> None:
        connection.accept(b"\x20\x02\x00\x05")

    with ScriptedServer(refuse, serve_311) as server:
        client = Client(server.host, server.port)
        with pytest.raises(MqttConnectError) as caught, client:
            pass
        assert str(caught.value.rc) == "Not authorized"
        with client:
            client.publish("a", qos=1)


def test_connecting_ends_in_time() -> None:
    def script(connection: Connection) -> None:
        connection.read_to_end()

    with (
        ScriptedServer(script) as server,
        pytest.raises(MqttTimeoutError),
        Client(server.host, server.port, timeout=0.05),
    ):
        pass


# Entering and leaving.


def open_descriptors() -> int:
    """Return how many file descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_it_can_be_entered_again_and_keeps_what_was_not_taken(tcp_broker: TcpBroker) -> None:
    topic = unique("blocking")
    client = Client(*tcp_broker.where)
    messages = client.messages(timeout=LIMIT)
    for number in range(3):
        with client:
            client.subscribe(topic, qos=1)
            client.publish(topic, number, qos=1)
            while len(messages) < number + 1:
                client.publish(f"{topic}/other", "a round trip", qos=1)
    assert [next(messages).payload for _ in range(3)] == [b"0", b"1", b"2"]


def test_it_is_not_reentrant(builtin: TcpBroker) -> None:
    with Client(*builtin.where) as client:
        with pytest.raises(MqttReentrantError), client:
            pass
        with pytest.raises(MqttReentrantError):
            Outcome(client.__enter__).get()
        client.publish("a", qos=1)


def test_fifty_blocks_leave_neither_threads_nor_descriptors(builtin: TcpBroker) -> None:
    client = Client(*builtin.where)
    with client:
        client.publish("a", qos=1)
    threads, descriptors = threading.active_count(), open_descriptors()
    for number in range(50):
        with client if number % 2 else Client(*builtin.where) as entered:
            entered.publish("a", qos=1)
    assert threading.active_count() == threads
    assert open_descriptors() == descriptors


def test_leaving_waits_for_the_calls_of_other_threads() -> None:
    go = threading.Event()

    def script(connection: Connection) -> None:
        connection.accept()
        _, body = connection.expect(packets.PUBLISH)
        assert go.wait(LIMIT)
        connection.send(packets.ack(packets.PUBACK, packets.packet_id_of(0x32, body)))
        connection.read_to_end()

    with ScriptedServer(script) as server, watched_waits() as waits:
        with Client(server.host, server.port) as client:
            waits.expect()  # entering
            publishing = Outcome(lambda: client.publish("a", qos=1))
            waits.expect()
            leaving = Outcome(lambda: client.__exit__(None, None, None))
            waits.expect()
            go.set()
            publishing.get()
            leaving.get()
        server.join()
        assert left_in_order(server.connections[0])


def test_threads_that_wait_get_an_outcome_when_another_leaves() -> None:
    with ScriptedServer(mute) as server, watched_waits() as waits:
        client = Client(server.host, server.port)
        client.__enter__()
        waits.expect()
        outcomes = [
            Outcome(lambda call=call: call(client, LIMIT)) for call in WAITING_CALLS.values()
        ]  # type: ignore[misc]
        outcomes += [Outcome(lambda: next(client.messages())) for _ in range(3)]
        waits.expect(len(outcomes))
        client.__exit__(ValueError, None, None)
        assert all(isinstance(outcome.error(), MqttError) for outcome in outcomes)
        client.__exit__(None, None, None)  # quiet


def test_calls_that_wait_for_a_slot_get_an_outcome_when_another_leaves() -> None:
    with ScriptedServer(mute) as server, watched_waits() as waits:
        client = Client(server.host, server.port, max_concurrent_outgoing_calls=1)
        client.__enter__()
        waits.expect()
        outcomes = [Outcome(lambda: client.publish("a", qos=1)) for _ in range(THREADS)]
        waits.expect(THREADS)
        client.__exit__(ValueError, None, None)
        assert all(isinstance(outcome.error(), MqttError) for outcome in outcomes)


def test_threads_that_wait_while_it_connects_get_an_outcome_when_that_fails() -> None:
    fail = threading.Event()

    def script(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        assert fail.wait(LIMIT)
        connection.close()

    with ScriptedServer(script) as server, watched_waits() as waits:
        client = Client(server.host, server.port)
        entering = Outcome(client.__enter__)
        waits.expect()
        iterating = Outcome(lambda: next(client.messages()))
        waits.expect()
        fail.set()
        assert isinstance(entering.error(), MqttError)
        error = iterating.error()
        assert isinstance(error, MqttError)
        assert "could not be entered" in str(error)


# What programs see before anything runs.


def test_its_methods_have_the_parameters_of_the_asyncio_client() -> None:
    assert inspect.signature(Client) == inspect.signature(ferromqtt.Client)
    for name in ("publish", "subscribe", "unsubscribe", "wait_connected"):
        method, origin = getattr(Client, name), getattr(ferromqtt.Client, name)
        assert inspect.signature(method) == inspect.signature(origin)
        assert typing.get_type_hints(method) == typing.get_type_hints(origin)
        assert not inspect.iscoroutinefunction(method)
        assert method.__name__ == name
        assert "blocking" in method.__module__
        arguments = (origin.__doc__ or "").partition("Args:")[2]
        summary, found, _ = (method.__doc__ or "").partition("\n\n        Args:\n")
        assert found, method.__doc__
        assert summary == summary.rstrip()
        assert (method.__doc__ or "").endswith(arguments)
        assert "await" not in (method.__doc__ or "")


def test_it_has_every_public_name_of_the_asyncio_client() -> None:
    """So that what is new there is not forgotten here."""
    names = {name for name in dir(ferromqtt.Client) if not name.startswith("_")}
    assert names <= set(dir(Client))


def test_its_attributes_are_those_of_the_asyncio_client() -> None:
    client = Client("broker.example", 1884, identifier="me", timeout=3)
    assert (client.identifier, client.timeout, client.pending_calls_threshold) == ("me", 3, 1000)
    client.timeout, client.pending_calls_threshold = 4, 20
    assert (client.timeout, client.pending_calls_threshold) == (4, 20)
    shown = "<blocking.Client('broker.example', 1884, identifier='me') not connected>"
    assert repr(client) == shown


def test_its_iterators_show_what_they_are() -> None:
    client = Client("broker.example")
    assert repr(client.messages()) == "<messages of a client, 0 queued>"
    assert repr(client.events()) == "<blocking.Events of broker.example:1883>"


def test_a_call_in_each_of_many_threads_is_no_reason_to_warn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = 20

    def script(connection: Connection) -> None:
        connection.accept()
        for _ in range(threads):
            connection.expect(packets.PUBLISH)
        for number in range(1, threads + 1):
            connection.send(b"\x40\x02" + number.to_bytes(2))
        connection.read_to_end()

    with (
        ScriptedServer(script) as server,
        Client(server.host, server.port, max_inflight_messages=threads) as client,
    ):
        calls = [Outcome(lambda: client.publish("a", qos=1)) for _ in range(threads)]
        for call in calls:
            call.get()
    assert not caplog.messages


def test_a_subclass_may_use_any_name(builtin: TcpBroker) -> None:
    class Client(blocking.Client):
        state = thread = take = messages_taken = "mine"

        def __init__(self) -> None:
            super().__init__(*builtin.where)
            self._client = self.__client = "mine"

    with Client() as client:
        client.publish("a", qos=1)


def test_it_connects_to_a_test_broker_in_memory() -> None:
    broker = TestBroker(listen=False)
    client = Client(broker)
    for _ in range(2):
        with client:
            client.subscribe("a")
            client.publish("a", "in memory", qos=1)
            assert [message.payload for message in take(client, 1)] == [b"in memory"]


def test_waiting_for_a_receipt_has_a_time_limit_and_the_message_goes_on() -> None:
    go = threading.Event()

    def script(connection: Connection) -> None:
        connection.accept()
        _, body = connection.expect(packets.PUBLISH)
        assert go.wait(LIMIT)
        connection.send(packets.ack(packets.PUBACK, packets.packet_id_of(0x32, body)))
        connection.read_to_end()

    with ScriptedServer(script) as server, Client(server.host, server.port) as client:
        receipt = client.enqueue("a", qos=1)
        with pytest.raises(MqttTimeoutError, match=r"not ended within 0.01 s, and goes on"):
            receipt.wait(timeout=0.01)
        with pytest.raises(ValueError, match="timeout must be 0 or more seconds"):
            receipt.wait(timeout=-1)
        go.set()
        assert receipt.wait(LIMIT).reason_code == 0
        assert receipt.wait(0).reason_code == 0
