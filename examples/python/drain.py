"""End when you are told to, and know what has become of every message.

It prints:

    10 messages acknowledged, nothing left
    later: The client was drained, and accepts no more messages
"""

import asyncio

from ferromqtt import Client, MqttError
from ferromqtt.testing import TestBroker


async def main() -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        async with asyncio.TaskGroup() as tasks:
            for number in range(10):
                tasks.create_task(client.publish("log", f"line {number}", qos=1))
            await asyncio.sleep(0)  # the tasks make their calls; in earnest a signal comes here

            drained = await client.drain(timeout=5)
        if drained.is_complete:
            print(f"{client.stats().acknowledged} messages acknowledged, nothing left")
        else:
            print(f"{drained.not_sent} not sent, {drained.unknown} unknown: {drained.error}")

        try:
            await client.publish("log", "too late")
        except MqttError as error:
            print("later:", str(error).partition(":")[0])


asyncio.run(main())
