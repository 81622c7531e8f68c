"""Which commit is the parent, and where there is none."""

import os
import subprocess
from pathlib import Path

import parent
import pytest
from parent import ParentError

FILE = "bench/instructions.toml"


def git(folder: Path, *arguments: str) -> str:
    """Run git without the configuration of this machine."""
    identity = {
        f"GIT_{who}_{what}": "somebody@localhost"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null"} | identity
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Three commits: nothing, the file with "old", the file with "new"."""
    root = tmp_path / "checkout"
    (root / "bench").mkdir(parents=True)
    git(root, "init", "--quiet")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "nothing")
    for text in ("old", "new"):
        (root / FILE).write_text(text)
        git(root, "add", FILE)
        git(root, "commit", "--quiet", "--message", text)
    return root


def test_the_parent_of_a_clean_checkout_is_the_commit_before(checkout: Path) -> None:
    assert parent.find(checkout) == git(checkout, "rev-parse", "HEAD^")


def test_the_parent_of_changed_files_is_the_last_commit(checkout: Path) -> None:
    (checkout / FILE).write_text("newer")
    assert parent.find(checkout) == git(checkout, "rev-parse", "HEAD")


def test_files_that_git_does_not_know_change_nothing(checkout: Path) -> None:
    (checkout / "notes").write_text("mine")
    assert parent.find(checkout) == git(checkout, "rev-parse", "HEAD^")


def test_a_revision_that_is_asked_for_is_the_parent(checkout: Path) -> None:
    assert parent.find(checkout, "HEAD~2") == git(checkout, "rev-parse", "HEAD~2")


def test_a_shallow_clone_has_no_parent_and_says_why(checkout: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth", "1", checkout.as_uri(), str(clone))
    with pytest.raises(ParentError, match=r"commit HEAD\^ is not here, since the clone is shallow"):
        parent.find(clone)


def test_the_first_commit_has_no_parent(checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "HEAD~2")
    with pytest.raises(ParentError, match=r"commit HEAD\^ is not here$"):
        parent.find(checkout)


def test_a_folder_that_is_no_checkout_has_no_parent(tmp_path: Path) -> None:
    with pytest.raises(ParentError, match="is no Git checkout"):
        parent.find(tmp_path)


def test_a_folder_inside_another_checkout_has_no_parent(checkout: Path) -> None:
    with pytest.raises(ParentError, match="is no Git checkout"):
        parent.find(checkout / "bench")


def test_a_file_of_a_commit_is_read_and_a_missing_one_is_none(checkout: Path) -> None:
    assert parent.text_at(checkout, "HEAD^", FILE) == "old"
    assert parent.text_at(checkout, "HEAD~2", FILE) is None


def test_one_worktree_holds_one_parent_after_another(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CARGO_TARGET_DIR", raising=False)
    tree = parent.check_out(checkout, parent.find(checkout, "HEAD^"))
    assert tree == checkout / "target/parent"
    (tree / "built").touch()
    assert parent.check_out(checkout, parent.find(checkout, "HEAD")) == tree
    assert (tree / FILE).read_text() == "new"
    assert (tree / "built").exists()


def test_a_worktree_that_was_deleted_is_made_again(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CARGO_TARGET_DIR", raising=False)
    tree = parent.check_out(checkout, parent.find(checkout))
    (tree / ".git").unlink()
    assert parent.check_out(checkout, parent.find(checkout)) == tree
    assert (tree / FILE).read_text() == "old"
