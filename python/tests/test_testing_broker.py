"""The broker that comes with the package, inside the test's own loop."""

import asyncio
import subprocess
import sys

import pytest

from ferromqtt import Client, MqttError
from ferromqtt.testing import TestBroker
from support.clients import receive, unique
from support.loops import LoopRunner


def test_broker_and_clients_share_one_loop(run: LoopRunner) -> None:
    topic = unique("inside")

    async def main() -> None:
        async with TestBroker() as broker:
            assert broker.host == "127.0.0.1"
            assert broker.port > 0
            async with (
                Client(broker.host, broker.port) as one,
                Client(broker.host, broker.port) as other,
            ):
                await one.subscribe(topic, qos=2)
                await other.publish(topic, b"x", qos=2)
                assert (await receive(one)).payload == b"x"

    run(main)


def test_two_brokers_know_nothing_of_each_other(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker() as one, TestBroker() as other:
            async with Client(one.host, one.port) as client:
                await client.publish("a", b"one", retain=True, qos=1)
            async with Client(other.host, other.port) as client:
                await client.subscribe("a")
                await client.publish("a", b"other", qos=1)
                assert (await receive(client)).payload == b"other"

    run(main)


def test_broker_that_stops_breaks_its_connections(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker() as broker:
            client = Client(broker.host, broker.port)
            await client.__aenter__()
        with pytest.raises(MqttError, match=r"^Disconnected during message iteration: "):
            await receive(client)
        await client.__aexit__(None, None, None)
        with pytest.raises(MqttError, match=r"^\[Errno 111\] "):
            await client.__aenter__()

    run(main)


def test_command_refuses_a_port_in_use(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker() as broker:
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "ferromqtt", "broker", "--port", str(broker.port)],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert done.returncode != 0
            assert str(broker.port) in done.stderr
            assert "Traceback" not in done.stderr

    run(main)
