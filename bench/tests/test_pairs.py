"""Two builds of ours beside each other."""

import pairs
from pairs import Pair


def test_rounds_are_divided_one_by_one() -> None:
    assert pairs.pair([2.0, 6.0, 4.0], [2.0, 4.0, 1.0]) == Pair(1.0, 1.5, 4.0)


def test_rounds_that_one_of_them_lost_do_not_count() -> None:
    assert pairs.pair([2.0, 6.0], [2.0]) == Pair(1.0, 1.0, 1.0)
    assert pairs.pair([2.0], []) is None


def test_a_build_is_slower_beyond_the_bar_and_the_noise() -> None:
    found = Pair(1.0, 1.05, 1.1)
    assert pairs.is_slower(found, None)
    assert pairs.is_slower(found, Pair(0.99, 1.0, 1.01))
    assert not pairs.is_slower(found, Pair(0.9, 1.0, 1.06))
    assert not pairs.is_slower(Pair(1.0, 1.03, 1.2), None)
