"""Interpreters that cannot import the package, or are about to end."""

import asyncio
import textwrap
from pathlib import Path

from conftest import shim_of
from support import program
from support.provocations.registry import IMPORTING, World, provokes

SHIM = Path(__file__).parents[3] / "aiomqtt-shim"


async def texts(code: str) -> str:
    """Run a program; return the text that it prints."""
    return (await asyncio.to_thread(program.run, textwrap.dedent(code))).strip()


def refusing(part: str, code: str, kind: type[Exception] = ImportError) -> None:
    """A program that prints the text of the error that it gets."""

    @provokes(IMPORTING, part)
    async def fail(_: World) -> None:
        raise kind(await texts(code))


IMPORT = """
try:
    import ferromqtt
except ImportError as error:
    print(error, flush=True)
"""

refusing(
    "in a subinterpreter",
    f"""
import sys
import _testcapi
assert _testcapi.run_in_subinterp(f"import sys; sys.path[:] = {{sys.path!r}}" + {IMPORT!r}) == 0
""",
)
refusing(
    "cannot be imported again",
    f"""
import atexit, sys

def again():
    for name in [name for name in sys.modules if name.split(".")[0] == "ferromqtt"]:
        del sys.modules[name]
    exec({IMPORT!r})

atexit.register(again)  # runs after the hook of the package, which is registered later
import ferromqtt
""",
)
refusing(
    "The interpreter is exiting",
    """
import atexit, threading
begin, ended = threading.Event(), threading.Event()

def wait():
    begin.set()
    ended.wait(20)

atexit.register(wait)
from ferromqtt._native import Core

def call():
    core = Core(1)
    ready.set()
    begin.wait()
    try:
        core.flush()
    except RuntimeError as error:
        print(error, flush=True)
    ended.set()

ready = threading.Event()
threading.Thread(target=call, daemon=True).start()
ready.wait(20)
""",
    RuntimeError,
)
refusing(
    "paho-mqtt is not installed",
    f"""
import sys
sys.path.insert(0, {str(SHIM)!r})
sys.modules["paho"] = None
import aiomqtt.client
try:
    aiomqtt.client.mqtt
except AttributeError as error:
    print(error)
""",
    AttributeError,
)


@provokes(IMPORTING, "there is no paho client below")
async def assign_a_callback_of_paho(world: World) -> None:
    shim_of(world.monkeypatch).Client("localhost")._client.on_message = print
