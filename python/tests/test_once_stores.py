"""Exactly-once handlers over each database and driver."""

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ferromqtt import Message, Router, once
from ferromqtt.testing import PacketKind
from support import once_stores
from support.loops import run_watched
from support.once import Db, Running, key, running
from support.once_stores import Case, Opened, Rows
from support.postgres import Postgres
from support.secrets import SECRET, Watch
from support.virtual import memory_broker

Open = Callable[[str], Opened]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(params=once_stores.ALL, ids=lambda it: f"{it[0]}-{it[1].__name__}")
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Open, str, Rows]]:
    """Return how a store is opened, where its database is, and a look at that."""
    database, open_store = request.param
    with contextlib.ExitStack() as stack:
        if database == "sqlite":
            url = str(tmp_path / "orders.db")
        else:
            url = stack.enter_context(request.getfixturevalue("postgres").database())
        yield open_store, url, Rows(url)


def play(main: Callable[[], Any]) -> None:
    run_watched(asyncio.new_event_loop, main, limit=50)


async def create(case: Case) -> None:
    created = case.store.create()
    if inspect.isawaitable(created):
        await created


async def handle(world: Running, *payloads: str) -> None:
    for payload in payloads:
        await world.broker.publish("orders", payload, qos=1)
    await world.broker.idle(20)
    if world.task.done():
        await world.task  # raises


def test_messages_are_handled_once_and_dead_letters_kept(
    opened: tuple[Open, str, Rows],
) -> None:
    open_store, url, rows = opened

    async def main() -> None:
        async with open_store(url) as case:
            await create(case)
            await create(case)  # what is there stays
            router = Router(on_error=lambda *_: None)
            router.exactly_once(
                "orders", store=case.store, key=key, on_failure="dead_letter", keep_keys_for=1
            )(failing_on_stones(case))
            async with running(memory_broker(), router) as world:
                await handle(world, "1:soup", "2:stone", "3:bread", "1:soup", "2:stone")
                assert rows.orders() == [b"1:soup", b"3:bread"]
                assert rows.remembered() == ["1", "2", "3"]
            row = "message_key, topic, qos, properties, error"
            assert rows.execute(f"SELECT {row} FROM ferromqtt_dead_letters") == [
                ("2", "orders", 1, "{}", "ValueError: no such dish")
            ]

    play(main)


async def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so that another connection to the database has to say."""
    while not is_so():  # noqa: ASYNC110 - a database has no events
        await asyncio.sleep(0.01)


def test_identifiers_are_kept_until_they_are_released(opened: tuple[Open, str, Rows]) -> None:
    open_store, url, rows = opened

    async def main() -> None:
        async with open_store(url) as case:
            await create(case)
            router = Router()
            router.exactly_once("orders", store=case.store, key=None, qos=2)(case.insert)
            broker = memory_broker()
            held = broker.sends(PacketKind.PUBREL).hold()
            async with running(broker, router) as world:
                await until(lambda: world.session.subscriptions)  # that waits for a commit
                for payload in ("1:soup", "2:bread"):
                    await broker.publish("orders", payload, qos=2)
                await until(lambda: rows.remembered() == ["1", "2"])
                held.remove()
                held.release()
                await until(lambda: not rows.remembered())
                held = broker.sends(PacketKind.PUBREL).hold()
                await broker.publish("orders", "3:rice", qos=2)
                await until(lambda: rows.remembered() == ["3"])
            broker.forget_session("worker")
            async with running(broker, router):
                await until(lambda: not rows.remembered())
            assert rows.orders() == [b"1:soup", b"2:bread", b"3:rice"]

    play(main)


def failing_on_stones(case: Case) -> Callable[[Message, Any], Any]:
    """Return a handler that inserts each order, and then raises for some."""

    def after(message: Message) -> None:
        if b"stone" in message.payload:
            raise ValueError("no such dish")

    if inspect.iscoroutinefunction(case.insert):

        async def handle_later(message: Message, db: Db) -> None:
            await case.insert(message, db)  # type: ignore[misc]  # it is a coroutine function
            after(message)

        return handle_later

    def handle_now(message: Message, db: Db) -> None:
        case.insert(message, db)
        after(message)

    return handle_now


def enders() -> list[Any]:
    found = []
    for database, open_store in once_stores.ALL:
        name = open_store.__name__
        if name.startswith("alchemy_async"):
            ways = list(once_stores._ASYNC_ENDERS)
        elif name.startswith("alchemy"):
            ways = list(once_stores._ALCHEMY_ENDERS)
        elif name == "with_aiosqlite":
            ways = ["commit", "rollback", "executescript"]
        elif name == "psycopg_async":
            ways = ["commit", "rollback"]
        elif database == "sqlite":
            ways = list(once_stores._SQLITE_ENDERS)
        else:
            ways = list(once_stores._PSYCOPG_ENDERS)
        found += [
            pytest.param((database, open_store), way, id=f"{database}-{name}-{way}") for way in ways
        ]
    return found


@pytest.mark.parametrize(("opened", "way"), enders(), indirect=["opened"])
def test_a_handler_that_ends_its_transaction_stops_and_nothing_is_acknowledged(
    opened: tuple[Open, str, Rows], way: str
) -> None:
    open_store, url, rows = opened

    async def main() -> None:
        async with open_store(url) as case:
            await create(case)
            router = Router()

            def end(message: Message, db: Db) -> object:
                does = case.enders[way] if b"bad" in message.payload else case.insert
                return does(message, db)

            async def end_later(message: Message, db: Db) -> None:
                await end(message, db)  # type: ignore[misc]  # it is of an asynchronous driver

            is_async = inspect.iscoroutinefunction(case.insert)
            router.exactly_once("orders", store=case.store, key=key)(end_later if is_async else end)
            broker = memory_broker()
            async with running(broker, router) as world:
                for payload in ("1:soup", "2:bad", "3:bread"):
                    await broker.publish("orders", payload, qos=1)
                with pytest.raises(once.TransactionEndedError, match="on a message to orders"):
                    await world.task
                assert world.session.in_flight == 3
            assert b"3:bread" not in rows.orders()
            # What was committed is with its key, and what was not is without.
            is_there = b"1:soup" in rows.orders()
            assert ("1" in rows.remembered()) is is_there
            if way in ("rollback", "release", "savepoint"):
                assert not is_there

    play(main)


def test_a_database_that_is_gone_stops_the_handler_and_nothing_is_acknowledged() -> None:
    async def main(open_store: Open) -> None:
        with Postgres() as server:
            rows = Rows(server.url)
            async with open_store(server.url) as case:
                await create(case)
                router = Router()
                router.exactly_once("orders", store=case.store, key=key)(case.insert)
                broker = memory_broker()
                async with running(broker, router) as world:
                    await handle(world, "1:soup")
                    server.stop()
                    await broker.publish("orders", "2:bread", qos=1)
                    with pytest.raises(once.StoreFailedError, match="has failed to"):
                        await world.task
                    assert world.session.in_flight == 1
                server.start()
                assert rows.orders() == [b"1:soup"]

    for open_store in once_stores.POSTGRES:
        run_watched(asyncio.new_event_loop, main, open_store, limit=50)


@pytest.mark.parametrize(
    "opened", once_stores.ASYNC, indirect=True, ids=lambda it: f"{it[0]}-{it[1].__name__}"
)
def test_an_asynchronous_handler_that_is_cancelled_leaves_a_connection_that_works(
    opened: tuple[Open, str, Rows],
) -> None:
    open_store, url, rows = opened

    async def main() -> None:
        async with open_store(url) as case:
            await create(case)
            begun = asyncio.Event()
            hangs = True

            async def order(message: Message, db: Db) -> None:
                await case.insert(message, db)  # type: ignore[misc]  # it is a coroutine function
                if hangs and b"bread" in message.payload:
                    begun.set()
                    await asyncio.Event().wait()

            broker = memory_broker()
            router = Router()
            router.exactly_once("orders", store=case.store, key=key)(order)
            async with running(broker, router) as world:
                for payload in ("1:soup", "2:bread"):
                    await broker.publish("orders", payload, qos=1)
                await begun.wait()
                world.task.cancel()
                await asyncio.wait([world.task])
                assert world.session.in_flight == 2
            assert (rows.orders(), rows.remembered()) == ([], [])
            hangs = False
            async with running(broker, router):
                await broker.idle(20)
            assert rows.orders() == [b"1:soup", b"2:bread"]

    play(main)


def test_two_processes_with_one_name_handle_a_message_once(postgres: Postgres) -> None:
    """The second one waits for the row of the first one, whatever becomes of that."""

    async def main(first_fails: bool) -> None:
        with postgres.database() as url:
            rows = Rows(url)
            store = once.psycopg(lambda: psycopg.connect(url))
            store.create()
            begun, may_end = asyncio.Event(), asyncio.Event()
            loop = asyncio.get_running_loop()
            async with await psycopg.AsyncConnection.connect(url) as db:
                first, second = Router(), Router()

                @first.exactly_once("orders", store=once.psycopg(db), key=key, name="n", retries=0)
                async def order(_message: Message, db: psycopg.AsyncConnection[Any]) -> None:
                    await db.execute("INSERT INTO orders VALUES ('first', '')")
                    begun.set()
                    await may_end.wait()
                    if first_fails:
                        raise ValueError

                @second.exactly_once("orders", store=store, key=key, name="n")
                def other(_message: Message, db: psycopg.Connection[Any]) -> None:
                    db.execute("INSERT INTO orders VALUES ('second', '')")

                broker = memory_broker()
                async with running(broker, first) as one:
                    await broker.publish("orders", "1", qos=1)
                    await begun.wait()
                    async with running(broker, second, identifier="other"):
                        await broker.publish("orders", "1", qos=1)
                        waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
                        # Until the second one waits for the row of the first one.
                        await loop.run_in_executor(None, rows.wait_for, waits)
                        may_end.set()
                        if first_fails:
                            with pytest.raises(once.HandlerFailedError):
                                await one.task
                        else:
                            await broker.idle(20)
                        found = "SELECT 1 FROM ferromqtt_handled"
                        await loop.run_in_executor(None, rows.wait_for, found)
            handled = rows.execute("SELECT key FROM orders")
            assert handled == [("second",) if first_fails else ("first",)]

    for first_fails in (False, True):
        run_watched(asyncio.new_event_loop, main, first_fails, limit=50)


@pytest.mark.parametrize("library", ["psycopg", "sqlalchemy"])
@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_batch_that_another_transaction_has_made_fail_is_tried_again(
    postgres: Postgres, library: str, failures: int
) -> None:
    async def main() -> None:
        with postgres.database() as url, contextlib.ExitStack() as stack:
            rows = Rows(url)
            rows.execute("CREATE TABLE total (sum INTEGER)")
            rows.execute("INSERT INTO total VALUES (0)")
            store: Any
            if library == "psycopg":
                connection = stack.enter_context(psycopg.connect(url))
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                store = once.psycopg(connection)
            else:
                where = url.replace("postgresql:", "postgresql+psycopg:", 1)
                engine = sa.create_engine(where, isolation_level="REPEATABLE READ")
                stack.callback(engine.dispose)
                store = once.sqlalchemy(stack.enter_context(engine.connect()))
            store.create()
            calls = 0
            router = Router()

            @router.exactly_once("orders", store=store, key=key)
            def order(message: Message, db: Db) -> None:
                nonlocal calls
                calls += b"bread" in message.payload
                if b"bread" in message.payload and calls <= failures:
                    rows.execute("UPDATE total SET sum = sum + 100")  # beside this transaction
                add = "UPDATE total SET sum = sum + 1"
                db.execute(add if library == "psycopg" else sa.text(add))

            broker = memory_broker()
            async with running(broker, router) as world:
                for payload in ("1:bread", "2:soup"):
                    await broker.publish("orders", payload, qos=1)
                if failures == 3:
                    with pytest.raises(once.StoreFailedError, match="beside another transaction"):
                        await world.task
                else:
                    await broker.idle(20)
                assert world.session.in_flight == (2 if failures == 3 else 0)
            assert calls == min(failures + 1, 3)
            handled = 0 if failures == 3 else 2
            assert rows.execute("SELECT sum FROM total") == [(100 * failures + handled,)]
            assert len(rows.remembered()) == handled

    play(main)


class Base(DeclarativeBase):
    pass


class Dish(Base):
    __tablename__ = "dishes"
    name: Mapped[str] = mapped_column(primary_key=True)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_what_a_session_cannot_write_is_the_failure_of_its_handler(
    database: str, tmp_path: Path, postgres: Postgres
) -> None:
    async def main() -> None:
        with postgres.database() as url:
            where = url.replace("postgresql:", "postgresql+psycopg:", 1)
            if database == "sqlite":
                where = f"sqlite:///{tmp_path / 'dishes.db'}"
            engine = sa.create_engine(where)
            Base.metadata.create_all(engine)
            with Session(engine) as session:
                store = once.sqlalchemy(session)
                store.create()
                failed: list[str] = []
                router = Router(on_error=lambda error, _: failed.append(type(error).__name__))

                @router.exactly_once(
                    "orders", store=store, key=key, on_failure="dead_letter", retries=1
                )
                def order(message: Message, db: Session) -> None:
                    db.add(Dish(name=message.payload.decode().partition(":")[2]))

                async with running(memory_broker(), router) as world:
                    await handle(world, "1:soup", "2:soup", "3:bread")
                assert failed == ["IntegrityError"]
                assert set(session.scalars(sa.select(Dish.name))) == {"soup", "bread"}
            engine.dispose()

    play(main)


def test_sqlalchemy_shows_nothing_of_a_dead_letter_that_it_cannot_store(
    tmp_path: Path, watch: Watch
) -> None:
    async def main() -> None:
        rows = Rows(str(tmp_path / "orders.db"))
        async with once_stores.alchemy_connection(str(tmp_path / "orders.db")) as case:
            await create(case)
            rows.execute("DROP TABLE ferromqtt_dead_letters")
            router = Router()

            @router.exactly_once("orders", store=case.store, key=key, on_failure="dead_letter")
            def order(_message: Message, _db: Db) -> None:
                raise ValueError("no such dish")

            async with running(memory_broker(), router) as world:
                await world.broker.publish("orders", f"{SECRET}:soup", qos=1)
                with pytest.raises(once.StoreFailedError, match="insert a dead letter") as error:
                    await world.task
                watch.see(error.value)

    play(main)


def test_an_error_of_the_database_that_a_handler_swallows_is_its_failure(
    postgres: Postgres,
) -> None:
    """PostgreSQL does nothing more in a transaction after that, but roll back."""

    async def main() -> None:
        with postgres.database() as url, psycopg.connect(url) as db:
            rows = Rows(url)
            store = once.psycopg(db)
            store.create()
            failed: list[str] = []
            router = Router(on_error=lambda error, _: failed.append(type(error).__name__))

            @router.exactly_once("orders", store=store, key=key, on_failure="dead_letter")
            def order(message: Message, db: psycopg.Connection[Any]) -> None:
                db.execute("INSERT INTO orders VALUES (%s, %s)", (key(message), message.payload))
                if b"stone" in message.payload:
                    with contextlib.suppress(psycopg.Error):
                        db.execute("SELECT 1 / 0")

            async with running(memory_broker(), router) as world:
                await handle(world, "1:soup", "2:stone", "3:bread")
            assert failed == ["InFailedSqlTransaction"]
            assert rows.orders() == [b"1:soup", b"3:bread"]

    play(main)


def test_old_keys_go_from_each_database(opened: tuple[Open, str, Rows]) -> None:
    open_store, url, rows = opened

    async def main() -> None:
        async with open_store(url) as case:
            await create(case)
            rows.execute(
                "INSERT INTO ferromqtt_handled "
                "VALUES ('other', 'old', 0), ('worker orders', 'old', 0)"
            )
            router = Router()
            router.exactly_once("orders", store=case.store, key=key)(case.insert)
            async with running(memory_broker(), router) as world:
                await handle(world, *(f"{each}:" for each in range(120)))
            handlers = rows.execute(
                "SELECT handler FROM ferromqtt_handled WHERE message_key = 'old'"
            )
            assert handlers == [("other",)]
            assert len(rows.remembered()) == 121

    play(main)
