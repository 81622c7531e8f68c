"""Leaving a block whose client reconnects: whatever the connection does at the moment."""

import asyncio
import gc
from typing import Any

import pytest

from ferromqtt import (
    Client,
    ClientState,
    MqttError,
    MqttTimeoutError,
    ProtocolVersion,
    Reconnect,
)
from ferromqtt._internals import internals_of
from ferromqtt.testing import TestBroker, VirtualLoop
from support.clients import LIMIT
from support.loops import FACTORIES
from support.virtual import memory_broker, play, stop

V5 = ProtocolVersion.V5
PATIENT = Reconnect(min=1, max=60, initial=True)


def client_of(broker: TestBroker, **options: Any) -> Client:  # noqa: ANN401 - the client's
    given: dict[str, Any] = {"identifier": "c", "protocol": V5, "reconnect": PATIENT}
    return Client(broker, **given | options)


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("pause", [0.0, 0.3, 100.0])
def test_leaving_without_a_connection_takes_no_time(pause: float, failing: bool) -> None:
    async def main() -> None:
        broker = memory_broker()
        client = client_of(broker)
        await client.__aenter__()
        await stop(broker)
        iterating = asyncio.ensure_future(anext(client.messages))
        publishing = asyncio.ensure_future(client.publish("a", qos=1, timeout=1000))
        await asyncio.sleep(pause)
        start = asyncio.get_running_loop().time()
        error = RuntimeError("the block failed") if failing else None
        await client.__aexit__(type(error) if error else None, error, None)
        assert asyncio.get_running_loop().time() - start < 0.1
        with pytest.raises(
            MqttError, match="ended before the packet was sent: the client disc"
        ) as got:
            await publishing
        assert got.value.delivery == "not_sent"
        with pytest.raises(MqttError, match="iteration: the client disconnected"):
            await iterating
        assert client.state() is ClientState.DISCONNECTED

    play(main)


def test_leaving_during_an_attempt_ends_it() -> None:
    async def main() -> None:
        broker = memory_broker()
        asked = asyncio.Event()

        async def credentials(*_: object) -> None:
            if asked.is_set():
                return
            if client.state() is ClientState.RECONNECTING:
                asked.set()
                await asyncio.get_running_loop().create_future()

        client = client_of(broker, credentials=credentials, timeout=1000)
        async with client:
            await stop(broker)
            await asked.wait()
        assert client.state() is ClientState.DISCONNECTED

    play(main)


def test_a_connection_that_is_lost_while_it_is_left_is_not_made_again() -> None:
    async def main() -> None:
        broker = memory_broker()
        client = client_of(broker)
        await client.__aenter__()
        publishing = asyncio.ensure_future(client.publish("a", qos=1))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(internals_of(client).core.cut)
        with pytest.raises(MqttError, match="was lost before everything was written"):
            await client.__aexit__(None, None, None)
        with pytest.raises(MqttError, match="ended before the answer came"):
            await publishing
        assert broker.stats().connections == 0
        assert client.state() is ClientState.DISCONNECTED

    play(main)


def test_cancelling_the_block_while_there_is_no_connection() -> None:
    async def main() -> None:
        broker = memory_broker()
        client = client_of(broker)

        async def program() -> None:
            async with client:
                await stop(broker)
                await client.publish("a", timeout=1000)

        running = asyncio.create_task(program())
        await asyncio.sleep(10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert client.state() is ClientState.DISCONNECTED

    play(main)


def test_cancelling_every_task_of_the_loop_stops_no_client() -> None:
    """The attempt under way counts as one that failed."""

    async def main() -> None:
        broker = memory_broker()
        asked = asyncio.Event()

        async def credentials(*_: object) -> None:
            asked.set()
            await asyncio.sleep(1)

        async with client_of(broker, credentials=credentials, timeout=1000) as client:
            asked.clear()
            internals_of(client).core.cut()
            await asked.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await client.publish("a", qos=1)

    play(main)


@pytest.mark.parametrize("factory", [*FACTORIES.values(), VirtualLoop])
def test_a_client_whose_loop_was_closed_while_it_reconnected_can_be_left_and_entered_again(
    factory: Any,  # noqa: ANN401 - makes a loop
) -> None:
    client: Client
    broker = TestBroker(listen=False)
    client = client_of(broker, reconnect=Reconnect(min=0.01))

    async def begin() -> None:
        await client.__aenter__()
        await stop(broker)
        assert client.state() is ClientState.RECONNECTING

    async def again() -> None:
        await client.__aexit__(None, None, None)
        assert client.state() is ClientState.DISCONNECTED
        await broker.start()
        async with asyncio.timeout(LIMIT), client:
            await client.publish("a", qos=1)
            await stop(broker)
            with pytest.raises(MqttTimeoutError):  # by a timer of this loop
                await client.publish("a", qos=1, timeout=0.1)

    loop = factory()
    loop.run_until_complete(begin())
    loop.close()
    asyncio.run(again())
    gc.collect()


def test_calls_from_another_loop_are_refused_while_there_is_no_connection() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            await stop(broker)

            async def elsewhere() -> None:
                for call in (
                    lambda: client.publish("a"),
                    lambda: client.publish("a", qos=1),
                    lambda: client.subscribe("a"),
                    lambda: anext(client.messages),
                ):
                    with pytest.raises(RuntimeError, match="entered on another event loop"):
                        await call()

            await asyncio.to_thread(asyncio.run, elsewhere())

    play(main)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_cancelling_an_enter_again_and_again_leaves_nothing(times: int) -> None:
    async def main() -> None:
        broker = memory_broker()

        async def slow(*_: object) -> None:
            try:
                await asyncio.sleep(5)
            finally:
                await asyncio.sleep(1)  # takes its time to be cancelled

        client = client_of(broker, credentials=slow)
        entering = asyncio.create_task(client.__aenter__())
        await asyncio.sleep(0.5)
        for _ in range(times):
            entering.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert client.state() is ClientState.DISCONNECTED
        async with client:
            await client.publish("a", qos=1)

    play(main)
