#!/usr/bin/env python3
"""Check that documentation which two crates show names nothing that only one of them has.

The crate ferromqtt re-exports types of ferromqtt-proto, ferromqtt-engine and
ferromqtt-transport, with their documentation. Its readers do not have the rest of those crates: a
link to `Client::poll_event` leads them away from their `Client`, which has no such method. So what
a re-exported type, its fields, variants and methods say names items that both crates have, under
the same name.

Links of rustdoc are checked, and in plain code spans `Type::member` and `function()`. Prints each
name that ferromqtt does not have, with its place, and fails when there is one.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
FACADE = "crates/ferromqtt/src"
SOURCES = {
    "ferromqtt_engine": "crates/ferromqtt-engine/src",
    "ferromqtt_proto": "crates/ferromqtt-proto/src",
    "ferromqtt_transport": "crates/ferromqtt-transport/src",
}
# Names of the standard library and of crates that every program can have.
ELSEWHERE = {"Bytes", "Duration", "Option", "String", "std"}

DOC = re.compile(r"\s*///\s?(.*)")
USE = re.compile(r"^pub use ([\w:]+?)(?:::(\w+)(?: as (\w+))?|::\{([^}]*)\});", re.MULTILINE)
TYPE = re.compile(r"(\s*)pub (?:struct|enum|trait|type) (\w+)")
IMPL = re.compile(r"(\s*)impl(?:<[^>]*>)? (\w+)(?:<[^>]*>)? \{$")
MEMBERS = {
    "struct": re.compile(r"\s*pub (\w+):"),
    "enum": re.compile(r"\s*(\w+)(?=[,({ ]|$)"),
    "trait": re.compile(r"\s*(?:async )?fn (\w+)"),
    "impl": re.compile(r"\s*pub (?:const )?(?:async )?(?:fn )?(\w+)"),
    "variant": re.compile(r"\s*(\w+):"),
}
# A row of the tables that `Properties` and `ReasonCode` are made of.
PROPERTY = re.compile(r"\s*0x[0-9A-F]{2} (\w+): .*\"(.*)\";$")
REASON_CODE = re.compile(r"\s*(\w+) = 0x[0-9A-F]{2}, ")

LINK = re.compile(r"\[([^\[\]]+)\](?:\(([^()]+)\)|: (\S+))?")
SPAN = re.compile(r"(?<!\[)`(\w+(?:::\w+)+|\w+(?=\(\)))(?:\(\))?`")
PATH = re.compile(r"\w+(?:::\w+)*")


@dataclass
class Crate:
    """What its public types have, and what their documentation says."""

    members: dict[str, set[str]] = field(default_factory=dict)
    docs: list[Doc] = field(default_factory=list)


@dataclass(frozen=True)
class Doc:
    """The documentation of a type, or of something within it."""

    owner: str
    place: str
    text: str


@dataclass(frozen=True)
class Block:
    """What stands between the braces of a type or an `impl`."""

    indent: int
    owner: str
    kind: str


@dataclass(frozen=True)
class Item:
    """A type, or a member of one."""

    owner: str
    member: str = ""
    opens: str = ""  # the kind of block that its line begins
    doc: str = ""  # what stands in the same line


def main() -> int:
    """Check the documentation and return the exit code."""
    library = (ROOT / FACADE / "lib.rs").read_text()
    shared, own = exports(library)
    facade = read_crate(FACADE)
    crates = {name: read_crate(path) for name, path in SOURCES.items()}
    known = {name: facade.members.get(name, set()) for name in own}
    for source, names in shared.items():
        for name, exported in names.items():
            known.setdefault(exported, set()).update(crates[source].members.get(name, set()))
    wrong = 0
    for source, names in shared.items():
        for doc in crates[source].docs:
            if doc.owner not in names:
                continue
            for path in sorted(names_in(doc.text)):
                if not is_known(path, doc.owner, crates[source].members, known):
                    print(f"{doc.place}: {doc.owner} names `{path}`, which ferromqtt does not have")
                    wrong += 1
    if wrong:
        print(f"{wrong} names: say it in words, or name what both crates have", file=sys.stderr)
    return 1 if wrong else 0


def exports(library: str) -> tuple[dict[str, dict[str, str]], set[str]]:
    """Return what the facade re-exports of each source, under which name; and its own names."""
    shared: dict[str, dict[str, str]] = {source: {} for source in SOURCES}
    own: set[str] = set()
    for use in USE.finditer(library):
        module, name, alias, several = use.groups()
        names = {part.strip() for part in (several or name).split(",")} - {""}
        source = module.split("::")[0]
        if source in shared:
            shared[source] |= {each: alias or each for each in names}
        else:
            own |= names
    return shared, own


def read_crate(path: str) -> Crate:
    """Read the public types of a crate whose sources are formatted by rustfmt."""
    crate = Crate()
    for file in sorted((ROOT / path).rglob("*.rs")):
        if "tests" not in file.relative_to(ROOT / path).parts:
            read_file(crate, file)
    return crate


def read_file(crate: Crate, file: Path) -> None:
    """Add what one file has."""
    doc: list[str] = []
    blocks: list[Block] = []
    for number, line in lines_without_attributes(file):
        if match := DOC.match(line):
            doc.append(match[1])
            continue
        indent = len(line) - len(line.lstrip())
        if blocks and line.strip() in {"}", "},"} and indent == blocks[-1].indent:
            blocks.pop()
        elif item := item_of(line, indent, blocks[-1] if blocks else None):
            of_type = crate.members.setdefault(item.owner, set())
            of_type |= {item.member} - {""}
            if item.opens:
                blocks.append(Block(indent, item.owner, item.opens))
            if text := item.doc or " ".join(doc):
                place = f"{file.relative_to(ROOT)}:{number}"
                crate.docs.append(Doc(item.owner, place, text))
        doc = []


def item_of(line: str, indent: int, block: Block | None) -> Item | None:
    """Return what a line declares, if it declares something that is public."""
    if match := TYPE.match(line):
        kinds = (kind for kind in MEMBERS if f"pub {kind} " in line)
        return Item(match[2], opens=next(kinds, "") if line.endswith("{") else "")
    if match := IMPL.match(line):
        return Item(match[2], opens="impl")
    if match := PROPERTY.match(line):
        return Item("Properties", match[1], doc=match[2])
    if match := REASON_CODE.match(line):
        return Item("ReasonCode", match[1])
    if block and indent == block.indent + 4 and (match := MEMBERS[block.kind].match(line)):
        has_fields = block.kind == "enum" and line.endswith("{")
        return Item(block.owner, match[1], opens="variant" if has_fields else "")
    return None


def lines_without_attributes(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines up to the file's tests, but not those of attributes."""
    within = 0
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if line == "#[cfg(test)]":
            return
        if within or line.lstrip().startswith("#["):
            within += line.count("[") - line.count("]")
            continue
        yield number, line


def names_in(text: str) -> Iterator[str]:
    """Yield the paths of items that a documentation names."""
    text = re.sub(r"```.*?```", "", text)
    for match in LINK.finditer(text):
        shown, target, defined = match.groups()
        path = target or defined or shown
        if path is shown and not path.startswith("`"):
            continue
        path = path.strip("`").removeprefix("crate::").removesuffix("()")
        if PATH.fullmatch(path):
            yield path
    for match in SPAN.finditer(text):
        yield match[1]


def is_known(
    path: str, owner: str, members: dict[str, set[str]], known: dict[str, set[str]]
) -> bool:
    """Whether readers of the facade have the item."""
    first, *rest = path.split("::")
    if first in ELSEWHERE:
        return True
    if first == "Self":
        return not rest or rest[0] in members[owner]
    if first not in known:
        return not rest and first in members[owner]
    return not rest or rest[0] in known[first]


if __name__ == "__main__":
    sys.exit(main())
