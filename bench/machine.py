"""What instruction counts depend on, beside our own code."""

import os
import platform
import subprocess
import sysconfig

# How CPython was built: each of these changes its code.
_BUILD_OPTIONS = ("--enable-optimizations", "--with-lto", "--enable-shared", "--with-pydebug")


def this_machine() -> dict[str, str]:
    """Return the versions whose counts can be compared with each other.

    The CPU is not among them: valgrind shows the program a CPU of its own, and glibc is told which
    of its functions to use (`callgrind.py`).
    """
    return {
        "architecture": platform.machine(),
        "rustc": _output("rustc", "--version").removeprefix("rustc "),
        "cpython": _cpython(),
        "glibc": (os.confstr("CS_GNU_LIBC_VERSION") or "unknown").removeprefix("glibc "),
        "valgrind": _output("valgrind", "--version").removeprefix("valgrind-"),
    }


def _cpython() -> str:
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    options = [option for option in _BUILD_OPTIONS if option in arguments]
    return ", ".join([platform.python_version(), platform.python_compiler(), *options])


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
