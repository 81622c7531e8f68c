"""Messages that programs acknowledge, in random worlds: nothing is lost."""

import asyncio
import random

import pytest

from ferromqtt import Client, Message, MqttError, ProtocolVersion
from support.virtual import memory_broker, play
from test_acknowledging import KEPT, client_of, cut

V5 = ProtocolVersion.V5


class RandomWorld:
    """Workers that fail, forget, acknowledge late and begin again, on connections that are cut."""

    COUNT = 40

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.broker = memory_broker()
        self.done: set[bytes] = set()
        self.faults_end = 0.0

    @property
    def has_faults(self) -> bool:
        return asyncio.get_running_loop().time() < self.faults_end

    async def main(self) -> None:
        async with client_of(self.broker, **KEPT[V5]) as client:
            await client.subscribe("a", qos=2)
        self.faults_end = asyncio.get_running_loop().time() + 120
        working = asyncio.create_task(self.work())
        async with self.broker.client("publisher") as publisher:
            for number in range(self.COUNT):
                await publisher.publish("a", number, qos=1 + number % 2)
                await asyncio.sleep(self.chance.uniform(0, 6))
        async with asyncio.timeout(600):
            await working

    async def work(self) -> None:
        """Begin again and again, until all is done."""
        options = KEPT[V5] | {"reconnect": self.chance.random() < 0.5}
        while len(self.done) < self.COUNT:
            life = asyncio.timeout(self.chance.uniform(1, 20) if self.has_faults else 30)
            try:
                async with (
                    client_of(self.broker, **options) as client,
                    life,
                    asyncio.TaskGroup() as jobs,
                ):
                    async for message in client.messages:
                        jobs.create_task(self.process(client, message))
                        if self.chance.random() < 0.05 and self.has_faults:
                            cut(client)
            except* (MqttError, TimeoutError):
                pass  # it begins again

    async def process(self, client: Client, message: Message) -> None:
        await asyncio.sleep(self.chance.choice([0, 0, 0.1, 3]))
        fate = self.chance.random() if self.has_faults else 1.0
        if fate < 0.1:
            return  # it has failed, or was forgotten
        if fate < 0.2:
            cut(client)
        self.done.add(message.payload)
        if fate < 0.4:
            message.reject(151)
        else:
            message.ack()


@pytest.mark.parametrize("seed", range(30))
def test_in_random_worlds_nothing_that_was_not_acknowledged_is_lost(seed: int) -> None:
    world = RandomWorld(seed)
    play(world.main)
    assert world.done == {str(number).encode() for number in range(world.COUNT)}
