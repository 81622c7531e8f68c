"""Look at what a client has counted, and how full its queues are.

It prints:

    2 received, 1 of them waits, 1 is to be acknowledged
    3 acknowledged by the server, 1 refused, 1 connection, 0 lost
    acknowledgements took some time: True
"""

import asyncio
import contextlib

from ferromqtt import Client, MqttCodeError
from ferromqtt.testing import TestBroker


async def main() -> None:
    async with (
        TestBroker(deny_publish=["forbidden"]) as broker,
        Client(broker.host, broker.port, protocol=5) as client,
        client.subscription("jobs", qos=1, ack="manual") as jobs,
    ):
        for payload in ("first", "second"):
            await client.publish("jobs", payload, qos=1)
        await client.publish("else", "nobody reads it", qos=1)
        with contextlib.suppress(MqttCodeError):  # it is counted
            await client.publish("forbidden", "x", qos=1)
        first = await anext(jobs)
        stats = client.stats()
        waiting = client.unacknowledged().messages
        print(
            f"{stats.received} received, {stats.queued} of them waits, "
            f"{waiting} is to be acknowledged"
        )
        print(
            f"{stats.acknowledged} acknowledged by the server, {stats.refused} refused, "
            f"{stats.connections} connection, {stats.lost} lost"
        )
        for job in (first, await anext(jobs)):
            await job.ack()
        print("acknowledgements took some time:", stats.latency is not None)


asyncio.run(main())
