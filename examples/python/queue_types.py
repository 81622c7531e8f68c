"""Choose the order in which waiting messages are taken: any class of `asyncio.Queue` will do.

It prints:

    asyncio.LifoQueue, the newest first: report 2, alarm 2, report 1, alarm 1
    AlarmsFirst: alarm 1, alarm 2, report 1, report 2
"""

import asyncio
import heapq

from ferromqtt import Client, Message
from ferromqtt.testing import TestBroker


class AlarmsFirst(asyncio.Queue[Message]):
    """Alarms before everything else; among equals, first come, first served."""

    def _init(self, maxsize: int) -> None:  # noqa: ARG002 - asyncio.Queue's own hook
        self._queue: list[tuple[bool, int, Message]] = []
        self._arrived = 0

    def _put(self, item: Message) -> None:
        self._arrived += 1
        heapq.heappush(self._queue, (not item.topic.matches("alarms"), self._arrived, item))

    def _get(self) -> Message:
        return heapq.heappop(self._queue)[2]


async def order(broker: TestBroker, queue_type: type[asyncio.Queue[Message]]) -> str:
    async with Client(broker.host, broker.port, queue_type=queue_type) as client:
        await client.subscribe("#")
        for number in (1, 2):
            await client.publish("alarms", f"alarm {number}")
            await client.publish("reports", f"report {number}")
        await client.unsubscribe("#")  # once it is answered, what was published before has come
        return ", ".join([(await anext(client.messages)).payload.decode() for _ in range(4)])


async def main() -> None:
    async with TestBroker() as broker:
        newest_first = await order(broker, asyncio.LifoQueue)
        print("asyncio.LifoQueue, the newest first:", newest_first)
        print("AlarmsFirst:", await order(broker, AlarmsFirst))


asyncio.run(main())
