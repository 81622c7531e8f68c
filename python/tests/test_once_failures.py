"""Exactly-once handlers whose database fails: nothing is acknowledged that is not committed."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from ferromqtt import Message, Router, once
from support.once import database, insert, key, keys, orders, running
from support.virtual import memory_broker, play


def test_a_database_that_is_locked_stops_the_handler(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "orders.db"
        with contextlib.closing(database(path)) as other:
            db = sqlite3.connect(path, timeout=0)
            store = once.sqlite(db)
            store.create()
            broker = memory_broker()
            router = Router()
            router.exactly_once("orders", store=store, key=key)(insert)
            async with running(broker, router) as world:
                other.execute("BEGIN IMMEDIATE")
                await world.publish("1:soup")
                text = r"insert of orders has failed to begin a transaction: database is locked"
                with pytest.raises(once.StoreFailedError, match=text) as error:
                    await world.task
                assert isinstance(error.value.__cause__, sqlite3.OperationalError)
                assert world.session.in_flight == 1
            other.rollback()
            async with running(broker, router) as world:
                await asyncio.sleep(1)
                assert orders(db) == [b"1:soup"]
                assert world.session.in_flight == 0
            db.close()

    play(main)


def test_a_commit_that_fails_is_rolled_back_and_not_acknowledged(tmp_path: Path) -> None:
    """In SQLite a commit waits for those that read."""

    async def main() -> None:
        path = tmp_path / "orders.db"
        with contextlib.closing(database(path)) as reader:
            db = sqlite3.connect(path, timeout=0)
            store = once.sqlite(db)
            store.create()
            router = Router()
            router.exactly_once("orders", store=store, key=key)(insert)
            async with running(memory_broker(), router) as world:
                reader.execute("BEGIN")
                assert orders(reader) == []
                await world.publish("1:soup")
                with pytest.raises(once.StoreFailedError, match="has failed to commit: database"):
                    await world.task
                assert world.session.in_flight == 1
                assert not db.in_transaction
            db.close()

    play(main)


def test_a_disk_that_is_full_stops_the_handler(tmp_path: Path) -> None:
    """SQLite may roll back the whole transaction then: that is no mistake of the handler."""

    async def main() -> None:
        db = database(tmp_path / "orders.db")
        store = once.sqlite(db)
        store.create()
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 2}")
        router = Router()

        @router.exactly_once("orders", store=store, key=key)
        def order(message: Message, db: sqlite3.Connection) -> None:
            size = 100_000 if b"large" in message.payload else 1
            db.execute("INSERT INTO orders VALUES (?, ?)", (key(message), bytes(size)))

        async with running(memory_broker(), router) as world:
            await world.publish("1:soup")
            await world.publish("2:soup", "3:large")
            with pytest.raises(once.OnceError) as error:
                await world.task
            assert "disk is full" in str(error.value.__cause__)
            # One that fails alone lets those before it be committed; the transaction may be gone.
            is_gone = isinstance(error.value, once.StoreFailedError)
            assert world.session.in_flight == (2 if is_gone else 1)
            assert keys(db) == (["1"] if is_gone else ["1", "2"])
        db.close()

    play(main)


def test_an_error_that_ends_the_whole_transaction_is_one_of_the_database() -> None:
    async def main() -> None:
        db = database()
        db.execute("CREATE UNIQUE INDEX once_each ON orders (key)")
        store = once.sqlite(db)
        store.create()
        router = Router()

        @router.exactly_once("orders", store=store, key=lambda message: message.payload)
        def order(message: Message, db: sqlite3.Connection) -> None:
            db.execute("INSERT OR ROLLBACK INTO orders VALUES (?, ?)", (key(message), b""))

        async with running(memory_broker(), router) as world:
            await world.publish("1:soup", "1:bread")
            with pytest.raises(once.StoreFailedError, match="go on after an error") as error:
                await world.task
            assert isinstance(error.value.__cause__, sqlite3.IntegrityError)
            assert world.session.in_flight == 2
            assert (orders(db), keys(db)) == ([], [])
        db.close()

    play(main)


def test_tables_that_are_missing_stop_the_handler() -> None:
    async def main() -> None:
        db = database()
        router = Router()
        router.exactly_once("orders", store=once.sqlite(db), key=key)(insert)
        async with running(memory_broker(), router) as world:
            await world.publish("1:soup")
            with pytest.raises(once.StoreFailedError, match="no such table: ferromqtt_handled"):
                await world.task
            assert world.session.in_flight == 1
        db.close()

    play(main)


def test_a_connection_that_is_closed_stops_the_handler() -> None:
    async def main() -> None:
        db = database()
        store = once.sqlite(db)
        store.create()
        router = Router()
        router.exactly_once("orders", store=store, key=key)(insert)
        async with running(memory_broker(), router) as world:
            db.close()
            await world.publish("1:soup")
            with pytest.raises(once.StoreFailedError, match="closed database"):
                await world.task
            assert world.session.in_flight == 1

    play(main)


def test_a_transaction_of_somebody_else_is_neither_used_nor_ended() -> None:
    async def main() -> None:
        db = database()
        store = once.sqlite(db)
        store.create()
        router = Router()
        router.exactly_once("orders", store=store, key=key)(insert)
        async with running(memory_broker(), router) as world:
            db.execute("INSERT INTO orders VALUES ('of the program', 'x')")  # begins one
            await world.publish("1:soup")
            with pytest.raises(once.StoreFailedError, match="something else has begun"):
                await world.task
            assert world.session.in_flight == 1
            assert orders(db) == ["x"]
            assert db.in_transaction
        db.close()

    play(main)


def test_a_handler_that_has_committed_and_raises_has_ended_its_transaction() -> None:
    async def main() -> None:
        db = database()
        store = once.sqlite(db)
        store.create()
        router = Router()

        @router.exactly_once("orders", store=store, key=key, on_failure="dead_letter")
        def order(message: Message, db: sqlite3.Connection) -> None:
            insert(message, db)
            db.commit()
            raise ValueError("too late")

        async with running(memory_broker(), router) as world:
            await world.publish("1:soup")
            with pytest.raises(once.TransactionEndedError) as error:
                await world.task
            assert str(error.value.__cause__) == "too late"
            assert world.session.in_flight == 1
        db.close()

    play(main)


def test_a_handler_may_use_savepoints_of_its_own() -> None:
    async def main() -> None:
        db = database()
        store = once.sqlite(db)
        store.create()
        router = Router()

        @router.exactly_once("orders", store=store, key=key)
        def order(message: Message, db: sqlite3.Connection) -> None:
            insert(message, db)
            db.execute("SAVEPOINT of_mine")
            insert(message, db)
            db.execute("ROLLBACK TO of_mine")
            db.execute("RELEASE of_mine")

        async with running(memory_broker(), router) as world:
            await world.publish("1:soup", "2:bread")
            assert orders(db) == [b"1:soup", b"2:bread"]
            assert world.session.in_flight == 0
        db.close()

    play(main)


def test_two_asynchronous_handlers_over_one_store_take_turns() -> None:
    async def main() -> None:
        db = database()
        store = once.sqlite(db)
        store.create()
        router = Router()
        at_work = most = 0

        async def order(message: Message, db: sqlite3.Connection) -> None:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(1)
            insert(message, db)
            at_work -= 1

        for topic in ("orders", "bills"):
            router.exactly_once(topic, store=store, key=key)(order)
        async with running(memory_broker(), router) as world:
            await world.broker.publish("orders", "1", qos=1)
            await world.broker.publish("bills", "2", qos=1)
            await asyncio.sleep(10)
            assert most == 1
            assert orders(db) == [b"1", b"2"]
        db.close()

    play(main)


@pytest.mark.parametrize("answer", ["ack", "reject"])
def test_a_handler_cannot_acknowledge_what_it_may_fail_on(tmp_path: Path, answer: str) -> None:
    """Otherwise the message would be lost with what is rolled back."""

    async def main() -> None:
        path = tmp_path / "orders.db"
        with contextlib.closing(database(path)) as db:
            store = once.sqlite(db)
            store.create()
            broker = memory_broker()
            hasty = Router()

            @hasty.exactly_once("orders", store=store, key=key)
            def answers(message: Message, _: sqlite3.Connection) -> None:
                getattr(message, answer)()

            async with running(broker, hasty) as world:
                await world.publish("1:soup")
                with pytest.raises(once.HandlerFailedError) as error:
                    await world.task
                assert isinstance(error.value.__cause__, RuntimeError)
                assert world.session.in_flight == 1
            router = Router()
            router.exactly_once("orders", store=store, key=key)(insert)
            async with running(broker, router) as world:
                await asyncio.sleep(1)
                assert orders(db) == [b"1:soup"]
                assert world.session.in_flight == 0

    play(main)
