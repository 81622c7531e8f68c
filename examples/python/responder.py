"""Answer requests (MQTT 5.0), in a loop that gets nothing else.

It prints:

    6 * 7 = 42
    2 * 2 = 4
    1 message asked for no response
"""

import asyncio
import logging

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def multiply(client: Client, subscribed: asyncio.Event) -> None:
    # Or, where nobody has to know that it has subscribed:
    # `async for request in client.responder("multiply", qos=1):`
    async with client.responder("multiply", qos=1) as requests:
        subscribed.set()
        async for request in requests:
            left, right = request.payload.split(b"*")
            await request.respond(int(left) * int(right), content_type="text/plain")
            if request.payload == b"2 * 2":
                break
        print(requests.passed_over, "message asked for no response")


async def main() -> None:
    async with (
        TestBroker() as broker,
        Client(broker.host, broker.port, protocol=5) as responder,
        Client(broker.host, broker.port, protocol=5) as asker,
    ):
        subscribed = asyncio.Event()
        task = asyncio.create_task(multiply(responder, subscribed))
        await subscribed.wait()
        answer = await asker.request("multiply", "6 * 7", timeout=5)
        print("6 * 7 =", answer.payload.decode())
        # Anybody may publish here: this asks for nothing, and the loop does not see it.
        logging.getLogger("ferromqtt").setLevel(logging.ERROR)  # there is a warning
        await asker.publish("multiply", "3 * 3", qos=1)
        answer = await asker.request("multiply", "2 * 2", timeout=5)
        print("2 * 2 =", answer.payload.decode())
        await task


asyncio.run(main())
