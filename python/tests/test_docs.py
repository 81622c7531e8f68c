"""The Python in the documentation runs, and prints what stands below it; links lead somewhere.

A block that opens with ```python is run, unless `no-run` follows: other libraries' code has that.
Those with `pytest` and `unittest` are files of tests, which test_docs_testing.py runs.
One that holds a whole program (`asyncio.run`) is run as it is. Any other is run with `client`, an
entered client, and `host` and `port`, those of a broker. A ```text block right below is its output.
"""

import ast
import asyncio
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import pytest

from ferromqtt import Client
from support.builtin import BuiltinBroker

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES_WITH_LINKS = [*PAGES, ROOT / "examples" / "python" / "README.md"]
TIME_LIMIT = 30

BLOCK = re.compile(
    r"^(?P<indent> *)```python(?P<flags>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$"
    r"(?:\n+(?P=indent)```text\n(?P<output>.*?)^(?P=indent)```$)?",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    where: str
    code: str
    flags: str
    output: str | None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        output = match["output"]
        yield Block(
            f"{page.name}:{line}",
            textwrap.dedent(match["code"]),
            match["flags"].strip(),
            None if output is None else textwrap.dedent(output),
        )


ALL = [block for page in PAGES for block in blocks(page)]
RUNNABLE = [block for block in ALL if not block.flags]


async def run_in_a_client(code: CodeType, names: dict[str, Any]) -> None:
    async with asyncio.timeout(TIME_LIMIT), Client(names["host"], names["port"]) as client:
        await eval(code, names | {"client": client})


@pytest.mark.parametrize("block", RUNNABLE, ids=lambda block: block.where)
def test_a_block_of_the_documentation_runs_and_prints_what_it_says(
    block: Block, builtin: BuiltinBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    code = compile(block.code, block.where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names = {"__name__": "__main__", "host": builtin.host, "port": builtin.port}
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(run_in_a_client(code, names))
    else:
        exec(code, names)
    if block.output is not None:
        assert capsys.readouterr().out == block.output


def test_blocks_were_found_and_only_other_libraries_are_not_run() -> None:
    assert len(RUNNABLE) >= 10
    for block in ALL:
        assert block.flags in ("", "no-run", "pytest", "unittest"), block.where
        if block.flags == "no-run":
            compile(block.code, block.where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            assert "ferromqtt" not in block.code, f"{block.where}: our own code is run"


@pytest.mark.parametrize("page", PAGES_WITH_LINKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []
