"""Connect, publish, share the connection, and get what was missed while offline.

Runs on the built-in broker, or on your own: BROKER=mqtt://host:port python quickstart.py
BROKER is host, host:port, or a URL, which may have credentials: mqtt://user:password@host:port
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from functools import partial

from ferromqtt import Client
from ferromqtt.testing import TestBroker

STATION = "ferromqtt-quickstart"


async def publish_temperature(client: Client) -> None:
    await client.publish("quickstart/temperature/outside", payload=28.4, qos=1)
    print("  one task published 28.4 degrees, and the broker acknowledged it")


async def publish_humidity(client: Client) -> None:
    await client.publish("quickstart/humidity/inside", payload=0.38, qos=1)
    print("  another task published 0.38 humidity over the same connection")


async def share_the_connection(connect: partial[Client]) -> None:
    print("2. Two tasks share one client while a third listens:")
    async with connect() as client:
        await client.subscribe("quickstart/#")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publish_temperature(client))
            tasks.create_task(publish_humidity(client))
        received = 0
        async for message in client.messages:
            print(f"  received {message.topic}: {message.payload.decode()}")
            received += 1
            if received == 2:
                break


async def miss_nothing(connect: partial[Client]) -> None:
    print("3. A client with a persistent session subscribes at QoS 1 and goes offline.")
    station = connect(identifier=STATION, clean_session=False)
    async with station:
        await station.subscribe("quickstart/alarms", qos=1)
    print("4. Meanwhile somebody publishes three alarms.")
    async with connect() as somebody:
        for number in (1, 2, 3):
            await somebody.publish("quickstart/alarms", f"alarm {number}", qos=1)
    print("5. The client comes back and gets what it missed:")
    async with station:
        for _ in range(3):
            message = await anext(station.messages)
            print(f"  received {message.topic}: {message.payload.decode()}")
    async with connect(identifier=STATION):  # clean: the broker forgets the session
        pass


async def main() -> None:
    async with AsyncExitStack() as stack:
        if "BROKER" in os.environ:
            connect = partial(Client.from_url, os.environ["BROKER"])
            connect()  # raises ValueError for a URL that cannot be read
            print(f"Your broker is {os.environ['BROKER'].rpartition('@')[2]}.")
        else:
            broker = await stack.enter_async_context(TestBroker())
            print(f"A test broker runs at {broker.url}.")
            connect = partial(Client, broker.host, broker.port)
        async with asyncio.timeout(30):
            async with connect() as client:
                await client.publish("quickstart/hello", "Hello, MQTT!")
            print("1. Connected, published one message, and disconnected.")
            await share_the_connection(connect)
            await miss_nothing(connect)
    print("Done: every message arrived.")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ValueError as error:
        sys.exit(f"BROKER: {error}")
