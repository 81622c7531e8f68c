"""Iterating over the messages of a client that nobody has entered (contract 1.5)."""

import asyncio
import logging
from types import ModuleType
from typing import Any

import pytest

from conftest import Broker
from ferromqtt import Client, Message, MqttError
from support.clients import LIMIT, unique
from support.loops import LoopRunner, settle
from support.scripted import Connection, ScriptedServer
from support.virtual import memory_broker, play

QUEUES = [None, asyncio.Queue]
WARNING = (
    "A task waits for messages of a client that is not entered. None will come until it is: "
    "iterate inside `async with client:`, or enter the client in another task."
)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [it.getMessage() for it in caplog.records if it.levelno >= logging.WARNING]


async def step(client: Client) -> Message:
    return await anext(client.messages)


async def loop(client: Client) -> Message:
    async for message in client.messages:
        return message
    raise AssertionError("the iteration ended")


@pytest.mark.parametrize("iterate", [step, loop])
@pytest.mark.parametrize("queue_type", QUEUES)
def test_iterating_before_the_first_enter_waits_and_warns_once_1_5(
    run: LoopRunner,
    broker: Broker,
    caplog: pytest.LogCaptureFixture,
    queue_type: type[asyncio.Queue[Message]] | None,
    iterate: Any,  # noqa: ANN401
) -> None:
    topic = unique("never")

    async def main() -> None:
        client = Client(*broker.where, queue_type=queue_type)
        waiting = [asyncio.ensure_future(iterate(client)) for _ in range(2)]
        await settle()
        assert not any(task.done() for task in waiting)
        assert warnings_in(caplog) == [WARNING]
        async with client:
            await client.subscribe(topic)
            await client.publish(topic, b"0")
            await client.publish(topic, b"1")
            async with asyncio.timeout(LIMIT):
                received = await asyncio.gather(*waiting)
            assert [it.payload for it in received] == [b"0", b"1"]
        assert warnings_in(caplog) == [WARNING]

    run(main)


def test_a_client_with_its_own_on_message_serves_who_waited_before_enter_1_5(
    run: LoopRunner, broker: Broker, shim: ModuleType
) -> None:
    class Watching(shim.Client):  # type: ignore[name-defined, misc]
        def _on_message(self, client: object, userdata: object, message: Message) -> None:
            super()._on_message(client, userdata, message)

    async def main() -> None:
        topic = unique("never")
        client = Watching(*broker.where)
        waiting = asyncio.ensure_future(step(client))
        await settle()
        async with client:
            await client.subscribe(topic)
            await client.publish(topic, b"x")
            async with asyncio.timeout(LIMIT):
                assert (await waiting).payload == b"x"

    run(main)


@pytest.mark.parametrize("queue_type", QUEUES)
def test_iterating_after_an_enter_that_failed_warns_1_5(
    run: LoopRunner,
    caplog: pytest.LogCaptureFixture,
    queue_type: type[asyncio.Queue[Message]] | None,
) -> None:
    async def main() -> None:
        client = Client("", queue_type=queue_type)
        with pytest.raises(ValueError, match="host"):
            await client.__aenter__()
        task = asyncio.ensure_future(step(client))
        await settle()
        assert warnings_in(caplog) == [WARNING]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)


@pytest.mark.parametrize("queue_type", QUEUES)
def test_iterating_while_the_client_is_entered_does_not_warn_1_5(
    run: LoopRunner,
    caplog: pytest.LogCaptureFixture,
    queue_type: type[asyncio.Queue[Message]] | None,
) -> None:
    """Neither while it connects, nor while it is connected, nor when it is left meanwhile."""

    def script(connection: Connection) -> None:
        connection.accept()
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, queue_type=queue_type)
        entering = asyncio.ensure_future(client.__aenter__())
        await asyncio.sleep(0)
        early = asyncio.ensure_future(step(client))
        await entering
        late = asyncio.ensure_future(step(client))
        await settle()
        await client.__aexit__(None, None, None)
        for task in (early, late):
            with pytest.raises(MqttError, match="Disconnected"):
                await task
        with pytest.raises(MqttError, match="Disconnected"):
            await step(client)

    with ScriptedServer(script) as server:
        run(main, server)
    assert warnings_in(caplog) == []


async def first_event(client: Client) -> object:
    return await anext(client.events())


@pytest.mark.parametrize("wait", [Client.wait_connected, first_event])
def test_waiting_for_a_connection_before_the_first_enter_warns_once(
    caplog: pytest.LogCaptureFixture,
    wait: Any,  # noqa: ANN401
) -> None:
    async def main() -> None:
        client = Client(memory_broker())
        waiting = [asyncio.ensure_future(wait(client)) for _ in range(2)]
        await settle()
        text = (
            "A task waits for the connection of a client that is not entered. None will be made "
            "until it is: wait inside `async with client:`, or enter the client in another task."
        )
        assert warnings_in(caplog) == [text]
        async with client:
            await asyncio.gather(*waiting)
            await wait(client)
        assert len(warnings_in(caplog)) == 1
        early = Client(memory_broker())
        waiter = asyncio.ensure_future(wait(early))  # the usual way: it begins after the enter
        async with early:
            await waiter
        assert len(warnings_in(caplog)) == 1

    play(main)


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (Client("broker.example"), "broker.example:1883"),
        (Client("/run/mqtt", transport="unix"), "'/run/mqtt'"),
        (Client(memory_broker()), "the test broker"),
        (Client(None), "the server"),  # type: ignore[arg-type]  # entering refuses it
    ],
)
def test_waiting_in_vain_before_the_first_enter_names_the_server(
    client: Client, address: str
) -> None:
    async def main() -> None:
        with pytest.raises(MqttError) as caught:
            await client.wait_connected(1)
        text = f"Operation timed out: no connection to {address} within 1 s"
        assert str(caught.value) == text

    play(main)


@pytest.mark.parametrize("queue_type", QUEUES)
def test_a_log_handler_that_raises_does_not_end_the_wait(
    queue_type: type[asyncio.Queue[Message]] | None,
) -> None:
    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise KeyError(record.getMessage())

    async def main() -> None:
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context)
        )
        logger = logging.getLogger(unique("raises"))
        logger.addHandler(Raises())
        client = Client("localhost", logger=logger, queue_type=queue_type)
        task = asyncio.ensure_future(step(client))
        await settle()
        assert not task.done()
        assert [it["message"] for it in reported] == ["ferromqtt: logging raised"]
        task.cancel()

    asyncio.run(main())
