"""Where a world of requests is played."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from support.virtual import memory_broker, restart

if TYPE_CHECKING:
    from support.mosquitto import Mosquitto


class Ground(Protocol):
    """A broker. `pace` is what one second of a world takes here, in seconds of the loop."""

    pace: float
    patience: float
    """Seconds of the loop that a request may take which nothing disturbs."""

    @property
    def where(self) -> tuple[Any, ...]:
        """What leads a client to the broker."""

    async def restart(self) -> None:
        """Stop the broker, which loses its sessions, and start it again."""

    async def close(self) -> None:
        """End it."""


class MemoryGround:
    """The broker of the package in the world's own loop."""

    pace = 1.0
    patience = 60.0

    def __init__(self) -> None:
        self._broker = memory_broker()

    @property
    def where(self) -> tuple[Any, ...]:
        return (self._broker,)

    async def restart(self) -> None:
        await restart(self._broker)

    async def close(self) -> None:
        connections = self._broker.stats().connections
        assert not connections, f"the broker has {connections} connections left"
        await self._broker.stop()


class MosquittoGround:
    """A mosquitto of its own."""

    pace = 0.03
    patience = 20.0

    def __init__(self, mosquitto: Mosquitto) -> None:
        self._mosquitto = mosquitto

    @property
    def where(self) -> tuple[Any, ...]:
        return self._mosquitto.where

    async def restart(self) -> None:
        await asyncio.to_thread(self._mosquitto.stop, keep=False)
        await asyncio.to_thread(self._mosquitto.start)

    async def close(self) -> None:
        """Its own block stops it."""
