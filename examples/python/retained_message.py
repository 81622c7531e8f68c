"""A retained message: the server keeps the last one of a topic for later subscribers.

It prints:

    kept by the server: on
    nothing is kept any more: the first message is 'fresh'
"""

import asyncio

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def first_message(host: str, port: int, publish: str | None = None) -> tuple[bool, str]:
    """Subscribe anew, and return the first message that comes, and whether it was kept."""
    async with Client(host, port) as client:
        await client.subscribe("pump/state", qos=1)
        if publish is not None:
            await client.publish("pump/state", publish, qos=1)
        message = await anext(client.messages)
        return message.retain, message.payload.decode()


async def main() -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as pump:
        await pump.publish("pump/state", "off", qos=1, retain=True)
        await pump.publish("pump/state", "on", qos=1, retain=True)  # takes the place of "off"
        kept, state = await first_message(broker.host, broker.port)
        if kept:
            print("kept by the server:", state)

        await pump.publish("pump/state", None, qos=1, retain=True)  # an empty payload takes it away
        kept, state = await first_message(broker.host, broker.port, publish="fresh")
        if not kept:
            print(f"nothing is kept any more: the first message is {state!r}")


asyncio.run(main())
