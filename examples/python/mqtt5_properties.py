"""Send properties of MQTT 5.0 as plain keywords, and read them as plain attributes.

It prints:

    the server takes QoS 2
    21.5 is text/plain, for 60 s, from [('room', 'kitchen')]
    the answer to b'question 1' goes to answers
"""

import asyncio

from ferromqtt import Client, Will
from ferromqtt.testing import TestBroker


async def main() -> None:
    will = Will("status", "gone", content_type="text/plain", will_delay_interval=30)
    async with (
        TestBroker() as broker,
        Client(
            broker.host, broker.port, protocol=5, will=will, session_expiry_interval=3600
        ) as client,
    ):
        if client.connack is not None:
            print("the server takes QoS", client.connack.limits.max_qos)
        await client.subscribe(["temperature", "questions"], subscription_identifier=7)
        await client.publish(
            "temperature",
            21.5,
            content_type="text/plain",
            message_expiry_interval=60,
            user_properties={"room": "kitchen"},
        )
        message = await anext(client.messages)
        seconds, pairs = message.message_expiry_interval, message.user_properties
        print(
            f"{message.payload.decode()} is {message.content_type}, for {seconds} s, from {pairs}"
        )

        await client.publish(
            "questions", "?", response_topic="answers", correlation_data=b"question 1"
        )
        question = await anext(client.messages)
        print("the answer to", question.correlation_data, "goes to", question.response_topic)


asyncio.run(main())
