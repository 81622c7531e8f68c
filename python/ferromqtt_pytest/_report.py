"""What the broker of a test says about its outcome: rules that never fired, and the packets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from ferromqtt.testing import TestBroker

_CHART_LINES = 30


class Watched:
    """The broker of a test, whose journal and rules are read also after the test has stopped it."""

    def __init__(self, broker: TestBroker) -> None:
        self._broker = broker
        self._cores = broker._watch()  # noqa: SLF001 - a stop of the broker only lets go of them

    def unused_faults(self) -> list[str]:
        """Return the rules that never fired although they were expected to, and why if known."""
        of_cores = [rule for core in self._cores for rule in core.explain_unused_faults()]
        return of_cores + self._broker._without_action()  # noqa: SLF001

    def chart(self) -> str:
        """Return the newest packets as a sequence chart."""
        return "".join(core.chart(_CHART_LINES) for core in self._cores[-2:])


_WATCHED = pytest.StashKey[Watched]()


def watch(item: pytest.Item, broker: TestBroker) -> None:
    """Report on a test by its broker."""
    item.stash[_WATCHED] = Watched(broker)


def unused_text(unused: list[str]) -> str:
    """Return what fails a test that has passed, although these rules never fired."""
    what = "This rule" if len(unused) == 1 else "These rules"
    lines = "".join(f"\n  {rule}" for rule in unused)
    return (
        f"{what} for faults never fired, so the test has not met what it prepared "
        f"(`.optional()` marks a rule that need not fire):{lines}"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that has passed, but not what it says: a rule for faults never fired."""
    __tracebackhide__ = True
    result = yield
    if _WATCHED in item.stash and (unused := item.stash[_WATCHED].unused_faults()):
        pytest.fail(unused_text(unused), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the packets to the report of a failure, and the rules that never fired."""
    report = yield
    if report.failed and _WATCHED in item.stash:
        error = call.excinfo.value if call.excinfo else None
        said = "\n".join([str(error), *getattr(error, "__notes__", [])])
        text = _section(item.stash[_WATCHED], said)
        if text:
            report.sections.append(("MQTT packets at mqtt_broker", text))
    if call.when == "teardown" and _WATCHED in item.stash:
        del item.stash[_WATCHED]  # items outlive their tests, and a journal is large
    return report


def _section(watched: Watched, error: str) -> str:
    """Return what the text of the error does not have already."""
    rules = [rule for rule in watched.unused_faults() if rule not in error]
    chart = watched.chart()
    if chart in error:
        chart = ""
    return "".join(f"rule never fired: {rule}\n" for rule in rules) + chart
