"""What a client counts: `Client.stats`."""

import asyncio
import dataclasses
import threading

import pytest

from ferromqtt import AckLatency, Client, Stats, blocking
from ferromqtt.events import Connected
from ferromqtt.testing import TestBroker, VirtualLoop
from support import packets
from support.clients import LIMIT, unique, wait_for_queued
from support.loops import LoopRunner
from support.mosquitto import Mosquitto
from support.scripted import Connection, ScriptedServer, serve_311


def test_counters_grow_over_all_connections_of_a_client() -> None:
    async def main() -> None:
        async with TestBroker() as broker:
            client = Client(broker)
            assert set(dataclasses.astuple(client.stats())) == {0, None}
            for connections in (1, 2):
                async with client:
                    await client.subscribe("a")
                    await client.publish("a", "x")
                    await client.publish("a", "y", qos=1)
                    messages = client.messages
                    assert [(await anext(messages)).payload for _ in "xy"] == [b"x", b"y"]
                    stats = client.stats()
                assert stats == dataclasses.replace(
                    stats,
                    received=2 * connections,
                    sent_qos0=connections,
                    acknowledged=connections,
                    attempts=connections,
                    connections=connections,
                    reconnects=0,
                    outgoing=0,
                    queued=0,
                    lost=0,
                )
                assert stats.latency is not None
                assert stats.latency.count == connections

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_what_mosquitto_acknowledges_and_sends_is_counted(
    run: LoopRunner, mosquitto: Mosquitto
) -> None:
    topic = unique("counted")

    async def main() -> None:
        async with (
            Client(*mosquitto.where, protocol=5) as client,
            client.subscription(topic, qos=2, ack="manual") as messages,
        ):
            for qos in (1, 2, 2):
                await client.publish(topic, qos=qos)
            taken = [await anext(messages) for _ in range(2)]
            stats = client.stats()
            assert (stats.acknowledged, stats.refused, stats.unreleased) == (3, 0, 0)
            assert (stats.connections, stats.reconnects, stats.lost) == (1, 0, 0)
            assert stats.received - stats.queued == 2
            assert stats.unacknowledged == stats.received
            assert stats.latency is not None
            assert stats.latency.count == 3
            for message in [*taken, await anext(messages)]:
                await message.ack()
            assert client.stats().unacknowledged == 0

    run(main)


def test_how_long_acknowledgements_took_is_true_to_a_virtual_clock() -> None:
    async def main() -> None:
        server = TestBroker()
        async with server, Client(server) as client:
            assert client.stats().latency is None
            await client.publish("a", qos=1)
            await client.publish("a", qos=2)
            latency = client.stats().latency
            assert latency is not None
            # The link in memory takes no time, and neither does the broker.
            assert latency == AckLatency(count=2, last=0, max=0, mean=0)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_a_publish_is_in_flight_until_its_answer_and_then_in_the_latency() -> None:
    def slow(connection: Connection) -> None:
        connection.accept()
        for identifier in (1, 2):
            connection.expect(packets.PUBLISH)
            published.set()
            assert answer.wait(LIMIT)
            answer.clear()
            connection.send(packets.encode(0x40, bytes([0, identifier])))
        connection.read_to_end()

    published, answer = threading.Event(), threading.Event()

    async def main() -> None:
        async with Client(server.host, server.port) as client:
            for _ in range(2):
                publishing = asyncio.create_task(client.publish("a", qos=1))
                await asyncio.to_thread(published.wait, LIMIT)
                published.clear()
                stats = client.stats()
                assert (stats.in_flight, stats.outgoing) == (1, 1)
                answer.set()
                await publishing
            latency = client.stats().latency
            assert latency is not None
            assert latency.count == 2
            assert 0 < latency.mean <= latency.max <= LIMIT
            assert 0 < latency.last <= latency.max

    with ScriptedServer(slow) as server:
        asyncio.run(main())


def test_what_waits_in_the_queue_is_counted_with_its_bytes() -> None:
    async def main() -> None:
        async with TestBroker() as broker, Client(broker) as client:
            await client.subscribe("a", qos=1)
            for _ in range(3):
                await client.publish("a", bytes(1000), qos=1)
            await wait_for_queued(client, 3)
            stats = client.stats()
            assert stats.queued == 3
            assert stats.queued_bytes >= 3000
            await anext(client.messages)
            assert client.stats().queued == 2

    asyncio.run(main())


def test_a_connection_that_is_made_again_is_a_reconnect() -> None:
    async def main() -> None:
        async with TestBroker() as broker, Client(broker, identifier="a", reconnect=True) as client:
            assert (client.stats().connections, client.stats().reconnects) == (1, 0)
            events = client.events()
            assert broker.disconnect_client("a", 0x8B)
            async for event in events:
                if isinstance(event, Connected) and client.stats().connections == 2:
                    break
            assert client.stats().reconnects == 1

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_a_blocking_client_counts_as_well() -> None:
    with ScriptedServer(serve_311) as server, blocking.Client(server.host, server.port) as client:
        assert client.stats().connections == 1


def test_each_counter_is_one_of_the_core_and_is_documented() -> None:
    counters = Client("localhost").stats()
    assert isinstance(counters, Stats)
    with pytest.raises(dataclasses.FrozenInstanceError):
        counters.received = 1  # type: ignore[misc]
