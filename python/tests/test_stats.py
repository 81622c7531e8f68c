"""What a client counts: `Client.stats`."""

import asyncio
import dataclasses

import pytest

from ferromqtt import Client, Stats, blocking
from ferromqtt.testing import TestBroker, VirtualLoop
from support.scripted import ScriptedServer, serve_311


def test_counters_grow_over_all_connections_of_a_client() -> None:
    async def main() -> None:
        async with TestBroker() as broker:
            client = Client(broker)
            assert set(dataclasses.astuple(client.stats())) == {0}
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
                    outgoing=0,
                    lost=0,
                )

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
