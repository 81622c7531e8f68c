"""Random programs with subscriptions: nothing is lost, no QoS 2 message comes twice."""

import asyncio
import random

import pytest

from ferromqtt import Client, MqttError, ProtocolVersion, Reconnect, SubscriptionMessages
from ferromqtt._internals import internals_of
from ferromqtt.testing import TestBroker
from support.loops import settle
from support.virtual import memory_broker, play

SEEDS = 40
MESSAGES = 40
KEEPING = {"clean_start": False, "properties": {"SessionExpiryInterval": 3600}}


class Play:
    """One client that reads, one that publishes, and faults between them, drawn from one seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.published: dict[int, list[int]] = {1: [], 2: []}
        self.received: dict[int, list[int]] = {1: [], 2: []}

    async def run(self) -> None:
        broker = memory_broker()
        soon = Reconnect(min=0.1, max=1)
        client = Client(
            broker, identifier="c", protocol=ProtocolVersion.V5, reconnect=soon, **KEEPING
        )
        bound = self.chance.choice([1, 2, 5, 1000])
        async with (
            client.subscription("a/#", qos=2, maxsize=bound) as messages,
            client,
            broker.client("other") as other,
        ):
            await client.publish("ready", qos=1)  # the subscription is made
            readers = [asyncio.create_task(self.read(messages)) for _ in range(2)]
            await asyncio.gather(
                self.publish(other), self.break_off(client), self.come_and_go(client)
            )
            await asyncio.sleep(120)
            for reader in readers:
                reader.cancel()
            await asyncio.wait(readers)
            assert messages.take_lost() == 0
            assert len(messages) == 0
            self.check(broker)

    def check(self, broker: TestBroker) -> None:
        assert sorted(self.received[2]) == self.published[2], "each comes once"
        assert sorted(set(self.received[1])) == self.published[1], "each comes"
        session = broker.session("c")
        assert session is not None
        assert (session.in_flight, session.queued) == (0, 0)

    async def publish(self, other: Client) -> None:
        for number in range(MESSAGES):
            qos = self.chance.choice([1, 2])
            await other.publish("a/b", f"{qos} {number}", qos=qos)
            self.published[qos].append(number)
            if self.chance.random() < 0.3:
                await asyncio.sleep(self.chance.random())

    async def read(self, messages: SubscriptionMessages) -> None:
        """Take messages at any pace; some steps are cancelled."""
        while True:
            limit = self.chance.choice([None, 0.01, 0.5])
            try:
                async with asyncio.timeout(limit):
                    message = await anext(messages)
            except TimeoutError:
                continue
            qos, number = map(int, message.payload.split())
            self.received[qos].append(number)
            if self.chance.random() < 0.4:
                await asyncio.sleep(self.chance.choice([0, 0.1, 3]))

    async def break_off(self, client: Client) -> None:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(self.chance.random() * 5)
            internals_of(client).core.cut()
            await settle()

    async def come_and_go(self, client: Client) -> None:
        """Open further subscriptions that match the same messages, and leave them."""
        for _ in range(self.chance.randrange(5)):
            await asyncio.sleep(self.chance.random() * 2)
            overflow = self.chance.choice(["wait", "drop_oldest", "drop_newest", "fail"])
            patience = self.chance.choice([None, 0.001, 1])
            try:
                async with (
                    asyncio.timeout(patience),
                    client.subscription(
                        "other/#", "a/+", qos=1, maxsize=2, overflow=overflow
                    ) as messages,
                ):
                    async with asyncio.timeout(2):
                        async for _message in messages:
                            await asyncio.sleep(0.1)
            except (TimeoutError, MqttError):
                pass


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_program_loses_nothing(seed: int) -> None:
    play(Play(seed).run)
