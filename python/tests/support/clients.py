"""Small steps that many tests share."""

import asyncio
import uuid

import ferromqtt

LIMIT = 20.0
"""Seconds a test waits for something that takes milliseconds."""

PROTOCOLS = tuple(ferromqtt.ProtocolVersion)


def unique(prefix: str) -> str:
    """Return a topic or Client Identifier that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


async def receive(client: ferromqtt.Client) -> ferromqtt.Message:
    """Return the next message."""
    async with asyncio.timeout(LIMIT):
        return await anext(client.messages)


async def receive_many(client: ferromqtt.Client, count: int) -> list[ferromqtt.Message]:
    """Return the next `count` messages."""
    received: list[ferromqtt.Message] = []
    async with asyncio.timeout(LIMIT):
        while len(received) < count:
            received.append(await anext(client.messages))
    return received


async def wait_for_queued(client: ferromqtt.Client, count: int) -> None:
    """Return when this many messages are queued, unread."""
    async with asyncio.timeout(LIMIT * 2):
        while len(client.messages) < count:  # noqa: ASYNC110  only the length tells
            await asyncio.sleep(0.005)


async def receive_until(client: ferromqtt.Client, last: bytes) -> list[ferromqtt.Message]:
    """Return the messages before the one whose payload is `last`.

    Messages keep their order, so this shows that nothing else came, without waiting for nothing.
    """
    received: list[ferromqtt.Message] = []
    async with asyncio.timeout(LIMIT):
        async for message in client.messages:
            if message.payload == last:
                break
            received.append(message)
    return received
