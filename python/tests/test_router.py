"""`Router`: handlers of messages, each with a subscription of its own."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from ferromqtt import (
    Client,
    Message,
    MqttCodeError,
    MqttError,
    Request,
    Router,
    TypedMessage,
    blocking,
)
from support.clients import LIMIT, unique
from support.loops import LoopRunner
from support.routers import Log, subscriptions
from support.virtual import memory_broker, play, restart


async def routes(*where: Any) -> None:  # noqa: ANN401 - as of `Client`
    topic = unique("house")
    router = Router()
    got: dict[str, list[str]] = {"alarm": [], "temperature": [], "plain": []}
    done = asyncio.Event()

    @router.on(f"{topic}/alarms/#", qos=1)
    async def alarm(message: Message) -> None:
        got["alarm"].append(message.payload.decode())
        if message.payload == b"last":
            done.set()

    @router.on(f"{topic}/room/+/temp", (f"{topic}/garden/temp", 2), qos=1, maxsize=10)
    async def temperature(message: Message) -> None:
        got["temperature"].append(f"{message.qos} {message.payload.decode()}")

    @router.on(f"{topic}/alarms/fire")
    def plain(message: Message) -> None:
        got["plain"].append(message.payload.decode())

    async with Client(*where) as client, asyncio.timeout(LIMIT):
        task = asyncio.create_task(router.run(client))
        while not got["alarm"]:  # until it has subscribed
            await client.publish(f"{topic}/alarms/test", "test", qos=1)
        await client.publish(f"{topic}/room/1/temp", "21", qos=1)
        await client.publish(f"{topic}/garden/temp", "7", qos=2)
        await client.publish(f"{topic}/alarms/fire", "fire", qos=1)
        await client.publish(f"{topic}/alarms/test", "last", qos=1)
        await done.wait()
        assert got["alarm"][-2:] == ["fire", "last"]
        assert got["temperature"] == ["1 21", "2 7"]
        assert got["plain"] == ["fire"]
        assert len(client.messages) == 0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_each_handler_gets_the_messages_of_its_filters(run: LoopRunner, broker: Any) -> None:  # noqa: ANN401
    run(routes, *broker.where)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_so_many_messages_are_handled_at_once(concurrency: int) -> None:
    async def main() -> None:
        broker = memory_broker()
        log = Log()
        router = Router()

        @router.on("jobs/#", qos=1, concurrency=concurrency, maxsize=2)
        async def job(message: Message) -> None:
            await log.work(message, seconds=2.0 if message.payload == b"0" else 1.0)

        async with broker.client("c", protocol=5, receive_maximum=2) as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            for number in range(9):
                await client.publish("jobs/1", str(number), qos=1)
            session = broker.session("c")
            assert session is not None
            # The queue is full, and what the handler has not got waits at the server.
            assert session.queued + session.in_flight == 9 - concurrency - 2
            await asyncio.sleep(20)
            assert log.most == concurrency
            if concurrency == 1:
                assert log.entries == [str(number) for number in range(9)]
            assert sorted(log.entries) == [str(number) for number in range(9)]
            task.cancel()

    play(main)


def test_an_error_is_logged_with_filter_and_topic_and_the_router_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        router = Router()
        good: list[bytes] = []

        @router.on("a/+", "b")
        async def handle(message: Message) -> None:
            if message.payload == b"bad":
                raise ZeroDivisionError
            good.append(message.payload)

        async with broker.client("c") as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            await client.publish("a/1", "bad")
            await client.publish("a/1", "good")
            await asyncio.sleep(1)
            assert good == [b"good"]
            task.cancel()

    play(main)
    (record,) = caplog.records
    assert record.name == "ferromqtt"
    assert record.levelno == logging.ERROR
    assert record.getMessage().endswith("handle of a/+, b failed on a message to a/1")
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("kind", ["function", "coroutine function"])
def test_errors_go_to_one_place(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        broker = memory_broker()
        seen: list[tuple[type, str]] = []

        def note(error: Exception, message: Message) -> None:
            seen.append((type(error), str(message.topic)))

        async def note_later(error: Exception, message: Message) -> None:
            await asyncio.sleep(1)
            note(error, message)

        router = Router(on_error=note if kind == "function" else note_later)

        @router.on("a")
        async def a(_: Message) -> None:
            raise ZeroDivisionError

        @router.on("b")
        def b(_: Message) -> None:
            raise KeyError

        async with broker.client("c") as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            await client.publish("a", "1")
            await client.publish("b", "1")
            await client.publish("a", "2")
            await asyncio.sleep(5)
            assert sorted(seen, key=str) == sorted(
                [(ZeroDivisionError, "a"), (KeyError, "b"), (ZeroDivisionError, "a")], key=str
            )
            task.cancel()

    play(main)
    assert not caplog.records


def test_a_refused_subscription_comes_out_of_run_with_code_and_filter() -> None:
    async def main() -> None:
        broker = memory_broker(deny_subscribe=[("secret/#", 0x87)])
        log = Log()
        router = Router()
        router.on("a", qos=1)(log.work)
        router.on("secret/#", qos=1)(log.work)
        async with broker.client("c") as client:
            await client.publish("a", "retained", qos=1, retain=True)
            with pytest.raises(MqttCodeError) as raised:
                await router.run(client)
            assert raised.value.rc == 0x80  # 3.1.1 has no other code
            assert "'secret/#'" in raised.value.__notes__[0]
            await asyncio.sleep(5)
            assert log.most == 0
            assert subscriptions(broker) == 0

    play(main)


def test_with_reconnect_it_goes_on() -> None:
    async def main() -> None:
        broker = memory_broker()
        log = Log()
        router = Router()
        router.on("a/#", qos=1)(log.work)
        async with broker.client("c", reconnect=True) as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            for number in range(3):
                await client.publish("a/1", str(number), qos=1)
                await restart(broker)
                await client.wait_connected()
            await client.publish("a/1", "3", qos=1)
            await asyncio.sleep(3)
            assert log.entries == ["0", "1", "2", "3"]
            task.cancel()

    play(main)


def test_what_a_handler_returns_is_the_response() -> None:
    async def main() -> None:
        broker = memory_broker()
        failed: list[str] = []
        router = Router(on_error=lambda error, _: failed.append(str(error)))

        @router.respond("square", qos=1, concurrency=2)
        async def square(request: Request) -> int:
            return int(request.payload) ** 2

        @router.respond("clock")
        def clock(_: Request) -> str:
            return "half past nine"

        async with broker.client("c", protocol=5) as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            answer = await client.request("square", 7)
            assert answer.payload == b"49"
            assert (await client.request("clock")).payload == b"half past nine"
            await client.publish("square", "no request", qos=1)
            with pytest.raises(MqttError):
                await client.request("square", "seven", timeout=2)
            assert len(failed) == 1
            assert "invalid literal" in failed[0]
            task.cancel()

    play(main)


def test_a_codec_reads_what_a_handler_gets_and_writes_what_it_returns() -> None:
    async def main() -> None:
        broker = memory_broker()
        router = Router()
        readings: list[tuple[str, object]] = []

        @router.on("room/{room}", qos=1, codec=json)
        async def reading(message: TypedMessage[Any]) -> None:
            readings.append((message.params["room"], message.value))

        @router.respond("sum", qos=1, codec=json)
        async def total(request: Request) -> dict[str, int]:
            return {"sum": sum(request.value)}

        async with broker.client("c", protocol=5) as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            await client.publish("room/hall", [1], qos=1, codec=json)
            response = await client.request("sum", [1, 2], codec=json, timeout=5)
            assert response.payload == b'{"sum": 3}'
            assert readings == [("hall", [1])]
            task.cancel()

    play(main)


def test_before_mqtt_5_a_router_that_responds_does_not_run() -> None:
    async def main() -> None:
        broker = memory_broker()
        router = Router()
        router.on("a")(print)
        router.respond("square")(lambda request: request.payload)
        async with broker.client("c") as client:
            with pytest.raises(ValueError, match="Requests and responses need"):
                await router.run(client)
            assert subscriptions(broker) == 0

    play(main)


def test_a_handler_whose_own_work_is_cancelled_has_failed() -> None:
    async def main() -> None:
        broker = memory_broker()
        failed: list[BaseException | None] = []
        router = Router(on_error=lambda error, _: failed.append(error.__cause__))

        @router.on("a")
        async def handle(_: Message) -> None:
            work = asyncio.get_running_loop().create_future()
            work.cancel()
            await work

        @router.on("b")
        async def cancel_itself(_: Message) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)

        async with broker.client("c") as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            await client.publish("a", "1")
            await client.publish("a", "2")
            await asyncio.sleep(1)
            assert [type(it) for it in failed] == [asyncio.CancelledError] * 2
            await client.publish("b", "1")
            with pytest.raises(RuntimeError, match="cancelled the task that it runs in"):
                await task

    play(main)


def test_one_router_runs_for_several_clients() -> None:
    async def main() -> None:
        broker = memory_broker()
        log = Log()
        router = Router()
        router.on("a", qos=1)(log.work)
        async with broker.client("c") as one, broker.client("d") as two:
            tasks = [asyncio.create_task(router.run(client)) for client in (one, two)]
            await asyncio.sleep(1)
            await one.publish("a", "to both", qos=1)
            await asyncio.sleep(2)
            assert log.entries == ["to both", "to both"]
            router.stop()
            await asyncio.gather(*tasks)

    play(main)


def test_what_is_wrong_is_refused() -> None:
    router = Router()
    with pytest.raises(ValueError, match="needs a filter"):
        router.on()
    for given in ((print,), ("alarms/#", print)):
        with pytest.raises(TypeError, match=r'must be str, not .*: write @router\.on\("room'):
            router.on(*given)
    with pytest.raises(TypeError, match=r"write @router\.respond\("):
        router.respond(print)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Make a router first"):
        Router.on("a/#")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"on\(\) takes its filters without a keyword"):
        router.on(topic="a")  # type: ignore[call-arg]

    def generator(_: Message) -> Iterator[int]:
        yield 1

    async def asynchronous(_: Message) -> AsyncIterator[int]:
        yield 1

    for handler in (generator, asynchronous):
        with pytest.raises(TypeError, match="has a yield: a handler must return"):
            router.on("a")(handler)
    with pytest.raises(ValueError, match="concurrency must be 1 or more, not 0"):
        router.on("a", concurrency=0)
    with pytest.raises(TypeError, match="concurrency must be int, not str"):
        router.on("a", concurrency="2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="did you mean 'maxsize'"):
        router.on("a", max_size=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="a handler must be a function of the message, not str"):
        router.on("a")("b")  # type: ignore[type-var]
    with pytest.raises(TypeError, match="on_error must be a function"):
        Router(on_error=1)  # type: ignore[arg-type]
    assert repr(router) == "<Router with 0 handlers>"

    async def main() -> None:
        with pytest.raises(ValueError, match="has no handlers"):
            await router.run(Client("localhost"))
        with pytest.raises(TypeError, match=r"client must be a ferromqtt\.Client, not str"):
            await router.run("localhost")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"not ferromqtt\.blocking\.Client"):
            await router.run(blocking.Client("localhost"))  # type: ignore[arg-type]
        router.on("a#")(print)
        with pytest.raises(TypeError, match=r"started must be an asyncio\.Event, not bool"):
            await router.run(Client("localhost"), started=True)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="a#") as caught:
            await router.run(Client("localhost"))
        assert caught.value.__notes__ == ["It is an argument of the handler print of a#."]

    asyncio.run(main())


def test_serve_enters_the_client_and_misses_nothing_of_a_session_that_was_kept() -> None:
    async def main() -> None:
        broker = memory_broker()
        seen: list[bytes] = []
        router = Router()

        @router.on("a", qos=1)
        async def handle(message: Message) -> None:
            seen.append(message.payload)

        client = broker.client("c", clean_session=False)
        async with client:
            await client.subscribe("a", qos=1)
        await broker.publish("a", "kept", qos=1)
        started = asyncio.Event()
        task = asyncio.create_task(router.serve(client, started=started))
        await started.wait()
        assert broker.stats().connections == 1
        await client.publish("a", "new", qos=1)
        await asyncio.sleep(1)
        router.stop()
        await task
        assert seen == [b"kept", b"new"]
        assert broker.stats().connections == 0

    play(main)


def test_serve_raises_what_entering_the_client_does_and_leaves_nothing() -> None:
    async def main() -> None:
        broker = memory_broker()
        broker.refuse_connections(0x87)
        router = Router()
        router.on("a")(print)
        with pytest.raises(MqttError):
            await router.serve(broker.client("c", protocol=5))
        assert broker.stats().connections == 0

    play(main)


def test_serve_raises_what_a_handler_of_errors_does_and_leaves_the_client() -> None:
    async def main() -> None:
        def raise_again(error: Exception, _: Message) -> None:
            raise error

        broker = memory_broker()
        router = Router(on_error=raise_again)

        @router.on("a")
        async def fail(_: Message) -> None:
            raise ValueError("no such dish")

        started = asyncio.Event()
        task = asyncio.create_task(router.serve(broker.client("c"), started=started))
        await started.wait()
        await broker.publish("a", "x")
        with pytest.raises(ValueError, match="no such dish"):
            await task
        assert broker.stats().connections == 0

    play(main)


def test_serve_ends_when_the_server_refuses_the_only_filter_of_a_handler() -> None:
    async def main() -> None:
        broker = memory_broker(deny_subscribe=["a"])
        router = Router()
        router.on("a")(print)
        with pytest.raises(MqttCodeError) as error:
            await router.serve(broker.client("c", protocol=5))
        assert error.value.rc == 0x87
        assert broker.stats().connections == 0

    play(main)
