"""What the README shows runs, and prints what it says; so do the programs in examples/python."""

import ast
import importlib
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from support.builtin import BuiltinBroker
from support.clients import LIMIT
from support.mosquitto import PASSWORD, USERNAME, Mosquitto, free_port

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "python"
QUICKSTART = EXAMPLES / "quickstart.py"
OVER_TLS = EXAMPLES / "tls.py"
OVER_WEBSOCKET = EXAMPLES / "websocket.py"
ON_THEIR_OWN = sorted(set(EXAMPLES.glob("*.py")) - {QUICKSTART, OVER_TLS, OVER_WEBSOCKET})


def play(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def run_program(*arguments: str, **environment: str) -> str:
    done = play(*arguments, **environment)
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


def test_quickstart_connects_to_the_broker_that_it_prints(mosquitto: Mosquitto) -> None:
    """A scheme may be left out, as in Rust; it took `localhost:1883` for a URL without a host."""
    address = f"{mosquitto.host}:{mosquitto.port}"
    output = run_program(str(QUICKSTART), BROKER=address)
    assert output.startswith(f"Your broker is {address}.\n")
    assert output.endswith("Done: every message arrived.\n")


def test_quickstart_logs_in_and_does_not_show_the_password(mosquitto: Mosquitto) -> None:
    address = f"{mosquitto.host}:{mosquitto.login_port}"
    output = run_program(str(QUICKSTART), BROKER=f"mqtt://{USERNAME}:{PASSWORD}@{address}")
    assert output.startswith(f"Your broker is {address}.\n")
    assert output.endswith("Done: every message arrived.\n")
    assert PASSWORD not in output


@pytest.mark.parametrize("program", [QUICKSTART, OVER_TLS, OVER_WEBSOCKET], ids=lambda it: it.stem)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://localhost:1883",
        "localhost:port",
        "localhost:70000",
        "localhost:0",
        ":1883",
        "[::1",
        "user:hush/hush@localhost",
        "localhost:1883#fragment",
    ],
)
def test_a_broker_that_cannot_be_read_is_refused_in_words(program: Path, text: str) -> None:
    done = play(str(program), BROKER=text, CA_FILE="ca.pem")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"BROKER: from_url: .*\n", done.stderr)
    assert "hush" not in done.stderr


def test_the_example_of_tls_says_which_variable_it_needs() -> None:
    done = play(str(OVER_TLS), BROKER="mqtts://localhost", CA_FILE="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("the environment variable CA_FILE is not set")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """The application of the FastAPI example."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "fastapi_lifespan", raising=False)
    module = importlib.import_module("fastapi_lifespan")
    assert isinstance(module.app, FastAPI)
    yield module.app
    monkeypatch.delitem(sys.modules, "fastapi_lifespan")


def wait_for_answer(http: TestClient, status: int) -> dict[str, str]:
    """Ask for the lamp until the answer has this status, for the client connects by itself."""
    end = time.monotonic() + LIMIT
    while (answer := http.get("/lamp")).status_code != status:
        assert time.monotonic() < end, answer.text
        time.sleep(0.01)
    body: dict[str, str] = answer.json()
    return body


def test_the_fastapi_example_answers_503_without_a_broker_and_recovers(app: FastAPI) -> None:
    """Started before its broker, and left by it."""
    port = free_port()
    app.state.broker = "127.0.0.1", port
    with TestClient(app) as http:
        for _ in range(2):
            assert http.post("/lamp/on").status_code == 503
            assert http.get("/lamp").status_code == 503
            with BuiltinBroker(port):
                wait_for_answer(http, 200)
                assert http.post("/lamp/on").status_code == 202
            for answer in (http.post("/lamp/on"), http.get("/lamp")):
                assert answer.status_code == 503
                assert answer.json()["detail"].startswith(
                    ("no connection to the broker: ", "the broker did not answer: ")
                )


def test_the_fastapi_example_says_why_there_is_no_connection(app: FastAPI) -> None:
    app.state.broker = "127.0.0.1", free_port()
    with TestClient(app) as http:
        while (detail := wait_for_answer(http, 503)["detail"]).endswith(": not connected yet"):
            pass
    assert "Connection refused" in detail
