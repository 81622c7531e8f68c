"""Wait for a message for so long and no longer.

It prints:

    nothing came within 0.1 seconds
    then came: better late than never
"""

import asyncio

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def main() -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.subscribe("answers")
        try:
            async with asyncio.timeout(0.1):
                message = await anext(client.messages)
        except TimeoutError:
            print("nothing came within 0.1 seconds")

        # A message that comes in the very moment of the time-out stays in the queue.
        await client.publish("answers", "better late than never")
        async with asyncio.timeout(5):
            message = await anext(client.messages)
        print("then came:", message.payload.decode())


asyncio.run(main())
