"""Listen in a task while the rest of the program does something else.

It prints:

    other work: step 1
      received progress: 1
    other work: step 2
      received progress: 2
    other work: step 3
      received progress: 3
    the listener has ended
"""

import asyncio

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def listen(client: Client, heard: asyncio.Semaphore) -> None:
    async for message in client.messages:
        print(f"  received {message.topic}: {message.payload.decode()}")
        heard.release()


async def main() -> None:
    heard = asyncio.Semaphore(0)
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.subscribe("progress")
        async with asyncio.TaskGroup() as tasks:
            listener = tasks.create_task(listen(client, heard))
            for step in (1, 2, 3):
                print("other work: step", step)
                await client.publish("progress", step)
                await heard.acquire()  # only to have the lines in order
            listener.cancel()  # a listener waits forever: end it when it is not needed any more
    print("the listener has ended")


asyncio.run(main())
