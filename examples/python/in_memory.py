"""Test a program against a broker in memory: no port, no Docker, nothing to wait for.

It prints:

    the sensor reported 28.4
    it found its session again, and "on" in it
"""

import asyncio

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def sensor(client: Client) -> str:
    """Report a level, and return the command that came: the program to be tested."""
    async with client:
        await client.subscribe("pump", qos=1)
        await client.publish("level", 28.4, qos=1, retain=True)
        async with asyncio.timeout(5):
            return (await anext(client.messages)).payload.decode()


async def main() -> None:
    broker = TestBroker(listen=False)  # ready, though no event loop need be running yet

    async with broker.client() as client:
        running = asyncio.create_task(sensor(Client(broker, identifier="s", clean_session=False)))
        await client.subscribe("level")
        level = (await anext(client.messages)).payload.decode()
        print("the sensor reported", level)
        running.cancel()  # it leaves, and the broker keeps its session
        await asyncio.wait([running])
        await client.publish("pump", "on", qos=1)

    command = await sensor(broker.client("s", clean_session=False))
    print(f'it found its session again, and "{command}" in it')


asyncio.run(main())
