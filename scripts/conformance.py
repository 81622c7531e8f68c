#!/usr/bin/env python3
"""Write docs/conformance.md: where each statement of MQTT that binds a client is proven.

The statements are listed in docs/conformance/*.toml, each with its subject. A test proves a
statement that stands in its name, its doc comment or, beside the cases of a table, in a comment
within it (Rust), or in its name or docstring (Python):

- `mqtt_3_1_2_24` in a name and `MQTT-3.1.2-24` in a comment are statements of MQTT 5.0;
- `mqtt311_3_1_2_23` in a name, `MQTT-3.1.2-23 (3.1.1)` in a comment, and all that follows `3.1.1:`
  in a comment, are statements of MQTT 3.1.1, which has numbers of its own;
- a number without such a mark that only MQTT 3.1.1 has is of MQTT 3.1.1;
- `MQTT-3.1.2-16, -17`, `MQTT-3.1.2-16 and -17` and `MQTT-3.1.2-16/-17` are two statements,
  `MQTT-3.1.2-26 to -29` and `MQTT-3.1.2-26 to MQTT-3.1.2-29` every listed one of that range.

Tests of the test broker do not count: they prove a server.

`Pitfall 7` and `Pitfalls 1 to 6, 9 and 19` in the comment of a test say that it shows how common
mistakes are avoided; pitfalls.toml lists them.

A statement without a test needs a reason, `not_applicable` or `later`. Fails when one has neither,
when one with a reason has a test by now, when a test names a statement that is not listed, and,
with `--check`, when docs/conformance.md is not what would be written.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs/conformance.md"
STANDARDS = {"mqtt5": "MQTT 5.0", "mqtt311": "MQTT 3.1.1"}
PITFALLS = ROOT / "docs/conformance/pitfalls.toml"
SOURCES_OF_TESTS = (
    ("crates/*/src/**/*.rs", "rust"),
    ("crates/*/tests/**/*.rs", "rust"),
    ("python/tests/**/*.py", "python"),
)
NOT_A_CLIENT = ("crates/ferromqtt-testing/",)

# The mark of all that follows; or one identifier, what is appended (", -17", " to -29"), its mark.
IN_COMMENT = re.compile(
    r"(?P<other>\b3\.1\.1:)"
    r"|MQTT-(?P<section>\d+[.-]\d+\.\d+)-(?P<number>\d+)"
    r"(?P<more>(?:(?:,| and|/| to) ?(?:MQTT-(?P=section))?-\d+)*)"
    r"(?P<mark> \(3\.1\.1\))?"
)
APPENDED = re.compile(r"(?P<joint>,| and|/| to) ?(?:MQTT-\d+[.-]\d+\.\d+)?-(?P<number>\d+)")
IN_NAME = re.compile(r"(?:(mqtt(?:311)?)|(?<=\d)_and)_(\d+)_(\d+)_(\d+)_(\d+)(?!\d)")
PITFALL = re.compile(r"[Pp]itfalls? (\d+(?:(?:,| and| to) \d+)*)")
RUST_FUNCTION = re.compile(r"(?P<indent>\s*)(?:async )?fn (?P<name>\w+)")
COMMENT_BESIDE = re.compile(r"(?:^|\s)// (.*MQTT-.*)")


@dataclass(frozen=True)
class Test:
    """A test, and the text that tells what it proves."""

    path: str
    name: str
    comment: str

    def link(self) -> str:
        """Return a link from the table to the test's file."""
        return f"[{self.name}](../{self.path})"


@dataclass
class Standard:
    """The listed statements of one standard, and the tests that prove them."""

    key: str
    subject: dict[str, str]
    not_applicable: dict[str, str]
    later: dict[str, str]
    servers: dict[str, str]
    tests: dict[str, list[Test]] = field(default_factory=dict)

    @classmethod
    def read(cls, key: str) -> Standard:
        """Read the list of statements."""
        with (ROOT / f"docs/conformance/{key}.toml").open("rb") as file:
            listed = tomllib.load(file)
        reasons = (listed.get(kind, {}) for kind in ("not_applicable", "later", "servers"))
        return cls(key, listed["subject"], *reasons)

    def lists(self, statement: str) -> bool:
        """Tell whether the statement is a client's, or a server's that tests may name."""
        return statement in self.subject or statement in self.servers

    def named(self, statement: str) -> str:
        """Return the statement's name in messages."""
        return f"{STANDARDS[self.key]} MQTT-{statement}"

    def problems(self) -> Iterator[str]:
        """Tell what the list and the tests disagree in."""
        reasons = self.not_applicable | self.later
        for statement in sorted(self.not_applicable.keys() & self.later.keys(), key=in_order):
            yield f"{self.named(statement)}: both `not_applicable` and `later`: keep one"
        for statement in sorted(reasons.keys() - self.subject.keys(), key=in_order):
            yield f"{self.named(statement)}: a reason without a `subject`"
        for statement in self.subject:
            tests = self.tests.get(statement)
            if not tests and statement not in reasons:
                yield f"{self.named(statement)}: no test, and no reason in {self.key}.toml"
            if tests and statement in reasons:
                where = f"{tests[0].path}: {tests[0].name}"
                yield f"{self.named(statement)}: remove the reason, it is proven in {where}"
        for statement, tests in self.tests.items():
            if not self.lists(statement):
                where = f"{tests[0].path}: {tests[0].name}"
                yield (
                    f"{self.named(statement)}: named in {where}, but not in {self.key}.toml: "
                    "correct the number, or list it under `servers` if it binds no client"
                )

    def counts(self) -> str:
        """Tell how many statements there are of each kind."""
        proven = sum(1 for statement in self.subject if statement in self.tests)
        return (
            f"{len(self.subject)} statements: {proven} proven, "
            f"{len(self.not_applicable)} not applicable, {len(self.later)} later"
        )

    def rows(self) -> Iterator[str]:
        """Write the table's rows."""
        for statement, subject in self.subject.items():
            if tests := self.tests.get(statement):
                proof = ", ".join(test.link() for test in tests)
            elif statement in self.not_applicable:
                proof = f"not applicable: {self.not_applicable[statement]}"
            else:
                proof = f"later: {self.later.get(statement, '')}"
            yield f"| {statement} | {subject} | {proof} |"


def in_order(statement: str) -> list[int]:
    """Order statements as the standard does."""
    return [int(number) for number in re.findall(r"\d+", statement)]


def rust_tests(path: str, text: str) -> Iterator[Test]:
    """Find functions marked as tests, with their doc comments and the comments within them."""
    comment: list[str] = []
    name = end = None
    is_test = False
    for line in text.splitlines():
        stripped = line.strip()
        if name is not None:
            comment += COMMENT_BESIDE.findall(line)
            if line == end:
                yield Test(path, name, " ".join(comment))
                comment, name, is_test = [], None, False
        elif stripped.startswith("///"):
            comment.append(stripped[3:].strip())
        elif stripped.startswith("#["):
            is_test = is_test or re.match(r"#\[(?:\w+::)?test\b", stripped) is not None
        elif is_test and (item := RUST_FUNCTION.match(line)):
            name, end = item["name"], item["indent"] + "}"
        elif stripped and not is_test:
            comment = []


def python_tests(path: str, text: str) -> Iterator[Test]:
    """Find functions whose names begin with `test_`."""
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            yield Test(path, node.name, ast.get_docstring(node) or "")


def all_tests() -> Iterator[Test]:
    """Find every test of the client, in the order of paths."""
    for pattern, language in SOURCES_OF_TESTS:
        for file in sorted(ROOT.glob(pattern)):
            path = file.relative_to(ROOT).as_posix()
            if path.startswith(NOT_A_CLIENT):
                continue
            find = rust_tests if language == "rust" else python_tests
            yield from find(path, file.read_text("utf-8"))


def statements_in_name(name: str) -> Iterator[tuple[str | None, str]]:
    """Find the statements in a test's name, each with the standard that it is marked with."""
    key = None
    for mark, *numbers in IN_NAME.findall(name):
        key = "mqtt311" if mark == "mqtt311" else None if mark else key
        yield key, "{}.{}.{}-{}".format(*numbers)


def statements_in_comment(
    comment: str, standards: dict[str, Standard]
) -> Iterator[tuple[str | None, str]]:
    """Find the statements in a test's comment, each with the standard that it is marked with."""
    marked = None
    for found in IN_COMMENT.finditer(comment):
        if found["other"]:
            marked = "mqtt311"
            continue
        key = "mqtt311" if found["mark"] else marked
        # MQTT 3.1.1 spells one number `3-8.3-4` where it means `3.8.3-4`.
        section = found["section"].replace("-", ".")
        last = int(found["number"])
        yield key, f"{section}-{last}"
        for appended in APPENDED.finditer(found["more"]):
            number = int(appended["number"])
            if appended["joint"] == " to":
                between = (f"{section}-{each}" for each in range(last + 1, number))
                listed = standards[key or "mqtt5"].subject
                yield from ((key, statement) for statement in between if statement in listed)
            yield key, f"{section}-{number}"
            last = number


def collect(standards: dict[str, Standard]) -> None:
    """Give each statement the tests that name it."""
    for test in all_tests():
        named = [
            *statements_in_name(test.name),
            *statements_in_comment(test.comment, standards),
        ]
        for key, statement in dict.fromkeys(named):
            only_311 = not standards["mqtt5"].lists(statement) and standards["mqtt311"].lists(
                statement
            )
            standard = standards[key or ("mqtt311" if only_311 else "mqtt5")]
            standard.tests.setdefault(statement, []).append(test)


def pitfalls_in(comment: str) -> Iterator[int]:
    """Find the numbers of pitfalls in a comment."""
    for numbers in PITFALL.findall(comment):
        last = None
        for joint, text in re.findall(r"(,| and| to|^) ?(\d+)", numbers):
            number = int(text)
            yield from range((last or number) + 1, number) if joint == " to" else ()
            yield number
            last = number


def pitfalls() -> tuple[list[str], list[str]]:
    """Return the rows of the table of pitfalls, and what is wrong with it."""
    subjects = {
        int(key): text for key, text in tomllib.loads(PITFALLS.read_text())["subject"].items()
    }
    tests: dict[int, list[Test]] = {number: [] for number in subjects}
    problems = []
    for test in all_tests():
        for number in dict.fromkeys(pitfalls_in(test.comment)):
            if number in tests:
                tests[number].append(test)
            else:
                problems.append(f"{test.path}: {test.name}: there is no pitfall {number}")
    problems += [f"pitfall {number}: no test" for number, found in tests.items() if not found]
    rows = [
        f"| {number} | {subject} | {', '.join(test.link() for test in tests[number])} |"
        for number, subject in subjects.items()
    ]
    return rows, problems


def table(standards: dict[str, Standard], pitfall_rows: list[str]) -> str:
    """Write the page."""
    lines = [
        "# Conformance",
        "",
        "<!-- Written by scripts/conformance.py (`make conformance`). Do not edit. -->",
        "",
        "Every statement of the standards that binds a client, or whose breach by a server",
        "a client can notice, and the tests that prove what ferromqtt does about it.",
    ]
    for key, title in STANDARDS.items():
        standard = standards[key]
        lines += ["", f"## {title}", "", f"{standard.counts()}.", ""]
        lines += ["| MQTT- | Subject | Proven by |", "| --- | --- | --- |", *standard.rows()]
    lines += ["", "## Mistakes that clients make", ""]
    lines += ["| | Mistake | Shown not to be made by |", "| --- | --- | --- |", *pitfall_rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or check the page, and return the exit status."""
    parser = argparse.ArgumentParser(description="Write docs/conformance.md.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when out of date")
    check = parser.parse_args().check

    standards = {key: Standard.read(key) for key in STANDARDS}
    collect(standards)
    problems = [problem for standard in standards.values() for problem in standard.problems()]
    pitfall_rows, pitfall_problems = pitfalls()
    problems += pitfall_problems
    page = table(standards, pitfall_rows)
    if not check:
        TABLE.write_text(page, "utf-8")
    elif not TABLE.exists() or TABLE.read_text("utf-8") != page:
        problems.append("docs/conformance.md is out of date: run `make conformance`")
    for problem in problems:
        print(f"conformance.py: {problem}", file=sys.stderr)
    for key, standard in standards.items():
        print(f"{STANDARDS[key]}: {standard.counts()}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
