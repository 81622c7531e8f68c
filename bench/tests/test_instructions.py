"""What the check prints and returns, with the measurement left out."""

from pathlib import Path

import counts
import instructions
import parent
import pytest
from counts import Count, Recorded

HERE = {"rustc": "1.95.0"}
ELSEWHERE = {"rustc": "1.96.0"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is no Git checkout, on a machine with the versions HERE."""
    (tmp_path / "bench").mkdir()
    monkeypatch.setattr(instructions, "ROOT", tmp_path)
    monkeypatch.setattr(instructions, "this_machine", lambda: HERE)
    return tmp_path


def record(root: Path, versions: dict[str, str], count: Count) -> None:
    text = counts.render(Recorded(versions, {"receive": count}))
    (root / instructions.FILE).write_text(text)


def with_parent(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], file: Count, needs: float
) -> None:
    """Let there be a parent commit with this count in its file, whose build needs that much."""
    text = counts.render(Recorded(versions, {"receive": file}))
    monkeypatch.setattr(parent, "find", lambda *_: "abc")
    monkeypatch.setattr(parent, "text_at", lambda *_: text)
    monkeypatch.setattr(instructions, "measure_parent", lambda _: {"receive": needs})


def check(needs: float) -> int:
    return instructions.check({"receive": needs}, None, with_parent=False)


def test_a_growth_fails_and_says_what_to_do(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(root, HERE, Count(1000.0))
    assert check(1040.0) == 1
    printed = capsys.readouterr().out
    assert "FAILED: receive needs 1,040.0 instructions a message, +4.0 % against 1,000.0" in printed
    assert "`make instructions`" in printed


def test_without_a_parent_commit_the_counts_are_judged_and_raises_are_said_not_to_be(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(root, HERE, Count(1000.0))
    assert check(1010.0) == 0
    assert "RAISES NOT CHECKED" in capsys.readouterr().out


def test_with_other_versions_and_no_parent_commit_the_counts_are_printed_and_not_judged(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(root, ELSEWHERE, Count(1000.0))
    assert check(2000.0) == 0
    printed = capsys.readouterr().out
    assert "rustc 1.95.0, recorded with 1.96.0" in printed
    assert "2,000.0" in printed
    assert "INSTRUCTION COUNTS NOT JUDGED" in printed


def test_a_parent_that_cannot_be_built_leaves_the_counts_unjudged(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: str) -> dict[str, float]:
        raise parent.ParentError("`make .venv/.native` failed")

    record(root, ELSEWHERE, Count(1000.0))
    with_parent(monkeypatch, ELSEWHERE, Count(1000.0), 0.0)
    monkeypatch.setattr(instructions, "measure_parent", fail)
    assert check(2000.0) == 0
    printed = capsys.readouterr().out
    assert "NOT JUDGED" in printed
    assert "`make .venv/.native` failed" in printed


@pytest.mark.parametrize(("needs", "code"), [(920.0, 0), (930.0, 1)])
def test_with_other_versions_the_parents_build_is_what_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch, needs: float, code: int
) -> None:
    record(root, ELSEWHERE, Count(1000.0))
    with_parent(monkeypatch, ELSEWHERE, Count(1000.0), 900.0)
    assert check(needs) == code


def test_new_versions_in_the_file_do_not_hide_a_growth(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(root, HERE, Count(1100.0))
    with_parent(monkeypatch, ELSEWHERE, Count(1000.0), 1000.0)
    assert check(1100.0) == 1
    record(root, HERE, Count(1100.0, "it checks the topic"))
    assert check(1100.0) == 0


def test_a_raise_without_a_reason_fails_though_the_measurement_agrees(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record(root, HERE, Count(1100.0))
    with_parent(monkeypatch, HERE, Count(1000.0), 1000.0)
    assert check(1100.0) == 1
    assert "raised from 1,000.0 to 1,100.0 without a reason" in capsys.readouterr().out


def test_recording_says_which_reason_is_still_to_be_written(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(root, HERE, Count(1000.0))
    assert instructions.record({"receive": 1100.0}) == 0
    assert (
        'receive = { instructions = 1100.0, raised = "" }' in (root / instructions.FILE).read_text()
    )
    assert "Still to do: receive was raised without a reason" in capsys.readouterr().out


def test_recording_makes_a_file_where_there_is_none(root: Path) -> None:
    instructions.record({"receive": 1000.0})
    assert check(1000.0) == 0
    assert (root / instructions.FILE).exists()
