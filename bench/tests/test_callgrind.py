"""From callgrind's output to instructions per message."""

from pathlib import Path

import callgrind
import pytest
from callgrind import CountError


def test_every_second_section_is_a_workload() -> None:
    totals = [9_000_000, 5_000, 80_000, 30_000]
    assert callgrind.per_message(["a 10", "b 20"], totals) == {"a": 500.0, "b": 1500.0}


def test_a_section_too_many_is_an_error_since_all_others_would_be_shifted() -> None:
    with pytest.raises(CountError, match="printed 1 workloads, and getppid was called 3 times"):
        callgrind.per_message(["a 10"], [1, 2, 3])


@pytest.mark.parametrize("word", ["totals", "summary"])
def test_the_total_of_a_part_is_found(word: str) -> None:
    assert callgrind.total(f"version: 1\nevents: Ir\n{word}: 1234\n") == 1234


def test_a_part_without_a_total_is_an_error() -> None:
    with pytest.raises(CountError, match="without a total"):
        callgrind.total("version: 1\n")


def test_a_program_that_fails_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(CountError, match=r"(?s)ended with code 3:.*I cannot"):
        callgrind.count(["/bin/sh", "-c", "echo I cannot >&2; exit 3"], tmp_path)


def test_without_valgrind_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CountError, match="make deps audit"):
        callgrind.count(["/bin/true"], tmp_path)
