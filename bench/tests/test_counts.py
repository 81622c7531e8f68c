"""What a change may do to the file of instruction counts."""

import math

import counts
import pytest
from counts import Count, Recorded

VERSIONS = {"rustc": "1.95.0", "cpython": "3.11.7"}
OTHER_VERSIONS = VERSIONS | {"rustc": "1.96.0"}


def recorded(count: Count, versions: dict[str, str] = VERSIONS) -> Recorded:
    return Recorded(versions, {"receive": count})


def test_a_file_is_read_as_it_was_written() -> None:
    written = Recorded(
        VERSIONS, {"a": Count(1000.5), "b": Count(7.0, 'it says "\\" now,\nin two\x7flines')}
    )
    assert counts.parse(counts.render(written)) == written


@pytest.mark.parametrize("count", ["nan", "inf", "0"])
def test_a_count_that_would_allow_anything_is_refused(count: str) -> None:
    text = f"[machine]\n[workloads]\nreceive = {{ instructions = {count} }}"
    with pytest.raises(ValueError, match="receive has no count"):
        counts.parse(text)


def test_a_growth_beyond_3_percent_is_named_with_both_figures() -> None:
    (problem,) = counts.growths({"receive": 1031.0}, {"receive": 1000.0}, "in the file")
    assert problem == (
        "receive needs 1,031.0 instructions a message, +3.1 % against 1,000.0 "
        "in the file; at most +3 % is allowed"
    )


def test_a_growth_within_3_percent_and_a_gain_are_no_problem() -> None:
    assert not counts.growths({"a": 1030.0, "b": 500.0}, {"a": 1000.0, "b": 1000.0}, "")


def test_a_workload_without_a_count_and_a_count_without_a_workload_are_named() -> None:
    problems = counts.mismatches({"publish": 1.0}, recorded(Count(1000.0)))
    assert problems == ["publish has no recorded count", "receive is not measured any more"]


def test_a_raise_without_a_reason_is_refused() -> None:
    before, now = recorded(Count(1000.0)), recorded(Count(1040.0))
    (problem,) = counts.unexplained_raises(now, before)
    assert problem == (
        "receive was raised from 1,000.0 to 1,040.0 without a reason of its own: "
        "write it in `raised`"
    )


def test_a_raise_by_less_than_3_percent_needs_a_reason_too() -> None:
    assert counts.unexplained_raises(recorded(Count(1000.1)), recorded(Count(1000.0)))


def test_a_raise_with_a_new_reason_is_accepted() -> None:
    before, now = recorded(Count(1000.0, "old")), recorded(Count(1040.0, "checks the topic"))
    assert not counts.unexplained_raises(now, before)


def test_the_reason_of_an_earlier_raise_does_not_excuse_another() -> None:
    before, now = recorded(Count(1000.0, "old")), recorded(Count(1040.0, "old"))
    assert counts.unexplained_raises(now, before)


def test_a_count_that_stays_keeps_its_reason_and_needs_no_new_one() -> None:
    assert not counts.unexplained_raises(recorded(Count(9.0, "old")), recorded(Count(9.0, "old")))


def test_an_empty_reason_is_refused_even_without_a_parent_commit() -> None:
    assert counts.unexplained_raises(recorded(Count(1000.0, " ")), None)


def test_counts_of_other_versions_are_not_compared() -> None:
    before = recorded(Count(1000.0), OTHER_VERSIONS)
    assert not counts.unexplained_raises(recorded(Count(1200.0)), before)


def test_the_parents_build_allows_what_it_needs_itself() -> None:
    file = recorded(Count(1000.0))
    assert counts.allowed_by_parent({"receive": 900.0}, file, file) == {"receive": 900.0}


def test_a_raise_in_the_file_allows_as_much_more_than_the_parents_build() -> None:
    before, now = recorded(Count(1000.0)), recorded(Count(1100.0, "why"))
    allowed = counts.allowed_by_parent({"receive": 900.0}, now, before)
    assert math.isclose(allowed["receive"], 990.0)


def test_a_gain_in_the_file_does_not_lower_what_the_parents_build_allows() -> None:
    before, now = recorded(Count(1000.0)), recorded(Count(500.0))
    assert counts.allowed_by_parent({"receive": 900.0}, now, before) == {"receive": 900.0}


def test_with_new_versions_in_the_file_only_a_new_reason_allows_more() -> None:
    before = recorded(Count(1000.0, "old"), OTHER_VERSIONS)
    parent = {"receive": 900.0}
    for count, allowed in ((Count(1200.0, "old"), 900.0), (Count(1200.0, "new"), math.inf)):
        assert counts.allowed_by_parent(parent, recorded(count), before) == {"receive": allowed}


def test_recording_keeps_a_count_that_has_grown_by_less_than_3_percent() -> None:
    before = recorded(Count(1000.0, "old"))
    assert counts.updated({"receive": 1029.0}, VERSIONS, before) == before


def test_recording_a_larger_growth_leaves_its_reason_to_be_written() -> None:
    now = counts.updated({"receive": 1040.04}, VERSIONS, recorded(Count(1000.0, "old")))
    assert now == recorded(Count(1040.0, ""))
    assert counts.unexplained_raises(now, None)


def test_recording_a_gain_drops_the_reason_of_the_raise_before() -> None:
    now = counts.updated({"receive": 990.0}, VERSIONS, recorded(Count(1000.0, "old")))
    assert now == recorded(Count(990.0))


def test_recording_keeps_a_count_that_has_moved_within_the_noise() -> None:
    before = recorded(Count(1000.0, "old"))
    assert counts.updated({"receive": 996.0}, VERSIONS, before) == before


def test_recording_with_other_versions_replaces_every_count() -> None:
    now = counts.updated({"receive": 1010.0}, OTHER_VERSIONS, recorded(Count(1000.0)))
    assert now == recorded(Count(1010.0), OTHER_VERSIONS)


def test_recording_adds_new_workloads_and_forgets_old_ones() -> None:
    now = counts.updated({"publish": 5.0}, VERSIONS, recorded(Count(1000.0)))
    assert now == Recorded(VERSIONS, {"publish": Count(5.0)})
