"""The promises of MQTT hold for the asyncio client under the faults of a thousand seeds.

`tests/seeds` is the same for the tokio client.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ferromqtt import Client, MqttError, ProtocolVersion, Reconnect
from ferromqtt.properties import Properties
from ferromqtt.reasons import PacketTypes
from ferromqtt.testing import Chaos, TestBroker, run_seeds

SEEDS = 1000
IN_ONE_TEST = 250
MESSAGES = 15

SILENCE = 120
"""A subscriber to whom nothing comes for so long in virtual time has got what it gets."""


@dataclass
class Variant:
    """What varies from seed to seed beside the faults."""

    protocol: ProtocolVersion
    receive_maximum: int
    one_by_one: bool

    @classmethod
    def of(cls, seed: int) -> "Variant":
        return cls(
            protocol=ProtocolVersion.V5 if seed % 2 == 0 else ProtocolVersion.V311,
            receive_maximum=2 if seed // 2 % 2 == 0 else 65_535,
            one_by_one=seed // 4 % 2 == 0,
        )


def qos_of(number: int) -> int:
    return number % 3


@pytest.fixture(autouse=True, scope="module")
def _only_what_comes_is_looked_at() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("first", range(0, SEEDS, IN_ONE_TEST))
def test_every_seed_keeps_the_promises(first: int) -> None:
    descriptors = open_descriptors()
    run_seeds(keeps_the_promises, range(first, first + IN_ONE_TEST))
    assert open_descriptors() == descriptors


def open_descriptors() -> int:
    gc.collect()
    folder = Path("/proc/self/fd")
    return len([*folder.iterdir()]) if folder.exists() else 0


async def keeps_the_promises(chaos: Chaos) -> None:
    variant = Variant.of(chaos.seed)
    window = variant.receive_maximum
    broker = TestBroker(listen=False, receive_maximum=window, inflight_window=window)
    script = chaos.faults(
        broker=broker, cuts=0.02, lost_acks=0.02, duplicates=0.02, delays=0.01, restarts=1
    )
    forgets = any("restart" in line and "sessions" not in line for line in script.splitlines())
    reader = client_of(broker, "reader", variant)
    writer = client_of(broker, "writer", variant)
    received: Counter[int] = Counter()
    async with reader:
        await reader.subscribe("n", qos=2)
        async with writer:
            outcomes = await publish_all(writer, variant.one_by_one)
            assert (writer.stats().outgoing, writer.stats().in_flight) == (0, 0)
        messages = aiter(reader.messages)
        while True:
            try:
                message = await asyncio.wait_for(anext(messages), SILENCE)
            except TimeoutError:
                break
            received[int(message.payload)] += 1
        assert reader.stats().unacknowledged == 0
    unaware = forgets and missed_a_new_session(broker)
    check_published(broker, outcomes, unaware=unaware)
    check_received(received, outcomes, forgets=forgets, unaware=unaware)
    await broker.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def client_of(broker: TestBroker, identifier: str, variant: Variant) -> Client:
    again = Reconnect(initial=True)
    if variant.protocol is ProtocolVersion.V5:
        lasting = Properties(PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = 3600
        return broker.client(
            identifier,
            protocol=ProtocolVersion.V5,
            clean_start=False,
            properties=lasting,
            reconnect=again,
        )
    return broker.client(
        identifier, protocol=variant.protocol, clean_session=False, reconnect=again
    )


async def publish_all(client: Client, one_by_one: bool) -> dict[int, MqttError | None]:
    """Return what became of each message: None, or why it failed."""
    outcomes: dict[int, MqttError | None] = {}

    async def publish(number: int) -> None:
        assert number not in outcomes, f"message {number} has two outcomes"
        try:
            await client.publish("n", str(number), qos=qos_of(number), timeout=600)
        except MqttError as error:
            outcomes[number] = error
        else:
            outcomes[number] = None

    if one_by_one:
        for number in range(MESSAGES):
            await publish(number)
    else:
        async with asyncio.TaskGroup() as group:
            for number in range(MESSAGES):
                group.create_task(publish(number))
    return outcomes


def missed_a_new_session(broker: TestBroker) -> bool:
    """Whether nothing came from the publisher behind a CONNECT: it may not know of a new session.

    Then MQTT itself has a hole. The CONNACK without Session Present was lost, or never sent; the
    next one says Session Present, the publisher takes that for the session that the server has
    lost, and sends a QoS 2 message again that the server had got in that one.
    """
    links = Counter(packet.link for packet in broker.packets(client="writer", side="receives"))
    return 1 in links.values()


def check_published(
    broker: TestBroker, outcomes: dict[int, MqttError | None], *, unaware: bool
) -> None:
    published = Counter(int(message.payload) for message in broker.published("n"))
    assert set(published) <= set(outcomes)
    for number, error in outcomes.items():
        times, qos = published[number], qos_of(number)
        if error is None and qos:
            assert times, f"message {number} was acknowledged, and is lost"
        if error is not None and error.delivery == "not_sent":
            assert not times, f"message {number} was not sent ({error}), and came"
        if qos != 1 and not unaware:
            assert times <= 1, f"message {number} came {times} times to the server"


def check_received(
    received: Counter[int],
    outcomes: dict[int, MqttError | None],
    *,
    forgets: bool,
    unaware: bool,
) -> None:
    """Check what the subscriber got; a server that lost its sessions may lose what it had."""
    for number, error in outcomes.items():
        times, qos = received[number], qos_of(number)
        if error is None and qos and not forgets:
            assert times, f"message {number} did not come to the subscriber"
        if qos != 1 and not unaware:
            assert times <= 1, f"message {number} came {times} times to the subscriber"
