"""What a user's first test costs: CPU time of its setup, call and teardown, imports included.

Each run is a process of its own. The first one compiles bytecode and is left out.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

TEST = """
async def test_a_message_arrives(mqtt_client):
    await mqtt_client.subscribe("site/7/level")
    await mqtt_client.publish("site/7/level", b"28.4", qos=1)
    message = await anext(aiter(mqtt_client.messages))
    assert message.payload == b"28.4"
"""

CONFTEST = """
from first_test import pytest_runtest_protocol
"""

IMPORT = """
import time
import pytest
begin = time.process_time()
import ferromqtt_pytest
print(time.process_time() - begin)
"""

MARK = "first test: "


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Print the CPU time that the test takes."""
    begin = time.process_time()
    try:
        return (yield)
    finally:
        print(f"\n{MARK}{time.process_time() - begin}")


def first_test(folder: Path) -> float:
    """Run the test in a process of its own, and return its CPU time in seconds."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", str(folder)]
    for line in output(command).splitlines():
        if line.startswith(MARK):
            return float(line.removeprefix(MARK))
    raise SystemExit("the test was not run")


def output(command: list[str]) -> str:
    """Run a command with bytecode as users have it, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(run.stdout + run.stderr)
    return run.stdout


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="default: 15")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_first.py").write_text(TEST)
        (folder / "conftest.py").write_text(CONFTEST)
        tests = [first_test(folder) for _ in range(rounds + 1)][1:]
    imports = [float(output([sys.executable, "-c", IMPORT])) for _ in range(rounds)]
    for what, times in (("first test", tests), ("plugin's import", imports)):
        low, middle, high = (1e3 * f(times) for f in (min, statistics.median, max))
        print(f"{what:<16} {low:6.2f} {middle:6.2f} {high:6.2f} ms of CPU (min, median, max)")


if __name__ == "__main__":
    main()
