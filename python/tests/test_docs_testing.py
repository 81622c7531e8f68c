"""The recipes of docs/testing.md run: those for pytest and unittest each as a file of its own."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from test_docs import ALL, ROOT, Block

PAGE = ROOT / "docs" / "testing.md"
RUST = ROOT / "crates" / "ferromqtt" / "tests"
OURS = [block for block in ALL if block.where.startswith(f"{PAGE.name}:")]


@pytest.mark.parametrize(
    "block", [it for it in OURS if it.flags == "pytest"], ids=lambda block: block.where
)
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_a_recipe_for_pytest_passes(pytester: pytest.Pytester, block: Block, mode: str) -> None:
    pytester.makepyfile(test_recipe=block.code)
    scope = "asyncio_default_fixture_loop_scope=function"
    options = ("-p", "no:cacheprovider", "-W", "error", "-o", scope, f"--asyncio-mode={mode}")
    outcomes = pytester.runpytest_subprocess(*options).parseoutcomes()
    assert outcomes == {"passed": block.code.count("def test_")}


@pytest.mark.parametrize(
    "block", [it for it in OURS if it.flags == "unittest"], ids=lambda block: block.where
)
def test_a_recipe_for_unittest_passes(tmp_path: Path, block: Block) -> None:
    (tmp_path / "test_recipe.py").write_text(block.code)
    command = [sys.executable, "-W", "error", "-m", "unittest", "-v", "test_recipe"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert f"Ran {block.code.count('def test_')} test" in done.stderr


def test_every_recipe_is_run() -> None:
    assert {block.flags for block in OURS} == {"pytest", "unittest"}
    assert len(OURS) >= 7


@pytest.mark.parametrize(("page", "count"), [("testing", 3), ("seeds", 1)])
def test_the_recipes_for_rust_are_those_that_cargo_test_runs(page: str, count: int) -> None:
    source = (RUST / f"{page}_page.rs").read_text()
    blocks = (ROOT / "docs" / f"{page}.md").read_text().split("```rust\n")[1:]
    assert len(blocks) == count
    for block in blocks:
        code = textwrap.dedent(block.partition("```")[0])
        assert code in source
