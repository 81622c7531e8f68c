"""Runs pytest in a process that is forked from one that has imported pytest and its plugins.

Starting an interpreter and importing them is most of what a short run of pytest costs. Each run is
still a process of its own and ends as any other. The process that is forked, the server, warms up
by running two tests with the fixtures of the plugin. Before each fork it checks that it has one
thread, as a process with more must not be forked.

Only Linux tells how many threads a process has. Elsewhere each run starts an interpreter. A test of
what is imported, and when, needs a new interpreter too: it calls `pytester.runpytest_subprocess`.
"""

import atexit
import contextlib
import functools
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TypedDict

import pytest
from _pytest.assertion.rewrite import AssertionRewritingHook

WARM_UP = """
import asyncio
import ssl

import pytest

from ferromqtt import Client
from ferromqtt_pytest import RemoteBroker, assert_published

async def test_client(virtual_time, mqtt_clients, mqtt_client, mqtt_broker):
    await mqtt_client.publish("a", b"1", qos=1)
    assert_published(mqtt_broker, "a", b"1")

@pytest.mark.mqtt(seeds=1)
async def test_seed(chaos): ...
"""


def run_pytest(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Do what `pytester.runpytest_subprocess` does, at a fraction of the cost."""
    if sys.platform != "linux":
        return pytester.runpytest_subprocess(*arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pytester, "popen", _Fork)
        return pytester.runpytest_subprocess(*arguments)


class _Request(TypedDict):
    """A run to fork for."""

    arguments: list[str]
    directory: str
    environment: dict[str, str]
    outputs: list[str]
    """The files that take its standard output and its standard error."""


class _Fork:
    """Takes the place of the `subprocess.Popen` that `Pytester.run` makes."""

    stdin = None

    def __init__(
        self, command: tuple[str, ...], *, stdout: IO[str], stderr: IO[str], **_: object
    ) -> None:
        interpreter, module, *arguments = command
        assert (interpreter, module) == (sys.executable, "-mpytest")
        directory = str(Path.cwd())
        # Pytester's own processes find modules in their folder by PYTHONPATH too.
        paths = [directory, os.environ.get("PYTHONPATH")]
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths)))
        self._request = _Request(
            arguments=arguments,
            directory=directory,
            environment=environment,
            outputs=[stdout.name, stderr.name],
        )

    def wait(self) -> int:
        """Run it, and return its exit code."""
        server = _server()
        try:
            return server.run(self._request)
        except BaseException:  # such as the time limit of the test
            _server.cache_clear()
            server.kill()
            raise


class _Server:
    """The process that is forked. It ends with this one, when its input does."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # a session of its own, to be killed with what it forks
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        atexit.register(self._process.communicate)

    def run(self, request: _Request) -> int:
        """Fork it for one run, and return the exit code."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        requests.write(json.dumps(request) + "\n")
        requests.flush()
        answer = answers.readline()
        assert answer, "the process that runs of pytest are forked from has ended: see its output"
        return int(answer)

    def kill(self) -> None:
        """End it, and the run that may be under way."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@functools.cache
def _server() -> _Server:
    return _Server()


# In the process that is forked


def serve() -> None:
    """Fork for each line of the input, and answer with the exit code; return in the forked ones."""
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)  # what the warm-up prints
    paths = sys.path[1:]  # without the folder of this program
    _warm_up()
    # Where ferromqtt is installed as a wheel, pytest warns that it cannot rewrite it any more.
    AssertionRewritingHook._warn_already_imported = lambda *_: None  # type: ignore[method-assign]
    gc.collect()
    gc.freeze()  # or each fork would copy all objects as soon as it collects
    for line in requests:
        threads = [*Path("/proc/self/task").iterdir()]
        assert len(threads) == 1, f"a process with {len(threads)} threads must not be forked"
        child = os.fork()
        if child == 0:
            requests.close()
            answers.close()
            _take_place(json.loads(line), paths)
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
    sys.exit()


def _warm_up() -> None:
    with tempfile.TemporaryDirectory() as directory:
        test = Path(directory, "test_warm_up.py")
        test.write_text(WARM_UP)
        scope = "asyncio_default_fixture_loop_scope=function"
        arguments = ["-q", "--rootdir", directory, "-p", "no:cacheprovider", "-o", scope]
        code = pytest.main([*arguments, str(test)])
        assert code == 0, f"the run that warms up has failed: {code}"
    del sys.modules[test.stem]


def _take_place(request: _Request, paths: list[str]) -> None:
    """Make this process what `python -m pytest` would be there."""
    environment, directory = request["environment"], request["directory"]
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    wanted = environment["PYTHONPATH"].split(os.pathsep)
    sys.path[:] = [directory, *(path for path in wanted if path not in paths), *paths]
    sys.argv[1:] = request["arguments"]
    for descriptor, name in enumerate(request["outputs"], 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_TRUNC), descriptor)


if __name__ == "__main__":
    serve()
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)
