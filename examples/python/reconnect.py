"""Stay connected inside one block: the client connects again by itself.

Subscriptions come back, iterators go on, and a call waits while there is no connection, for as long
as its `timeout` says.

It prints:

    received: before the restart
    lost, the next attempt follows
    waiting for the broker
    received: after the restart
    the client has left
"""

import asyncio
import logging

from ferromqtt import Client, MqttTimeoutError, Reconnect
from ferromqtt.events import Disconnected
from ferromqtt.testing import TestBroker

logging.getLogger("ferromqtt").setLevel(logging.ERROR)  # below, the events tell of losses

SOON = Reconnect(min=0.05, max=1)  # seconds; the defaults are 1 and 60


async def watch(client: Client, lost: asyncio.Event) -> None:
    """Tell what happens to the connection."""
    async for event in client.events():
        match event:
            case Disconnected(retry_in=None):
                print("the client has left")
            case Disconnected() if not lost.is_set():  # else an attempt has failed
                print("lost, the next attempt follows")
                lost.set()
            case _:
                pass


async def listen(client: Client, received: asyncio.Queue[str]) -> None:
    async for message in client.messages:  # goes on after a loss
        received.put_nowait(message.payload.decode())


async def main() -> None:
    broker = TestBroker(listen=False)  # in memory
    received, lost = asyncio.Queue[str](), asyncio.Event()
    async with asyncio.TaskGroup() as tasks, Client(broker, reconnect=SOON) as client:
        tasks.create_task(watch(client, lost))
        listening = tasks.create_task(listen(client, received))
        await client.subscribe("news")
        await client.publish("news", "before the restart", qos=1)
        print("received:", await received.get())

        await broker.stop()
        await lost.wait()
        publishing = tasks.create_task(client.publish("news", "after the restart", qos=1))
        try:
            await client.wait_connected(timeout=0.1)
        except MqttTimeoutError:
            print("waiting for the broker")
        await broker.start()
        await publishing
        print("received:", await received.get())
        listening.cancel()


asyncio.run(main())
