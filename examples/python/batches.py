"""Store many messages at once: whatever is there, without waiting for more.

It prints:

    stored 1000 messages, in order
"""

import asyncio
import sqlite3

from ferromqtt import Client
from ferromqtt.testing import TestBroker

MESSAGES = 1000


async def store(client: Client, database: sqlite3.Connection) -> None:
    stored = 0
    async for batch in client.messages.batches(max=200):
        rows = [(str(message.topic), float(message.payload)) for message in batch]
        database.executemany("INSERT INTO reading VALUES (?, ?)", rows)
        database.commit()
        stored += len(batch)
        if stored == MESSAGES:
            break


async def main() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE reading (topic TEXT, value REAL)")
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.subscribe("reading/#", qos=1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(store(client, database))
            for number in range(MESSAGES):
                await client.publish("reading/outside", number, qos=1)
    values = [value for (value,) in database.execute("SELECT value FROM reading ORDER BY rowid")]
    in_order = values == sorted(values)
    print(f"stored {len(values)} messages, {'in order' if in_order else 'out of order'}")
    database.close()


asyncio.run(main())
