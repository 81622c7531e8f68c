"""Clients that queue messages for a broker that is away, and one that listens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from ferromqtt import Client, ProtocolVersion, Reconnect
from ferromqtt.testing import TestBroker
from support.virtual import stop

V5 = ProtocolVersion.V5

LATER = Reconnect(min=2.1, max=2.1, jitter=0)
SOONER = Reconnect(min=0.15, max=0.15, jitter=0)
"""A listener is back before a client publishes what it has queued: see the times in the tests."""


def client_of(broker: TestBroker, **options: Any) -> Client:  # noqa: ANN401 - the client's
    given: dict[str, Any] = {"identifier": "c", "protocol": V5, "reconnect": LATER}
    return Client(broker, **given | options)


@contextlib.asynccontextmanager
async def listening(broker: TestBroker) -> AsyncIterator[list[tuple[str, bytes]]]:
    """Give the messages that come to the broker."""
    received: list[tuple[str, bytes]] = []
    async with Client(broker, identifier="l", protocol=V5, reconnect=SOONER) as listener:
        await listener.subscribe("#", qos=2)

        async def listen() -> None:
            async for message in listener.messages:
                received.append((message.topic.value, bytes(message.payload)))  # noqa: PERF401

        task = asyncio.create_task(listen())
        yield received
        await asyncio.sleep(5)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def offline(broker: TestBroker, client: Client) -> None:
    """Wait until the client has noticed that the broker is gone."""
    await stop(broker)
    assert client.state().value == "reconnecting"
