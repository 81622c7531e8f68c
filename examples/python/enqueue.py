"""Accept messages while there is no connection, and learn later what became of each.

It prints:

    offline, and three readings are accepted
    reading 1: replaced, not_sent
    reading 2: replaced, not_sent
    reading 3: acknowledged by the server
    an old alarm: expired, not_sent
    the server has: 3
"""

import asyncio
import logging

from ferromqtt import Client, MqttDiscardedError, OutgoingQueue, Receipt, Reconnect
from ferromqtt.events import Disconnected
from ferromqtt.testing import TestBroker


async def outcome(receipt: Receipt) -> str:
    try:
        await receipt
    except MqttDiscardedError as error:
        return f"{error.outcome}, {error.delivery}"
    return "acknowledged by the server"


async def main() -> None:
    broker = TestBroker(listen=False)  # in memory
    queue = OutgoingQueue(maxsize=1_000, overflow="drop_oldest")
    again = Reconnect(min=0.5, max=0.5, jitter=0)
    async with Client(broker, reconnect=again, outgoing_queue=queue, logger=quiet()) as client:
        offline = asyncio.create_task(connection_lost(client))
        await asyncio.sleep(0)  # it listens
        await broker.stop()
        await offline

        alarm = await client.enqueue("alarm", "hot", qos=1, expires_in=0.1)
        readings = [
            await client.enqueue("level", number, qos=1, retain=True, keep="latest")
            for number in (1, 2, 3)
        ]
        print("offline, and three readings are accepted")
        await asyncio.sleep(0.2)
        await broker.start()

        for number, receipt in enumerate(readings, 1):
            print(f"reading {number}:", await outcome(receipt))
        print("an old alarm:", await outcome(alarm))

        await client.subscribe("level")
        message = await anext(client.messages)
        print("the server has:", message.payload.decode())


async def connection_lost(client: Client) -> None:
    async for event in client.events():
        if isinstance(event, Disconnected):
            break


def quiet() -> logging.Logger:
    """Return a logger that says nothing of the connection that is lost on purpose."""
    logger = logging.getLogger("quiet")
    logger.setLevel(logging.ERROR)
    return logger


asyncio.run(main())
