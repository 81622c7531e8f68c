"""Programs with an outbox die when the server says that it has lost the session, on mosquitto.

The server has the new session when CONNACK with Session Present 0 leaves it, so the next life gets
Session Present 1, and Packet Identifiers that the outbox remembers are used again. Programs die
before CONNACK, with it, at the next record, or in the middle of that. `FERROMQTT_KILLS=100` is the
long version.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.killed_listener import Listener, Numbers
from support.killing import CONNACK, DOWN, PUBREC, UP, KillingProxy, Moment, Way
from support.mosquitto import Mosquitto

KILLS = int(os.environ.get("FERROMQTT_KILLS", "10"))
EACH_LIFE = 12
REMEMBERED = 6
"""The Packet Identifier that is on record when the server loses the session: it counts from 1."""


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    """Keep no session beyond the end of its process."""
    with Mosquitto(plain_only=True) as broker:
        yield broker


@pytest.fixture
def proxy(broker: Mosquitto) -> Iterator[KillingProxy]:
    with KillingProxy(broker.port) as proxy:
        yield proxy


def lose_the_session(listener: Listener, numbers: Numbers, broker: Mosquitto) -> None:
    """Have it remember an identifier of a session, and the server lose it."""
    broker.stop()
    broker.start()
    death = Moment(UP, PUBREC, REMEMBERED, Way.BEFORE)
    listener.live(death, when_subscribed=lambda: numbers.publish(EACH_LIFE, qualities=(2,)))
    broker.stop()
    broker.start()
    listener.proxy.answered.clear()


def live_on(listener: Listener, numbers: Numbers) -> list[str]:
    """Let it take what is published from now on. Return the names."""
    names: list[str] = []

    def publish() -> None:
        names.extend(numbers.publish(EACH_LIFE, qualities=(2,)))
        names.extend(numbers.publish(1, qualities=(1,)))  # nothing is behind it

    listener.live(
        when_subscribed=publish,
        until=lambda: bool(names) and listener.taken[-1].name == names[-1],
    )
    return names


@pytest.mark.parametrize("way", [*Way], ids=lambda way: way.name.lower())
@pytest.mark.parametrize("version", ["V311", "V5"])
def test_a_subscriber_that_dies_of_a_lost_session_takes_every_message_of_the_next_one(
    tmp_path: Path, broker: Mosquitto, proxy: KillingProxy, way: Way, version: str
) -> None:
    """MQTT-3.3.1-1: without DUP it is a new message, though its identifier is remembered."""
    numbers = Numbers(broker.port)
    listener = Listener(proxy, tmp_path / "outbox", version, "auto")
    names: list[str] = []
    reported = 0
    rounds = -(-KILLS // (2 * len(Way)))
    for _ in range(rounds):
        lose_the_session(listener, numbers, broker)
        listener.live(Moment(DOWN, CONNACK, 1, way))
        names += live_on(listener, numbers)
        assert proxy.resumed[-2:] == [False, True]
        reported += listener.lives in listener.reports
    assert listener.problems(names) == []
    taken = [it.name for it in listener.taken]
    assert len(set(names)) == sum(taken.count(name) for name in names), "one came twice"
    if way is not Way.AFTER:  # which may be before the record, or after it
        assert reported == rounds
    print(f"{version}, {way.name}: {listener.lives} lives, {len(taken)} taken, {reported} reported")


def test_an_outbox_that_did_not_note_the_attempt_swallows_messages(
    tmp_path: Path, broker: Mosquitto, proxy: KillingProxy
) -> None:
    """What shows that the test above would find it."""
    numbers = Numbers(broker.port)
    folder = tmp_path / "outbox"
    listener = Listener(proxy, folder, "V5", "auto")
    lose_the_session(listener, numbers, broker)
    shutil.copytree(folder, tmp_path / "before")
    listener.live(Moment(DOWN, CONNACK, 1, Way.BEFORE))
    shutil.rmtree(folder)
    (tmp_path / "before").rename(folder)
    names = live_on(listener, numbers)
    assert f"{names[REMEMBERED - 1]} is lost" in listener.problems(names)
