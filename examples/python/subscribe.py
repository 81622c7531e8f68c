"""Subscribe to one filter, or to several in one call; read the server's answer; unsubscribe.

It prints:

    temperature/#: Granted QoS 1
    humidity/+: Granted QoS 0
    secrets/#: refused, Unspecified error
    temperature/outside 28.4
    humidity/inside 0.38
"""

import asyncio

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def main() -> None:
    broker = TestBroker(deny_subscribe=["secrets/#"])
    async with broker, Client(broker.host, broker.port) as client:
        (code,) = await client.subscribe("temperature/#", qos=1)
        print(f"temperature/#: {code}")

        filters = [("humidity/+", 0), ("secrets/#", 0)]
        for (wanted, _), code in zip(filters, await client.subscribe(filters), strict=True):
            # A refusal does not raise: look at it.
            print(f"{wanted}: refused, {code}" if code.is_failure else f"{wanted}: {code}")

        await client.publish("temperature/outside", 28.4)
        await client.unsubscribe("temperature/#")
        await client.publish("temperature/outside", 28.5)  # nobody listens to it any more
        await client.publish("humidity/inside", 0.38)
        for _ in range(2):
            message = await anext(client.messages)
            print(message.topic, message.payload.decode())


asyncio.run(main())
