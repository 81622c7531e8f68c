"""Give each filter a handler, and all errors one place.

It prints:

    alarm: fire in the kitchen
    21.5 °C at house/room/1/temp
    failed on house/room/2/temp: could not convert string to float: b'warm'
    19.0 °C at house/room/3/temp
    2 + 2 = 4
"""

import asyncio

from ferromqtt import Client, Message, Request, Router
from ferromqtt.testing import TestBroker


def failed(error: Exception, message: Message) -> None:
    print(f"failed on {message.topic}: {error}")


router = Router(on_error=failed)
temperatures = asyncio.Queue[float]()


@router.on("house/alarms/#", qos=1)
async def alarm(message: Message) -> None:
    print("alarm:", message.payload.decode())


@router.on("house/room/+/temp", qos=1, concurrency=4, overflow="drop_oldest")
async def temperature(message: Message) -> None:
    celsius = float(message.payload)
    print(f"{celsius:.1f} °C at {message.topic}")
    await temperatures.put(celsius)


@router.respond("house/add", qos=1)
async def add(request: Request) -> int:
    return sum(int(number) for number in request.payload.split(b"+"))


async def main() -> None:
    async with (
        TestBroker() as broker,
        Client(broker.host, broker.port, protocol=5) as client,
        asyncio.TaskGroup() as group,
    ):
        started = asyncio.Event()
        running = group.create_task(router.run(client, started=started))
        await started.wait()
        await client.publish("house/alarms/kitchen", "fire in the kitchen", qos=1)
        await client.publish("house/room/1/temp", "21.5", qos=1)
        await client.publish("house/room/2/temp", "warm", qos=1)
        await client.publish("house/room/3/temp", "19", qos=1)
        for _ in range(2):
            await temperatures.get()
        answer = await client.request("house/add", "2 + 2", timeout=5)
        print("2 + 2 =", answer.payload.decode())
        router.stop()
        await running


asyncio.run(main())
