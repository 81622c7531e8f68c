"""Subscribers with an outbox are killed again and again, on mosquitto: what they may rely on.

`FERROMQTT_KILLS=100` is the long version.
"""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.killed_listener import Listener, Numbers
from support.killing import (
    DOWN,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    UP,
    KillingProxy,
    Moment,
    Way,
)
from support.mosquitto import Mosquitto

KILLS = int(os.environ.get("FERROMQTT_KILLS", "10"))
EACH_LIFE = 30


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with Mosquitto(plain_only=True) as broker:
        yield broker


@pytest.fixture
def proxy(broker: Mosquitto) -> Iterator[KillingProxy]:
    with KillingProxy(broker.port) as proxy:
        yield proxy


def moment(chance: random.Random) -> Moment | None:
    """Draw a packet of the handshakes of received messages to die of, or none."""
    packets = ((DOWN, PUBLISH), (DOWN, PUBREL), (UP, PUBREC), (UP, PUBCOMP), (UP, PUBACK))
    if chance.random() < 0.2:
        return None
    direction, packet_type = chance.choice(packets)
    return Moment(direction, packet_type, chance.randint(1, EACH_LIFE // 3), chance.choice([*Way]))


def play(listener: Listener, numbers: Numbers, kills: int) -> list[str]:
    """Kill it so often; let it take what is left. Return what is wrong."""
    chance = random.Random(f"{listener.ack} {listener.version}")
    names: list[str] = []

    def publish() -> None:
        names.extend(numbers.publish(EACH_LIFE))

    for _ in range(kills):
        death = moment(chance)
        kill_after = None if death else chance.randint(1, EACH_LIFE)
        # Where there is no such packet left to die of, the last message does it.
        listener.live(
            death, when_subscribed=publish, kill_after=kill_after, until=has_last(listener, names)
        )
    last = names[-1]
    listener.live(when_subscribed=publish, until=has_last(listener, names))
    assert last in names
    if listener.ack == "manual":
        return listener.problems(names)
    # What the client acknowledges is the program's from then on, also if that dies.
    answered = listener.proxy.answered | listener.proxy.acknowledged
    return listener.problems(name for name in names if name not in answered)


def has_last(listener: Listener, names: list[str]) -> Callable[[], bool]:
    """Whether the last two that were published have been taken: one of each QoS."""

    def has() -> bool:
        last = {(int(name[0]), int(name[2:])) for name in names[-2:]}
        return bool(last) and last <= {it[1:3] for it in listener.taken}

    return has


@pytest.mark.parametrize(
    ("ack", "version"), [("auto", "V311"), ("auto", "V5"), ("manual", "V311"), ("manual", "V5")]
)
def test_a_killed_subscriber_takes_qos_2_once_unless_it_is_reported(
    tmp_path: Path, broker: Mosquitto, proxy: KillingProxy, ack: str, version: str
) -> None:
    """And loses nothing that it acknowledges itself."""
    listener = Listener(proxy, tmp_path / "outbox", version, ack)
    assert play(listener, Numbers(broker.port), KILLS) == []
    print(f"{ack}, {version}: {len(listener.taken)} taken in {listener.lives} lives")


@pytest.mark.parametrize("ack", ["auto", "manual"])
def test_without_the_record_messages_are_taken_again(
    tmp_path: Path, broker: Mosquitto, proxy: KillingProxy, ack: str
) -> None:
    """What shows that the test above would find it."""
    listener = Listener(proxy, tmp_path / "outbox", "V5", ack, store="none")
    numbers = Numbers(broker.port)
    death = Moment(UP, PUBREC, 1, Way.BEFORE)
    listener.live(death, when_subscribed=lambda: numbers.publish(EACH_LIFE, qualities=(2,)))
    assert proxy.answered == {"2:0"}
    listener.live(kill_after=1)
    assert listener.problems(()) == ["life 2 has taken 2:0, which was answered before"]
