"""Publishers with an outbox die when the server says that it has lost the session, on mosquitto.

What is stored comes, or is kept in quarantine. `FERROMQTT_KILLS=100` is the long version.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ferromqtt import blocking
from support.killing import (
    CONNACK,
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

TESTS = Path(__file__).parent
KILLS = int(os.environ.get("FERROMQTT_KILLS", "10"))

HANDSHAKES = {
    1: ((UP, PUBLISH), (DOWN, PUBACK)),
    2: ((UP, PUBLISH), (DOWN, PUBREC), (UP, PUBREL), (DOWN, PUBCOMP)),
}


@pytest.fixture(scope="module")
def broker() -> Iterator[Mosquitto]:
    with Mosquitto(plain_only=True) as broker:
        yield broker


@pytest.fixture
def proxy(broker: Mosquitto) -> Iterator[KillingProxy]:
    with KillingProxy(broker.port) as proxy:
        yield proxy


class Publisher:
    """A program, its folder, and what its lives have stored."""

    def __init__(self, proxy: KillingProxy, folder: Path, qos: int, version: str) -> None:
        self.proxy = proxy
        self.folder = folder
        self.qos = qos
        self.version = version
        self.lives = 0
        self.stored: list[str] = []
        self.kept = 0
        """How many messages are in quarantine in the end."""

    def live(self, moment: Moment | None) -> None:
        """Live once: to the moment, or to the end of what there is to send."""
        self.lives += 1
        life = self.lives if moment else 0
        worker = str(TESTS / "support" / "outbox_worker.py")
        arguments = [self.proxy.port, self.folder, self.qos, life, self.version]
        with subprocess.Popen(
            [sys.executable, worker, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, PYTHONPATH=str(TESTS)),
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            self.proxy.aim(process, self.folder, moment)
            print(file=process.stdin, flush=True)
            lines = [line for line in process.stdout if line.endswith("\n")]
        if moment:
            self.stored += [f"{life}:{int(line)}" for line in lines]
        else:
            self.kept = int(lines[-1])
        assert (process.returncode < 0) == (moment is not None), "how it ended"


def forget(broker: Mosquitto, identifier: str) -> None:
    """Have the server forget a session: a client that begins a new one, which ends with it."""
    with blocking.Client("127.0.0.1", broker.port, identifier=identifier, clean_session=True):
        pass


def play(
    publisher: Publisher, broker: Mosquitto, deaths: Iterable[tuple[Moment, Way]]
) -> list[str]:
    """Have it die in a handshake, and of the lost session behind that. Return what has come."""
    received: list[str] = []
    with blocking.Client("127.0.0.1", broker.port, protocol=5) as listener:
        listener.subscribe("numbers", qos=2)
        for moment, way in deaths:
            publisher.live(moment)
            forget(broker, "worker")
            publisher.live(Moment(DOWN, CONNACK, 1, way))
            assert not publisher.proxy.resumed[-1]
        publisher.live(None)
        listener.publish("numbers", "end", qos=1)
        for message in listener.messages(timeout=60):
            if (text := bytes(message.payload).decode()) == "end":
                break
            received.append(text)
    return received


@pytest.mark.parametrize(("qos", "version"), [(1, "V311"), (1, "V5"), (2, "V311"), (2, "V5")])
def test_a_publisher_that_dies_of_a_lost_session_loses_nothing(
    tmp_path: Path, broker: Mosquitto, proxy: KillingProxy, qos: int, version: str
) -> None:
    chance = random.Random(f"{qos} {version}")
    publisher = Publisher(proxy, tmp_path / "outbox", qos, version)
    moments = [Moment(*packet, chance.randint(1, 10), Way.BEFORE) for packet in HANDSHAKES[qos]]
    deaths = [(moments[n % len(moments)], chance.choice([*Way])) for n in range(KILLS)]
    received = play(publisher, broker, deaths)
    missing = set(publisher.stored) - set(received)
    print(
        f"{qos}, {version}: {len(publisher.stored)} stored, {publisher.kept} kept, {len(missing)}"
    )
    assert len(missing) <= publisher.kept, "a stored message is lost"
    if qos == 1:
        assert not publisher.kept
    if qos == 2:
        assert len(received) == len(set(received)), "a message came twice"


@pytest.mark.parametrize("version", ["V311", "V5"])
def test_a_message_whose_pubrel_was_lost_with_the_session_is_kept(
    tmp_path: Path, broker: Mosquitto, proxy: KillingProxy, version: str
) -> None:
    """The next session answers PUBREL as if it knew the message (section 3.7.2.1)."""
    publisher = Publisher(proxy, tmp_path / "outbox", 2, version)
    received = play(publisher, broker, [(Moment(UP, PUBREL, 1, Way.BEFORE), Way.BEFORE)])
    missing = set(publisher.stored) - set(received)
    assert "1:0" in missing
    assert publisher.kept >= len(missing)
