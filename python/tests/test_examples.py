"""What the README shows runs, and prints what it says; so do the programs in examples/python."""

import os
import re
import subprocess
import sys
from pathlib import Path

from support.mosquitto import Mosquitto

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples" / "python" / "quickstart.py"


def run_program(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_readme_s_ten_lines_print_what_it_says() -> None:
    readme = (ROOT / "README.md").read_text()
    match = re.search(
        r"```python\n(import asyncio\n.*?)```\n\n```text\n(.*?)```", readme, re.DOTALL
    )
    assert match is not None
    program, output = match.groups()
    assert run_program("-c", program) == output


def test_quickstart_on_the_built_in_broker() -> None:
    output = run_program(str(QUICKSTART))
    assert output.startswith("A test broker runs at mqtt://127.0.0.1:")
    assert output.count("received quickstart/alarms: alarm ") == 3
    assert output.endswith("Done: every message arrived.\n")


def test_quickstart_on_a_broker_of_one_s_own(mosquitto: Mosquitto) -> None:
    url = f"mqtt://{mosquitto.host}:{mosquitto.port}"
    output = run_program(str(QUICKSTART), BROKER=url)
    assert output.startswith(f"Your broker is {url}.\n")
    assert output.endswith("Done: every message arrived.\n")
