"""A Unix socket as transport (contract 1.2)."""

import socket
from pathlib import Path

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


def test_a_socket_that_nobody_listens_on_1_4(run: LoopRunner, tmp_path: Path) -> None:
    path = tmp_path / "mqtt"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))

    async def main() -> None:
        text = r"Unix socket failed \(is the broker running, and is this the path of its socket\?\)"
        with pytest.raises(MqttError, match=f"Connection refused: .*{text}$"):
            await Client(str(path), transport="unix").__aenter__()

    run(main)
