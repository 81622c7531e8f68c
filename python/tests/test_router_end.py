"""How a `Router` ends: stopped, cancelled, with its connection, by an error."""

import asyncio
import contextlib

import pytest

from ferromqtt import (
    Message,
    MqttError,
    MqttOverflowError,
    Router,
)
from support.routers import Log, subscriptions
from support.virtual import memory_broker, play


def test_what_on_error_raises_ends_the_router() -> None:
    async def main() -> None:
        broker = memory_broker()
        log = Log()

        def give_up(error: Exception, _: Message) -> None:
            raise error

        router = Router(on_error=give_up)

        @router.on("a")
        async def a(_: Message) -> None:
            raise ZeroDivisionError("by the handler")

        router.on("b")(log.work)

        async with broker.client("c") as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            await client.publish("b", "is cancelled")
            await client.publish("a", "1")
            with pytest.raises(ZeroDivisionError, match="by the handler"):
                await task
            assert (log.entries, log.active, log.most) == ([], 0, 1)
            await asyncio.sleep(1)
            assert subscriptions(broker) == 0

    play(main)


def test_at_the_end_of_the_connection_what_has_come_is_handled() -> None:
    async def main() -> None:
        broker = memory_broker()
        log = Log()
        router = Router()
        router.on("a", qos=1)(log.work)
        router.on("b", qos=1)(log.work)
        router.on("idle", qos=1)(log.work)
        async with broker.client("c") as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            for topic in ("a", "a", "a", "b"):
                await client.publish(topic, topic, qos=1)
            await broker.stop()
            with pytest.raises(MqttError, match="Disconnected during message iteration"):
                await task
            assert sorted(log.entries) == ["a", "a", "a", "b"]
            assert log.active == 0

    play(main)


def test_on_a_client_that_is_entered_again_it_ends_with_what_had_come() -> None:
    async def main() -> None:
        broker = memory_broker()
        log = Log()
        router = Router()
        router.on("a", qos=1)(log.work)
        router.on("idle", qos=1)(log.work)
        client = broker.client("c")
        async with broker.client("p") as publisher:
            async with client:
                task = asyncio.create_task(router.run(client))
                await asyncio.sleep(0.1)
                for _ in range(3):
                    await client.publish("a", "before", qos=1)
            async with client:
                for _ in range(10):  # the handler is never without work
                    await publisher.publish("a", "after", qos=1)
                    await asyncio.sleep(0.5)
                assert task.done()
                with pytest.raises(MqttError, match="Disconnected during message iteration"):
                    await task
                assert log.entries == ["before"] * 3

    play(main)


@pytest.mark.parametrize("ends", ["cancelled", "on_error"])
def test_a_handler_that_swallows_its_cancellation_does_not_hold_up_the_end(ends: str) -> None:
    async def main() -> None:
        broker = memory_broker()

        def fatal(error: Exception, _: Message) -> None:
            raise error

        router = Router(on_error=fatal)

        @router.on("a", qos=1)
        async def swallow(_: Message) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

        @router.on("b", qos=1)
        async def fail(_: Message) -> None:
            raise KeyError("b")

        async with broker.client("c") as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            await client.publish("a", qos=1)
            await asyncio.sleep(1)
            if ends == "cancelled":
                task.cancel()
            else:
                await client.publish("b", qos=1)
            expected = asyncio.CancelledError if ends == "cancelled" else KeyError
            with pytest.raises(expected):
                await task
            await asyncio.sleep(1)
            assert subscriptions(broker) == 0

    play(main)


def test_cancelled_it_cancels_the_handlers_and_unsubscribes() -> None:
    async def main() -> None:
        broker = memory_broker()
        log = Log()
        router = Router()
        router.on("a/#", qos=1, concurrency=2)(log.work)
        async with broker.client("c") as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            await client.publish("a/1", "1", qos=1)
            await client.publish("a/2", "2", qos=1)
            assert log.active == 2
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (log.entries, log.active) == ([], 0)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            await asyncio.sleep(1)
            assert subscriptions(broker) == 0

    play(main)


@pytest.mark.parametrize("responds", [False, True])
def test_stopped_while_it_subscribes_it_returns(responds: bool) -> None:
    """Without a connection, which the subscriptions wait for."""

    async def main() -> None:
        broker = memory_broker()
        router = Router()
        (router.respond if responds else router.on)("a", "b", qos=1)(str)
        async with broker.client("c", protocol=5, reconnect=True, timeout=60) as client:
            await broker.stop()
            running = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            assert not running.done()
            router.stop()
            assert await asyncio.wait_for(running, 5) is None

    play(main)


def test_stopped_it_lets_handlers_finish() -> None:
    async def main() -> None:
        broker = memory_broker()
        log = Log()
        router = Router()
        router.on("a", qos=1)(log.work)
        router.on("idle", qos=1)(log.work)
        async with broker.client("c") as client:
            for _ in range(2):  # it can run again
                task = asyncio.create_task(router.run(client))
                await asyncio.sleep(1)
                await client.publish("a", "at work", qos=1)
                await client.publish("a", "waits", qos=1)
                router.stop()
                await task
                assert log.entries == ["at work"]
                log.entries.clear()
                await asyncio.sleep(1)
                assert subscriptions(broker) == 0

    play(main)


def test_an_overflow_that_fails_ends_the_router() -> None:
    async def main() -> None:
        broker = memory_broker()
        log = Log()
        router = Router()
        router.on("a", maxsize=1, overflow="fail")(log.work)
        router.on("b")(log.work)
        async with broker.client("c") as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            for number in range(4):
                await client.publish("a", str(number))
            with pytest.raises(MqttOverflowError):
                await task
            assert log.entries == ["0"]

    play(main)
