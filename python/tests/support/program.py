"""Runs a program in a process of its own, since it may end that process or stand still."""

import os
import subprocess
import sys
from pathlib import Path

import ferromqtt

TESTS = Path(__file__).parents[1]

BEGIN = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
"""Ctrl-C ends the program, also when the tests run in the background of a shell."""

CRASHES = ("panicked", "Panic", "orrowed", "Fatal Python error", "FATAL", "Exception ignored")
"""What no program may leave on its standard error."""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program that can import the package and the tests."""
    package = Path(ferromqtt.__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + code, *arguments],
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{package}", "RUST_BACKTRACE": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], limit: float = 40.0) -> str:
    """Wait for a program to end by itself, without a crash; return what it printed."""
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        raise AssertionError(f"stood still after {output!r}; {errors[-2000:]}") from None
    assert process.returncode == 0, f"ended with {process.returncode}; {errors[-2000:]}"
    assert not any(sign in errors for sign in CRASHES), errors[-2000:]
    return output


def run(code: str, *arguments: str) -> str:
    """Run a program to its end; return what it printed."""
    return finish(start(code, *arguments))
