"""Publish a message: connect, publish, leave.

It prints:

    published, and disconnected once all was written
"""

import asyncio

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def main() -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.publish("temperature/outside", payload=28.4)
    print("published, and disconnected once all was written")


asyncio.run(main())
