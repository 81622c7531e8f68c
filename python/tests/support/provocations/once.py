"""Exactly-once handlers."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from ferromqtt import Message, Router, once
from ferromqtt._once import postgres, route
from ferromqtt._once.store import Transactions
from ferromqtt.testing import PacketKind
from support.once import PERSISTENT, running
from support.provocations.registry import LOG, ONCE, Given, World, provokes
from support.virtual import memory_broker


def nothing(_message: Message, _db: object) -> None:
    """Handle a message."""


async def later(_message: Message, _db: object) -> None:
    """Handle a message some time."""


def fail(_message: Message, _db: object) -> None:
    """Fail to handle a message."""
    raise ValueError("no such dish")


def payload(message: Message) -> object:
    """Return what identifies a message."""
    return message.payload


@contextlib.contextmanager
def store(kind: type[sqlite3.Connection] = sqlite3.Connection) -> Any:  # noqa: ANN401 - a store
    with contextlib.closing(sqlite3.connect(":memory:", factory=kind)) as db:
        made = once.sqlite(db)
        made.create()
        yield made


async def play(made: Any, handler: Any, **keywords: Given) -> None:  # noqa: ANN401 - whatever is wrong
    """Let a handler have a message, and raise what ends it."""
    router = Router()
    given: dict[str, Any] = {"store": made, "key": payload} | keywords
    router.exactly_once("orders", **given)(handler)
    async with running(memory_broker(), router) as world:
        await world.broker.publish("orders", "1", qos=1)
        await world.task


def stopping(part: str, handler: Any = nothing, **keywords: Given) -> None:  # noqa: ANN401 - as above
    @provokes(ONCE, part)
    async def stop(_: World) -> None:
        with store() as made:
            try:
                await play(made, handler, **keywords)
            except once.HandlerFailedError as error:
                raise (error if part.startswith("has failed") else error.__cause__) from None


stopping("has failed{often} on a message", fail)
stopping("has ended its transaction", lambda _, db: db.commit())
stopping("This message is acknowledged when", lambda message, _: message.ack())
stopping("the key of a message must be", key=lambda _: None)
stopping("the key of a message must have", key=lambda _: "")
stopping("the key of a message must not", key=lambda _: "\0")


@provokes(ONCE, "has failed to {what}")
async def _(_: World) -> None:
    await play(once.sqlite(sqlite3.connect(":memory:")), nothing)


@provokes(ONCE, "cannot be opened")
async def _(_: World) -> None:
    await play(once.sqlite(lambda: sqlite3.connect("/no such folder/db")), nothing)


def in_transaction() -> once.SyncStore[sqlite3.Connection]:
    db = sqlite3.connect(":memory:")
    db.execute("BEGIN")
    return once.sqlite(db)


@provokes(ONCE, "The tables cannot be created")
async def _(_: World) -> None:
    in_transaction().create()


@provokes(ONCE, "something else has begun")
async def _(_: World) -> None:
    try:
        in_transaction().create()
    except once.StoreFailedError as error:
        raise error.__cause__ or error from None


class Uncounted(sqlite3.Connection):
    """A connection of a driver that does not count."""

    def execute(self, sql: str, parameters: Any = (), /) -> Any:  # noqa: ANN401 - a cursor
        cursor = super().execute(sql, parameters)
        if not sql.startswith("INSERT"):
            return cursor
        return SimpleNamespace(rowcount=-1, close=cursor.close)


@provokes(ONCE, "the driver says")
async def _(_: World) -> None:
    with store(Uncounted) as made:
        try:
            await play(made, nothing)
        except once.StoreFailedError as error:
            raise error.__cause__ or error from None


@provokes(ONCE, "has returned an awaitable")
async def _(world: World) -> None:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(world.file("once.db"))

    made = once.sqlite(connect)
    made.create()
    try:
        await play(made, lambda message, db: later(message, db))  # noqa: PLW0108 - no coroutine function
    except once.HandlerFailedError as error:
        raise error.__cause__ or error from None


class Waiting:
    """A store that waits in a thread."""

    in_thread = True

    async def open(self) -> Transactions[None]:
        await asyncio.sleep(0)
        raise AssertionError


@provokes(ONCE, "has awaited something: only")
async def _(_: World) -> None:
    await play(Waiting(), nothing)


def refused(part: str, **options: Given) -> None:
    @provokes(ONCE, part)
    async def refuse(_: World) -> None:
        router = Router()
        with store() as made:
            router.exactly_once("orders", store=made, key=payload)(nothing)
            await router.serve(memory_broker().client(**(PERSISTENT | options)))


OF_5: dict[str, Any] = {"clean_session": None, "protocol": 5, "clean_start": False}
refused("needs Client(manual_ack", manual_ack=False)
refused("needs a client with a name", **OF_5, identifier=None, session_expiry_interval=60)
refused("needs a session that outlives", **OF_5)


@provokes(ONCE, "has no key=, and needs router.serve")
async def _(_: World) -> None:
    router = Router()
    with store() as made:
        router.exactly_once("orders", store=made, key=None, qos=2)(nothing)
        await router.run(memory_broker().client(**PERSISTENT))


@provokes(ONCE, "has no key=, and needs MQTT 3.1.1")
async def _(_: World) -> None:
    router = Router()
    with store() as made:
        router.exactly_once("orders", store=made, key=None, qos=2)(nothing)
        await router.serve(memory_broker().client(**PERSISTENT, protocol=3))


@provokes(ONCE, "begins too late")
async def _(_: World) -> None:
    router = Router()
    with store() as made:
        router.exactly_once("orders", store=made, key=payload)(nothing)
        async with memory_broker().client(**PERSISTENT) as client:
            await router.run(client)


@provokes(ONCE, "have the same name")
async def _(_: World) -> None:
    router = Router()
    with store() as made:
        for _ in range(2):
            router.exactly_once("orders", store=made, key=payload)(nothing)
        await router.serve(memory_broker().client(**PERSISTENT))


def wrong(part: str, topic: str = "orders", handler: Any = nothing, **keywords: Given) -> None:  # noqa: ANN401 - as above
    @provokes(ONCE, part)
    async def refuse(_: World) -> None:
        made = once.sqlite(lambda: sqlite3.connect(":memory:"))
        given: dict[str, Any] = {"store": made, "key": payload} | keywords
        Router().exactly_once(topic, **given)(handler)


wrong("without key= needs qos=2", key=None)
wrong("Shared Subscription needs key=", topic="$share/group/a", key=None, qos=2)
wrong("needs QoS 1 or 2", qos=0)
wrong("Shared Subscription needs name=", topic="$share/group/a")
wrong("is a coroutine function", handler=later)
wrong("on_failure must be", on_failure="drop")
wrong("keep_keys_for must be", keep_keys_for=0)
wrong("name must be a text", name="")


def wrong_store(part: str, make: Callable[[], object]) -> None:
    @provokes(ONCE, part)
    async def refuse(_: World) -> None:
        make()


class OfPython312(sqlite3.Connection):
    """A connection whose transactions are begun and ended by Python itself."""

    autocommit = False


def of_another_database() -> None:
    engine = sa.create_engine("mysql+pymysql://", module=SimpleNamespace(paramstyle="format"))
    with sa.orm.Session(engine) as session:
        once.sqlalchemy(session)


def alchemy_in_autocommit() -> None:
    with sa.create_engine("sqlite://", isolation_level="AUTOCOMMIT").connect() as db:
        once.sqlalchemy(db)


wrong_store(
    "(isolation_level=None)",
    lambda: once.sqlite(sqlite3.connect(":memory:", isolation_level=None)),
)
wrong_store(
    "was opened with autocommit",
    lambda: once.sqlite(sqlite3.connect(":memory:", factory=OfPython312)),
)
wrong_store(
    "The psycopg connection is in autocommit",
    lambda: postgres.check_autocommit(SimpleNamespace(autocommit=True)),
)
wrong_store("SQLAlchemy is in autocommit", alchemy_in_autocommit)
wrong_store("once.sqlalchemy knows", of_another_database)
wrong_store(
    "is not started",
    lambda: once.sqlalchemy(create_async_engine("sqlite+aiosqlite://").connect()),
)
wrong_store(
    "a function that returns an awaitable",
    lambda: once.sqlite(lambda: aiosqlite.connect(":memory:")).create(),  # type: ignore[arg-type,return-value]
)
wrong_store(
    "must be the name of a table",
    lambda: once.sqlite(lambda: sqlite3.connect(":memory:"), table="a b"),
)
wrong_store(
    "must have different names",
    lambda: once.sqlite(lambda: sqlite3.connect(":memory:"), table="a", dead_letters="a"),
)


@provokes(LOG, "gets a message of QoS 0")
async def _(_: World) -> None:
    router = Router()
    with store() as made:
        router.exactly_once("orders", store=made, key=payload)(nothing)
        async with running(memory_broker(), router) as world:
            await world.broker.publish("orders", "1", qos=0)
            await world.broker.idle()


@provokes(LOG, "has no key=, and gets a message of QoS 1")
async def _(_: World) -> None:
    router = Router()
    with store() as made:
        router.exactly_once("orders", store=made, key=None, qos=2)(nothing)
        async with running(memory_broker(), router) as world:
            await asyncio.sleep(1)
            await world.broker.publish("orders", "1", qos=1)
            await world.broker.idle()


@provokes(LOG, "may have handled a message to")
async def _(_: World) -> None:
    broker = memory_broker()
    router = Router()
    with store() as made:
        router.exactly_once("orders", store=made, key=None, qos=2)(nothing)
        held = broker.sends(PacketKind.PUBREL).hold()
        async with running(broker, router):
            await asyncio.sleep(1)
            await broker.publish("orders", "1", qos=2)
            await asyncio.sleep(1)
        held.remove()
        broker.forget_session("worker")
        broker.sends(PacketKind.CONNACK).lose()
        async with running(broker, router) as world:
            await asyncio.wait([world.task])
        async with running(broker, router):
            await asyncio.sleep(1)  # it subscribes behind a commit
            await broker.publish("orders", "2", qos=2)
            await broker.idle()


@provokes(LOG, "still runs in its thread")
async def _(world: World) -> None:
    begun, may_end = threading.Event(), threading.Event()
    made = once.sqlite(lambda: sqlite3.connect(world.file("hangs.db")))
    made.create()
    router = Router()

    @router.exactly_once("orders", store=made, key=payload)
    def hang(_message: Message, _db: sqlite3.Connection) -> None:
        begun.set()
        may_end.wait(30)

    world.monkeypatch.setattr(route, "GRACE", 0.01)
    async with running(memory_broker(), router) as it:
        await it.broker.publish("orders", "1", qos=1)
        await asyncio.get_running_loop().run_in_executor(None, begun.wait, 30)
    may_end.set()
