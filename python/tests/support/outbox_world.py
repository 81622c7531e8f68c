"""A random world of a program with an outbox, in virtual time: its lives on one folder.

A life ends with the client being left, or with the death of the program: nothing reaches the broker
any more, and the next life begins with the folder as it is on the disk at that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import shutil
import signal
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from ferromqtt import (
    Client,
    MqttError,
    MqttKeptError,
    MqttQuarantinedError,
    Outbox,
    OutboxStats,
    ProtocolVersion,
    Receipt,
    Reconnect,
)
from ferromqtt.testing import TestBroker
from support.chaos.cable import DOWN, UP, Cable, Fate
from support.chaos.ledger import Name
from support.chaos.seen import Seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TOPIC = "world"
SOON = Reconnect(min=0.05, max=0.2)
AT_LONGEST = 600.0
"""Seconds of virtual time in which everything that can be sent is sent."""


class Disk(Enum):
    """What a program that died leaves to the next one.

    Rightly, or wrongly in one way, to see that the checks find it: nothing, or what was there when
    the life began.
    """

    RIGHT = 0
    EMPTY = 1
    OLD = 2


@dataclass
class Accepted:
    """A message that was accepted."""

    qos: int
    is_stored: bool = False
    """A receipt has said so."""
    is_published: bool = False
    """Its receipt has said that the server has it."""
    is_quarantined: bool = False
    may_repeat: bool = False
    """It had not ended when a life ended whose disk was full.

    If its session was lost meanwhile, that it is in quarantine may not be on record, and the next
    life sends it again (`docs/design/0063-store-seam.md`).
    """


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow: a disk without space, as the system says it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def copy(source: Path, target: Path) -> None:
    """Copy what is in a folder at this moment, as a process that dies leaves it."""
    while source.is_dir():
        files = sorted(source.iterdir())
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        with contextlib.suppress(FileNotFoundError):
            for file in files:  # the newest last: of the others all is there then
                shutil.copyfile(file, target / file.name)
            if sorted(source.iterdir()) == files:
                return


def open_files() -> list[Path]:
    """Return what the descriptors of this process lead to."""
    files = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that reads the folder
            files.append(descriptor.readlink())
    return files


@contextlib.asynccontextmanager
async def entered(client: Client) -> AsyncIterator[None]:
    """Enter a client, and leave it, whatever becomes of its connection meanwhile."""
    await client.__aenter__()
    try:
        yield
    finally:
        with contextlib.suppress(MqttError):  # it was lost before all was written
            await client.__aexit__(None, None, None)


class OutboxWorld:
    """Plays the lives of one seed."""

    def __init__(self, seed: int, folder: Path, disk: Disk = Disk.RIGHT) -> None:
        self.chance = random.Random(f"outbox {seed}")
        self.disk = disk
        self.folder = folder
        self.version = self.chance.choice([ProtocolVersion.V311, ProtocolVersion.V5])
        self.loses_sessions = self.chance.random() < 0.4
        self.is_full_at_times = self.chance.random() < 0.3
        self.lives = 0
        self.was_full = False
        """In the present life."""
        self.messages: list[Accepted] = []
        self.problems: list[str] = []
        self.came: list[int] = []
        self.broker = TestBroker(listen=False)

    @property
    def outbox(self) -> Path:
        return self.folder / str(self.lives)

    async def play(self) -> list[str]:
        """Return what is wrong."""
        async with self.broker, self.broker.client("listener", protocol=5) as listener:
            await listener.subscribe(TOPIC, qos=2)
            hearing = asyncio.create_task(self._hear(listener))
            for _ in range(self.chance.randint(1, 4)):
                await self._live()
            stats = await self._live_to_the_end()
            await listener.publish(TOPIC, "end", qos=2)
            await hearing
        self._check(stats)
        return self.problems

    async def _hear(self, listener: Client) -> None:
        async for message in listener.messages:
            payload = bytes(message.payload)
            if payload == b"end":
                return
            self.came.append(Name.of(payload).number)

    def _cable(self, *fates: Fate) -> Cable:
        cable = Cable(Seen(lambda: 0), list(fates), 1.0)
        cable.to_memory(self.broker._ferromqtt_link)
        return cable

    def _fate(self) -> Fate:
        kind = self.chance.choices(
            ["carry", "cut", "silent", "slow", "refuse", "refused", "hang"], [5, 5, 1, 1, 2, 2, 1]
        )[0]
        most = 2_000 if kind == "slow" else 400
        return Fate(kind, self.chance.choice([UP, DOWN]), self.chance.randint(1, most))

    def _client(self, cable: Cable) -> Client:
        most = self.chance.choice([None, 1, 2, 5])
        return Client(
            cable,
            identifier="program",
            protocol=self.version,
            reconnect=SOON,
            keepalive=10,
            timeout=2,
            outbox=Outbox(self.outbox),
            max_inflight_messages=most,
        )

    async def _live(self) -> None:
        before = self.folder / "before"
        if self.disk is Disk.OLD:
            shutil.rmtree(before, ignore_errors=True)
            copy(self.outbox, before)
        cable = self._cable(*(self._fate() for _ in range(self.chance.randint(0, 6))))
        receipts: dict[int, Receipt] = {}
        dies = self.chance.random() < 0.6
        self.was_full = False
        client = self._client(cable)
        async with entered(client):
            for _ in range(self.chance.randint(5, 45)):
                await self._step(client, cable, receipts)
            if dies:
                cable.go_down()
                await self._listen_to(receipts, alive=True)
                self.lives += 1
                left = self.folder / str(self.lives - 1)
                if self.disk is not Disk.EMPTY:
                    copy(left if self.disk is Disk.RIGHT else before, self.outbox)
            elif self.chance.random() < 0.5:
                await client.drain(self.chance.uniform(0, 5))
        await self._listen_to(receipts, counts=not dies)
        if self.was_full:
            self._forget_verdicts()
        await cable.close()

    async def _step(self, client: Client, cable: Cable, receipts: dict[int, Receipt]) -> None:
        chance = self.chance
        match chance.randrange(14):
            case 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7:
                await self._enqueue(client, receipts)
            case 8:
                await self._wait_until_stored(receipts)
            case 9:
                cable.cut()
            case 10 if self.loses_sessions:
                await self._forget(cable)
            case 11:
                cable.go_down()
                await asyncio.sleep(chance.uniform(0, 1))
                cable.come_up()
            case 12 if self.is_full_at_times:
                self.was_full = True
                with full_disk():
                    for _ in range(chance.randint(0, 3)):
                        await self._enqueue(client, receipts)
                    await asyncio.sleep(chance.uniform(0, 3))
            case _:
                await asyncio.sleep(chance.uniform(0, 0.3))

    async def _forget(self, cable: Cable) -> None:
        """Have the broker lose the session: another client begins one, which ends with it."""
        cable.go_down()
        async with self.broker.client("program", clean_session=True):
            pass
        cable.come_up()

    async def _enqueue(self, client: Client, receipts: dict[int, Receipt]) -> None:
        number = len(self.messages)
        message = Accepted(self.chance.randrange(3))
        payload = Name("program", TOPIC, message.qos, number).payload(self.chance.randrange(100))
        with contextlib.suppress(MqttError):  # the disk is full
            receipts[number] = await client.enqueue(TOPIC, payload, message.qos, timeout=1)
        self.messages.append(message)

    async def _wait_until_stored(self, receipts: dict[int, Receipt]) -> None:
        for number, receipt in receipts.items():
            with contextlib.suppress(MqttError):
                await receipt.stored()
                if not receipt.done():
                    self.messages[number].is_stored = True

    async def _listen_to(
        self, receipts: dict[int, Receipt], *, alive: bool = False, counts: bool = True
    ) -> None:
        """Take the outcomes: those that there are while it is `alive`, or all.

        Without `counts`, the program has died before it got them.
        """
        for number, receipt in receipts.items():
            if alive and not receipt.done():
                continue
            message = self.messages[number]
            try:
                async with asyncio.timeout(AT_LONGEST):
                    await receipt
            except MqttQuarantinedError:
                message.is_quarantined |= counts
            except MqttKeptError:
                message.is_stored |= counts
            except TimeoutError:
                self.problems.append(f"{number} has no outcome")
            except MqttError as error:
                if counts and message.is_stored:
                    self.problems.append(f"{number} was stored, and ends with {error!r}")
            else:
                message.is_published |= counts

    def _forget_verdicts(self) -> None:
        for message in self.messages:
            message.may_repeat |= not message.is_published
            message.is_quarantined = False

    async def _live_to_the_end(self) -> OutboxStats | None:
        cable = self._cable()
        async with self._client(cable) as client:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AT_LONGEST):
                    while (stats := client.outbox_stats()) is None or (  # noqa: ASYNC110
                        stats.messages > stats.quarantined
                    ):
                        await asyncio.sleep(0.01)
            stats = client.outbox_stats()
        await cable.close()
        return stats

    def _check(self, stats: OutboxStats | None) -> None:
        if stats is None or stats.messages != stats.quarantined:
            self.problems.append(f"not everything is sent: {stats}")
            return
        times = Counter(self.came)
        uncertain = 0
        for number, message in enumerate(self.messages):
            came = times[number]
            must_come = message.is_stored or message.is_published
            match message.qos:
                case 0:
                    is_right = came <= 1
                case 1:
                    is_right = came > 0 or not must_come
                case _:
                    is_right = came > 0 or not message.is_published
                    is_lost = came == 0 and message.is_stored
                    is_repeated = came > 1 and not message.may_repeat
                    uncertain += is_lost or is_repeated or message.is_quarantined
            if not is_right:
                self.problems.append(f"{number} came {came} times: {message}")
        if uncertain > stats.quarantined:
            text = f"{uncertain} are lost, repeated or uncertain, {stats.quarantined} in quarantine"
            self.problems.append(text)
            self.problems += [f"{it}: {times[it]}, {of}" for it, of in enumerate(self.messages)]
        ended = stats.finished + stats.refused + stats.expired + stats.dropped
        ended += stats.replaced + stats.requeued + stats.damaged
        if stats.accepted != ended + stats.messages:
            self.problems.append(f"not each has one end: {stats}")
        left = [it for it in open_files() if it.is_relative_to(self.folder)]
        if left:
            self.problems.append(f"descriptors that are left: {left}")
