"""The tokio client logs in, is taken over, dies, is cut off and comes back."""

from collections import Counter

import pytest

from interop.conftest import Here
from interop.gaps import V5, Feature, Place
from interop.rust_client import play_here, url
from interop.server import LOGIN
from support.clients import LIMIT
from support.proxy import DOWNSTREAM, UPSTREAM, CuttingProxy

BAD_LOGIN = {134, 135}  # Bad User Name or Password, Not authorized: both are in use
IN_FLIGHT = 20
"""mosquitto 2.0.11 takes more QoS 2 messages of 3.x at once, and loses some when it is cut off."""
CUTS = ((DOWNSTREAM, 100), (UPSTREAM, 200), (DOWNSTREAM, 1777), (UPSTREAM, 555))


def lacks(here: Here, feature: Feature) -> bool:
    return Place(type(here.server), here.version).gap(feature) is not None


@pytest.mark.lacks(Feature.VERSION)
def test_a_version_that_the_server_does_not_speak_is_told_at_once(here: Here) -> None:
    error = play_here(here, "connect")["error"]
    kinds = {"Refused", "Transport", "ProtocolViolation", "Disconnected", "Unanswered"}
    assert error["kind"] in kinds


def test_right_password_is_let_in(here: Here) -> None:
    right = {"username": LOGIN.username, "password": LOGIN.password}
    report = play_here(here, "connect", url=url(here, here.login_port), **right)
    assert report == {"received": [1]}


@pytest.mark.parametrize(
    ("username", "password"), [(LOGIN.username, "wrong-one"), ("nobody", LOGIN.password)]
)
def test_wrong_login_is_refused(here: Here, username: str, password: str) -> None:
    wrong = {"username": username, "password": password}
    error = play_here(here, "connect", url=url(here, here.login_port), **wrong)["error"]
    assert error["kind"] == "Refused"
    assert error["reason"] in BAD_LOGIN
    assert password not in error["text"]


def test_second_client_of_a_name_takes_over(here: Here) -> None:
    report = play_here(here, "takeover")
    assert report["second"] == [1]
    first = report["first"]
    if here.version is V5 and not lacks(here, Feature.TELLS_TAKEOVER):
        assert (first["kind"], first["reason"]) == ("Disconnected", 0x8E)
    else:
        assert first["kind"] == "Transport"


@pytest.mark.parametrize("qos", [0, 1])
def test_will_is_published_when_the_client_dies_and_only_then(here: Here, qos: int) -> None:
    report = play_here(here, "will", qos=qos)
    assert report == {"died": [1], "qos": [qos], "left": []}


def test_session_receives_what_it_missed(here: Here) -> None:
    assert play_here(here, "missed", count=100) == {"received": list(range(100))}


def test_nothing_is_lost_when_the_connection_is_cut(here: Here) -> None:
    play_cuts(here, 1)


@pytest.mark.needs(Feature.QOS_2)
def test_no_qos_2_message_is_lost_when_the_connection_is_cut(here: Here) -> None:
    received = play_cuts(here, 2)
    if not lacks(here, Feature.ONCE):
        assert [number for number, times in Counter(received).items() if times > 1] == []


def play_cuts(here: Here, qos: int) -> list[int]:
    """Publish to oneself while the connection is cut; return what was received."""
    with CuttingProxy(here.server.host, here.server.port) as proxy:
        cuts = [proxy.cut_next(direction, after) for direction, after in CUTS]
        detour = url(here, proxy.port)
        report = play_here(here, "cut", detour=detour, qos=qos, count=400, in_flight=IN_FLIGHT)
        assert "error" not in report, report
        assert (report["failures"], report["stray"], report["lost"]) == ([], [], 0)
        assert all(cut.done.wait(LIMIT) for cut in cuts)
    assert set(report["received"]) == set(range(400))
    assert report["connections"] > 1
    assert report["resent"] > 0
    received: list[int] = report["received"]
    return received


@pytest.mark.needs(Feature.KEEP_ALIVE_OF_ONE)
def test_idle_connection_is_kept_alive(here: Here) -> None:
    assert play_here(here, "idle") == {"ended": False}
