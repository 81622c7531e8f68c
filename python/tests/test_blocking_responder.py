"""`ferromqtt.blocking.Client.responder`: requests that threads answer."""

import gc
import threading
from collections.abc import Callable, Iterator

import pytest

from ferromqtt import Message, MqttCodeError, MqttTimeoutError
from ferromqtt.blocking import Client, Request, Responder
from support.builtin import BuiltinBroker
from support.clients import LIMIT, unique

NO_RESPONDER = 0x10


@pytest.fixture
def client(builtin: BuiltinBroker) -> Iterator[Client]:
    with Client(builtin.host, builtin.port, protocol=5) as entered:
        yield entered


def ask(client: Client, topic: str, payload: object) -> bytes:
    """Ask until somebody has subscribed."""
    for _ in range(1000):
        try:
            return client.request(topic, str(payload), timeout=LIMIT).payload
        except MqttCodeError as error:
            assert error.rc == NO_RESPONDER  # noqa: PT017 - it is tried again
            threading.Event().wait(0.005)
    raise AssertionError("nobody has subscribed")


def is_left(client: Client, topic: str) -> bool:
    """Wait until nobody is subscribed: unsubscribing goes on in the background."""
    for _ in range(1000):
        try:
            client.request(topic, "x", timeout=0.01)
        except MqttTimeoutError:
            continue
        except MqttCodeError as error:
            return error.rc == NO_RESPONDER
    return False


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_loop_answers_and_its_end_unsubscribes(client: Client) -> None:
    topic = unique("square")
    responder = client.responder(topic, qos=1)

    def answer() -> None:
        for request in responder:
            assert isinstance(request, Request)
            assert isinstance(request, Message)
            if request.payload == b"stop":
                request.respond("stopped", qos=0, content_type="text/plain")
                break
            request.respond(int(request.payload) ** 2)

    for _ in range(2):  # it can be used again
        threads = [in_thread(answer) for _ in range(2)]  # which share one subscription
        assert [ask(client, topic, number) for number in range(5)] == [
            str(number**2).encode() for number in range(5)
        ]
        for thread in threads:
            assert ask(client, topic, "stop") == b"stopped"
            del thread
        for thread in threads:
            thread.join(LIMIT)
        with pytest.raises(MqttCodeError) as raised:
            client.request(topic, "1")
        assert raised.value.rc == NO_RESPONDER


def test_a_block_gets_requests_and_passes_over_the_rest(client: Client) -> None:
    topic = unique("square")
    with client.responder(topic, qos=1, ack="manual") as requests:
        assert repr(requests) == f"<requests of {topic!r}, 0 queued>"
        assert requests.granted_qos() == 1
        client.publish(topic, "asks for nothing", qos=1)
        assert list(requests.within(0.2)) == []
        assert (requests.passed_over, requests.try_next(), len(requests)) == (1, None, 0)
        answers: list[bytes] = []
        thread = in_thread(lambda: answers.append(ask(client, topic, 3)))
        request = next(requests.within(LIMIT))
        request.respond("9")
        request.ack()
        thread.join(LIMIT)
        assert answers == [b"9"]
        assert client.unacknowledged().messages == 0
    assert list(requests) == []


def test_an_iterator_that_is_kept_ends_by_close_or_when_it_is_dropped(client: Client) -> None:
    topic = unique("square")
    responder: Responder = client.responder(topic, qos=1)
    for end in ("close", "drop"):
        requests = iter(responder)
        thread = in_thread(lambda: ask(client, topic, "x"))
        next(requests).respond("answer")
        thread.join(LIMIT)
        if end == "close":
            requests.close()
            with pytest.raises(StopIteration):
                next(requests)
        del requests
        gc.collect()
        assert is_left(client, topic)


def test_before_mqtt_5_it_is_refused(builtin: BuiltinBroker) -> None:
    with pytest.raises(ValueError, match="Requests and responses need"):
        Client(builtin.host, builtin.port).responder("square")
