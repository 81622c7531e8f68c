"""Several tasks take messages from one client, each message goes to one of them.

It prints:

    at most 3 were in work at a time
    done: job 1, job 2, job 3, job 4, job 5, job 6
"""

import asyncio

from ferromqtt import Client
from ferromqtt.testing import TestBroker

WORKERS = 3
busy: set[str] = set()
done: list[str] = []
most_busy = 0


async def work(client: Client) -> None:
    global most_busy  # noqa: PLW0603 - a program of one page
    async for message in client.messages:
        job = message.payload.decode()
        if job == "stop":
            return
        busy.add(job)
        most_busy = max(most_busy, len(busy))
        await asyncio.sleep(0.05)  # stands for work that waits: a database, another service
        busy.remove(job)
        done.append(job)


async def main() -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.subscribe("jobs")
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(work(client))
            for number in range(1, 7):
                await client.publish("jobs", f"job {number}")
            for _ in range(WORKERS):
                await client.publish("jobs", "stop")
    print(f"at most {most_busy} were in work at a time")
    print("done:", ", ".join(sorted(done)))


asyncio.run(main())
