"""Writes a distribution named `aiomqtt` whose module is served by ferromqtt.

`ferromqtt-aiomqtt` has the same module, but another name: a package that requires `aiomqtt` makes
pip install the original over it. A distribution that is called `aiomqtt` satisfies the requirement.
It is written where it is needed, since the name on the package index belongs to the original.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import re
import sys
import zipfile
from pathlib import Path

from ferromqtt._native import __version__
from ferromqtt._stdout import write_line

COMMAND = "aiomqtt-wheel"
DESCRIPTION = """Write a wheel named aiomqtt, version 2.5.1+ferromqtt, whose module is served by
this version of ferromqtt. Installed in the place of aiomqtt, it satisfies the packages that
require aiomqtt 2. The path of the wheel is printed on standard output."""

INTERFACE = "2.5.1"
"""The version of aiomqtt whose interface the module has."""

SOURCES = Path(__file__).with_name("_aiomqtt_shim")
LICENCES = ("LICENSE-APACHE", "LICENSE-MIT")
RELEASE = re.compile(r"2(\.(0|[1-9][0-9]*)){1,2}")

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time stamp of every file in the archive, so that the same input gives the same bytes."""

METADATA = """\
Metadata-Version: 2.4
Name: aiomqtt
Version: {version}
Summary: The module aiomqtt, served by ferromqtt
Author: The ferromqtt contributors
License-Expression: MIT OR Apache-2.0
License-File: LICENSE-APACHE
License-File: LICENSE-MIT
Project-URL: Repository, https://github.com/ferromqtt/ferromqtt
Requires-Python: >=3.11
Requires-Dist: ferromqtt=={ferromqtt}
Description-Content-Type: text/markdown

This is not the distribution `aiomqtt` of the package index: `python -m ferromqtt aiomqtt-wheel`
wrote it. Its module `aiomqtt` has the interface of aiomqtt {interface}, is served by ferromqtt
{ferromqtt}, and holds no code of aiomqtt.
"""

WHEEL = """\
Wheel-Version: 1.0
Generator: ferromqtt {ferromqtt}
Root-Is-Purelib: true
Tag: py3-none-any
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Define `aiomqtt-wheel` and its arguments."""
    command = commands.add_parser(
        COMMAND,
        help="write a wheel named aiomqtt, for packages that require aiomqtt",
        description=DESCRIPTION,
    )
    command.add_argument(
        "--version",
        type=release,
        default=INTERFACE,
        help="the release of aiomqtt that the wheel stands in for (default: %(default)s). The "
        f"interface is that of {INTERFACE} in any case",
    )
    command.add_argument(
        "--output",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="folder to write the wheel to, created if missing (default: the current folder)",
    )


def run(version: str, output: Path) -> int:
    """Write the wheel; returns the exit code of the command."""
    try:
        wheel = write(version, output)
    except OSError as error:
        sys.stderr.write(f"ferromqtt: cannot write the wheel: {error}\n")
        return 1
    return 0 if write_line(str(wheel)) else 1


def release(text: str) -> str:
    """Read a release of aiomqtt 2."""
    if not RELEASE.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a release of aiomqtt 2: give 2.N or 2.N.M, such as {INTERFACE}"
        )
    return text


def write(version: str, folder: Path) -> Path:
    """Write the wheel into a folder, which is created if missing.

    Raises `OSError` if that fails, or if the module's sources are not installed.
    """
    local = f"{version}+ferromqtt"
    path = folder / f"aiomqtt-{local}-py3-none-any.whl"
    archive = pack(contents(local), f"aiomqtt-{local}.dist-info/RECORD")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(archive)
    return path


def contents(version: str) -> dict[str, bytes]:
    """Return the files of the wheel, but for its RECORD, by their paths."""
    info = f"aiomqtt-{version}.dist-info"
    module = SOURCES / "aiomqtt"
    files = {f"aiomqtt/{source.name}": source.read_bytes() for source in module.glob("*.py")}
    if not files:
        raise FileNotFoundError(
            f"{module} has no Python files: ferromqtt is not installed completely, install it again"
        )
    files["aiomqtt/py.typed"] = (module / "py.typed").read_bytes()
    for name in LICENCES:
        files[f"{info}/licenses/{name}"] = (SOURCES / name).read_bytes()
    values = {"version": version, "ferromqtt": __version__, "interface": INTERFACE}
    files[f"{info}/METADATA"] = METADATA.format_map(values).encode()
    files[f"{info}/WHEEL"] = WHEEL.format_map(values).encode()
    return files


def pack(files: dict[str, bytes], record: str) -> bytes:
    """Return a wheel that holds the files and its RECORD."""
    lines = [f"{path},sha256={digest(data)},{len(data)}\n" for path, data in sorted(files.items())]
    archive = io.BytesIO()
    # Stored, not compressed: how the same text is compressed depends on the version of zlib.
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as wheel:
        last = (record, "".join([*lines, f"{record},,\n"]).encode())
        for path, data in (*sorted(files.items()), last):
            entry = zipfile.ZipInfo(path, EARLIEST)
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = 0o100644 << 16
            wheel.writestr(entry, data)
    return archive.getvalue()


def digest(data: bytes) -> str:
    """Return the hash of a file as RECORD has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
