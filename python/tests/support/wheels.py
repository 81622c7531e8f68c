"""Wheels made by tests, and fresh virtual environments to install them in, without a network."""

import importlib.metadata
import os
import subprocess
import sys
import venv
from pathlib import Path

import uv

import ferromqtt
from ferromqtt import _wheel

LIMIT = 100
"""Seconds for a program that takes one or two."""


def make(folder: Path, name: str, version: str, files: dict[str, str], *requires: str) -> None:
    """Write a wheel of a Python package that another person could have made."""
    info = f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    content = {path: text.encode() for path, text in files.items()}
    content[f"{info}/METADATA"] = ("\n".join(metadata) + "\n").encode()
    write(folder, name, version, content)


def make_ferromqtt(folder: Path) -> None:
    """Write a wheel of ferromqtt as it is installed here, from a checkout or from a wheel."""
    package = Path(ferromqtt.__file__).parent
    content: dict[str, bytes] = {}
    for parent, folders, names in os.walk(package, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in (Path(parent, name) for name in names):
            content[f"ferromqtt/{path.relative_to(package)}"] = path.read_bytes()
    metadata = importlib.metadata.distribution("ferromqtt").read_text("METADATA")
    assert metadata is not None
    version = ferromqtt.__version__
    content[f"ferromqtt-{version}.dist-info/METADATA"] = metadata.encode()
    write(folder, "ferromqtt", version, content)


def write(folder: Path, name: str, version: str, content: dict[str, bytes]) -> None:
    info = f"{name}-{version}.dist-info"
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    archive = _wheel.pack(content, f"{info}/RECORD")
    (folder / f"{name}-{version}-py3-none-any.whl").write_bytes(archive)


class Environment:
    """A fresh virtual environment; pip and uv are those of the tests and see no index."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        programs = folder / "bin"
        self.python = programs / "python"
        pip = programs / "pip"
        pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --python {self.python} "$@"\n')
        pip.chmod(0o755)
        (programs / "uv").symlink_to(uv.find_uv_bin())
        self._variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV"))
        } | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(folder),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INDEX": "1",
            "UV_CACHE_DIR": str(folder / "cache"),
            "XDG_CONFIG_HOME": str(folder),  # no settings of the user
            "UV_NO_INDEX": "1",
            "UV_OFFLINE": "1",
            "UV_PYTHON_DOWNLOADS": "never",
        }

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run a program, which has to succeed, and return what it prints."""
        done = subprocess.run(
            command,
            env=self._variables,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def program(self, text: str) -> str:
        """Run a Python program, with warnings as errors."""
        return self.run(str(self.python), "-W", "error", "-c", text)

    def pip(self, *arguments: str) -> str:
        """Run pip on this environment."""
        return self.run(str(self.python.with_name("pip")), *arguments)

    def shell(self, text: str, cwd: Path) -> str:
        """Run what a page tells its reader to type in this environment."""
        return self.run("/bin/sh", "-e", "-c", text, cwd=cwd)
