"""Messages that are not accepted, or that end without being sent."""

import asyncio
import copy
from collections.abc import Awaitable, Callable

from ferromqtt import Client, OutgoingQueue, Reconnect
from ferromqtt.testing import TestBroker
from support.loops import settle
from support.provocations.registry import CALLS, LOG, OPTIONS, Given, World, provokes


def bounds(part: str, **given: Given) -> None:
    @provokes(OPTIONS, part)
    async def refuse(_: World) -> None:
        OutgoingQueue(**given)


bounds("OutgoingQueue: {option}", maxsize=0)
bounds("OutgoingQueue: overflow", overflow="block")


def offline(part: str, call: Callable[[Client], Awaitable[object]], **queue: Given) -> None:
    """A client whose broker is gone, and whose queue holds a message."""

    @provokes(CALLS, part)
    async def fail(_: World) -> None:
        broker = TestBroker(listen=False)
        async with Client(
            broker,
            reconnect=Reconnect(min=100, max=100),
            outgoing_queue=OutgoingQueue(**{"maxsize": 1} | queue),
        ) as client:
            await broker.stop()
            await settle()
            first = client.publish_nowait("a", 1, 1, keep="latest")
            await call(client)
            await first


async def replace(client: Client) -> None:
    client.publish_nowait("a", 2, 1, keep="latest")


offline("A newer message", replace)
offline("The full outgoing queue", lambda it: it.enqueue("b", 2), overflow="drop_oldest")
offline(
    "Could not enqueue message: the outgoing queue is",
    lambda it: it.enqueue("b", 2),
    overflow="fail",
)
offline("had no capacity", lambda it: it.enqueue("b", 2, timeout=0.01))
offline("expires_in must be", lambda it: it.enqueue("b", 2, expires_in=0))
offline("keep must be", lambda it: it.enqueue("b", 2, keep="new"))  # type: ignore[arg-type]
offline("a topic and a payload", lambda it: it.publish_many([("a",)]))
offline("must have a topic.", lambda it: it.publish_many([{"payload": 1}]))
offline("a message has no {names}", lambda it: it.publish_many([{"topic": "a", "data": 1}]))


@provokes(CALLS, "are both given")
async def _(_: World) -> None:
    async with TestBroker(listen=False) as broker, Client(broker, protocol=5) as client:
        await client.enqueue("a", 1, expires_in=5, message_expiry_interval=3)


@provokes(CALLS, "ended before the packet was sent")
async def _(_: World) -> None:
    broker = TestBroker(listen=False)
    async with Client(broker, reconnect=Reconnect(min=100, max=100)) as client:
        await broker.stop()
        await settle()
        publishing = asyncio.ensure_future(client.publish("a", qos=1))
        await settle()
    await publishing


@provokes(CALLS, "request must be the Message")
async def _(_: World) -> None:
    await Client("localhost", protocol=5).respond(1, 2)  # type: ignore[arg-type]


@provokes(LOG, "a message of the outgoing queue")
async def _(_: World) -> None:
    broker = TestBroker(listen=False)
    async with Client(
        broker,
        reconnect=Reconnect(min=100, max=100),
        outgoing_queue=OutgoingQueue(maxsize=1, overflow="drop_oldest"),
    ) as client:
        await broker.stop()
        await settle()
        for payload in (1, 2):
            client.publish_nowait("a", payload, 1)  # and its receipt is dropped
        await settle()


@provokes(LOG, "messages that nobody waited for")
async def _(_: World) -> None:
    broker = TestBroker(listen=False)
    async with Client(broker, reconnect=Reconnect(min=100, max=100), timeout=0.01) as client:
        await broker.stop()
        await settle()
        client.publish_nowait("a", 1, 1)  # and its receipt is dropped


@provokes(CALLS, "A Receipt cannot be copied")
async def _(_: World) -> None:
    async with Client(TestBroker(listen=False)) as client:
        copy.copy(await client.enqueue("a"))
