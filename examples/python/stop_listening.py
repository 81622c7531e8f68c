"""Ways out of `async for message in client.messages`; none loses a message.

It prints:

    left the loop at: stop
    the next loop goes on with: after
    a cancelled task has ended, and the client is still connected
    after leaving: Disconnected during message iteration: the client disconnected (127.0.0.1:PORT)
"""

import asyncio

from ferromqtt import Client, MqttError
from ferromqtt.testing import TestBroker


async def listen(client: Client) -> None:
    async for message in client.messages:
        print(message.payload.decode())


async def main() -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.subscribe("#")
        for text in ("before", "stop", "after"):
            await client.publish("lines", text)

        async for message in client.messages:
            if message.payload == b"stop":
                print("left the loop at:", message.payload.decode())
                break
        async for message in client.messages:
            print("the next loop goes on with:", message.payload.decode())
            break

        task = asyncio.create_task(listen(client))
        await client.unsubscribe("#")  # meanwhile the task has come to wait for a message
        task.cancel()
        await asyncio.wait([task])
        await client.publish("lines", "still here", qos=1)
        print("a cancelled task has ended, and the client is still connected")

        task = asyncio.create_task(listen(client))
    try:
        await task
    except MqttError as error:
        print("after leaving:", error)


asyncio.run(main())
