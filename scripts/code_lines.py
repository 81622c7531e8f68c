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
    # Directories, or files.
    sources: tuple[str, ...]
    without: tuple[str, ...] = ()


RUST = "crates/ferromqtt/src"
BINDING = "crates/ferromqtt-py/src"
PYTHON = "python/ferromqtt"

# What users see, and no more: types, options, builders, errors, codecs, and calls passed on.
# These files are named one by one. All others are drivers: those that do both, and a new one until
# someone has looked at it. docs/design/0056-faces-and-drivers.md has the reasons.
_RUST_FACE = tuple(
    f"{RUST}/{name}.rs"
    for name in (
        "authenticator",
        "blocking/call",
        "blocking/client",
        "blocking/mod",
        "client",
        "codec",
        "connect_error",
        "credentials",
        "error",
        "lib",
        "numbers",
        "options",
        "options/identity",
        "options/limits",
        "options/profile",
        "options/servers",
        "options/session",
        "options/testing",
        "options_error",
        "payload",
        "publish",
        "router",
        "router/route",
        "server",
        "subscription_filter",
        "terms",
        "typed_messages",
        "will",
    )
)
_BINDING_FACE = tuple(
    f"{BINDING}/{name}.rs"
    for name in (
        "connack",
        "convert",
        "decoding",
        "failure",
        "lib",
        "message",
        "message/chain",
        "message_properties",
        "profile",
        "properties",
        "rules",
        "topic_template",
        "typed_message",
    )
)
_PYTHON_FACE = tuple(
    f"{PYTHON}/{name}.py"
    for name in (
        "__init__",
        "_arguments",
        "_blocking_calls",
        "_blocking_publishing",
        "_blocking_responder",
        "_blocking_subscription",
        "_checks",
        "_client_keywords",
        "_client_options",
        "_codec_arguments",
        "_errors",
        "_json_codec",
        "_keywords",
        "_once/errors",
        "_once/store",
        "_option_checks",
        "_profile",
        "_publishing",
        "_queue_answers",
        "_receiving",
        "_servers",
        "_shown",
        "_subscription_keywords",
        "_url",
        "blocking",
        "client",
        "codecs",
        "connection",
        "events",
        "exceptions",
        "message",
        "once",
        "options",
        "outcomes",
        "profiles",
        "properties",
        "reasons",
        "stats",
        "topic",
        "types",
    )
)
_BINDING_TOOLS = (f"{BINDING}/broker.rs", f"{BINDING}/broker", f"{BINDING}/chaos.rs")
_PYTHON_TOOLS = tuple(
    f"{PYTHON}/{name}.py"
    for name in (
        "__main__",
        "_broker_faults",
        "_broker_host",
        "_broker_listening",
        "_broker_options",
        "_broker_recording",
        "_chaos",
        "_crashed_tasks",
        "_faults",
        "_journal",
        "_misses",
        "_recording",
        "_seed",
        "_stdout",
        "_virtual_loop",
        "_wheel",
        "testing",
    )
)
_TLS = (f"{RUST}/transport/tls",)

PARTS = (
    Part("core", 17_430, ("crates/ferromqtt-proto/src",)),
    Part("engine", 5_786, ("crates/ferromqtt-engine/src",)),
    Part("recordings", 1_734, ("crates/ferromqtt-recording/src",)),
    Part("outbox", 572, ("crates/ferromqtt-outbox/src",)),
    Part("store", 4_518, ("crates/ferromqtt-store/src",)),
    Part("transport", 2_606, ("crates/ferromqtt-transport/src",)),
    Part("tokio client, driver", 5_330, (RUST,), (*_RUST_FACE, *_TLS)),
    Part("tokio client, TLS", 673, _TLS),
    Part("tokio client, face", 2_514, _RUST_FACE),
    Part("binding, driver", 5_777, (BINDING,), (*_BINDING_FACE, *_BINDING_TOOLS)),
    Part("binding, face", 2_168, _BINDING_FACE),
    Part("Python, driver", 5_299, (PYTHON,), (*_PYTHON_FACE, *_PYTHON_TOOLS)),
    Part("Python, face", 4_952, _PYTHON_FACE),
    Part("Python, test tools", 3_588, (*_BINDING_TOOLS, *_PYTHON_TOOLS)),
    Part("pytest plugin", 699, ("python/ferromqtt_pytest",)),
    Part("aiomqtt shim", 361, ("python/aiomqtt-shim",)),
    Part("test broker", 12_126, ("crates/ferromqtt-testing/src",)),
    Part("command line", 2_430, ("crates/ferromqtt-cli/src",)),
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
        path = ROOT / source
        for file in [path] if path.suffix else sorted(path.rglob("*")):
            if any(file.is_relative_to(left_out) for left_out in without):
                continue
            inside = file.relative_to(ROOT).parts
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
