"""The account that `make cluster` and `make soak` keep finds what is lost, twice, or fails."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

Account: TypeAlias = Any  # of a module that only the fixture finds

STEADY = Path(__file__).parents[2] / "tests" / "steady"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    """Return an account of messages that have QoS 1 and 2 by turns."""
    monkeypatch.syspath_prepend(str(STEADY))
    monkeypatch.delitem(sys.modules, "worker", raising=False)
    import worker  # noqa: PLC0415 - only where it was put

    return worker.Account([1, 2], rate=10)


def told(account: Account, lines: Iterable[str]) -> Account:
    for line in lines:
        account.take(line)
    return account


def test_all_is_well_in_any_order(account: Account) -> None:
    told(account, ["sent 0", "sent 1", "received 1", "acknowledged 0", "received 0"])
    told(account, ["acknowledged 1", "connected", "lost the server closed the connection"])
    assert (account.pending, account.missing, account.breaches) == (set(), set(), [])
    assert account.counts["again"] == 0


def test_a_message_without_an_outcome_is_pending(account: Account) -> None:
    assert told(account, ["sent 0", "received 0"]).pending == {0}


def test_an_acknowledged_message_that_does_not_come_is_missing(account: Account) -> None:
    assert told(account, ["sent 0", "acknowledged 0"]).missing == {0}


@pytest.mark.parametrize("end", ["acknowledged 0", "failed 0 it was lost"])
def test_a_second_outcome_is_a_breach(account: Account, end: str) -> None:
    breaches = told(account, ["sent 0", "acknowledged 0", "received 0", end]).breaches
    assert f"a second outcome: {end}" in breaches


def test_a_failure_is_a_breach(account: Account) -> None:
    assert told(account, ["sent 0", "failed 0 it was lost"]).breaches == ["failed 0 it was lost"]


def test_twice_is_counted_at_qos_1_and_a_breach_at_qos_2(account: Account) -> None:
    told(account, ["sent 0", "acknowledged 0", "received 0", "received 0"])
    assert (account.counts["again"], account.breaches) == (1, [])
    told(account, ["sent 1", "acknowledged 1", "received 1", "received 1"])
    assert account.breaches == ["1 came twice at QoS 2"]
