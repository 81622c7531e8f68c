"""Plays scenarios with the tokio client: the program in tests/rust-client."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from interop.conftest import Here
from interop.server import LOGIN
from support.clients import unique

ROOT = Path(__file__).parents[3]
BUILD = "cargo build -p ferromqtt-test-client"
SECONDS = 50


def program() -> Path:
    """Return the path of the program, which cargo builds."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = target / "debug" / "ferromqtt-test-client"
    assert path.exists(), f"these tests need {path}, build it with: {BUILD}"
    return path


def play(scenario: str, **settings: object) -> dict[str, Any]:
    """Play one scenario, and return what happened."""
    done = subprocess.run(
        [program(), scenario, json.dumps({"topic": unique(scenario)} | settings)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def play_here(here: Here, scenario: str, **settings: object) -> dict[str, Any]:
    """Play it at one of the places; these settings go over the usual ones."""
    usual: dict[str, object] = {
        "url": url(here, here.server.port),
        "version": here.version.name,
        "identifier": unique(scenario),
    }
    if not here.server.anonymous:
        usual |= {"username": LOGIN.username, "password": LOGIN.password}
    return play(scenario, **usual | settings)


def url(here: Here, port: int) -> str:
    """Return the URL of a port on the server's host."""
    return f"mqtt://{here.server.host}:{port}"
