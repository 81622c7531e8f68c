"""One connection for the whole program: enter the client once, and hand it to whoever needs it.

It prints:

    2 sensors published 6 readings over one connection
    3 readings of temperature, 3 of humidity
"""

import asyncio
from collections import Counter

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def run_sensor(client: Client, topic: str, readings: list[float]) -> None:
    for reading in readings:
        await client.publish(topic, reading, qos=1)


async def main() -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.subscribe([("temperature", 1), ("humidity", 1)])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_sensor(client, "temperature", [28.4, 28.5, 28.3]))
            tasks.create_task(run_sensor(client, "humidity", [0.38, 0.37, 0.39]))
        print("2 sensors published 6 readings over one connection")
        counts = Counter([(await anext(client.messages)).topic.value for _ in range(6)])
    print(counts["temperature"], "readings of temperature,", counts["humidity"], "of humidity")


asyncio.run(main())
