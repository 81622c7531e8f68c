"""Outboxes that cannot be opened, and messages that they keep or refuse."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from ferromqtt import Client, Outbox, OutgoingQueue, Reconnect
from ferromqtt.testing import PUBLISH, TestBroker
from support.provocations.registry import OUTBOX, Given, World, provokes


def wrong(part: str, **given: Given) -> None:
    @provokes(OUTBOX, part)
    async def refuse(_: World) -> None:
        Outbox("outbox", **given)


wrong("seconds, and finite", max_age=0)
wrong("sync must be", sync="often")


@provokes(OUTBOX, "path must not be empty")
async def give_no_path(_: World) -> None:
    Outbox("")


@provokes(OUTBOX, "are both given")
async def give_two_queues(_: World) -> None:
    Client("broker", outbox=Outbox("outbox"), outgoing_queue=OutgoingQueue())


@contextlib.asynccontextmanager
async def client_of(world: World, name: str, **options: Given) -> AsyncIterator[Client]:
    """Give a client with an outbox of its own, whose server refuses one topic."""
    async with TestBroker(listen=False) as broker:
        broker.receives(PUBLISH, topic="refused").refuse(0x87).optional()
        outbox = Outbox(world.file(f"outbox-{name}"))
        given: dict[str, Given] = {"protocol": 5, "outbox": outbox} | options
        async with Client(broker, **given) as client:
            yield client


@provokes(OUTBOX, "in use by")
async def open_twice(world: World) -> None:
    async with client_of(world, "twice"), client_of(world, "twice"):
        pass


@provokes(OUTBOX, "holds the session of")
async def open_as_another(world: World) -> None:
    for name in ("one", "another"):
        async with client_of(world, "other", identifier=name):
            pass


@provokes(OUTBOX, "Another client has had")
async def enter_behind_another(world: World) -> None:
    async with TestBroker(listen=False) as broker:
        outbox = Outbox(world.file("outbox-again"))
        client, other = (Client(broker, protocol=5, outbox=outbox) for _ in range(2))
        for it in (client, other, client):
            async with it:
                await (await it.enqueue("a", "x", 1))


@provokes(OUTBOX, "who may write to the folder")
async def open_a_file(world: World) -> None:
    await asyncio.to_thread(Path(world.file("outbox-file")).touch)
    async with client_of(world, "file"):
        pass


def call(part: str, make: Callable[[Client], Awaitable[object]], **options: Given) -> None:
    @provokes(OUTBOX, part)
    async def fail(world: World) -> None:
        async with client_of(world, str(len(part)), **options) as client:
            await make(client)


async def refused(client: Client) -> None:
    await (await client.enqueue("refused", "x", 1))


async def stored_nowhere(client: Client) -> None:
    await (await client.enqueue("a", "x", 1)).stored()


call("QoS 2 needs a session", lambda it: it.enqueue("a", "x", 2), clean_start=True)
call("kept in the quarantine", refused)
call("Nothing is stored", stored_nowhere, outbox=None)


@provokes(OUTBOX, "the outbox keeps it")
async def leave_first(world: World) -> None:
    async with TestBroker(listen=False) as broker:
        pass
    patient = Reconnect(min=100, max=100)
    outbox = Outbox(world.file("outbox-kept"))
    async with Client(broker, reconnect=patient, outbox=outbox) as client:
        receipt = await client.enqueue("a", "x", 1)
    await receipt
