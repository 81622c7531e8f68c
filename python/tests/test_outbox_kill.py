"""Programs with an outbox are killed again and again, on mosquitto: no stored message is lost.

`FERROMQTT_KILLS=100` is the long version.
"""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferromqtt import blocking
from support.mosquitto import Mosquitto

TESTS = Path(__file__).parent
KILLS = int(os.environ.get("FERROMQTT_KILLS", "10"))


@pytest.fixture(scope="module")
def broker() -> Iterator[Mosquitto]:
    with Mosquitto(plain_only=True) as broker:
        yield broker


def program(port: int, folder: Path, qos: int, life: int) -> subprocess.Popen[str]:
    """Start the program."""
    worker = str(TESTS / "support" / "outbox_worker.py")
    version = "V5" if qos == 2 else "V311"
    arguments = [sys.executable, worker, str(port), str(folder), str(qos), str(life), version]
    environment = dict(os.environ, PYTHONPATH=str(TESTS))
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def run(port: int, folder: Path, qos: int, life: int, kill_after: int) -> list[str]:
    """Run the program, and kill it when it has stored so many messages. Return those."""
    stored: list[str] = []
    with program(port, folder, qos, life) as process:
        assert process.stdout is not None
        while len(stored) < kill_after:
            line = process.stdout.readline()
            assert line, "it ended by itself"
            stored.append(f"{life}:{int(line)}")
        process.kill()
        # What it has said before that counts too.
        stored += [f"{life}:{int(line)}" for line in process.stdout if line.endswith("\n")]
    assert process.returncode == -signal.SIGKILL
    return stored


@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_stored_survives_a_killed_program(
    tmp_path: Path, broker: Mosquitto, qos: int
) -> None:
    chance = random.Random(qos)
    folder = tmp_path / "outbox"
    stored: list[str] = []
    with blocking.Client("127.0.0.1", broker.port, protocol=5) as listener:
        listener.subscribe("numbers", qos=2)
        for life in range(1, KILLS + 1):
            stored += run(broker.port, folder, qos, life, chance.randint(1, 40))
        with program(broker.port, folder, qos, 0) as process:
            assert process.wait(timeout=120) == 0
        listener.publish("numbers", "end", qos=1)
        received = []
        for message in listener.messages(timeout=60):
            text = bytes(message.payload).decode()
            if text == "end":
                break
            received.append(text)
    assert set(stored) <= set(received), "a stored message is lost"
    order = [tuple(int(part) for part in text.split(":")) for text in dict.fromkeys(received)]
    assert order == sorted(order)
    if qos == 2:
        assert len(received) == len(order), "a message came twice"
