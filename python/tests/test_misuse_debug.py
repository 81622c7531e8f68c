"""The other files of this kind once more, where the interpreter looks at its memory itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ferromqtt

HERE = Path(__file__)


@pytest.mark.timeout(400)
def test_misuse_does_no_harm_under_the_debug_allocator() -> None:
    """`PYTHONMALLOC=debug` finds writes past the ends of blocks and uses of freed ones."""
    files = [str(path) for path in HERE.parent.glob("test_misuse*.py") if path != HERE]
    assert len(files) > 3
    pytest_options = ["-q", "-p", "no:cacheprovider", "-k", "not (ten_thousand and uvloop)"]
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "pytest", *pytest_options, *files],
        env={
            **os.environ,
            "PYTHONMALLOC": "debug",
            "PYTHONPATH": str(Path(ferromqtt.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
