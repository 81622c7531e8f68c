"""`scripts/broker_options.py`, a part of `make lint`: a class lists what the broker's table has."""

import sys
from pathlib import Path

import pytest

from ferromqtt import __main__ as commands
from ferromqtt._native import Broker

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from broker_options import annotations, differences, documentation


def test_the_class_lists_what_the_table_has() -> None:
    assert list(differences(annotations(), documentation())) == []


@pytest.mark.parametrize(
    ("annotation", "text", "problem"),
    [
        (None, "Default: 20.", "inflight_window is missing: int"),
        ("str", "Default: 20.", "inflight_window is str, and should be int"),
        ("int", None, "inflight_window is not documented"),
        *(
            ("int", text, "inflight_window: the documentation does not say 'Default: 20'")
            for text in ("How many.", "Default: 200.", "Default: 20,000.", "Default: 20.5.")
        ),
    ],
)
def test_a_row_that_the_class_does_not_follow_is_named(
    annotation: str | None, text: str | None, problem: str
) -> None:
    annotated, documented = annotations(), documentation()
    del annotated["inflight_window"], documented["inflight_window"]
    if annotation:
        annotated["inflight_window"] = annotation
    if text:
        documented["inflight_window"] = text
    assert list(differences(annotated, documented)) == [problem]


def test_a_name_that_is_not_in_the_table_is_named() -> None:
    wrong = [*differences(annotations() | {"maximum": "int"}, documentation())]
    assert wrong == ["maximum is no option of the broker"]


def test_each_option_with_a_unit_is_an_argument_of_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        commands.main(["broker", "--help"])
    shown = capsys.readouterr().out
    named = [name for name, *_, unit, _ in Broker.options() if unit]
    assert "maximum_output" in named
    assert all(f"--{name.replace('_', '-')} " in shown for name in named)
