#!/usr/bin/env python3
"""Check that the seeds find bugs that are planted, and shrink each to at most two faults.

Each `tests/planted/*.patch` breaks the core in one way; its first line says how. This copies the
crates that the seeds need below the target directory, applies one patch after the other, and plays
`tests/seeds` there: that has to fail, and its shortest script to have one or two entries. A patch
that does not apply any more fails too: mend it, or plant another bug in its place.

    python scripts/planted.py [TARGET_DIRECTORY] [NAME_OF_A_PATCH...]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATCHES = ROOT / "tests" / "planted"
CRATES = (
    "ferromqtt",
    "ferromqtt-engine",
    "ferromqtt-outbox",
    "ferromqtt-proto",
    "ferromqtt-recording",
    "ferromqtt-store",
    "ferromqtt-testing",
    "ferromqtt-transport",
)
MEMBERS = (*(f"crates/{name}" for name in CRATES), "tests/seeds")
MOST_ENTRIES = 2
SHORTEST = re.compile(
    r"The shortest script that fails \((\d+) of \d+ entries.*\):\n((?:    .*\n)+)"
)


def main() -> int:
    """Plant each bug and return the exit code."""
    target, *names = sys.argv[1:] or ["target"]
    copy = (ROOT / target / "planted" / "source").resolve()
    patches = sorted(PATCHES.glob("*.patch"))
    if names:
        patches = [patch for patch in patches if patch.stem in names]
    if not patches:
        print(f"planted: there is no patch in {PATCHES}", file=sys.stderr)
        return 1
    lay_out(copy)
    problems = [problem for patch in patches if (problem := find(patch, copy))]
    for problem in problems:
        print(f"planted: {problem}", file=sys.stderr)
    return 1 if problems else 0


def lay_out(copy: Path) -> None:
    """Copy what the seeds need. Files that are the same already keep their time, for cargo."""
    expected = set()
    for member in MEMBERS:
        for path in (ROOT / member).rglob("*"):
            if path.is_file():
                expected.add(path.relative_to(ROOT))
    for path in expected:
        update(copy / path, manifest(ROOT / path))
    for path in (copy / "crates", copy / "tests"):
        for left in path.rglob("*"):
            if left.is_file() and left.relative_to(copy) not in expected:
                left.unlink()
    workspace = (ROOT / "Cargo.toml").read_text()
    members = "".join(f'    "{member}",\n' for member in MEMBERS)
    listed = re.compile(r"members = \[\n.*?\]", re.DOTALL)
    workspace = listed.sub(f"members = [\n{members}]", workspace)
    update(copy / "Cargo.toml", workspace.encode())
    if not (copy / "Cargo.lock").exists():  # cargo takes out of it what the copy does not have
        shutil.copy(ROOT / "Cargo.lock", copy)


def manifest(path: Path) -> bytes:
    """Return a file; a manifest without the examples, which lie outside of the crates."""
    if path.name != "Cargo.toml":
        return path.read_bytes()
    example = re.compile(r"^\[\[example\]\]\n(?:[^\[\n].*\n)*\n?", re.MULTILINE)
    return example.sub("", path.read_text()).encode()


def update(path: Path, content: bytes) -> None:
    """Write a file unless it has this content."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def find(patch: Path, copy: Path) -> str | None:
    """Play the seeds with a bug; return what is wrong, if anything is."""
    # Without a repository around it, git takes the copy for the root of the paths.
    environment = dict(os.environ, GIT_CEILING_DIRECTORIES=str(copy.parent))
    apply = ["git", "apply", "--whitespace=nowarn", str(patch)]
    applied = subprocess.run(  # noqa: S603 - names of this repository
        apply, cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    if applied.returncode:
        return f"{patch.name} does not apply: {applied.stderr.strip()}"
    try:
        played = play(copy)
    finally:
        lay_out(copy)
    if not played.returncode:
        return f"no seed finds {patch.name}"
    shortest = SHORTEST.search(played.stdout)
    if shortest is None:
        tail = "\n".join((played.stdout + played.stderr).splitlines()[-40:])
        return f"with {patch.name} the seeds do not end in a script of faults:\n{tail}"
    if int(shortest[1]) > MOST_ENTRIES:
        return f"{patch.name} shrinks to {shortest[1]} entries:\n{shortest[2]}"
    print(f"{patch.stem}: found, and shrunk to\n{shortest[2]}", end="", flush=True)
    return None


def play(copy: Path) -> subprocess.CompletedProcess[str]:
    """Run the seeds in the copy, built without what a debugger needs."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "FERROMQTT_SEED"},
        "CARGO_TARGET_DIR": str(copy.parent / "target"),
        "CARGO_INCREMENTAL": "0",
        "CARGO_PROFILE_DEV_DEBUG": "0",
    }
    command = ["cargo", "test", "--quiet", "-p", "ferromqtt-test-seeds", "--test", "promises"]
    return subprocess.run(  # noqa: S603 - fixed arguments
        [*command, "every_seed_keeps_the_promises"],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
