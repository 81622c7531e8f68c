"""`Client.responder` (5.0, section 4.10): requests that are answered where they are read."""

import asyncio
import copy
import gc
import inspect
import json
import logging
import pickle
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from ferromqtt import (
    Client,
    Message,
    MqttCodeError,
    MqttError,
    ProtocolVersion,
    Request,
    Responder,
    Router,
    TypedMessage,
    blocking,
    events,
    json_codec,
)
from ferromqtt._subscription_keywords import SubscriptionKeywords
from ferromqtt.testing import TestBroker
from support.clients import LIMIT, unique
from support.loops import LoopRunner
from support.virtual import memory_broker, play, restart

_Event = TypeVar("_Event", bound=events.ConnectionEvent)
NO_RESPONDER = 0x10


@asynccontextmanager
async def world(**options: Any) -> AsyncIterator[tuple[TestBroker, Client, Client]]:  # noqa: ANN401
    """A broker, a client that responds, and one that asks."""
    broker = memory_broker()
    async with (
        broker.client("responder", protocol=5, **options) as responding,
        broker.client("asker", protocol=5) as asking,
    ):
        yield broker, responding, asking


def subscriptions(broker: TestBroker, client: str = "responder") -> int:
    session = broker.session(client)
    assert session is not None
    return session.subscriptions


async def ask(client: Client, payload: object, topic: str = "square") -> bytes:
    response = await client.request(topic, str(payload), timeout=5)
    return response.payload


async def square(responder: Responder) -> None:
    async for request in responder:
        await request.respond(int(request.payload) ** 2)


def test_each_request_is_answered_in_the_loop() -> None:
    async def main() -> None:
        async with world() as (broker, responding, asking):
            task = asyncio.create_task(square(responding.responder("square", qos=1)))
            await asyncio.sleep(1)
            answers = await asyncio.gather(*(ask(asking, number) for number in range(20)))
            assert answers == [str(number**2).encode() for number in range(20)]
            assert subscriptions(broker) == 1
            task.cancel()
            await asyncio.sleep(1)
            assert subscriptions(broker) == 0

    play(main)


async def by_break(responder: Responder) -> None:
    async for request in responder:
        await request.respond("last")
        break


async def by_return(responder: Responder) -> None:
    async for request in responder:
        await request.respond("last")
        return


async def by_exception(responder: Responder) -> None:
    async def fail() -> None:
        async for request in responder:
            await request.respond("last")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def by_aclose(responder: Responder) -> None:
    requests = aiter(responder)
    await (await anext(requests)).respond("last")
    await requests.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(requests)


@pytest.mark.parametrize("leave", [by_break, by_return, by_exception, by_aclose])
def test_the_subscription_ends_with_the_loop(leave: Callable[[Responder], Awaitable[None]]) -> None:
    """At once: also while other requests wait in the queue, which hold up nothing then."""

    async def main() -> None:
        async with world() as (broker, responding, asking):
            responder = responding.responder("square", qos=1, maxsize=1)
            asked = [asyncio.create_task(ask(asking, number)) for number in range(5)]
            await asyncio.sleep(1)  # they come when it subscribes, as far as the broker has them
            for task in asked:
                task.cancel()
            leaving = asyncio.ensure_future(leave(responder))
            await asyncio.sleep(1)
            asked = [asyncio.create_task(ask(asking, number)) for number in range(5)]
            await leaving
            await asyncio.sleep(1)
            assert subscriptions(broker) == 0
            assert await asked[0] == b"last"
            for task in asked:
                task.cancel()
            with pytest.raises(MqttCodeError) as raised:
                await ask(asking, 1)
            assert raised.value.rc == NO_RESPONDER
            # Nothing of it holds up what comes behind.
            async with responding.subscription("else", qos=1) as messages:
                await asking.publish("else", "free", qos=1)
                async with asyncio.timeout(4):
                    assert (await anext(messages)).payload == b"free"
            assert responding.unacknowledged().messages == 0

    play(main)


def test_loops_over_one_responder_share_its_subscription() -> None:
    async def main() -> None:
        async with world() as (broker, responding, asking):
            responder = responding.responder("square", qos=1)
            answered = [0, 0]

            async def answer(number: int) -> None:
                async for request in responder:
                    answered[number] += 1
                    await request.respond(int(request.payload) ** 2)

            tasks = [asyncio.create_task(answer(number)) for number in range(2)]
            await asyncio.sleep(1)
            assert len(await asyncio.gather(*(ask(asking, number) for number in range(10)))) == 10
            assert sum(answered) == 10
            assert min(answered) > 0
            tasks[0].cancel()
            await asyncio.sleep(1)
            assert await ask(asking, 3) == b"9"
            assert subscriptions(broker) == 1
            tasks[1].cancel()
            await asyncio.sleep(1)
            assert subscriptions(broker) == 0
            again = asyncio.create_task(by_break(responder))
            await asyncio.sleep(1)
            assert await ask(asking, 3) == b"last"
            await again

    play(main)


def test_a_step_that_runs_out_of_time_is_repeated() -> None:
    async def main() -> None:
        async with world() as (_, responding, asking):
            requests = aiter(responding.responder("square", qos=1))
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await anext(requests)
            task = asyncio.create_task(ask(asking, 4))
            await (await anext(requests)).respond("late")
            assert await task == b"late"

    play(main)


def test_a_responder_that_is_dropped_elsewhere_ends_on_its_loop() -> None:
    """A garbage collection may run in any thread."""

    async def main() -> None:
        async with world() as (broker, responding, asking):
            cycle: list[object] = []
            requests = aiter(responding.responder("square", qos=1))
            cycle += [cycle, requests]
            task = asyncio.create_task(ask(asking, 4))
            await asyncio.sleep(1)
            step = asyncio.ensure_future(anext(requests))
            await asyncio.sleep(1)
            step.cancel()
            task.cancel()
            await asyncio.sleep(1)
            assert subscriptions(broker) == 1
            del requests, step
            cycle.clear()
            await asyncio.sleep(1)
            assert subscriptions(broker) == 0
            holder = [aiter(responding.responder("square", qos=1))]
            step = asyncio.ensure_future(anext(holder[0]))
            await asyncio.sleep(1)
            step.cancel()
            await asyncio.sleep(1)
            del step
            assert subscriptions(broker) == 1
            gc.collect()
            thread = threading.Thread(target=holder.clear)
            thread.start()
            thread.join()
            await asyncio.sleep(1)
            assert subscriptions(broker) == 0

    play(main)


def test_a_message_without_a_response_topic_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with (
            world() as (_, responding, asking),
            responding.responder("square", qos=1, ack="manual") as requests,
        ):
            assert repr(requests) == "<requests of 'square', 0 queued>"
            await asking.publish("square", "3", qos=1)
            await asking.publish("square", "4", qos=1)
            assert len(requests) == 2
            assert requests.try_next() is None
            assert requests.passed_over == 2
            assert responding.unacknowledged().messages == 0
            task = asyncio.create_task(ask(asking, 5))
            request = await anext(requests)
            assert responding.unacknowledged().messages == 1
            await request.respond("yes")
            await request.ack()
            assert await task == b"yes"
            assert responding.unacknowledged().messages == 0

    with caplog.at_level(logging.WARNING, "ferromqtt"):
        play(main)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert all("asks for no response was passed over by a responder" in line for line in lines)
    assert all('topic: "square"' in line for line in lines)


def test_a_request_is_a_message_with_a_way_back() -> None:
    async def main() -> None:
        async with world() as (_, responding, asking):
            async with responding.responder("square", qos=1) as requests:
                task = asyncio.create_task(
                    asking.request("square", "7", content_type="text/plain", timeout=5)
                )
                request = await anext(requests)
                assert isinstance(request, Message)
                assert (str(request.topic), request.payload, request.qos) == ("square", b"7", 1)
                assert request.content_type == "text/plain"
                assert request.response_topic is not None
                assert repr(request) == "Request('square', b'7', qos=1)"
                for same in (copy.copy(request), pickle.loads(pickle.dumps(request))):
                    assert type(same) is TypedMessage
                    assert same.correlation_data == request.correlation_data
                await request.respond(
                    "49", qos=0, content_type="text/plain", user_properties={"unit": "m²"}
                )
                await request.respond("another", qos=1)
                answer = await task
                assert (answer.payload, answer.qos) == (b"49", 0)
                assert answer.user_properties == [("unit", "m²")]
                assert len(asking.messages) == 0  # it has come, and nobody asks for it
                with pytest.raises(TypeError, match="did you mean 'content_type'"):
                    await request.respond("x", contenttype="y")  # type: ignore[call-arg]
                with pytest.raises(ValueError, match="QoS"):
                    await request.respond("x", qos=3)
            assert requests.is_closed
            assert [it async for it in requests] == []

    play(main)


def test_requests_are_read_by_templates_and_a_codec_and_answered_by_one() -> None:
    async def main() -> None:
        async with world() as (_, responding, asking):
            responder = responding.responder("sum/{of}", qos=1, codec=json_codec(list[int]))
            async with responder as requests:

                async def work() -> None:
                    async for request in requests:
                        assert request.params == {"of": "two"}
                        if request.error is None:
                            await request.respond({"sum": sum(request.value)}, codec=json)
                        else:
                            await request.respond("no numbers")

                task = asyncio.create_task(work())
                assert await ask(asking, "[1, 2]", "sum/two") == b'{"sum": 3}'
                assert await ask(asking, "[1, null]", "sum/two") == b"no numbers"
                task.cancel()

    play(main)


def test_a_response_can_be_retained() -> None:
    async def main() -> None:
        async with (
            world() as (_, responding, asking),
            responding.responder("state", qos=1) as requests,
        ):
            await asking.publish("state", "?", qos=1, response_topic="state/answer")
            await (await anext(requests)).respond("on", retain=True)
            async with asking.subscription("state/answer") as answers:
                answer = await anext(answers)
                assert (answer.payload, answer.retain) == (b"on", True)

    play(main)


@pytest.mark.parametrize("protocol", [3, 4])
def test_before_mqtt_5_it_is_refused(protocol: int) -> None:
    client = Client("localhost", protocol=protocol)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Requests and responses need"):
        client.responder("square")


def test_with_a_server_of_3_1_1_it_is_refused_before_anything_is_sent() -> None:
    async def main() -> None:
        broker = memory_broker(refused_versions=[5])
        client = broker.client("c", protocol="auto")
        responder = client.responder("square")
        async with client:
            with pytest.raises(ValueError, match="Requests and responses need"):
                async with responder:
                    pass
            with pytest.raises(ValueError, match="Requests and responses need"):
                await anext(aiter(responder))
            assert subscriptions(broker, "c") == 0

    play(main)


def refusing_5_0() -> TestBroker:
    return memory_broker(refused_versions=[5])


@asynccontextmanager
async def of_two_versions() -> AsyncIterator[tuple[TestBroker, Client]]:
    """A client whose first server speaks 5.0, and its second one 3.1.1."""
    first, second = memory_broker(), refusing_5_0()
    async with (
        first,
        second,
        Client(first, servers=[second], protocol="auto", reconnect=True, timeout=60) as client,
    ):
        assert client.protocol() is ProtocolVersion.V5
        yield first, client


NO_REQUESTS = "^Requests and responses need MQTT 5.0"


def test_with_a_server_of_3_1_1_one_that_was_opened_before_the_connection_raises() -> None:
    """It waited in silence: on 3.1.1 no message has a Response Topic."""

    async def main() -> None:
        broker = refusing_5_0()
        client = broker.client("c", protocol="auto")
        async with client.responder("square", qos=1) as requests:
            waiting = asyncio.ensure_future(anext(requests))
            happened = client.events()
            async with client:
                for step in (waiting, anext(requests)):  # again, as long as it is not left
                    with pytest.raises(ValueError, match=NO_REQUESTS):
                        await asyncio.wait_for(step, 5)
                event = [it async for it in _until(happened, events.NotSubscribed)][-1]
                assert event.filter == "square"
                assert event.forbidden_by is not None
                assert event.forbidden_by.startswith("Requests and responses need MQTT 5.0")
                assert subscriptions(broker, "c") == 0

    play(main)


def test_with_a_server_of_3_1_1_a_call_that_has_waited_for_the_connection_raises_the_same() -> None:
    async def main() -> None:
        async with of_two_versions() as (first, client):
            await first.stop()
            entering = asyncio.ensure_future(client.responder("square").__aenter__())
            iterating = asyncio.ensure_future(anext(aiter(client.responder("square"))))
            for step in (entering, iterating):
                with pytest.raises(ValueError, match=NO_REQUESTS):
                    await asyncio.wait_for(step, 30)
            assert client.protocol() is ProtocolVersion.V311

    play(main)


def test_it_ends_when_a_later_connection_has_3_1_1() -> None:
    async def main() -> None:
        async with (
            of_two_versions() as (first, client),
            client.responder("square") as requests,
            client.subscription("else") as others,
        ):
            happened = client.events()
            waiting = asyncio.ensure_future(anext(requests))
            await first.stop()
            with pytest.raises(ValueError, match=NO_REQUESTS):
                await asyncio.wait_for(waiting, 30)
            event = [it async for it in _until(happened, events.NotResubscribed)][-1]
            assert (event.filter, event.forbidden_by is not None) == ("square", True)
            await client.publish("else", "goes on")
            assert (await anext(others)).payload == b"goes on"

    play(main)


def test_arguments_are_those_of_a_subscription_and_are_checked_at_the_call() -> None:
    client = Client("localhost", protocol=5)
    assert repr(client.responder("a", "b")) == "<Responder to 'a', 'b'>"
    with pytest.raises(ValueError, match="filter"):
        client.responder("a#")
    with pytest.raises(ValueError, match="maxsize"):
        client.responder("a", maxsize=0)
    with pytest.raises(TypeError, match="did you mean 'overflow'"):
        client.responder("a", overfow="wait")  # type: ignore[call-arg]


def test_a_refused_filter_is_named() -> None:
    async def main() -> None:
        broker = memory_broker(deny_subscribe=[("square", 0x87)])
        async with broker.client("c", protocol=5) as client:
            for step in (
                anext(aiter(client.responder("square"))),
                client.responder("square").__aenter__(),
            ):
                with pytest.raises(MqttCodeError) as raised:
                    await step
                assert raised.value.rc == 0x87
                assert "'square'" in raised.value.__notes__[0]

    play(main)


def test_it_goes_on_after_a_loss_and_raises_at_the_end() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with broker.client("asker", protocol=5, reconnect=True) as asking:
            async with broker.client("responder", protocol=5, reconnect=True) as responding:
                task = asyncio.create_task(square(responding.responder("square", qos=1)))
                await asyncio.sleep(1)
                assert await ask(asking, 2) == b"4"
                await restart(broker)
                await responding.wait_connected()
                await asyncio.sleep(1)
                assert await ask(asking, 3) == b"9"
            with pytest.raises(MqttError, match="Disconnected during message iteration"):
                await task

    play(main)


def test_it_may_be_opened_before_there_is_a_connection() -> None:
    async def main() -> None:
        broker = memory_broker()
        client = broker.client("c", protocol=5)
        async with client.responder("square", qos=1) as requests, client:
            task = asyncio.create_task(ask(client, 3))
            await (await anext(requests)).respond("9")
            assert await task == b"9"

    play(main)


def test_what_nobody_has_taken_is_reported_when_the_loop_is_left() -> None:
    async def main() -> None:
        async with world() as (_, responding, asking):
            happened = responding.events()
            answering = asyncio.create_task(
                by_break(responding.responder("square", qos=1, ack="manual"))
            )
            await asyncio.sleep(1)
            asked = [asyncio.create_task(ask(asking, number)) for number in range(3)]
            await answering
            async with asyncio.timeout(5):
                lagged = [it async for it in _until(happened, events.Lagged)]
            assert [it.lost for it in lagged] == [2]
            for task in asked:
                task.cancel()

    play(main)


async def _until(happened: events.Events, kind: type[_Event]) -> AsyncIterator[_Event]:
    async for event in happened:
        if isinstance(event, kind):
            yield event
            return


def test_a_request_of_ones_own_cannot_respond() -> None:
    async def main() -> None:
        arguments = ("a", b"", 0, False, 0, None)
        with pytest.raises(RuntimeError, match="the program has made it"):
            await Request(*arguments).respond("x")
        with pytest.raises(RuntimeError, match="the program has made it"):
            blocking.Request(*arguments).respond("x")

    play(main)


def test_the_keywords_are_those_of_a_subscription() -> None:
    """`SubscriptionKeywords` is for type checkers; what is called takes the same ones."""

    def keywords(call: Callable[..., object]) -> dict[str, object]:
        parameters = inspect.signature(call).parameters.values()
        return {it.name: it.default for it in parameters if it.kind is it.KEYWORD_ONLY}

    of_subscription = keywords(Client.subscription)
    assert keywords(Client.responder) == of_subscription
    assert keywords(blocking.Client.responder) == of_subscription
    assert keywords(Router.on) == {"concurrency": 1} | of_subscription
    assert keywords(Router.respond) == {"concurrency": 1} | of_subscription
    assert SubscriptionKeywords.__annotations__.keys() == of_subscription.keys()


async def shared_work(*where: Any) -> None:  # noqa: ANN401 - as of `Client`
    topic = unique("square")
    answered: dict[str, int] = {}

    async def work(name: str, client: Client) -> None:
        async for request in client.responder(f"$share/workers/{topic}", qos=1):
            answered[name] = answered.get(name, 0) + 1
            await request.respond(int(request.payload) ** 2)

    async with (
        Client(*where, protocol=5) as one,
        Client(*where, protocol=5) as two,
        Client(*where, protocol=5) as asking,
        asyncio.timeout(LIMIT),
    ):
        tasks = [asyncio.create_task(work("one", one)), asyncio.create_task(work("two", two))]
        while True:  # until both have subscribed
            try:
                assert await ask(asking, 3, topic) == b"9"
            except MqttCodeError as error:
                assert error.rc == NO_RESPONDER  # noqa: PT017 - it is tried again
            if len(answered) == 2:
                break
        answers = await asyncio.gather(*(ask(asking, number, topic) for number in range(10)))
        assert answers == [str(number**2).encode() for number in range(10)]
        for task in tasks:
            task.cancel()


def test_a_shared_subscription_shares_the_work(run: LoopRunner, broker: Any) -> None:  # noqa: ANN401
    run(shared_work, *broker.where)
