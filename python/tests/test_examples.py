"""What the README shows runs, and prints what it says; so do the programs in examples/python."""

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support.mosquitto import Mosquitto

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "python"
QUICKSTART = EXAMPLES / "quickstart.py"
OVER_TLS = EXAMPLES / "tls.py"
OVER_WEBSOCKET = EXAMPLES / "websocket.py"
ON_THEIR_OWN = sorted(set(EXAMPLES.glob("*.py")) - {QUICKSTART, OVER_TLS, OVER_WEBSOCKET})


def run_program(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def promised_output(program: Path) -> str:
    """Return what the program's docstring says that it prints."""
    _, found, output = (ast.get_docstring(ast.parse(program.read_text())) or "").partition(
        "It prints:\n\n"
    )
    assert found, f"{program.name}: its docstring must end with `It prints:` and the output"
    return textwrap.dedent(output) + "\n"


def test_the_readme_s_ten_lines_print_what_it_says() -> None:
    readme = (ROOT / "README.md").read_text()
    match = re.search(
        r"```python\n(import asyncio\n.*?)```\n\n```text\n(.*?)```", readme, re.DOTALL
    )
    assert match is not None
    program, output = match.groups()
    assert run_program("-c", program) == output


@pytest.mark.parametrize("program", ON_THEIR_OWN, ids=lambda program: program.stem)
def test_an_example_prints_what_its_docstring_says(program: Path) -> None:
    output = re.sub(r"\b127\.0\.0\.1:\d+", "127.0.0.1:PORT", run_program(str(program)))
    assert output == promised_output(program)


def test_the_tls_example_on_a_server_with_a_certificate(mosquitto: Mosquitto) -> None:
    output = run_program(
        str(OVER_TLS),
        BROKER=f"mqtts://localhost:{mosquitto.tls_port}",
        CA_FILE=str(mosquitto.ca_file),
    )
    assert output == promised_output(OVER_TLS)


def test_the_websocket_example_on_a_server_that_speaks_it(mosquitto: Mosquitto) -> None:
    """The built-in broker does not."""
    url = f"ws://{mosquitto.host}:{mosquitto.websocket_port}/mqtt"
    output = run_program(str(OVER_WEBSOCKET), BROKER=url)
    assert output == promised_output(OVER_WEBSOCKET)


def test_the_list_of_examples_names_every_program() -> None:
    listed = re.findall(r"\[(\w+\.py)\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text())
    assert all(text == target for text, target in listed)
    assert sorted(target for _, target in listed) == sorted(
        program.name for program in EXAMPLES.glob("*.py")
    )


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
