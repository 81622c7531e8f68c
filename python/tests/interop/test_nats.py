"""NATS as the Server: MQTT 3.1.1, at most QoS 1, sessions kept in JetStream."""

import asyncio
import queue
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import IO

import pytest

import ferromqtt
from support.loops import LoopRunner

HOST = "127.0.0.1"
START_SECONDS = 15
STEP_SECONDS = 10
COUNT = 100


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a NATS server of our own and return its MQTT port."""
    program = shutil.which("nats-server")
    assert program, "these tests need a NATS server, install it with: apt-get install nats-server"
    folder = tmp_path_factory.mktemp("nats")
    configuration = folder / "nats.conf"
    # Port -1 lets the system choose: the log says which one it was.
    configuration.write_text(
        f"""
        server_name: ferromqtt_interop
        listen: "{HOST}:-1"
        jetstream {{ store_dir: "{folder}", max_memory_store: 16MB, max_file_store: 64MB }}
        mqtt {{ listen: "{HOST}:-1" }}
        """
    )
    server = subprocess.Popen([program, "-c", configuration], stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr
        yield mqtt_port(server.stderr)
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def mqtt_port(log: IO[str]) -> int:
    """Return the MQTT port named in the log, once the server says that it is ready."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def drain() -> None:
        # To the end: a full pipe would stop the server.
        with log:
            for line in log:
                lines.put(line)
        lines.put("")

    threading.Thread(target=drain, daemon=True).start()
    seen = ""
    deadline = time.monotonic() + START_SECONDS
    while "Server is ready" not in seen:
        line = lines.get(timeout=max(0, deadline - time.monotonic()))
        assert line, f"nats-server ended before it was ready:\n{seen}"
        seen += line
    found = re.search(r"mqtt://[\d.]+:(\d+)", seen)
    assert found, f"nats-server is ready, but names no MQTT port:\n{seen}"
    return int(found[1])


async def take(client: ferromqtt.Client, count: int) -> list[ferromqtt.Message]:
    """Return the next `count` messages, or fail when they do not come."""
    messages = client.messages
    async with asyncio.timeout(STEP_SECONDS):
        return [await anext(messages) for _ in range(count)]


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_come_back_complete_and_in_order(run: LoopRunner, port: int, qos: int) -> None:
    sent = [f"{number}".encode() for number in range(COUNT)]

    async def main() -> None:
        async with ferromqtt.Client(HOST, port) as client:
            granted = await client.subscribe("interop/+/order", qos=qos)
            assert granted[0] == qos
            for payload in sent:
                await client.publish("interop/nats/order", payload, qos=qos)
            received = await take(client, COUNT)
        assert [message.payload for message in received] == sent
        assert {message.topic.value for message in received} == {"interop/nats/order"}
        assert {message.qos for message in received} == {qos}

    run(main)


def test_a_persistent_session_receives_what_it_missed(run: LoopRunner, port: int) -> None:
    identifier = f"interop-missed-{run.name}"

    def persistent() -> ferromqtt.Client:
        return ferromqtt.Client(HOST, port, identifier=identifier, clean_session=False)

    missed = [f"{number}".encode() for number in range(COUNT)]

    async def main() -> None:
        async with persistent() as client:
            await client.subscribe("interop/missed", qos=1)
        async with ferromqtt.Client(HOST, port) as publisher:
            for payload in missed:
                await publisher.publish("interop/missed", payload, qos=1)
        # No subscribe here: the subscription is part of the session, as the messages are.
        async with persistent() as client:
            received = await take(client, COUNT)
        assert [message.payload for message in received] == missed

    run(main)


def test_a_retained_message_greets_a_new_subscription(run: LoopRunner, port: int) -> None:
    async def main() -> None:
        async with ferromqtt.Client(HOST, port) as client:
            await client.publish("interop/retained", b"kept", qos=1, retain=True)
            await client.subscribe("interop/retained", qos=1)
            [message] = await take(client, 1)
        assert message.payload == b"kept"
        assert message.retain

    run(main)


def test_qos_2_is_more_than_this_server_does(run: LoopRunner, port: int) -> None:
    async def main() -> None:
        async with ferromqtt.Client(HOST, port) as client:
            granted = await client.subscribe("interop/qos2", qos=2)
            assert granted[0] == 1
            # The server closes the Network Connection: the call says so and does not wait for ever.
            started = time.monotonic()
            with pytest.raises(ferromqtt.MqttError):
                await client.publish("interop/qos2", b"", qos=2, timeout=STEP_SECONDS)
            assert time.monotonic() - started < STEP_SECONDS

    run(main)
