"""Where a world is played: in memory and virtual time, or on mosquitto."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ferromqtt import Client
from ferromqtt.testing import TestBroker

from .cable import Cable, Fate

if TYPE_CHECKING:
    from support.mosquitto import Mosquitto

    from .seen import Seen

KICKED = 0x98
"""Administrative action: of what a server tells a client that it sends away."""


class Ground(ABC):
    """A broker, and the cables to it.

    Attributes:
        pace: What one second of a world takes here, in seconds of the loop.
        leisure: The same for the time limits of clients: where time is real, a busy machine must be
            able to connect.
        limit: Seconds of the loop in which a world has ended.
    """

    name: str
    pace: float
    leisure: float
    limit: float

    def __init__(self) -> None:
        self.cables: dict[str, Cable] = {}

    @property
    @abstractmethod
    def where(self) -> tuple[Any, ...]:
        """What leads a client to the broker without a cable."""

    @abstractmethod
    async def lay(self, name: str, seen: Seen, fates: list[Fate]) -> Cable:
        """Lay the cable of a client."""

    @abstractmethod
    async def stop_broker(self, *, keep: bool) -> None:
        """Stop the broker; it is to `keep` its sessions."""

    @abstractmethod
    async def start_broker(self) -> None:
        """Start it again."""

    async def restart(self, *, keep: bool, pause: float) -> None:
        """Stop the broker, and start it again after a pause."""
        for cable in self.cables.values():
            cable.go_down()
            if not keep:
                cable.seen.lose()
        await self.stop_broker(keep=keep)
        await asyncio.sleep(pause * self.pace)
        await self.start_broker()
        for cable in self.cables.values():
            cable.come_up()

    async def forget(self, name: str, *, cut: bool) -> None:
        """Let the broker lose a client's session, by which another client takes its place."""
        cable = self.cables[name]
        if cut:
            cable.go_down()
        cable.seen.lose()
        async with Client(*self.where, identifier=name, clean_session=True, timeout=10):
            cable.seen.lose()  # what was subscribed meanwhile is gone, too
        cable.come_up()

    def kick(self, name: str) -> None:
        """Send a client away."""
        self.cables[name].cut(reset=False)

    def heal(self) -> None:
        """Let all go well from now on."""
        for cable in self.cables.values():
            cable.heal()

    async def close(self) -> None:
        """End everything."""
        for cable in self.cables.values():
            await cable.close()


class MemoryGround(Ground):
    """The broker of the package in the world's own loop."""

    name = "the broker in memory"
    pace = leisure = 1.0
    limit = 2_000.0

    def __init__(self) -> None:
        super().__init__()
        self.broker = TestBroker(listen=False)
        self._is_stopped = False

    @property
    def where(self) -> tuple[Any, ...]:
        return (self.broker,)

    async def lay(self, name: str, seen: Seen, fates: list[Fate]) -> Cable:
        cable = self.cables[name] = Cable(seen, fates, self.pace)
        cable.to_memory(self.broker._ferromqtt_link)
        return cable

    async def stop_broker(self, *, keep: bool) -> None:
        # What a stop forgets cannot be kept, so a broker that keeps its sessions goes on unseen.
        if not keep:
            await self.broker.stop()
            self._is_stopped = True

    async def start_broker(self) -> None:
        if self._is_stopped:
            await self.broker.start()
            self._is_stopped = False

    def kick(self, name: str) -> None:
        self.broker.disconnect_client(name, KICKED)

    async def close(self) -> None:
        await super().close()
        connections = self.broker.stats().connections
        assert not connections, f"the broker has {connections} connections left"
        await self.broker.stop()


class MosquittoGround(Ground):
    """A mosquitto of its own, which writes its sessions to a file when it is stopped."""

    name = "mosquitto"
    pace = 0.03
    leisure = 0.5
    limit = 45.0

    def __init__(self, mosquitto: Mosquitto) -> None:
        super().__init__()
        self._mosquitto = mosquitto

    @property
    def where(self) -> tuple[Any, ...]:
        return self._mosquitto.where

    async def lay(self, name: str, seen: Seen, fates: list[Fate]) -> Cable:
        cable = self.cables[name] = Cable(seen, fates, self.pace)
        await cable.to_socket(*self._mosquitto.where)
        return cable

    async def stop_broker(self, *, keep: bool) -> None:
        await asyncio.to_thread(self._mosquitto.stop, keep=keep)

    async def start_broker(self) -> None:
        await asyncio.to_thread(self._mosquitto.start)
