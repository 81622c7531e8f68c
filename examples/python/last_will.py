"""A will: the message that the server publishes when a client is lost.

It prints:

    station: online
    the station fails: the roof is gone
    station: lost
    station: online
    station: offline
"""

import asyncio

from ferromqtt import Client, Will
from ferromqtt.testing import TestBroker


async def next_status(watcher: Client) -> None:
    message = await anext(watcher.messages)
    print(f"{message.topic}: {message.payload.decode()}")


async def read_sensor() -> float:
    raise OSError("the roof is gone")


async def main() -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as watcher:
        await watcher.subscribe("station")
        # Without `will_on_error` only a broken connection publishes the will, not an exception.
        will = Will("station", "lost", retain=True)
        station = Client(broker.host, broker.port, will=will, will_on_error=True)
        try:
            async with station:
                await station.publish("station", "online", retain=True)
                await next_status(watcher)
                await read_sensor()
        except OSError as error:
            print("the station fails:", error)
        await next_status(watcher)

        async with station:
            await station.publish("station", "online", retain=True)
            await next_status(watcher)
            await station.publish("station", "offline", retain=True)  # no will: this is goodbye
        await next_status(watcher)


asyncio.run(main())
