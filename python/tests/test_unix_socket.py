"""A Unix socket as transport (contract 1.2)."""

import pytest

from ferromqtt import Client, MqttError, ProtocolVersion
from support.clients import receive, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto


def test_messages_go_both_ways_1_2(
    run: LoopRunner, mosquitto: Mosquitto, protocol: ProtocolVersion
) -> None:
    async def main() -> None:
        topic = unique("unix")
        path = str(mosquitto.unix_path)
        async with Client(path, transport="unix", protocol=protocol) as client:
            await client.subscribe(topic)
            await client.publish(topic, b"." * 300_000, qos=1)
            assert (await receive(client)).payload == b"." * 300_000

    run(main)


def test_a_path_that_does_not_exist_1_4(run: LoopRunner) -> None:
    async def main() -> None:
        text = r"^\[Errno 2\] No such file or directory: cannot connect to '.*': Unix socket "
        with pytest.raises(MqttError, match=text):
            await Client("/nowhere/mqtt", transport="unix").__aenter__()

    run(main)
