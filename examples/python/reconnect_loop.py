"""Connect again, with growing pauses, whenever the connection ends.

The client keeps messages that it received and nobody took yet. It keeps nothing that could not be
sent: `publish` raises, and `error.delivery` says whether to publish again is safe.

It prints:

    received: before the restart
    lost: Disconnected during message iteration: the server closed the connection (127.0.0.1:PORT)
    publish without a connection: not_sent
    received: after the restart
"""

import asyncio
import random

from ferromqtt import Client, MqttError
from ferromqtt.testing import TestBroker

SHORTEST, LONGEST = 0.05, 5.0  # seconds; in earnest rather 1 and 60


async def listen(client: Client, received: asyncio.Queue[str], lost: asyncio.Event) -> None:
    pause = SHORTEST
    while True:
        try:
            async with client:  # the same client each time, with its queue of messages
                await client.subscribe("news")
                pause = SHORTEST
                async for message in client.messages:
                    received.put_nowait(message.payload.decode())
        except MqttError as error:
            if pause == SHORTEST:
                print("lost:", error)
            lost.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(2 * pause, LONGEST)


async def publish_and_wait(broker: TestBroker, text: str, received: asyncio.Queue[str]) -> None:
    async with Client(broker.host, broker.port) as client:
        await client.publish("news", text, retain=True)
        print("received:", await received.get())


async def main() -> None:
    received, lost = asyncio.Queue[str](), asyncio.Event()
    async with TestBroker() as broker:
        client = Client(broker.host, broker.port)
        listener = asyncio.create_task(listen(client, received, lost))
        await publish_and_wait(broker, "before the restart", received)
    await lost.wait()
    try:
        await client.publish("news", "while there is no broker", qos=1)
    except MqttError as error:
        print("publish without a connection:", error.delivery)
    async with TestBroker(port=broker.port) as broker:
        await publish_and_wait(broker, "after the restart", received)
        listener.cancel()
        await asyncio.wait([listener])


asyncio.run(main())
