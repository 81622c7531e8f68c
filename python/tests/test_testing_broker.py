"""The broker that comes with the package, inside the test's own loop."""

import asyncio
import re
import signal
import subprocess
import sys

import pytest

import ferromqtt
from ferromqtt import Client, MqttError
from ferromqtt.testing import TestBroker
from support.clients import LIMIT, receive, unique
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


WITHOUT_SIGNAL_HANDLERS = """
import asyncio, sys

class Loop(asyncio.SelectorEventLoop):
    def add_signal_handler(self, *_):
        raise NotImplementedError  # as on Windows

class Policy(asyncio.DefaultEventLoopPolicy):
    _loop_factory = Loop

asyncio.set_event_loop_policy(Policy())
from ferromqtt.__main__ import main
sys.exit(main(["broker"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("program", ["-mferromqtt", WITHOUT_SIGNAL_HANDLERS])
def test_a_signal_ends_the_command_quietly_on_every_loop(program: str, number: int) -> None:
    arguments = [program, "broker"] if program.startswith("-m") else ["-c", program]
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("mqtt://127.0.0.1:")
        process.send_signal(number)
        rest, errors = process.communicate(timeout=LIMIT)
    assert (process.returncode, rest) == (0, "")
    assert re.fullmatch(r"ferromqtt: stopped, 0 messages were dropped, 0 .* limit\n", errors)


def test_repr_of_a_broker_shows_where_it_listens_and_no_passwords(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker(users={"ann": "s3cret"})
        assert repr(broker) == "<TestBroker mqtt://127.0.0.1:0, not running>"
        async with broker:
            assert repr(broker) == f"<TestBroker mqtt://127.0.0.1:{broker.port}, running>"

    run(main)


def test_the_command_tells_its_version() -> None:
    command = [sys.executable, "-m", "ferromqtt", "--version"]
    reported = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert reported.stdout == f"ferromqtt {ferromqtt.__version__}\n"
