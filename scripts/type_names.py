#!/usr/bin/env python3
"""Check that a name means one type in the crates, public or private.

Reads the structs, enums, unions, traits and type aliases below `crates/*/src`, tests left out, and
fails for a name that two files define. Two types may share a name in three cases:

- One wraps or builds the other, or is its form for Python, and the first paragraph above it says
  so: ``Wraps `ferromqtt_proto::Options`.``. Where Python's `help()` shows the documentation, a
  comment says it.
- One is the blocking form of the other, which programs tell apart by its module, `blocking`.
- `ALLOWED` has the name and a reason.

Types that a macro makes are not read, nor are the associated types of traits: those belong to their
trait.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent

# Names that several files define, each with the reason.
ALLOWED: dict[str, str] = {}

TYPE = re.compile(
    r"(\s*)(?:pub(?:\([\w: ]+\))? )?(?:unsafe )?(?:struct|enum|union|trait|type) (\w+)"
)
MODULE = re.compile(r"\s*(?:pub(?:\([\w: ]+\))? )?mod \w+ \{$")
TEST_FILE = re.compile(r"tests?|.*_tests|tests_support")


class Definition(NamedTuple):
    """A type, where it is defined, and what the first paragraph above it says."""

    name: str
    file: str
    line: int
    said: str

    @property
    def crate(self) -> str:
        """The crate as Rust spells it."""
        return self.file.split("/")[1].replace("-", "_")

    @property
    def blocks(self) -> bool:
        """Whether it is of a module for programs that block their threads."""
        return "blocking" in Path(self.file).with_suffix("").parts

    def presents(self, other: Definition) -> bool:
        """Whether the text above it names the other type as the one that it wraps or builds."""
        path = rf"`{other.crate}(?:::\w+)*::{self.name}`"
        presents = rf"\b(?:Wraps|Builds|Python's form of) (?:an? )?\[?{path}"
        return bool(re.search(presents, self.said))


def main() -> int:
    """Check the crates and return the exit code."""
    problems = list(check(ROOT, ALLOWED))
    for problem in problems:
        print(f"type_names.py: {problem}", file=sys.stderr)
    return 1 if problems else 0


def check(root: Path, allowed: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong below `root`."""
    named: dict[str, list[Definition]] = defaultdict(list)
    for path in sources(root):
        place = path.relative_to(root).as_posix()
        for definition in read(place, path.read_text(encoding="utf-8")):
            named[definition.name].append(definition)
    distinct = {name: homonyms(definitions) for name, definitions in named.items()}
    several = {name for name, definitions in distinct.items() if len(definitions) > 1}
    for name in sorted(several - allowed.keys()):
        places = ", ".join(f"{each.file}:{each.line}" for each in distinct[name])
        yield (
            f"`{name}` is the name of {len(distinct[name])} types ({places}): rename one; the "
            "wrapper of another says `Wraps <path>` in the first paragraph above it"
        )
    for name in sorted(allowed.keys() - several):
        yield f"`{name}` is the name of one type: remove it from ALLOWED"


def homonyms(definitions: list[Definition]) -> list[Definition]:
    """Return those of the types with one name that are neither wrappers nor blocking forms.

    Two in one file are the same type for two platforms or features.
    """
    distinct: dict[str, Definition] = {}
    for each in definitions:
        others = [other for other in definitions if other.file != each.file]
        mirrors = each.blocks and any(not other.blocks for other in others)
        if not mirrors and not any(each.presents(other) for other in others):
            distinct.setdefault(each.file, each)
    return list(distinct.values())


def read(file: str, text: str) -> Iterator[Definition]:
    """Yield the types of a file that rustfmt has formatted, without those of its tests."""
    comment: list[str] = []
    ends_with: str | None = None  # the line that ends a test module
    modules: list[int] = []
    is_test = False
    within_attribute = 0
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip()
        indent = len(line) - len(line.lstrip())
        if ends_with is not None:
            ends_with = None if line == ends_with else ends_with
            continue
        if within_attribute or content.startswith("#["):
            is_test = is_test or content == "#[cfg(test)]"
            within_attribute += line.count("[") - line.count("]")
            continue
        if content.startswith("//") and not content.startswith("//!"):
            comment.append(content.lstrip("/").strip())
            continue
        if is_test and line.endswith("{"):
            ends_with = " " * indent + "}"
        elif MODULE.match(line):
            modules.append(indent)
        elif modules and line == " " * modules[-1] + "}":
            modules.pop()
        elif (match := TYPE.match(line)) and indent == 4 * len(modules) and not is_test:
            yield Definition(match[2], file, number, first_paragraph(comment))
        comment = []
        is_test = False


def first_paragraph(comment: list[str]) -> str:
    """Return the lines before the first empty one, in one line."""
    end = comment.index("") if "" in comment else len(comment)
    return " ".join(comment[:end])


def sources(root: Path) -> Iterator[Path]:
    """Yield the Rust files of the crates, but not those of tests."""
    for path in sorted(root.glob("crates/*/src/**/*.rs")):
        parts = path.relative_to(root).with_suffix("").parts
        if not any(TEST_FILE.fullmatch(part) for part in parts[2:]):
            yield path


if __name__ == "__main__":
    sys.exit(main())
