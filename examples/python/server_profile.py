"""Name the service that the broker is: what it does not take costs no connection.

Runs on the built-in broker, in memory. A program for the service itself gives its host in place of
the broker, and gets TLS and the port by the profile.

It prints:

    refused: Nothing was sent: AWS IoT Core (profile aws-iot) accepts QoS 1 at most;
    publish with that, or elsewhere
    refused: Nothing was sent: topic of 9 levels has more than the 8 that AWS IoT
    Core (profile aws-iot) accepts
    subscribed to 20 filters, 8 in a packet
    received hello from room/19
"""

import asyncio
import textwrap
from typing import Any

from ferromqtt import Client, MqttCodeError
from ferromqtt.profiles import PROFILES
from ferromqtt.testing import TestBroker

PROFILE = PROFILES["aws-iot"]


async def main() -> None:
    too_much: list[dict[str, Any]] = [
        {"topic": "room/1", "qos": 2},
        {"topic": "a/b/c/d/e/f/g/h/i", "qos": 1},
    ]
    async with TestBroker(listen=False) as broker, Client(broker, profile="aws-iot") as client:
        for message in too_much:
            try:
                await client.publish(payload="hello", **message)
            except MqttCodeError as error:
                print(textwrap.fill(f"refused: {' '.join(error.__notes__)}", 80))

        # One call, and as many packets as the service needs for so many filters.
        granted = await client.subscribe([(f"room/{number}", 1) for number in range(20)])
        print(f"subscribed to {len(granted)} filters, {PROFILE.filters_per_subscribe} in a packet")
        await client.publish("room/19", "hello", qos=1)
        async for received in client.messages:
            print(f"received {received.payload.decode()} from {received.topic}")
            break


asyncio.run(main())
