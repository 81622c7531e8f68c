"""Checks docs/errors.md against the sources: every text that a user can meet is in its tables.

The texts are the literals of `raise`, of log calls and on standard error in Python, and of
`#[error(...)]`, `new_err`, tracing's macros and variables named `text` or `problem` in Rust; and
the sentences of the engine's `lines.rs`. A text is there when the pieces between its placeholders
stand, in order, in one row of a table. What no user can provoke is in docs/errors/internal.toml,
with the reason for each group.

    python scripts/errors.py            writes what is missing
    python scripts/errors.py --check    fails when anything is missing, or an entry is out of date
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "errors.md"
INTERNAL = ROOT / "docs" / "errors" / "internal.toml"

PYTHON = ("python/ferromqtt", "python/ferromqtt_pytest", "python/aiomqtt-shim/aiomqtt")
RUST = (
    "crates/ferromqtt-proto/src",
    "crates/ferromqtt-engine/src",
    "crates/ferromqtt-transport/src",
    "crates/ferromqtt-recording/src",
    "crates/ferromqtt-store/src",
    "crates/ferromqtt-outbox/src",
    "crates/ferromqtt/src",
    "crates/ferromqtt-testing/src",
    "crates/ferromqtt-py/src",
)
LOG_CALLS = {"warn", "warn_of_repeating", "warning", "error", "critical", "report"}
SHORTEST = 3
"""Pieces of fewer characters say nothing."""
SENTENCE = 4
"""So many words are a sentence."""

_HOLE = "{}"
_RUST_TEXT = r'"((?:[^"\\]|\\.)*)"'
_RUST_ERROR = re.compile(rf"#\[error\(\s*{_RUST_TEXT}", re.DOTALL)
_RUST_RAISE = re.compile(rf"new_err\(\s*(?:format!\(\s*)?{_RUST_TEXT}", re.DOTALL)
_RUST_LET = re.compile(rf"let (?:text|problem|why) =\s*(?:format!\(\s*)?{_RUST_TEXT}", re.DOTALL)
_RUST_LOG = re.compile(r"\b(?:tracing::)?(?:warn|error)!\(")
_RUST_TOKEN = re.compile(rf"{_RUST_TEXT}|[()]", re.DOTALL)
_RUST_HOLE = re.compile(r"\{[^{}]*\}")
_PERCENT = re.compile(r"%(?:0?\d*)[dsrXx]")
_TEST_CODE = re.compile(r"#\[cfg\(test\)\]\s*mod \w+ \{")
_CELL = re.compile(r"(?<!\\)\|")


class Text(NamedTuple):
    """A literal text of the sources, its placeholders as `{}`."""

    text: str
    where: str


def pieces(text: str) -> list[str]:
    """Return what stands between the placeholders."""
    return [piece for piece in text.split(_HOLE) if len(piece.strip()) >= SHORTEST]


def _template(node: ast.expr) -> str | None:
    """Return a literal's text; None for what is no text."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            parts = [_template(value) for value in values]
            return "".join(_HOLE if part is None else part for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = [_template(left), _template(right)]
            return "".join(_HOLE if part is None else part for part in parts)
    return None


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _functions(tree: ast.Module) -> dict[ast.AST, ast.AST]:
    """Return the innermost function around each node of a module; the module itself has none."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    around: dict[ast.AST, ast.AST] = {}
    for function in ast.walk(tree):  # from the outside in
        if isinstance(function, functions):
            around |= dict.fromkeys(ast.walk(function), function)
    return around


def _assigned(
    tree: ast.Module, around: dict[ast.AST, ast.AST]
) -> dict[tuple[ast.AST | None, str], list[str]]:
    """Return the texts that variables are given, by function and name."""
    found: dict[tuple[ast.AST | None, str], list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and (text := _template(node.value)):
            for target in node.targets:
                found.setdefault((around.get(node), _name(target)), []).append(text)
    return found


def _is_stderr(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and _name(node.value) == "stderr"


def python_texts(path: Path) -> list[Text]:
    """Return the texts of exceptions, notes, log lines and on standard error in a module."""
    found = []
    tree = ast.parse(path.read_text())
    around = _functions(tree)
    assigned = _assigned(tree, around)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = _name(node.func)
        is_error = name.endswith(("Error", "Exception", "Warning")) and name[:1].isupper()
        if not is_error and name not in LOG_CALLS | {"add_note"} and not _is_stderr(node.func):
            continue
        for argument in node.args[:2]:
            variable = _name(argument) if isinstance(argument, ast.Name) else ""
            texts = [assigned.get((place, variable), []) for place in (around.get(node), None)]
            for text in (_template(argument) or "", *texts[0], *texts[1]):
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                shown = _PERCENT.sub(_HOLE, text) if name in LOG_CALLS else text
                if pieces(shown):
                    found.append(Text(shown.strip(), where))
    return found


def rust_texts(path: Path) -> list[Text]:
    """Return the texts of errors and log lines in a file, apart from its tests."""
    source = path.read_text()
    tests = _TEST_CODE.search(source)
    source = source[: tests.start()] if tests else source
    found = []

    def add(text: str, at: int) -> None:
        text = re.sub(r"\\\n\s*", "", text).replace('\\"', '"').replace("\\\\", "\\")
        text = _RUST_HOLE.sub(_HOLE, text)
        if pieces(text):
            line = source.count("\n", 0, at) + 1
            found.append(Text(text, f"{path.relative_to(ROOT)}:{line}"))

    for pattern in (_RUST_ERROR, _RUST_RAISE, _RUST_LET):
        for match in pattern.finditer(source):
            add(match.group(1), match.start())
    if path.name == "lines.rs":  # of the engine: the texts of the log
        for match in re.finditer(_RUST_TEXT, source, re.DOTALL):
            if len(match.group(1).split()) >= SENTENCE:
                add(match.group(1), match.start())
    for match in _RUST_LOG.finditer(source):
        if text := _last_text(source, match.end()):
            add(text, match.start())
    return found


def _last_text(source: str, at: int) -> str:
    """Return the last literal up to the parenthesis that closes the one before `at`."""
    text, depth = "", 1
    for token in _RUST_TOKEN.finditer(source, at):
        if token.group() not in "()":
            text = token.group(1)
            continue
        depth += 1 if token.group() == "(" else -1
        if depth == 0:
            break
    return text


def all_texts() -> list[Text]:
    """Return every text of the sources."""
    found = []
    for folder in PYTHON:
        for path in sorted((ROOT / folder).rglob("*.py")):
            found += python_texts(path)
    for folder in RUST:
        for path in sorted((ROOT / folder).rglob("*.rs")):
            if path.name != "tests.rs" and "tests" not in path.relative_to(ROOT / folder).parts:
                found += rust_texts(path)
    return found


class Row(NamedTuple):
    """A row of a table."""

    section: str
    text: str
    raised_as: str


def rows() -> list[Row]:
    """Return the rows of the page's tables."""
    found = []
    section = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip()
        if not line.startswith("| `"):
            continue
        cells = [cell.strip().replace(r"\|", "|") for cell in _CELL.split(line)[1:-1]]
        if len(cells) != 4 or not all(cells):  # noqa: PLR2004 - text, raised as, cause, remedy
            raise SystemExit(f"{PAGE}: a row needs four cells: {line}")
        text = cells[0].removeprefix("``").removesuffix("``").strip().strip("`")
        found.append(Row(section, text, cells[1].strip("`")))
    return found


def holds(row: str, text: str) -> bool:
    """Tell whether a text's pieces stand in a row, in order."""
    at = 0
    row = _RUST_HOLE.sub(_HOLE, row)
    for piece in pieces(text):
        found = row.find(piece.strip(), at)
        if found < 0:
            return False
        at = found + len(piece.strip())
    return True


def missing() -> tuple[list[Text], list[str]]:
    """Return the texts that are nowhere, and the entries that are out of date."""
    groups = tomllib.loads(INTERNAL.read_text())
    listed = {text for group in groups.values() for text in group["texts"]}
    table = [row.text for row in rows()]
    absent, used = [], set()
    for text in all_texts():
        if text.text in listed:
            used.add(text.text)
        elif not any(holds(row, text.text) for row in table):
            absent.append(text)
    return absent, sorted(listed - used)


def main() -> None:
    """Check, or write what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    absent, stale = missing()
    for text in absent:
        print(f"{text.where}: {text.text}")
    for text in stale:
        print(f"{INTERNAL.relative_to(ROOT)}: not in the sources any more: {text}")
    print(f"docs/errors.md: {len(rows())} texts")
    if check and (absent or stale):
        sys.exit("give each text a row in docs/errors.md, or a reason in docs/errors/internal.toml")


if __name__ == "__main__":
    main()
