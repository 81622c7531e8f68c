"""Run a command again and again beside processes that keep every core busy.

For tests that must pass on a busy machine: `scripts/beside_busy_loops.py 200 python -m pytest ...`.
Stops at the first run that fails, with its output.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


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


def main() -> int:
    """Run the command, and return the exit code of the first run that failed, or 0."""
    runs, *command = sys.argv[1:]
    begin = time.monotonic()
    with busy_loops(os.cpu_count() or 1):
        for run in range(1, int(runs) + 1):
            done = subprocess.run(  # noqa: S603 - what was asked for
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
            if done.returncode:
                print(done.stdout)
                print(f"run {run} of {runs} failed")
                return done.returncode
            last = (done.stdout.splitlines() or [""])[-1]
            print(f"run {run} of {runs} after {time.monotonic() - begin:.0f} s: {last}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
