"""Handle each message once, whatever happens to the program in between.

The worker is killed in the middle of an order, and starts again. Each order is in the table once,
also the one that came twice.

It prints:

    worker: soup
    worker: bread
    the worker was killed
    worker: bread
    worker: tea
    in the database: soup, bread, tea
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

from ferromqtt import Client, Router, TypedMessage, once
from ferromqtt.testing import TestBroker

ORDERS = [(1, "soup"), (1, "soup"), (2, "bread"), (3, "tea")]  # the first one comes twice
LAST = 3


async def work(port: int, path: str, *, dies_at: int) -> None:
    """Handle orders until the last one."""
    connection = sqlite3.connect(path)
    store = once.sqlite(connection)
    store.create()
    router = Router()

    @router.exactly_once(
        "orders", store=store, key=lambda message: message.value["id"], codec=json, batch=1
    )
    def order(message: TypedMessage[Any], db: sqlite3.Connection) -> None:
        number, dish = message.value["id"], message.value["dish"]
        print("worker:", dish, flush=True)
        db.execute("INSERT INTO orders VALUES (?, ?)", (number, dish))
        if number == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == LAST:
            router.stop()  # once this is committed

    # The server keeps the session of this name, and with it what is not acknowledged.
    client = Client("127.0.0.1", port, identifier="kitchen", clean_session=False, manual_ack=True)
    await router.serve(client)


async def start_worker(port: int, path: Path, *, dies_at: int) -> int:
    """Run the worker in a process of its own; return how it ended."""
    arguments = [__file__, str(port), str(path), str(dies_at)]
    worker = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    return await worker.wait()


async def main() -> None:
    """Publish orders, and have them handled."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orders.db"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE orders (id INTEGER, dish TEXT)")
        async with TestBroker() as broker:
            async with broker.client("kitchen", clean_session=False) as client:
                await client.subscribe("orders", qos=1)  # from now on the session collects
            async with broker.client() as client:
                for number, dish in ORDERS:
                    await client.publish("orders", json.dumps({"id": number, "dish": dish}), qos=1)
            if await start_worker(broker.port, path, dies_at=2) == -signal.SIGKILL:
                print("the worker was killed", flush=True)
            await start_worker(broker.port, path, dies_at=0)
        dishes = [dish for (dish,) in connection.execute("SELECT dish FROM orders")]
        print("in the database:", ", ".join(dishes))
        connection.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(work(int(sys.argv[1]), sys.argv[2], dies_at=int(sys.argv[3])))
    else:
        asyncio.run(main())
