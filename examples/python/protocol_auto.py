"""Speak MQTT 5.0 with the servers that know it, and 3.1.1 with the others.

It prints:

    3.1.1 alone: V311, hello
    5.0 too: V5, hello
"""

import asyncio

from ferromqtt import Client, ProtocolVersion
from ferromqtt.testing import TestBroker


async def publish_and_read(broker: TestBroker) -> str:
    async with (
        Client(broker.host, broker.port, protocol="auto") as client,
        client.subscription("letters", qos=1) as letters,
    ):
        await client.publish("letters", "hello", qos=1)
        letter = await anext(letters)
        return f"{client.protocol().name}, {letter.payload.decode()}"


async def main() -> None:
    async with TestBroker(refused_versions=[ProtocolVersion.V5]) as old, TestBroker() as new:
        print("3.1.1 alone:", await publish_and_read(old))
        print("5.0 too:", await publish_and_read(new))


asyncio.run(main())
