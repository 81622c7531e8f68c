#!/usr/bin/env python3
"""Write docs/aiomqtt-contract.md: what programs written for aiomqtt 2.5 can rely on, and its tests.

The statements are listed in docs/aiomqtt/contract.toml, each under an identifier that begins with
its section. One is

- proven, by the tests it names;
- kept otherwise (`differs` says how and why), by the tests it names;
- or to come (`later` says what is missing). Tests it names are marked as expected to fail.

A test carries the sections that it is about at the end of its name: `..._1_3`, `..._1_2_and_1_4`.
Each statement has one of its own section, but for section 3, which lists the original's own tests.
`file::name` tells tests of one name apart. Fails when a statement has no test and no `later`, when
a test does not exist, when one that is expected to fail proves something, and, with `--check`, when
docs/aiomqtt-contract.md is not what would be written.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance import ROOT, Test, python_tests

if TYPE_CHECKING:
    from collections.abc import Iterator

LIST = ROOT / "docs/aiomqtt/contract.toml"
PAGE = ROOT / "docs/aiomqtt-contract.md"
STATEMENT_IDENTIFIER = re.compile(r"mqtt(?:311)?(?:_\d+){4}(?:_and(?:_\d+){4})*")
OF_ANY_SECTION = "3"
IN_NAME = re.compile(r"_((?:1_[1-8]|3)(?:_and_(?:1_[1-8]|3))*)$")


@dataclass(frozen=True)
class Statement:
    """One statement of the contract."""

    identifier: str
    says: str
    tests: tuple[str, ...] = ()
    differs: str = ""
    later: str = ""

    @property
    def section(self) -> str:
        """The section that it stands in."""
        return self.identifier.partition("-")[0]

    def proof(self, tests: dict[str, list[Test]]) -> str:
        """Write what the page says of it."""
        links = ", ".join(test.link() for name in self.tests for test in tests[name])
        told = [f"**differs:** {self.differs}"] if self.differs else []
        told += [f"**later:** {self.later}"] if self.later else []
        return "<br>".join([*told, links] if links else told)


def sections_of(name: str) -> set[str]:
    """Return the sections in a test's name; `mqtt_4_12_0_3` is a statement of the standard."""
    end = IN_NAME.search(STATEMENT_IDENTIFIER.sub("", name))
    return {it.replace("_", ".") for it in end[1].split("_and_")} if end else set()


def collect() -> tuple[dict[str, list[Test]], set[Test]]:
    """Return the tests by their names, and those among them that are expected to fail."""
    tests: dict[str, list[Test]] = {}
    failing = set()
    for file in sorted(ROOT.glob("python/tests/**/test_*.py")):
        path, text = file.relative_to(ROOT).as_posix(), file.read_text("utf-8")
        marked = {
            node.name
            for node in ast.walk(ast.parse(text, path))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and any(ast.unparse(it).startswith("pytest.mark.xfail") for it in node.decorator_list)
        }
        for test in python_tests(path, text):
            tests.setdefault(test.name, []).append(test)
            tests[f"{file.stem}::{test.name}"] = [test]
            failing |= {test} if test.name in marked else set()
    return tests, failing


def problems(
    statements: list[Statement], tests: dict[str, list[Test]], failing: set[Test]
) -> Iterator[str]:
    """Tell what the list and the tests disagree in."""
    for statement in statements:
        where = statement.identifier
        if not statement.tests and not statement.later:
            yield f"{where}: no test, and no `later` that says what is missing"
        if statement.differs and statement.later:
            yield f"{where}: both `differs` and `later`: keep one"
        carried = {section for name in statement.tests for section in sections_of(name)}
        if statement.tests and statement.section not in carried | {OF_ANY_SECTION}:
            yield f"{where}: none of its tests carries the section"
        for name in statement.tests:
            found = tests.get(name, [])
            if not found:
                yield f"{where}: there is no {name} in python/tests"
            for test in found:
                if (test in failing) is not bool(statement.later):
                    wrong = "is expected to fail" if test in failing else "passes"
                    yield f"{where}: {test.name} {wrong}: see `later`"


def page(titles: dict[str, str], statements: list[Statement], tests: dict[str, list[Test]]) -> str:
    """Write the page."""
    lines = [
        "# What programs written for aiomqtt 2.5 can rely on",
        "",
        "<!-- Written by scripts/contract.py (`make conformance`). Do not edit. -->",
        "",
        f"{counts(statements)}. The names of tests end with the numbers of these sections.",
    ]
    named = {test for it in statements for name in it.tests for test in tests.get(name, [])}
    for section, title in titles.items():
        lines += ["", f"## {section} {title}", "", "| Statement | Proven by |", "| --- | --- |"]
        for it in statements:
            if it.section == section:
                lines.append(f"| {it.says} | {it.proof(tests)} |")
        further = {
            test.link()
            for found in tests.values()
            for test in found
            if section in sections_of(test.name) and test not in named
        }
        if further:
            lines += ["", f"Also tested: {', '.join(sorted(further))}."]
    return "\n".join(lines) + "\n"


def counts(statements: list[Statement]) -> str:
    """Tell how many statements there are of each kind."""
    differ = sum(bool(it.differs) for it in statements)
    later = sum(bool(it.later) for it in statements)
    proven = len(statements) - differ - later
    return f"{len(statements)} statements: {proven} proven, {differ} differ, {later} later"


def main() -> int:
    """Write or check the page, and return the exit status."""
    parser = argparse.ArgumentParser(description="Write docs/aiomqtt-contract.md.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when out of date")
    check = parser.parse_args().check

    with LIST.open("rb") as file:
        listed = tomllib.load(file)
    titles = listed.pop("sections")
    statements = [
        Statement(key, entry.pop("says"), tuple(entry.pop("tests", ())), **entry)
        for key, entry in listed.items()
    ]
    tests, failing = collect()
    wrong = [f"{it.identifier}: no such section" for it in statements if it.section not in titles]
    wrong += problems(statements, tests, failing)
    if not wrong:
        written = page(titles, statements, tests)
        if not check:
            PAGE.write_text(written, "utf-8")
        elif not PAGE.exists() or PAGE.read_text("utf-8") != written:
            wrong.append("docs/aiomqtt-contract.md is out of date: run `make conformance`")
    for problem in wrong:
        print(f"contract.py: {problem}", file=sys.stderr)
    print(f"aiomqtt 2.5: {counts(statements)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
