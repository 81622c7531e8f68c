"""Acknowledge a message when the work is done: what fails comes again.

It prints:

    working on job 1
    job 1 is done
    working on job 2
    job 2 has failed: the disk is full
    not acknowledged: 1
    the worker starts again
    working on job 2
    job 2 is done
    not acknowledged: 0
"""

import asyncio

from ferromqtt import Client
from ferromqtt.testing import TestBroker


def do(job: str, *, disk_is_full: bool) -> None:
    """Do a job."""
    print("working on", job)
    if disk_is_full and job == "job 2":
        raise OSError(f"{job} has failed: the disk is full")
    print(job, "is done")


async def work(client: Client, *, disk_is_full: bool) -> None:
    """Do the jobs that there are; one that fails is not acknowledged."""
    async with client:
        await client.subscribe("jobs", qos=1)
        try:
            async with asyncio.timeout(0.5):  # a worker in earnest goes on forever
                async for message in client.messages:
                    do(message.payload.decode(), disk_is_full=disk_is_full)
                    await message.ack()
        except TimeoutError:
            pass
        except OSError as error:
            print(error)
        print("not acknowledged:", client.unacknowledged().messages)


async def main() -> None:
    broker = TestBroker(listen=False)

    def worker() -> Client:
        # The server keeps the session, and with it what is not acknowledged.
        return Client(broker, identifier="worker", clean_session=False, manual_ack=True)

    async with worker() as client:
        await client.subscribe("jobs", qos=1)  # from now on the session collects jobs
    async with Client(broker) as client:
        await client.publish("jobs", "job 1", qos=1)
        await client.publish("jobs", "job 2", qos=1)

    await work(worker(), disk_is_full=True)
    print("the worker starts again")
    await work(worker(), disk_is_full=False)


asyncio.run(main())
