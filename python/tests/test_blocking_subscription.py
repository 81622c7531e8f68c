"""`ferromqtt.blocking.Client.subscription`: a queue of its own for threads."""

import threading
from collections.abc import Iterator

import pytest

from ferromqtt import MqttCodeError, MqttError, MqttOverflowError
from ferromqtt.blocking import Client, SubscriptionMessages
from support.builtin import BuiltinBroker
from support.clients import LIMIT, unique


@pytest.fixture
def client(builtin: BuiltinBroker) -> Iterator[Client]:
    with Client(builtin.host, builtin.port) as entered:
        yield entered


def payloads(messages: SubscriptionMessages, count: int) -> list[bytes]:
    return [next(messages.within(LIMIT)).payload for _ in range(count)]


def test_a_subscription_gets_its_messages_and_ends_with_its_block(client: Client) -> None:
    topic = unique("own")
    with client.subscription(f"{topic}/+", qos=1, maxsize=2) as messages:
        assert messages.granted_qos() == 1
        assert [(it, code.value) for it, code in messages.results()] == [(f"{topic}/+", 1)]
        for number in range(10):  # eight of them are not acknowledged yet
            client.publish(f"{topic}/a", str(number), qos=1)
        assert payloads(messages, 10) == [str(number).encode() for number in range(10)]
        assert list(messages.within(0)) == []
        assert (messages.take_lost(), messages.not_subscribed(), len(messages)) == (0, [], 0)
    assert list(messages) == []
    assert len(client.messages()) == 0


def test_threads_share_a_subscription_and_end_when_its_block_is_left(client: Client) -> None:
    topic = unique("own")
    taken: list[bytes] = []

    def read(messages: SubscriptionMessages) -> None:
        taken.extend(message.payload for message in messages)

    with client.subscription(topic, qos=1) as messages:
        threads = [threading.Thread(target=read, args=(messages,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(20):
            client.publish(topic, str(number), qos=1)
        client.publish(topic, "last", qos=1)
        while len(messages):
            threads[0].join(0.01)
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert sorted(taken) == sorted([*(str(number).encode() for number in range(20)), b"last"])


def test_opened_before_the_client_is_entered(builtin: BuiltinBroker) -> None:
    topic = unique("own")
    client = Client(builtin.host, builtin.port)
    with client.subscription(topic, qos=1) as messages:
        with pytest.raises(MqttCodeError, match="code:4"):
            next(messages)
        with client:
            client.publish(topic, b"1", qos=1)
            client.publish(topic, b"2", qos=1)
            assert payloads(messages, 1) == [b"1"]
        assert next(messages).payload == b"2"
        with pytest.raises(MqttError, match="Disconnected during message iteration"):
            next(messages)
    assert list(messages) == []


def test_a_queue_that_fails_raises_and_goes_on(client: Client) -> None:
    topic = unique("own")
    with client.subscription(topic, qos=1, maxsize=1, overflow="fail") as messages:
        for number in range(3):
            client.publish(topic, str(number), qos=1)
        assert payloads(messages, 1) == [b"0"]
        with pytest.raises(MqttOverflowError) as caught:
            next(messages)
        assert caught.value.lost == messages.take_lost() == 2
        client.publish(topic, b"on", qos=1)
        received = messages.try_next()
        assert received is None or received.payload == b"on"
        messages.unsubscribe()
        assert list(messages) == []


def test_wrong_arguments_are_refused_at_the_call(client: Client) -> None:
    with pytest.raises(ValueError, match="maxsize"):
        client.subscription("a", maxsize=0)
    with client.subscription("a") as messages, pytest.raises(TypeError, match="timeout must be"):
        messages.within("1")  # type: ignore[arg-type]
