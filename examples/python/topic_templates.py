"""Subscribe to a filter whose wildcards have names, and read the named levels of each topic.

It prints:

    subscribed to room/+/temp and log/#
    hall: 21.5
    cellar: 12
    log of db/slow: 3 s
"""

import asyncio
import sys

from ferromqtt import Client, TopicTemplate
from ferromqtt.testing import TestBroker

TEMPERATURE = TopicTemplate("room/{room}/temp")


async def main(host: str, port: int) -> None:
    async with (
        Client(host, port) as client,
        # A str with braces is a template too; {path#} stands for all levels that are left.
        client.subscription(TEMPERATURE, "log/{path#}", qos=1) as messages,
    ):
        print("subscribed to", " and ".join(topic for topic, _ in messages.results()))
        # The other way round: the template makes the topic.
        await client.publish(TEMPERATURE.topic(room="hall"), 21.5, qos=1)
        await client.publish(TEMPERATURE.topic(room="cellar"), 12, qos=1)
        await client.publish("log/db/slow", "3 s", qos=1)
        async for message in messages:
            text = message.payload.decode()
            if room := message.params.get("room"):
                print(f"{room}: {text}")
            else:
                print(f"log of {message.params['path']}: {text}")
                break


async def with_a_broker() -> None:
    async with TestBroker() as broker:
        await main(broker.host, broker.port)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
    else:
        asyncio.run(with_a_broker())
