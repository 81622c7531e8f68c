"""Exactly-once handlers over SQLite, on a broker in memory."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ferromqtt import Client, Message, Router
from ferromqtt.testing import SessionStats, TestBroker

PERSISTENT: dict[str, Any] = {
    "identifier": "worker",
    "clean_session": False,
    "manual_ack": True,
}
"""What a client needs for exactly-once handlers, before 5.0."""

Db = Any
"""What a driver has for a connection."""

ORDERS = "CREATE TABLE orders (key TEXT, payload BLOB)"
"""A table of the application's, which takes everything twice."""


def key(message: Message) -> str:
    """Return what stands before the first colon of a payload."""
    return message.payload.decode().partition(":")[0]


def insert(message: Message, db: sqlite3.Connection) -> None:
    """Handle an order."""
    db.execute("INSERT INTO orders VALUES (?, ?)", (key(message), message.payload))


def database(path: str | Path = ":memory:") -> sqlite3.Connection:
    """Open a database with the application's table."""
    db = sqlite3.connect(path)
    db.execute(ORDERS)
    db.commit()
    return db


def orders(db: sqlite3.Connection) -> list[bytes]:
    """Return the payloads of what was handled, in order."""
    return [payload for (payload,) in db.execute("SELECT payload FROM orders ORDER BY rowid")]


def keys(db: sqlite3.Connection) -> list[str]:
    """Return the keys that are remembered, in order of insertion."""
    rows = db.execute("SELECT message_key FROM ferromqtt_handled ORDER BY rowid")
    return [each for (each,) in rows]


def letters(db: sqlite3.Connection, columns: str) -> list[tuple[Any, ...]]:
    """Return columns of the dead letters, in order."""
    return db.execute(f"SELECT {columns} FROM ferromqtt_dead_letters ORDER BY id").fetchall()


class Running:
    """A client whose router runs."""

    def __init__(self, broker: TestBroker, client: Client, task: asyncio.Task[None]) -> None:
        self.broker = broker
        self.client = client
        self.task = task

    async def publish(self, *payloads: str, topic: str = "orders", qos: int = 1) -> None:
        """Have the server send messages, all of them at once, and let them be handled."""
        for payload in payloads:
            await self.broker.publish(topic, payload, qos=qos)
        await asyncio.sleep(1)

    @property
    def session(self) -> SessionStats:
        """What the broker knows of the client's session."""
        return session(self.broker)


def session(broker: TestBroker) -> SessionStats:
    """What a broker knows of the session of the client in `PERSISTENT`."""
    found = broker.session("worker")
    assert found is not None
    return found


@contextlib.asynccontextmanager
async def running(broker: TestBroker, router: Router, **options: Any) -> AsyncIterator[Running]:  # noqa: ANN401 - those of the client
    """Run a router on a client with a session that is kept; cancel it at the end."""
    client = broker.client(**(PERSISTENT | options))
    started = asyncio.Event()
    task = asyncio.create_task(router.serve(client, started=started))
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        yield Running(broker, client, task)
    finally:
        task.cancel()
        await asyncio.wait([task])
