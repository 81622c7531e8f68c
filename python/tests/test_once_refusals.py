"""What `Router.exactly_once` and `ferromqtt.once` refuse, before anything is sent."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any

import aiosqlite
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from ferromqtt import Message, Router, SubscribeOptions, once
from support.once import PERSISTENT, insert, key
from support.virtual import memory_broker, play


@pytest.fixture
def store() -> Any:  # noqa: ANN401 - a generator of a store
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        yield once.sqlite(db)


async def later(_message: Message, _db: sqlite3.Connection) -> None:
    """Handle an order some time."""


@pytest.mark.parametrize(
    ("topics", "keywords", "error", "text"),
    [
        ((), {}, ValueError, "A handler needs a filter: @router.exactly_once"),
        ((print,), {}, TypeError, "write @router.exactly_once"),
        (("a",), {"key": None}, ValueError, "without key= needs qos=2: at QoS 1 a Packet Ident"),
        (("a",), {"key": "id"}, TypeError, "key must be a function"),
        (("a",), {"key": later}, TypeError, "key must be a function of the message, and not async"),
        (("a",), {"batch": 0}, ValueError, "batch must be 1 or more, not 0"),
        (("a",), {"batch": "1"}, TypeError, "batch must be int, not str"),
        (("a",), {"retries": -1}, ValueError, "retries must be 0 or more, not -1"),
        (("a",), {"on_failure": "drop"}, ValueError, "must be 'stop' or 'dead_letter', not 'drop'"),
        (("a",), {"keep_keys_for": 0}, ValueError, "keep_keys_for must be seconds"),
        (("a",), {"keep_keys_for": float("inf")}, ValueError, "keep_keys_for must be seconds"),
        (("a",), {"keep_keys_for": "7 d"}, TypeError, "keep_keys_for must be a number of seconds"),
        (("a",), {"name": ""}, ValueError, "name must be a text"),
        (("a",), {"name": 7}, TypeError, "name must be str, not int"),
        (("a",), {"qos": 0}, ValueError, "needs QoS 1 or 2"),
        ((("a", 0),), {}, ValueError, "needs QoS 1 or 2"),
        ((("a", SubscribeOptions(0)),), {}, ValueError, "needs QoS 1 or 2"),
        (("$share/group/a",), {}, ValueError, "Shared Subscription needs name="),
        (("a",), {"ack": "auto"}, TypeError, "ack"),
        (("a",), {"overflow": "drop_oldest"}, TypeError, "overflow"),
        (("a",), {"concurrency": 2}, TypeError, "concurrency"),
        (("a",), {"store": sqlite3}, TypeError, "store must be a store"),
    ],
)
def test_arguments_are_refused_at_the_decorator(
    store: once.SyncStore[sqlite3.Connection],
    topics: tuple[Any, ...],
    keywords: dict[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    with pytest.raises(error, match=text):
        Router().exactly_once(*topics, **({"store": store, "key": key} | keywords))(insert)


def test_handlers_are_refused_that_cannot_be_called_where_the_connection_is() -> None:
    in_thread = once.sqlite(lambda: sqlite3.connect(":memory:"))
    decorate = Router().exactly_once("a", store=in_thread, key=key)
    with pytest.raises(TypeError, match="is a coroutine function, and its store runs it in a thre"):
        decorate(later)
    with pytest.raises(
        TypeError, match="a handler must be a function of the message and the datab"
    ):
        decorate(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"manual_ack": False}, r"insert of orders needs Client\(manual_ack=True\)"),
        (
            {
                "identifier": None,
                "clean_session": None,
                "protocol": 5,
                "clean_start": False,
                "session_expiry_interval": 60,
            },
            "needs a client with a name",
        ),
        ({"clean_session": True}, "outlives the program.*give Client clean_session=False"),
        (
            {"clean_session": None, "protocol": 5, "session_expiry_interval": 60},
            "give Client clean_start=False and session_expiry_interval=seconds",
        ),
        ({"clean_session": None, "protocol": 5, "clean_start": False}, "session_expiry_interval"),
        (
            {
                "clean_session": None,
                "protocol": 5,
                "clean_start": False,
                "session_expiry_interval": 0,
            },
            "session_expiry_interval",
        ),
    ],
)
def test_a_client_that_would_lose_messages_is_refused(
    store: once.SyncStore[sqlite3.Connection], options: dict[str, Any], text: str
) -> None:
    async def main() -> None:
        router = Router()
        router.exactly_once("orders", store=store, key=key)(insert)
        client = memory_broker().client(**(PERSISTENT | {"identifier": "worker"} | options))
        with pytest.raises(ValueError, match=text):
            await router.serve(client)

    play(main)


def test_a_client_that_is_entered_is_refused(store: once.SyncStore[sqlite3.Connection]) -> None:
    """What the session has brought by then is in its `messages`."""

    async def main() -> None:
        router = Router()
        router.exactly_once("orders", store=store, key=key)(insert)
        async with memory_broker().client(**PERSISTENT) as client:
            with pytest.raises(ValueError, match="begins too late"):
                await router.run(client)

    play(main)


def test_handlers_that_would_take_each_others_messages_for_handled_are_refused(
    store: once.SyncStore[sqlite3.Connection],
) -> None:
    async def main() -> None:
        router = Router()
        router.exactly_once("orders", store=store, key=key)(insert)
        router.exactly_once("orders", store=store, key=key)(lambda message, db: None)  # noqa: ARG005
        with pytest.raises(ValueError, match=r"insert of orders and .*lambda.*have the same name"):
            await router.serve(memory_broker().client(**PERSISTENT))

    play(main)


def of_aiosqlite(**options: Any) -> Callable[[], None]:  # noqa: ANN401 - of sqlite3
    def make() -> None:
        async def main() -> None:
            async with aiosqlite.connect(":memory:", **options) as db:
                once.aiosqlite(db)

        asyncio.run(main())

    return make


def of_alchemy(**options: Any) -> Callable[[], None]:  # noqa: ANN401 - of an engine
    def make() -> None:
        engine = sa.create_engine("sqlite://", **options)
        with engine.connect() as db:
            once.sqlalchemy(db)

    return make


def alchemy_of_execution_options() -> None:
    engine = sa.create_engine("sqlite://").execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        once.sqlalchemy(db)


def alchemy_that_is_not_started() -> None:
    once.sqlalchemy(create_async_engine("sqlite+aiosqlite://").connect())


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: once.sqlite(sqlite3.connect(":memory:", isolation_level=None)),
            ValueError,
            "is in autocommit .isolation_level=None.: open it without isolation_level",
        ),
        (of_aiosqlite(isolation_level=None), ValueError, "is in autocommit"),
        (of_alchemy(isolation_level="AUTOCOMMIT"), ValueError, "SQLAlchemy is in autocommit"),
        (alchemy_of_execution_options, ValueError, "SQLAlchemy is in autocommit"),
        (alchemy_that_is_not_started, ValueError, "AsyncConnection is not started: await it"),
        (lambda: once.sqlite("orders.db"), TypeError, "or a function that opens one, not str"),
        (lambda: once.psycopg("host=db"), TypeError, "or a function that opens one, not str"),
        (
            lambda: once.psycopg(sqlite3.connect(":memory:")),
            TypeError,
            "a psycopg.Connection or AsyncConnection, or a function that opens one, not Connection",
        ),
        (lambda: once.aiosqlite("orders.db"), TypeError, "an aiosqlite.Connection, not str"),
        (lambda: once.sqlalchemy("sqlite://"), TypeError, "a Connection, Session.*not str"),
        (
            lambda: once.sqlite(lambda: sqlite3.connect("x"), table="a; DROP TABLE b"),
            ValueError,
            "table must be the name of a table",
        ),
        (
            lambda: once.sqlite(lambda: sqlite3.connect("x"), dead_letters=7),
            TypeError,
            "dead_letters must be str, not int",
        ),
        (
            lambda: once.sqlite(lambda: sqlite3.connect("x"), table="A", dead_letters="a"),
            ValueError,
            "must have different names",
        ),
    ],
)
def test_stores_are_refused_when_they_are_made(
    make: Callable[[], object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make()


def test_tables_are_created_under_the_names_that_are_given() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        store = once.sqlite(db, table="main.seen", dead_letters="failed")
        store.create()
        made = db.execute("SELECT name FROM sqlite_master WHERE tbl_name = name").fetchall()
        assert set(made) == {("seen",), ("failed",)}
        for statement in store.sql.split(";"):
            db.execute(statement)


def test_tables_are_not_created_in_a_transaction_of_the_program() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE orders (id)")
        db.execute("INSERT INTO orders VALUES (1)")
        with pytest.raises(once.StoreFailedError, match="something else has begun"):
            once.sqlite(db).create()
        assert db.in_transaction


def test_a_function_that_opens_an_asynchronous_connection_is_refused() -> None:
    store = once.sqlite(lambda: aiosqlite.connect(":memory:"))  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="returns an awaitable"):
        store.create()
