#!/usr/bin/env python3
"""Check that `ferromqtt.testing.BrokerOptions` has what the broker's table of options has.

The table is in crates/ferromqtt-testing/src/option_table.rs. The command line and the native module
are made of its rows; the class is written by hand, for type checkers and readers. Each row needs
its annotation there, a line of documentation, and in that its default. Prints what is missing or
differs, and fails then.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from typing import TYPE_CHECKING

from ferromqtt import testing
from ferromqtt._native import Broker

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTRY = re.compile(r"^(\w+): (.*?)(?=^\w+: |\Z)", re.DOTALL | re.MULTILINE)
UNITS = {"GiB": 1 << 30, "MiB": 1 << 20}


def main() -> int:
    """Print the differences and return the exit code."""
    found = list(differences(annotations(), documentation()))
    for text in found:
        print(f"ferromqtt.testing.BrokerOptions: {text}", file=sys.stderr)
    return 1 if found else 0


def differences(annotated: dict[str, str], documented: dict[str, str]) -> Iterator[str]:
    """Say what differs from the table."""
    rows = Broker.options()
    for name, annotation, default, _, _ in rows:
        if name not in annotated:
            yield f"{name} is missing: {annotation}"
        elif annotated[name] != annotation:
            yield f"{name} is {annotated[name]}, and should be {annotation}"
        text = documented.get(name)
        if text is None:
            yield f"{name} is not documented"
        elif default is not None and not any(says(text, it) for it in ways(default)):
            yield f"{name}: the documentation does not say 'Default: {next(ways(default))}'"
    names = {row[0] for row in rows}
    for name in (annotated.keys() | documented.keys()) - names:
        yield f"{name} is no option of the broker"


def annotations() -> dict[str, str]:
    """Return the annotations of the class, as they are written."""
    (tree,) = ast.parse(inspect.getsource(testing.BrokerOptions)).body
    assert isinstance(tree, ast.ClassDef)  # noqa: S101 - for type checkers
    return {
        ast.unparse(line.target): ast.unparse(line.annotation)
        for line in tree.body
        if isinstance(line, ast.AnnAssign)
    }


def documentation() -> dict[str, str]:
    """Return what the class says of each option, in one line."""
    text = inspect.getdoc(testing.BrokerOptions) or ""
    entries = inspect.cleandoc(text.partition("Attributes:\n")[2])
    return {name: " ".join(said.split()) for name, said in ENTRY.findall(entries)}


def says(text: str, default: str) -> bool:
    """Return whether the documentation names this default, and no longer number that begins so."""
    return re.search(rf"Default: {re.escape(default)}(?![,.]?\w)", text) is not None


def ways(default: str) -> Iterator[str]:
    """Return how a default may be written: `64 MiB`, `100,000` or as it is."""
    if default.isdecimal():
        number = int(default)
        for unit, size in UNITS.items():
            if number and number % size == 0:
                yield f"{number // size} {unit}"
        yield f"{number:,}"
    else:
        yield default


if __name__ == "__main__":
    sys.exit(main())
