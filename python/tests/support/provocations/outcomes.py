"""Messages that are not accepted, or that end without being sent."""

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
