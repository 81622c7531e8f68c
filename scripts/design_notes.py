#!/usr/bin/env python3
"""Check that design notes are found: by those who reference one, and in the index.

A comment or a document names a note by its file, `docs/design/0016-keep-alive.md`, so that a reader
finds it without a search. Reports, and fails for:

- a reference to a file that does not exist;
- a note that the index, docs/design/README.md, does not list exactly once, or lists under the
  number of another one;
- a decision that is named by a number alone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
NOTES = "docs/design"
SOURCES = (
    "*.md",
    "Makefile",
    "*.toml",
    "bench/**/*",
    "crates/**/*",
    "docs/**/*",
    "examples/**/*",
    "fuzz/**/*",
    "python/**/*",
    "scripts/*",
    "tests/**/*",
)
SUFFIXES = {".c", ".md", ".py", ".pyi", ".rs", ".sh", ".toml"}
# Results of builds, and what is written by other scripts.
BUILT = {"target", "__pycache__", "node_modules", "corpus", "seeds"}

NOTE = re.compile(r"\d{4}-[\w-]+\.md")
REFERENCE = re.compile(r"(?:docs/)?design/(\d{4}[\w.-]*\w)|\]\((\d{4}-[^)#]*)(?:#[^)]*)?\)")
BY_NUMBER = re.compile(r"\b(?:design (?:decision|note)s?|decision|note) \d+\b", re.IGNORECASE)
ROW = re.compile(r"^\| \[(\d{4})\]\(([^)]+)\) \|", re.MULTILINE)


def main() -> int:
    """Check the repository."""
    problems = list(check(ROOT))
    for problem in problems:
        print(f"design_notes.py: {problem}", file=sys.stderr)
    return 1 if problems else 0


def check(root: Path) -> Iterator[str]:
    """Yield what is wrong below `root`, with its place."""
    notes = {path.name for path in (root / NOTES).glob("*.md") if NOTE.fullmatch(path.name)}
    yield from check_index((root / NOTES / "README.md").read_text(encoding="utf-8"), notes)
    for path in sources(root):
        place = path.relative_to(root).as_posix()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for problem in check_line(line, notes, in_notes=place.startswith(NOTES)):
                yield f"{place}:{number}: {problem}"


def check_index(index: str, notes: set[str]) -> Iterator[str]:
    """Yield what is wrong with the table of notes."""
    place = f"{NOTES}/README.md"
    rows = ROW.findall(index)
    for number, name in rows:
        if not name.startswith(f"{number}-"):
            yield f"{place}: the row of {number} leads to {name}"
    listed = [name for _, name in rows]
    for name in sorted(notes):
        if listed.count(name) != 1:
            yield f"{place}: lists {name} {listed.count(name)} times, and should do so once"
    numbers = [name[:4] for name in sorted(notes)]
    for number in sorted({number for number in numbers if numbers.count(number) > 1}):
        yield f"{NOTES}: several notes have the number {number}: give the newer one the next free"


def check_line(line: str, notes: set[str], *, in_notes: bool) -> Iterator[str]:
    """Yield what is wrong with the references to notes in a line."""
    for match in REFERENCE.finditer(line):
        name = match[1] or (match[2] if in_notes else None)
        if name and name not in notes:
            yield f"{NOTES}/{name} does not exist"
    if named := BY_NUMBER.search(line):
        yield f"`{named[0]}` is no name that leads to a note: write {NOTES}/<number>-<subject>.md"


def sources(root: Path) -> Iterator[Path]:
    """Yield the texts that may reference a note, but for this script and its test."""
    this = {Path(__file__).name, "test_design_notes.py"}
    paths = {path for pattern in SOURCES for path in root.glob(pattern)}
    for path in sorted(paths):
        is_text = path.suffix in SUFFIXES or path.name == "Makefile"
        is_text = is_text and path.is_file() and not path.is_symlink()
        if is_text and path.name not in this and not BUILT & set(path.relative_to(root).parts):
            yield path


if __name__ == "__main__":
    sys.exit(main())
