"""`Client.drain`: the connection ends when all that was accepted has its outcome."""

import asyncio
import threading

import pytest

from ferromqtt import (
    Client,
    Credentials,
    Drained,
    MqttCodeError,
    MqttError,
    MqttTimeoutError,
    OutgoingQueue,
    Server,
    blocking,
)
from ferromqtt.testing import TestBroker, VirtualLoop
from support import packets
from support.clients import LIMIT, receive_many, unique
from support.loops import LoopRunner, settle
from support.mosquitto import Mosquitto
from support.scripted import Connection, ScriptedServer, serve_311

NOTHING_LEFT = Drained(not_sent=0, unknown=0, unflushed=0, error=None)
REFUSED = "^The client was drained, and accepts no more messages"


def test_every_call_of_a_client_that_was_drained_says_so() -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker, Client(broker, timeout=LIMIT) as client:
            await client.drain()
            for call in (
                lambda: client.publish("a"),
                lambda: client.enqueue("a"),
                lambda: client.subscribe("a"),
                lambda: client.unsubscribe("a"),
                client.drain,
            ):
                with pytest.raises(MqttError, match=REFUSED) as caught:
                    await call()
                assert caught.value.delivery == "not_sent"
            with pytest.raises(MqttError, match=REFUSED):
                client.publish_nowait("a")

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_an_enqueue_that_waits_for_capacity_is_told_of_draining(run: LoopRunner) -> None:
    async def main() -> None:
        with ScriptedServer(silent) as server:
            client = Client(
                server.host,
                server.port,
                timeout=LIMIT,
                max_inflight_messages=1,
                outgoing_queue=OutgoingQueue(maxsize=1, overflow="wait"),
            )
            async with client:
                await client.enqueue("a", "x", 1)
                waiting = asyncio.ensure_future(client.enqueue("a", "x", 1))
                await settle()
                assert not waiting.done()
                await client.drain(0.01)
                with pytest.raises(MqttError, match=REFUSED) as caught:
                    await waiting
                assert caught.value.delivery == "not_sent"

    run(main)


def silent(connection: Connection) -> None:
    """Accept the connection, and acknowledge nothing."""
    connection.accept()
    connection.read_to_end()


def test_nothing_to_wait_for_is_drained_at_once(run: LoopRunner, mosquitto: Mosquitto) -> None:
    async def main() -> None:
        client = Client(mosquitto.host, mosquitto.port)
        for _ in range(2):  # it can be entered again
            async with client:
                topic = unique("drain")
                await client.subscribe(topic, qos=1)
                await client.publish(topic, "x", qos=1)
                drained = await client.drain()
                assert drained == NOTHING_LEFT
                assert drained.is_complete
                with pytest.raises(MqttError, match=REFUSED) as caught:
                    await client.publish(topic, "y")
                assert caught.value.delivery == "not_sent"
                # What was received before is there.
                messages = client.messages
                if len(messages):
                    assert (await anext(messages)).payload == b"x"
                with pytest.raises(MqttError, match="Disconnected during message iteration"):
                    await anext(messages)

    run(main)


def test_it_waits_for_what_was_accepted_and_refuses_what_comes_later(run: LoopRunner) -> None:
    def slow(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.PUBLISH)
        assert answer.wait(LIMIT)
        connection.send(packets.encode(0x40, b"\x00\x01"))
        connection.expect(packets.DISCONNECT)
        connection.close()

    answer = threading.Event()

    async def main() -> None:
        async with Client(server.host, server.port) as client:
            publishing = asyncio.create_task(client.publish("a", qos=1))
            await settle()
            draining = asyncio.create_task(client.drain(LIMIT))
            await settle()
            for qos in (0, 1):
                with pytest.raises(MqttError, match=REFUSED):
                    await client.publish("a", qos=qos)
            assert not draining.done()
            assert not publishing.done()
            answer.set()
            assert await draining == NOTHING_LEFT
            await publishing

    with ScriptedServer(slow) as server:
        run(main)
        server.join()


def test_its_time_limit_ends_it_and_says_what_is_left(run: LoopRunner) -> None:
    async def main() -> None:
        async with Client(server.host, server.port, max_inflight_messages=1) as client:
            calls = [asyncio.create_task(client.publish("a", qos=1)) for _ in range(3)]
            await settle()
            drained = await client.drain(timeout=0)
            assert (drained.unknown, drained.not_sent) == (1, 2)
            assert not drained.is_complete
            ends = await asyncio.gather(*calls, return_exceptions=True)
            deliveries = [getattr(end, "delivery", None) for end in ends]
            assert deliveries == ["unknown", "not_sent", "not_sent"]

    with ScriptedServer(silent) as server:
        run(main)


def test_a_call_that_times_out_meanwhile_has_its_outcome(run: LoopRunner) -> None:
    async def main() -> None:
        async with Client(server.host, server.port) as client:
            publishing = asyncio.create_task(client.publish("a", qos=1, timeout=0.05))
            await settle()
            drained = await client.drain(LIMIT)
            assert drained == NOTHING_LEFT
            with pytest.raises(MqttTimeoutError):
                await publishing

    with ScriptedServer(silent) as server:
        run(main)


def test_a_cancelled_drain_disconnects_at_once(run: LoopRunner) -> None:
    async def main() -> None:
        async with Client(server.host, server.port) as client:
            publishing = asyncio.create_task(client.publish("a", qos=1))
            await settle()
            draining = asyncio.create_task(client.drain(LIMIT))
            await settle()
            draining.cancel()
            with pytest.raises(asyncio.CancelledError):
                await draining
            with pytest.raises(MqttError) as caught:
                await publishing
            assert caught.value.delivery == "unknown"

    def watched(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.PUBLISH)
        connection.expect(packets.DISCONNECT)
        connection.close()

    with ScriptedServer(watched) as server:
        run(main)
        server.join()


def test_a_connection_that_is_lost_meanwhile_is_made_again() -> None:
    async def main() -> None:
        async with TestBroker() as broker:
            client = Client(broker, identifier="a", reconnect=True)
            async with client:
                await client.subscribe("t", qos=1)
                assert broker.disconnect_client("a", 0x8B)
                calls = [asyncio.create_task(client.publish("t", qos=1)) for _ in range(20)]
                await asyncio.sleep(0)  # virtual: they are accepted, and the loss is not seen yet
                drained = await client.drain(100)
                assert drained == NOTHING_LEFT
                await asyncio.gather(*calls)
                assert client.stats().connections == 2

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_the_time_limit_is_true_to_a_virtual_clock_without_a_server() -> None:
    async def main() -> None:
        broker = TestBroker()
        async with broker, Client(broker, identifier="a", reconnect=True) as client:
            await broker.stop()
            publishing = asyncio.create_task(client.publish("t", qos=1, timeout=1000))
            begin = asyncio.get_running_loop().time()
            drained = await client.drain(timeout=100)
            assert asyncio.get_running_loop().time() - begin == pytest.approx(100, abs=0.1)
            assert (drained.not_sent, drained.unknown) == (1, 0)
            assert drained.error is not None
            with pytest.raises(MqttError):
                await publishing

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_an_attempt_that_is_under_way_is_given_up() -> None:
    """It connected behind the end, and leaving waited for the server to close that connection."""

    async def main() -> None:
        asked = asyncio.Event()
        attempts = 0

        async def credentials(_: Server, __: int) -> Credentials:
            nonlocal attempts
            attempts += 1
            if attempts > 1:
                asked.set()
                await asyncio.sleep(2)
            return Credentials("me", b"secret")

        broker = TestBroker(listen=False)
        loop = asyncio.get_running_loop()
        async with Client(
            broker, identifier="c", reconnect=True, credentials=credentials, timeout=10_000
        ) as client:
            broker.disconnect_client("c", 0x8B)
            await asked.wait()
            begun = loop.time()
            drained = await client.drain(timeout=1)
            assert drained.not_sent == 0
            await asyncio.sleep(5)
            assert broker.stats().connections == 0
        assert loop.time() - begun < 7

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_a_client_that_is_not_connected_cannot_be_drained(run: LoopRunner) -> None:
    async def main() -> None:
        client = Client(server.host, server.port)
        with pytest.raises(MqttCodeError, match="not currently connected"):
            await client.drain()
        async with client:
            await client.drain()
            with pytest.raises(MqttError, match=REFUSED):
                await client.drain()
            with pytest.raises(ValueError, match="timeout must be 0 or more seconds"):
                await client.drain(-1)

    with ScriptedServer(serve_311) as server:
        run(main)


def test_a_blocking_client_is_drained_too() -> None:
    with ScriptedServer(serve_311) as server, blocking.Client(server.host, server.port) as client:
        client.publish("a", qos=1)
        assert client.drain(timeout=LIMIT) == NOTHING_LEFT
        with pytest.raises(MqttError, match=REFUSED):
            client.publish("a", qos=1)


def test_thousands_of_publishes_of_many_tasks_are_drained(
    run: LoopRunner, mosquitto: Mosquitto
) -> None:
    async def main() -> None:
        topic = unique("drain")
        async with Client(mosquitto.host, mosquitto.port) as receiver:
            await receiver.subscribe(topic, qos=2)
            async with Client(mosquitto.host, mosquitto.port) as client:
                calls = [
                    asyncio.create_task(client.publish(topic, str(number), qos=number % 3))
                    for number in range(600)
                ]
                await asyncio.sleep(0)
                assert await client.drain(LIMIT) == NOTHING_LEFT
                await asyncio.gather(*calls)
            received = await receive_many(receiver, 600)
            assert {int(message.payload) for message in received} == set(range(600))

    run(main)
