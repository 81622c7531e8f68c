"""Ask and be answered, with the Response Topic and Correlation Data of MQTT 5.0.

It prints:

    6 * 7 = 42
    2 * 2 = 4
"""

import asyncio
import secrets

from ferromqtt import Client, PacketTypes, Properties, ProtocolVersion
from ferromqtt.testing import TestBroker


async def answer(client: Client) -> None:
    async for request in client.messages:
        asked = request.properties
        if asked is None or not hasattr(asked, "ResponseTopic"):
            continue  # no answer is wanted
        properties = Properties(PacketTypes.PUBLISH)
        if hasattr(asked, "CorrelationData"):
            properties.CorrelationData = asked.CorrelationData
        left, right = request.payload.split(b"*")
        await client.publish(asked.ResponseTopic, int(left) * int(right), properties=properties)


async def ask(client: Client, question: str) -> str:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "answers/asker-1"
    properties.CorrelationData = secrets.token_bytes(8)
    await client.publish("multiply", question, properties=properties)
    async with asyncio.timeout(5):
        while True:  # what answers another question, one that was given up, is passed over
            response = await anext(client.messages)
            told = getattr(response.properties, "CorrelationData", None)
            if told == properties.CorrelationData:
                return str(response.payload.decode())


async def main() -> None:
    async with (
        TestBroker() as broker,
        Client(broker.host, broker.port, protocol=ProtocolVersion.V5) as responder,
        Client(broker.host, broker.port, protocol=ProtocolVersion.V5) as asker,
    ):
        await responder.subscribe("multiply")
        await asker.subscribe("answers/asker-1")
        task = asyncio.create_task(answer(responder))
        for question in ("6 * 7", "2 * 2"):
            print(question, "=", await ask(asker, question))
        task.cancel()


asyncio.run(main())
