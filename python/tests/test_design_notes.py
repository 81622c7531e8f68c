"""`scripts/design_notes.py`, a part of `make lint`: design notes are named by their files."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from design_notes import check

INDEX = "| Note | Decision |\n| --- | --- |\n| [0001](0001-core.md) | One core |\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    notes = tmp_path / "docs/design"
    notes.mkdir(parents=True)
    (notes / "README.md").write_text(INDEX)
    (notes / "0001-core.md").write_text("# 0001 One core\n")
    (tmp_path / "crates/core").mkdir(parents=True)
    return tmp_path


def test_notes_that_are_listed_and_found_are_right(tree: Path) -> None:
    (tree / "crates/core/lib.rs").write_text("//! See `docs/design/0001-core.md`.\n")
    (tree / "docs/design/0001-core.md").write_text("As [0001](0001-core.md#why) says, item 1.\n")
    assert list(check(tree)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("// docs/design/0002-core.md", "docs/design/0002-core.md does not exist"),
        ("// [why](design/0001-cores.md)", "docs/design/0001-cores.md does not exist"),
        ("// Design decision 9: as it is", "`Design decision 9` is no name that leads to a note"),
        ("// see note 0001", "`note 0001` is no name that leads to a note"),
    ],
)
def test_a_reference_that_leads_nowhere_is_reported_with_its_line(
    tree: Path, text: str, problem: str
) -> None:
    (tree / "crates/core/lib.rs").write_text(f"fn main() {{}}\n{text}\n")
    (found,) = check(tree)
    assert found.startswith(f"crates/core/lib.rs:2: {problem}")


def test_a_link_between_notes_that_leads_nowhere_is_reported(tree: Path) -> None:
    (tree / "docs/design/0001-core.md").write_text("[0002](0002-driver.md)\n")
    assert list(check(tree)) == [
        "docs/design/0001-core.md:1: docs/design/0002-driver.md does not exist"
    ]


def test_a_note_that_the_index_does_not_list_is_reported(tree: Path) -> None:
    (tree / "docs/design/0002-driver.md").write_text("# 0002 A driver\n")
    assert list(check(tree)) == [
        "docs/design/README.md: lists 0002-driver.md 0 times, and should do so once"
    ]


def test_two_notes_with_one_number_are_reported(tree: Path) -> None:
    (tree / "docs/design/0001-driver.md").write_text("# 0001 A driver\n")
    index = INDEX + "| [0001](0001-driver.md) | A driver |\n"
    (tree / "docs/design/README.md").write_text(index)
    (found,) = check(tree)
    assert found.startswith("docs/design: several notes have the number 0001")


def test_a_row_that_leads_to_another_note_is_reported(tree: Path) -> None:
    (tree / "docs/design/README.md").write_text(INDEX.replace("[0001]", "[0002]"))
    assert list(check(tree)) == ["docs/design/README.md: the row of 0002 leads to 0001-core.md"]
