"""Quality of Service: what is certain when `await client.publish(...)` returns.

It prints:

    the server granted: Granted QoS 2
    QoS 0: written to the connection
    QoS 1: acknowledged by the server, perhaps delivered twice
    QoS 2: acknowledged by the server, delivered once
    received at QoS 0: hello
    received at QoS 1: hello
    received at QoS 2: hello
"""

import asyncio

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def main() -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        # A message comes at the lower of two levels: the publisher's, and the subscription's.
        granted = await client.subscribe("greetings", qos=2)
        print("the server granted:", granted[0])

        await client.publish("greetings", "hello", qos=0)
        print("QoS 0: written to the connection")
        await client.publish("greetings", "hello", qos=1)
        print("QoS 1: acknowledged by the server, perhaps delivered twice")
        await client.publish("greetings", "hello", qos=2)
        print("QoS 2: acknowledged by the server, delivered once")

        for _ in range(3):
            message = await anext(client.messages)
            print(f"received at QoS {message.qos}: {message.payload.decode()}")


asyncio.run(main())
