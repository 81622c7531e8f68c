"""Two subscriptions, each with a queue and a loop of its own.

The slow one makes the server wait and loses nothing; the other one keeps the latest three messages.

It prints:

    every order: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
    latest prices: 7, 8, 9
    7 prices were dropped
"""

import asyncio
import logging
import sys

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def work_on_orders(client: Client, ready: asyncio.Event) -> list[str]:
    done: list[str] = []
    # "wait" is the default: two orders are acknowledged before they are taken. The server sends
    # some more, as many as its window has, and keeps the others.
    async with client.subscription("orders/#", qos=1, maxsize=2) as orders:
        ready.set()
        async for order in orders:
            await asyncio.sleep(0.01)
            done.append(order.payload.decode())
            if len(done) == 10:
                break
    return done


async def main(host: str, port: int) -> None:
    logging.getLogger("ferromqtt").setLevel(logging.ERROR)  # a warning says that prices are lost
    async with (
        Client(host, port) as client,
        client.subscription("prices", qos=1, maxsize=3, overflow="drop_oldest") as prices,
    ):
        ready = asyncio.Event()
        orders = asyncio.create_task(work_on_orders(client, ready))
        await ready.wait()
        for number in range(10):
            await client.publish("orders/new", number, qos=1)
            await client.publish("prices", number, qos=1)
        print("every order:", ", ".join(await orders))
        latest = [(await anext(prices)).payload.decode() for _ in range(len(prices))]
        print("latest prices:", ", ".join(latest))
        print(prices.take_lost(), "prices were dropped")


async def with_a_broker() -> None:
    async with TestBroker() as broker:
        await main(broker.host, broker.port)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
    else:
        asyncio.run(with_a_broker())
