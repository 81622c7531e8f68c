"""Exactly-once handlers without a key in random worlds, in memory and in virtual time.

`FERROMQTT_SEEDS=1000 FERROMQTT_FIRST_SEED=5000` plays others.
"""

import asyncio
import os
import random
import sqlite3
from collections import Counter

import pytest

from ferromqtt import Message, MqttError, Router, once
from ferromqtt.testing import PacketKind, TestBroker
from support.once import PERSISTENT
from support.virtual import memory_broker, play

FIRST = int(os.environ.get("FERROMQTT_FIRST_SEED", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("FERROMQTT_SEEDS", "40")))
STEPS = 40
SENT = [PacketKind.PUBLISH, PacketKind.PUBREL, PacketKind.CONNACK]
RECEIVED = [PacketKind.PUBREC, PacketKind.PUBCOMP]


class World:
    """A program that is stopped and started, its database, and a broker that loses things."""

    def __init__(self, seed: int, *, loses_sessions: bool) -> None:
        self.chance = random.Random(seed)
        self.loses_sessions = loses_sessions
        self.broker: TestBroker = memory_broker()
        self.db = sqlite3.connect(":memory:")
        self.db.execute("CREATE TABLE orders (number INTEGER)")
        self.store = once.sqlite(self.db)
        self.store.create()
        self.published = 0
        self._task: asyncio.Task[None] | None = None

    def router(self) -> Router:
        """Return a router whose handler takes its time, in which anything may happen."""
        router = Router()

        @router.exactly_once(
            "orders", store=self.store, key=None, qos=2, batch=self.chance.choice([1, 3, 100])
        )
        async def order(message: Message, db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO orders VALUES (?)", (int(message.payload),))
            await asyncio.sleep(self.chance.choice([0, 0, 0.1, 2]))

        return router

    async def start(self) -> None:
        """Start the program, unless it runs."""
        if self._task is not None and self._task.done():
            error = self._task.exception()
            assert isinstance(error, MqttError), error  # the first CONNACK was lost
            self._task = None
        if self._task is None:
            client = self.broker.client(**PERSISTENT, reconnect=True, timeout=5)
            self._task = asyncio.create_task(self.router().serve(client))

    async def kill(self) -> None:
        """End the program wherever it is: what it has not committed is rolled back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                assert isinstance(self._task.exception(), MqttError)
            self._task = None

    @property
    def has_subscribed(self) -> bool:
        """Whether the server has a session that gets messages."""
        found = self.broker.session("worker")
        return found is not None and found.subscriptions > 0

    async def publish(self, count: int) -> None:
        """Publish some messages, which the server keeps for the program."""
        for _ in range(count if self.has_subscribed else 0):
            await self.broker.publish("orders", str(self.published), qos=2)
            self.published += 1

    async def step(self) -> None:
        """Let something happen."""
        match self.chance.choice("pppppcklsssf" if self.loses_sessions else "pppppcklsss"):
            case "p":
                await self.publish(self.chance.randint(1, 5))
            case "c":
                self.broker.kill("worker")
            case "k":
                await self.kill()
                await self.start()
            case "l":
                sends = self.chance.random() < 0.5
                begin = self.broker.sends if sends else self.broker.receives
                begin(self.chance.choice(SENT if sends else RECEIVED)).optional().lose()
                await self.start()
            case "f":
                self.broker.forget_session("worker")
            case _:
                await asyncio.sleep(self.chance.choice([0.01, 0.2, 3]))
        await self.start()

    async def settle(self) -> None:
        """Let all that is published be handled, without further mishaps."""
        for _ in range(20):  # what was lost on the way comes again with another connection
            await self.start()
            await asyncio.sleep(20)
            found = self.broker.session("worker")  # None after a first connection that has failed
            if found and found.subscriptions and not found.in_flight + found.queued:
                return
            self.broker.kill("worker")
        raise AssertionError("messages are under way forever")

    def handled(self) -> Counter[int]:
        """Return how often each order was handled."""
        return Counter(number for (number,) in self.db.execute("SELECT number FROM orders"))

    @property
    def is_in_doubt(self) -> bool:
        """Whether a program has ended without an answer to its CONNECT, and no session since."""
        marked = "SELECT 1 FROM ferromqtt_handled WHERE message_key = 'connecting'"
        return self.db.execute(marked).fetchone() is not None

    async def close(self) -> None:
        """End it all."""
        await self.kill()
        self.db.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_each_message_is_handled_once_in_a_session_that_stays(seed: int) -> None:
    """MQTT-4.3.3-10."""

    async def main() -> None:
        world = World(seed, loses_sessions=False)
        await world.start()
        await asyncio.sleep(1)
        for _ in range(STEPS):
            await world.step()
        await world.settle()
        assert world.handled() == Counter(range(world.published))
        await world.close()

    play(main)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_lost_session_makes_a_message_come_twice_or_hides_one_of_the_next(seed: int) -> None:
    async def main() -> None:
        world = World(seed, loses_sessions=True)
        await world.start()
        await asyncio.sleep(1)
        for _ in range(STEPS):
            await world.step()
        await world.settle()
        before = world.published
        await world.publish(10)
        await world.settle()
        handled = world.handled()
        assert max(handled.values()) == 1
        # In doubt a message whose first copy was lost may be taken for an old one.
        assert set(range(before, before + 10)) <= set(handled) or world.is_in_doubt
        await world.close()

    play(main)
