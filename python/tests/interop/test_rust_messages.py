"""Messages there and back with the tokio client, at every server and version."""

import pytest

from interop.conftest import Here
from interop.gaps import V5, Feature
from interop.rust_client import play_here
from support.clients import unique

MEGABYTE = 1_000_000


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_come_back_complete_and_in_order(here: Here, qos: int) -> None:
    check_round_trip(here, qos)


@pytest.mark.needs(Feature.QOS_2)
def test_messages_of_qos_2_come_back_once_and_in_order(here: Here) -> None:
    check_round_trip(here, 2)


def check_round_trip(here: Here, qos: int) -> None:
    assert play_here(here, "round_trip", qos=qos, count=100) == {
        "granted": qos,
        "received": list(range(100)),
        "qos": [qos] * 100,
        "topics": True,
        "retained": False,
    }


def test_payload_of_a_megabyte(here: Here) -> None:
    assert play_here(here, "large", count=MEGABYTE) == {"same": True}


def test_a_thousand_publishes_in_flight(here: Here) -> None:
    report = play_here(here, "in_flight", count=1000)
    assert report == {"received": list(range(1000))}


def test_unsubscribed_topic_brings_no_more(here: Here) -> None:
    assert play_here(here, "unsubscribe") == {"before": [1], "after": []}


def test_retained_message_greets_a_new_subscription(here: Here) -> None:
    check_retained(here, unique("retained"))


@pytest.mark.needs(Feature.RETAINED_FOR_WILDCARD)
def test_retained_message_greets_a_wildcard(here: Here) -> None:
    prefix = unique("retained")
    check_retained(here, f"{prefix}/a/b", filter=f"{prefix}/+/b")


def check_retained(here: Here, topic: str, **settings: str) -> None:
    report = play_here(here, "retained", topic=topic, **settings)
    assert report == {"stored": [1], "flags": [True], "removed": []}


@pytest.mark.lacks(Feature.RETAINED_FOR_WILDCARD)
def test_a_wildcard_is_not_greeted(here: Here) -> None:
    prefix = unique("retained")
    report = play_here(here, "retained", topic=f"{prefix}/a/b", filter=f"{prefix}/+/b")
    assert report == {"stored": [], "flags": [], "removed": []}


@pytest.mark.needs(Feature.SHARED)
def test_shared_subscription_divides_the_messages(here: Here) -> None:
    halves = play_here(here, "shared", count=40)["halves"]
    assert all(halves)
    assert sorted(number for half in halves for number in half) == list(range(40))


@pytest.mark.versions(V5)
def test_properties_come_back(here: Here) -> None:
    report = play_here(here, "properties")
    assert 0 < report.pop("expiry") <= 60
    assert report == {"same": True, "identifiers": [300]}


@pytest.mark.versions(V5)
def test_a_request_is_answered(here: Here) -> None:
    assert play_here(here, "request") == {"answer": [42]}


@pytest.mark.versions(V5)
def test_topic_aliases_are_resolved_both_ways(here: Here) -> None:
    report = play_here(here, "aliases", count=200)
    assert report == {"received": list(range(200)), "topics": True}
