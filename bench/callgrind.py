"""Runs a program under callgrind, and reads how many instructions its sections needed."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

MARK = "getppid"
"""The function whose call ends a section. The programs call it for nothing else."""

TIME_LIMIT = 600.0

# The string functions that every x86-64 CPU has. Left to itself, glibc chooses them by the CPU; and
# callgrind counts one `rep movsb` as an instruction a byte. Names that a glibc does not know it
# skips: some of these are of older ones, and other architectures have none of them.
_TUNABLES = (
    "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-AVX512F,-AVX512VL,-ERMS,-FSRM"
)


class CountError(Exception):
    """The program could not be counted."""


def count(command: list[str], folder: Path) -> dict[str, float]:
    """Run a program in a folder; return the instructions that each workload needs per message.

    The program calls `getppid` before and after each workload, and then prints the workload's name
    and its number of messages.

    Raises:
        CountError: valgrind is missing, the program failed, or its marks and lines do not match.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CountError("valgrind is missing: `make deps audit` installs it")
    with tempfile.TemporaryDirectory() as results:
        base = Path(results) / "part"
        under_callgrind = [
            valgrind,
            "--tool=callgrind",
            f"--callgrind-out-file={base}",
            f"--dump-before={MARK}",
        ]
        # Nothing of the caller's environment: variables of Python, Rust and glibc change what is
        # measured, and the length of any other where objects lie.
        environment = {
            "PATH": os.defpath,
            "PYTHONHASHSEED": "0",
            "GLIBC_TUNABLES": _TUNABLES,
        }
        if "LD_LIBRARY_PATH" in os.environ:  # where some CPythons have their library
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        try:
            done = subprocess.run(
                under_callgrind + command,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIME_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CountError(f"{command} did not end within {TIME_LIMIT:.0f} s") from None
        if done.returncode != 0:
            last_lines = "\n".join(done.stderr.strip().splitlines()[-12:])
            raise CountError(f"{command} ended with code {done.returncode}:\n{last_lines}")
        parts = [part.read_text() for part in sorted(base.parent.glob("part.*"), key=_number)]
    return per_message(done.stdout.splitlines(), [total(part) for part in parts])


def _number(part: Path) -> int:
    return int(part.suffix.removeprefix("."))


def total(part: str) -> int:
    """Return how many instructions a part of callgrind's output has counted."""
    found = re.search(r"^(?:summary|totals): (\d+)", part, re.MULTILINE)
    if found is None:
        raise CountError(f"callgrind wrote a part without a total: {part[:200]!r}")
    return int(found[1])


def per_message(lines: list[str], totals: list[int]) -> dict[str, float]:
    """Divide the sections of the workloads, every second one, by their numbers of messages."""
    if len(totals) != 2 * len(lines):
        raise CountError(
            f"the program printed {len(lines)} workloads, and {MARK} was called {len(totals)} times"
            ", which is not twice for each"
        )
    counts = {}
    for line, instructions in zip(lines, totals[1::2], strict=True):
        name, messages = line.split()
        counts[name] = instructions / int(messages)
    return counts
