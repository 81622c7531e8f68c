"""The build of the parent commit, in a Git worktree of its own below `target/`.

Run as `python bench/parent.py [REVISION]` it builds the Python module and the measured Rust
clients, for `make bench-parent`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class ParentError(Exception):
    """There is no parent commit here, or it cannot be built."""


def target_folder(root: Path) -> Path:
    """Return where Cargo builds."""
    return root / os.environ.get("CARGO_TARGET_DIR", "target")


def find(root: Path, revision: str | None = None) -> str:
    """Return the commit to compare with.

    Without a revision that is the last commit if files in the checkout differ from it, and
    otherwise the one before.

    Raises:
        ParentError: There is no such commit: a shallow clone, no Git checkout, the first commit.
    """
    if not (root / ".git").exists():
        raise ParentError(f"{root} is no Git checkout")
    if revision is None:
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
        revision = "HEAD" if changed else "HEAD^"
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except ParentError as error:
        shallow = _git(root, "rev-parse", "--is-shallow-repository") == "true"
        why = ", since the clone is shallow" if shallow else ""
        raise ParentError(f"commit {revision} is not here{why}") from error


def text_at(root: Path, commit: str, path: str) -> str | None:
    """Return a file as it is in a commit; None if it has no such file."""
    if not _git(root, "ls-tree", "--name-only", commit, "--", path):
        return None
    return _git(root, "show", f"{commit}:{path}")


def check_out(root: Path, commit: str) -> Path:
    """Check a commit out, and return the folder. What was built there for another is used again."""
    tree = target_folder(root) / "parent"
    if (tree / ".git").exists():
        _git(tree, "checkout", "--quiet", "--force", "--detach", commit)
    else:
        shutil.rmtree(tree, ignore_errors=True)
        _git(root, "worktree", "add", "--quiet", "--force", "--detach", str(tree), commit)
    return tree


def build(tree: Path, *command: str) -> None:
    """Run a command of the build in the worktree, with nothing of ours in its environment.

    Raises:
        ParentError: It failed. Its output has been printed.
    """
    ours = {"PYO3_PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH"}
    of_make = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEFILE_LIST", "MAKEOVERRIDES"}
    environment = {
        name: value for name, value in os.environ.items() if name not in ours | of_make
    } | {"CARGO_TARGET_DIR": str(tree / "target")}
    print(f"In the parent's build: {' '.join(command)}", flush=True)
    done = subprocess.run(command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise ParentError(f"`{' '.join(command)}` failed in {tree}")


def build_module(tree: Path) -> Path:
    """Build the Python module of the worktree; return the interpreter that has it."""
    build(tree, "make", ".venv/.native")
    return tree / ".venv/bin/python"


def cargo_build(tree: Path, *options: str) -> Path:
    """Build a release with Cargo; return the folder of the programs."""
    locked = ("--locked",) if os.environ.get("CI") else ()
    build(tree, "cargo", "build", "--quiet", "--release", *locked, *options)
    return tree / "target/release"


def _git(root: Path, *arguments: str) -> str:
    # A hook of Git's, which may be what started this, points it at another repository.
    environment = {name: it for name, it in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError:
        raise ParentError("git is not installed") from None
    except subprocess.CalledProcessError as error:
        words = " ".join(arguments)
        raise ParentError(f"`git {words}` failed in {root}: {error.stderr.strip()}") from error
    return done.stdout.strip()


def main() -> int:
    """Build what `make bench-parent` measures."""
    try:
        commit = find(ROOT, sys.argv[1] if len(sys.argv) > 1 else None)
        tree = check_out(ROOT, commit)
        build_module(tree)
        cargo_build(tree, "--manifest-path", "bench/rust/Cargo.toml")
    except ParentError as error:
        print(f"parent.py: {error}", file=sys.stderr)
        return 1
    print(f"The parent is {commit}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
