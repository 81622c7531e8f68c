"""Tell messages apart by the filter that their topic matches.

`+` stands for one level, `#` for the rest.

It prints:

    temperature in the kitchen: 21.5
    humidity: 0.38
    an alarm from cellar/water: "!"
    not asked for: garden/gnome
"""

import asyncio

from ferromqtt import Client, Message
from ferromqtt.testing import TestBroker


def handle(message: Message) -> None:
    text = message.payload.decode()
    if message.topic.matches("house/+/temperature"):
        room = message.topic.value.split("/")[1]
        print(f"temperature in the {room}: {text}")
    elif message.topic.matches("house/+/humidity"):
        print(f"humidity: {text}")
    elif message.topic.matches("alarms/#"):
        print(f'an alarm from {message.topic.value.removeprefix("alarms/")}: "{text}"')
    else:
        print("not asked for:", message.topic)


async def main() -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.subscribe("#")
        await client.publish("house/kitchen/temperature", 21.5)
        await client.publish("house/bathroom/humidity", 0.38)
        await client.publish("alarms/cellar/water", "!")
        await client.publish("garden/gnome")
        for _ in range(4):
            handle(await anext(client.messages))


asyncio.run(main())
