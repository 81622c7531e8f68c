"""Run a command again and again beside processes that keep every core busy.

For tests that must pass on a busy machine: `scripts/beside_busy_loops.py 200 python -m pytest ...`.
With `--at-once 2` before the number, two runs are under way at any time. The first run that fails
ends the others, and its output is printed.
"""

import argparse
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from typing import Self


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep so many cores busy meanwhile."""
    loop = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(loop) for _ in range(count)]  # noqa: S603 - this interpreter
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


class Runs:
    """The runs that are under way. All of them end with `with`."""

    def __init__(self) -> None:
        self._under_way: set[subprocess.Popen[str]] = set()
        self._starting = threading.Lock()
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._starting:
            self._ended = True
        for process in tuple(self._under_way):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def run(self, command: list[str]) -> tuple[int, str]:
        """Run the command once, and return its exit code and its output."""
        with self._starting:
            if self._ended:
                return -signal.SIGKILL, ""
            process = subprocess.Popen(  # noqa: S603 - what was asked for
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                # Linux may share a core among sessions first. A run whose processes come and go
                # would get less than its part beside loops in its own session.
                start_new_session=True,
            )
            self._under_way.add(process)
        output, _ = process.communicate()
        self._under_way.discard(process)
        return process.returncode, output


def cpu_of_runs() -> float:
    """Return the CPU time of the runs that have ended, in seconds; the loops have not."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Run the command, and return the exit code of the first run that failed, or 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=1, metavar="N")
    parser.add_argument("runs", type=int)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    begin = time.monotonic()
    with (
        busy_loops(os.cpu_count() or 1),
        ThreadPoolExecutor(options.at_once) as pool,
        Runs() as under_way,
    ):
        runs = [pool.submit(under_way.run, options.command) for _ in range(options.runs)]
        for number, ended in enumerate(as_completed(runs), 1):
            code, output = ended.result()
            if code:
                pool.shutdown(wait=False, cancel_futures=True)
                print(output)
                print(f"run {number} of {options.runs} failed")
                return code
            last = (output.splitlines() or [""])[-1]
            took = f"{time.monotonic() - begin:.0f} s, {cpu_of_runs():.0f} s of CPU"
            print(f"run {number} of {options.runs} after {took}: {last}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
