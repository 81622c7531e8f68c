"""The two first programs of the aiomqtt documentation run unchanged through the shim."""

import asyncio
import hashlib
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ferromqtt
from support.clients import receive_many
from support.loops import LoopRunner
from support.mosquitto import Mosquitto

HERE = Path(__file__).parent
SHIM = HERE.parent / "aiomqtt-shim"
PORT = 1883
PROGRAMS = {
    "program_1.py": (
        "254218cebac139ff38d109409b85ac937849ec20545655038923d4ac12bce9f9",
        [("temperature/outside", b"28.4")],
    ),
    "program_2.py": (
        "d9b6dca6498fd9403eded79a4466699867620906b45a87f9366c3611a2b502c5",
        [("temperature/outside", b"28.4"), ("humidity/inside", b"0.38")],
    ),
}


def free_address() -> str:
    """Return a loopback address whose MQTT port nobody uses: the programs cannot name a port."""
    generator = random.SystemRandom()
    for _ in range(50):
        address = f"127.77.{generator.randrange(256)}.{generator.randrange(1, 255)}"
        try:
            with socket.create_server((address, PORT)):
                return address
        except OSError:
            continue
    message = f"no loopback address with a free port {PORT}; stop the broker on 0.0.0.0:{PORT}"
    raise RuntimeError(message)


@pytest.fixture(scope="module")
def standard_port() -> Iterator[Mosquitto]:
    """Run a mosquitto on the standard port of a loopback address of its own."""
    with Mosquitto(free_address(), PORT, plain_only=True) as broker:
        yield broker


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_runs_unchanged_and_its_values_arrive(
    run: LoopRunner, standard_port: Mosquitto, program: str
) -> None:
    digest, expected = PROGRAMS[program]
    path = HERE / "seeds" / program
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, "the program was changed"

    def run_program() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(HERE / "support" / "run_seed.py"), str(path), standard_port.host],
            env=os.environ | {"PYTHONPATH": str(SHIM)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    async def main() -> None:
        async with ferromqtt.Client(standard_port.host) as observer:
            await observer.subscribe("#")
            done = await asyncio.to_thread(run_program)
            assert (done.returncode, done.stderr) == (0, "")
            assert Path(done.stdout.strip()).is_relative_to(SHIM)
            received = await receive_many(observer, len(expected))
            assert [(str(message.topic), message.payload) for message in received] == expected

    run(main)
