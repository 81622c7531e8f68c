"""`python -m ferromqtt aiomqtt-wheel`: pip and uv take what it writes for aiomqtt."""

import base64
import csv
import email
import hashlib
import importlib.metadata
import io
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ferromqtt
from conftest import SHIM
from support import wheels
from support.wheels import Environment

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "coming-from-aiomqtt.md"

pytestmark = pytest.mark.timeout(300)  # several programs a test, each of them a whole pip

NAME = "aiomqtt-2.5.1+ferromqtt-py3-none-any.whl"
INFO = "aiomqtt-2.5.1+ferromqtt.dist-info"

STATION = """
import asyncio

import aiomqtt
from ferromqtt.testing import TestBroker


async def main():
    async with TestBroker() as broker, aiomqtt.Client(broker.host, broker.port) as client:
        await client.subscribe("temperature/#")
        await client.publish("temperature/outside", payload=28.4, qos=1)
        async for message in client.messages:
            print(message.topic, message.payload.decode())
            break


asyncio.run(main())
"""
"""A package that was written for aiomqtt. The broker is all that it has of ferromqtt."""

THE_ORIGINAL = 'raise ImportError("this is the original")\n'

VERSIONS = """
from importlib.metadata import version
import aiomqtt
print(version("aiomqtt"), version("ferromqtt"), aiomqtt.__version__)
"""


def write_wheel(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "ferromqtt", "aiomqtt-wheel", *arguments],
        capture_output=True,
        text=True,
        timeout=wheels.LIMIT,
        check=False,
    )


def block_with(text: str, page: Path = PAGE) -> str:
    """Return the one block of commands or settings on a page that has this text."""
    blocks = re.findall(r"```(?:sh|console|toml)\n(.*?)```", page.read_text(), re.DOTALL)
    (block,) = [block for block in blocks if text in block]
    assert isinstance(block, str)
    return block


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ferromqtt, the wheel under test, packages that require aiomqtt, and a later original."""
    folder = tmp_path_factory.mktemp("wheels")
    wheels.make_ferromqtt(folder)
    done = write_wheel("--output", str(folder))
    assert done.returncode == 0, done.stderr
    wheels.make(folder, "station", "1.0", {"station.py": STATION}, "aiomqtt<3,>=2")
    wheels.make(folder, "pinned", "1.0", {"pinned.py": STATION}, "aiomqtt==2.4.0")
    for version in ("2.4.0", "2.5.1", "2.5.2"):
        wheels.make(folder, "aiomqtt", version, {"aiomqtt/__init__.py": THE_ORIGINAL})
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "environment")


def assert_it_serves(environment: Environment, package: str) -> None:
    """The package runs on ferromqtt, and nothing is said to be missing."""
    assert environment.pip("check") == "No broken requirements found.\n"
    printed = environment.program(VERSIONS)
    assert printed == f"2.5.1+ferromqtt {ferromqtt.__version__} 2.5.1\n"
    assert environment.program(f"import {package}") == "temperature/outside 28.4\n"


def test_pip_takes_the_wheel_of_the_page_for_what_another_package_requires(
    environment: Environment, wheelhouse: Path, tmp_path: Path
) -> None:
    """Although a later original is to be had."""
    links = ("--find-links", str(wheelhouse))
    environment.pip("install", *links, "ferromqtt")
    environment.shell(block_with("aiomqtt-wheel"), tmp_path)
    environment.pip("install", *links, "station")
    assert_it_serves(environment, "station")


@pytest.mark.parametrize("page", [ROOT / "README.md", SHIM / "README.md"])
def test_other_pages_show_the_same_commands(page: Path) -> None:
    assert block_with("aiomqtt-wheel", page) == block_with("aiomqtt-wheel")


def test_the_constraint_of_the_page_keeps_pip_from_installing_the_original(
    environment: Environment, wheelhouse: Path, tmp_path: Path
) -> None:
    shutil.copytree(wheelhouse, tmp_path / "wheels")
    recipe = block_with("pip install --constraint").replace("your-package", "station")
    environment.shell(recipe, tmp_path)
    assert_it_serves(environment, "station")
    # and nothing that comes later puts the original over it
    upgrade = "pip install --upgrade --upgrade-strategy eager"
    environment.shell(recipe.replace("pip install", upgrade), tmp_path)
    assert_it_serves(environment, "station")


def test_the_override_of_the_page_has_uv_install_the_wheel_whatever_is_required(
    environment: Environment, wheelhouse: Path, tmp_path: Path
) -> None:
    shutil.copytree(wheelhouse, tmp_path / "wheels")
    recipe = block_with("uv pip install").replace("your-package", "pinned")
    environment.shell(recipe, tmp_path)
    assert environment.program("import pinned") == "temperature/outside 28.4\n"


def test_the_settings_of_the_page_have_a_project_of_uv_lock_the_wheel(
    environment: Environment, wheelhouse: Path, tmp_path: Path
) -> None:
    shutil.copytree(wheelhouse, tmp_path / "wheels")
    project = '[project]\nname = "program"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
    project += 'dependencies = ["station"]\n\n' + block_with("[tool.uv]")
    (tmp_path / "pyproject.toml").write_text(project)
    run = f"uv run --no-active --python {environment.python} python -c 'import station'"
    assert environment.shell(run, tmp_path) == "temperature/outside 28.4\n"


def test_the_readme_s_first_command_installs_nothing_over_an_aiomqtt(tmp_path: Path) -> None:
    """Of the two wheels that `make wheel` leaves in `dist`, it takes ferromqtt's."""
    (tmp_path / "dist").mkdir()
    for name in (
        "ferromqtt-0.1.0-cp311-cp311-linux_x86_64",
        "ferromqtt_aiomqtt-0.1.0-py3-none-any",
    ):
        (tmp_path / "dist" / f"{name}.whl").touch()
    _, _, pattern = block_with("make wheel", ROOT / "README.md").partition("pip install ")
    taken = [path.name for path in tmp_path.glob(pattern.split()[0])]
    assert taken == ["ferromqtt-0.1.0-cp311-cp311-linux_x86_64.whl"]


def test_removing_the_wheel_leaves_ferromqtt_as_it_was(
    environment: Environment, wheelhouse: Path
) -> None:
    environment.pip("install", "--find-links", str(wheelhouse), str(wheelhouse / NAME))
    environment.pip("uninstall", "--yes", "aiomqtt")
    found = "import importlib.util; print(importlib.util.find_spec('aiomqtt'))"
    assert environment.program(found) == "None\n"
    environment.program("import ferromqtt; ferromqtt.Client('localhost')")


def test_what_the_wheel_says_of_itself(wheelhouse: Path) -> None:
    """The licence is that of the module, which is ours, and not that of aiomqtt."""
    with zipfile.ZipFile(wheelhouse / NAME) as wheel:
        metadata = email.message_from_bytes(wheel.read(f"{INFO}/METADATA"))
        texts = {name: wheel.read(f"{INFO}/licenses/{name}") for name in ("LICENSE-MIT",)}
    assert metadata["Name"] == "aiomqtt"
    assert metadata["Version"] == "2.5.1+ferromqtt"
    assert metadata.get_all("Requires-Dist") == [f"ferromqtt=={ferromqtt.__version__}"]
    assert metadata["License-Expression"] == "MIT OR Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE-APACHE", "LICENSE-MIT"]
    assert texts["LICENSE-MIT"] == (SHIM / "LICENSE-MIT").read_bytes()


def test_the_wheel_holds_the_whole_module_and_a_record_of_every_file(wheelhouse: Path) -> None:
    with zipfile.ZipFile(wheelhouse / NAME) as wheel:
        files = {name: wheel.read(name) for name in wheel.namelist()}
    module = {
        str(path.relative_to(SHIM)): path.read_bytes()
        for path in (SHIM / "aiomqtt").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name: data for name, data in files.items() if not name.startswith(INFO)} == module
    record = files[f"{INFO}/RECORD"].decode()
    expected = [
        [name, f"sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')}", str(len(data))]
        for name, data in files.items()
        if (digest := hashlib.sha256(data).digest()) and name != f"{INFO}/RECORD"
    ]
    assert list(csv.reader(io.StringIO(record))) == [*expected, [f"{INFO}/RECORD", "", ""]]


def test_the_same_wheel_comes_out_every_time(wheelhouse: Path, tmp_path: Path) -> None:
    done = write_wheel("--output", str(tmp_path / "new" / "folder"))
    path = tmp_path / "new" / "folder" / NAME
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}\n", "")
    assert path.read_bytes() == (wheelhouse / NAME).read_bytes()


def test_the_wheel_can_stand_in_for_another_release(
    environment: Environment, wheelhouse: Path, tmp_path: Path
) -> None:
    done = write_wheel("--version", "2.4.0", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    wheel = tmp_path / "aiomqtt-2.4.0+ferromqtt-py3-none-any.whl"
    environment.pip("install", "--find-links", str(wheelhouse), str(wheel), "pinned")
    assert environment.pip("check") == "No broken requirements found.\n"
    assert environment.program("import pinned") == "temperature/outside 28.4\n"


@pytest.mark.parametrize(
    "version", ["3.0.0", "1.2.1", "2", "2.5.1+ferromqtt", "2.5.1rc1", "2.05", "../2.5.1", "", "2.५"]
)
def test_a_version_that_is_no_release_of_aiomqtt_2_is_refused(version: str, tmp_path: Path) -> None:
    done = write_wheel(f"--version={version}", "--output", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.endswith(
        f"error: argument --version: {version!r} is not a release of aiomqtt 2: "
        "give 2.N or 2.N.M, such as 2.5.1\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = write_wheel("--output", str(tmp_path / "file"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ferromqtt: cannot write the wheel: [Errno ")
    assert str(tmp_path / "file") in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(("output", "reason"), [(">&-", "Errno 9"), (">/dev/full", "Errno 28")])
@pytest.mark.parametrize("command", ["aiomqtt-wheel", "broker"])
def test_standard_output_that_cannot_be_written_to_is_named(
    tmp_path: Path, output: str, reason: str, command: str
) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -W error -m ferromqtt {command} {output}', sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=wheels.LIMIT,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"ferromqtt: cannot write to standard output: [{reason}]")
    assert done.stderr.count("\n") == 1


def test_ferromqtt_itself_installs_no_module_aiomqtt() -> None:
    """It would lie over the original in an environment that has both."""
    files = importlib.metadata.files("ferromqtt")
    assert files
    assert [str(file) for file in files if file.parts[0] == "aiomqtt"] == []
