"""Ask and be answered (MQTT 5.0): requests, each of which returns its own response.

It prints:

    6 * 7 = 42
    2 * 2 = 4
    nobody is there to respond
"""

import asyncio

from ferromqtt import Client, MqttCodeError
from ferromqtt.testing import TestBroker


async def answer(client: Client) -> None:
    async for request in client.messages:
        if request.response_topic is None:
            continue  # anybody may publish here, and this one asks for no response
        left, right = request.payload.split(b"*")
        await client.respond(request, int(left) * int(right))


async def main() -> None:
    async with (
        TestBroker() as broker,
        Client(broker.host, broker.port, protocol=5) as responder,
        Client(broker.host, broker.port, protocol=5) as asker,
    ):
        await responder.subscribe("multiply", qos=1)
        task = asyncio.create_task(answer(responder))
        questions = ("6 * 7", "2 * 2")
        # Any number may wait at the same time.
        answers = await asyncio.gather(*(asker.request("multiply", it) for it in questions))
        for question, response in zip(questions, answers, strict=True):
            print(question, "=", response.payload.decode())
        try:
            await asker.request("divide", "6 / 7", timeout=5)
        except MqttCodeError as error:
            if error.rc == 0x10:  # No matching subscribers
                print("nobody is there to respond")
        task.cancel()


asyncio.run(main())
