"""Counts lines of code of each crate and package, and keeps them from growing unnoticed.

Neither comments and documentation, nor blank lines, nor tests count. A part's bound is what it had
when the bound was set last: a part that needs more gets a new bound in the commit that grows it, so
that a reviewer sees it. One that shrinks gets a lower bound.

    python scripts/code_lines.py            prints a table
    python scripts/code_lines.py --check    fails when a part has more than its bound
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tokenize
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Part(NamedTuple):
    """A crate or package, or a part of one."""

    name: str
    bound: int
    sources: tuple[str, ...]
    without: tuple[str, ...] = ()


PARTS = (
    Part("core", 16_168, ("crates/ferromqtt-proto/src",)),
    Part("engine", 4_512, ("crates/ferromqtt-engine/src",)),
    Part("transport", 2_519, ("crates/ferromqtt-transport/src",)),
    Part(
        "tokio client without TLS",
        6_684,
        ("crates/ferromqtt/src",),
        ("crates/ferromqtt/src/transport/tls",),
    ),
    Part("tokio client, TLS", 673, ("crates/ferromqtt/src/transport/tls",)),
    Part("binding", 8_368, ("crates/ferromqtt-py/src",)),
    Part("Python package", 10_159, ("python/ferromqtt",)),
    Part("pytest plugin", 658, ("python/ferromqtt_pytest",)),
    Part("aiomqtt shim", 361, ("python/aiomqtt-shim",)),
    Part("test broker", 10_521, ("crates/ferromqtt-testing/src",)),
    Part("command line", 338, ("crates/ferromqtt-cli/src",)),
)

_TEST_FILES = re.compile(r"^(tests?|.*_tests|tests_support)\.rs$")
_STRING = re.compile(r'b?r(#*)".*?"\1|b?"(?:[^"\\]|\\.)*"|b?\'(?:[^\'\\]|\\.[^\']*)\'', re.DOTALL)
_BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def main() -> int:
    """Print the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail when a bound is exceeded")
    check = parser.parse_args().check
    grown = []
    for part in PARTS:
        lines = count(part)
        if not check:
            print(f"{part.name:26} {lines:6,} (bound {part.bound:,})")
        if lines > part.bound:
            grown.append(f"{part.name} has {lines:,} lines of code, more than {part.bound:,}")
    if not check:
        return 0
    for text in grown:
        print(
            f"{text}: make it smaller, or raise its bound in scripts/code_lines.py", file=sys.stderr
        )
    return 1 if grown else 0


def count(part: Part) -> int:
    """Count the lines of code of a part."""
    without = [ROOT / path for path in part.without]
    lines = 0
    for source in part.sources:
        for file in sorted((ROOT / source).rglob("*")):
            if any(file.is_relative_to(path) for path in without):
                continue
            inside = file.relative_to(ROOT / source).parts
            if file.suffix == ".rs" and "tests" not in inside and not _TEST_FILES.match(file.name):
                lines += count_rust(file.read_text())
            elif file.suffix == ".py":
                lines += count_python(file.read_text())
    return lines


def count_rust(source: str) -> int:
    """Count the lines of a file that rustfmt has formatted."""
    lines = 0
    skipping: int | None = None  # the indentation of a test module
    pending = False
    for line in without_comments(source).splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if skipping is not None:
            if text == "}" and indent == skipping:
                skipping = None
            continue
        if text == "#[cfg(test)]":
            pending = True
            continue
        if pending and text:
            if text.startswith("#["):
                continue
            pending = False
            if text.endswith("{"):
                skipping = indent
            continue
        lines += bool(text)
    return lines


def without_comments(source: str) -> str:
    """Return Rust source without its comments; what is in strings stays, in one line."""
    kept = []
    position = 0
    pattern = re.compile(rf"//[^\n]*|{_BLOCK_COMMENT.pattern}|{_STRING.pattern}", re.DOTALL)
    for match in pattern.finditer(source):
        kept.append(source[position : match.start()])
        text = match[0]
        if not text.startswith("/"):
            # A text over several lines is as many lines of code.
            kept.append("".join("\n" if character == "\n" else "x" for character in text))
        position = match.end()
    kept.append(source[position:])
    return "".join(kept)


def count_python(source: str) -> int:
    """Count the lines that have a token which is no comment and no documentation."""
    skip = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines: set[int] = set()
    begins = True  # a statement: a string alone is documentation
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type in skip:
            begins = begins or token.type == tokenize.NEWLINE
            continue
        alone = following is None or following.type in {tokenize.NEWLINE, tokenize.ENDMARKER}
        if not (begins and token.type == tokenize.STRING and alone):
            lines.update(range(token.start[0], token.end[0] + 1))
        begins = False
    return len(lines)


if __name__ == "__main__":
    sys.exit(main())
