"""Many messages at once, and a bound on everything that could grow.

It prints:

    1000 messages published, 10 calls at a time
    5 were accepted, 2 were not: [code:15] Message queue full.
    log: Message queue is full. Discarding message.
    log: Message queue is full. Discarding message. (2 times so far)
    3 of 5 received messages were kept: 0, 1, 2
"""

import asyncio
import logging
import sys

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def publish_in_turn(host: str, port: int) -> None:
    async with Client(host, port, max_concurrent_outgoing_calls=10) as client:
        await asyncio.gather(*(client.publish("news", number, qos=1) for number in range(1000)))
    print("1000 messages published, 10 calls at a time")


async def refuse_what_is_too_much(host: str, port: int) -> None:
    async with Client(host, port, max_queued_outgoing_messages=5) as client:
        calls = [client.publish("news", number, qos=1) for number in range(7)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [error for error in results if error is not None]
    print(f"{results.count(None)} were accepted, {len(errors)} were not: {errors[0]}")


async def drop_what_nobody_takes(host: str, port: int) -> None:
    async with Client(host, port, max_queued_incoming_messages=3) as client:
        await client.subscribe("news")
        for number in range(5):
            await client.publish("news", number)
        await client.unsubscribe("news")  # once it is answered, what was published before has come
        kept = [await anext(client.messages) for _ in range(len(client.messages))]
    texts = ", ".join(message.payload.decode() for message in kept)
    print(f"{len(kept)} of 5 received messages were kept: {texts}")


async def main() -> None:
    logging.basicConfig(stream=sys.stdout, format="log: %(message)s")
    async with TestBroker() as broker:
        await publish_in_turn(broker.host, broker.port)
        await refuse_what_is_too_much(broker.host, broker.port)
        await drop_what_nobody_takes(broker.host, broker.port)


asyncio.run(main())
