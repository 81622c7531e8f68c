"""Exactly-once handlers whose store opens its connection in a thread."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from ferromqtt import Message, Router, once
from ferromqtt._once import route
from ferromqtt._once.batch import OnceBatches
from support.loops import run_watched
from support.once import database, insert, key, orders, running
from support.virtual import memory_broker, play


def test_connection_key_and_handler_are_of_one_thread_and_the_loop_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "orders.db"
        look = database(path)
        threads: list[threading.Thread] = []
        opened: list[sqlite3.Connection] = []
        may_end = threading.Event()

        def connect() -> sqlite3.Connection:
            threads.append(threading.current_thread())
            opened.append(sqlite3.connect(path))
            return opened[-1]

        once.sqlite(look).create()
        store = once.sqlite(connect)
        router = Router()

        def key_of(message: Message) -> str:
            threads.append(threading.current_thread())
            return key(message)

        @router.exactly_once("orders", store=store, key=key_of)
        def order(message: Message, db: sqlite3.Connection) -> None:
            threads.append(threading.current_thread())
            assert may_end.wait(30)
            insert(message, db)

        broker = memory_broker()
        async with running(broker, router) as world:
            loop = asyncio.get_running_loop()
            # Set by the loop, while the handler waits: it would wait forever on the loop itself.
            loop.call_soon(lambda: loop.call_soon(may_end.set))
            await world.publish("1:soup", "2:bread")
            assert orders(look) == [b"1:soup", b"2:bread"]
            assert world.session.in_flight == 0
        assert len(set(threads)) == 1
        assert threads[0] is not threading.current_thread()
        threads[0].join(30)
        assert not threads[0].is_alive()
        with pytest.raises(sqlite3.ProgrammingError, match=r"closed|created in a thread"):
            opened[0].execute("SELECT 1")
        look.close()

    play(main)


def test_a_run_that_is_cancelled_waits_until_the_thread_has_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        path = tmp_path / "orders.db"
        look = database(path)
        once.sqlite(look).create()
        begun, may_end = threading.Event(), threading.Event()
        router = Router()
        abandon = OnceBatches.abandon

        def abandon_and_go_on(batches: OnceBatches[sqlite3.Connection]) -> None:
            abandon(batches)
            may_end.set()

        monkeypatch.setattr(OnceBatches, "abandon", abandon_and_go_on)

        @router.exactly_once("orders", store=once.sqlite(lambda: sqlite3.connect(path)), key=key)
        def order(message: Message, db: sqlite3.Connection) -> None:
            insert(message, db)
            begun.set()
            assert may_end.wait(30)

        broker = memory_broker()
        async with running(broker, router) as world:
            await broker.publish("orders", "1:soup", qos=1)
            await broker.publish("orders", "2:bread", qos=1)
            await asyncio.get_running_loop().run_in_executor(None, begun.wait, 30)
            world.task.cancel()
            await asyncio.wait([world.task])
            assert world.task.cancelled()
            assert orders(look) == []
            assert world.session.in_flight == 2
        look.execute("BEGIN IMMEDIATE")  # nobody has it locked
        look.close()

    play(main)


def test_a_run_that_is_cancelled_while_the_database_is_opened_handles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        path = tmp_path / "orders.db"
        look = database(path)
        once.sqlite(look).create()
        begun, may_end = threading.Event(), threading.Event()
        calls: list[bytes] = []
        threads: list[threading.Thread] = []

        def connect() -> sqlite3.Connection:
            threads.append(threading.current_thread())
            begun.set()
            assert may_end.wait(30)
            return sqlite3.connect(path)

        router = Router()

        @router.exactly_once("orders", store=once.sqlite(connect), key=key)
        def order(message: Message, _db: sqlite3.Connection) -> None:
            calls.append(message.payload)

        broker = memory_broker()
        async with running(broker, router) as world:
            await broker.publish("orders", "1:soup", qos=1)
            await asyncio.get_running_loop().run_in_executor(None, begun.wait, 30)
            world.task.cancel()
            await asyncio.wait([world.task])
            assert world.task.cancelled()
            assert world.session.in_flight == 1
        may_end.set()
        threads[0].join(30)
        assert not threads[0].is_alive()
        assert calls == []
        look.close()

    monkeypatch.setattr(route, "GRACE", 0.01)
    run_watched(asyncio.new_event_loop, main, limit=50)


def test_a_handler_that_hangs_in_its_thread_never_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        path = tmp_path / "orders.db"
        look = database(path)
        once.sqlite(look).create()
        begun, may_end = threading.Event(), threading.Event()
        threads: list[threading.Thread] = []
        router = Router()

        @router.exactly_once("orders", store=once.sqlite(lambda: sqlite3.connect(path)), key=key)
        def order(message: Message, db: sqlite3.Connection) -> None:
            threads.append(threading.current_thread())
            insert(message, db)
            begun.set()
            assert may_end.wait(30)

        broker = memory_broker()
        async with running(broker, router) as world:
            await broker.publish("orders", "1:soup", qos=1)
            await asyncio.get_running_loop().run_in_executor(None, begun.wait, 30)
            world.task.cancel()
            await asyncio.wait([world.task])
            assert world.task.cancelled()
            assert world.session.in_flight == 1
        may_end.set()
        threads[0].join(30)
        assert not threads[0].is_alive()
        assert orders(look) == []
        look.close()

    monkeypatch.setattr(route, "GRACE", 0.01)
    run_watched(asyncio.new_event_loop, main, limit=50)
    lines = [it.getMessage() for it in caplog.records if "still runs" in it.getMessage()]
    assert len(lines) == 1


def test_a_database_that_cannot_be_opened_stops_the_handler() -> None:
    async def main() -> None:
        router = Router()
        store = once.sqlite(lambda: sqlite3.connect("/no such folder/orders.db"))
        router.exactly_once("orders", store=store, key=key)(insert)
        async with running(memory_broker(), router) as world:
            await world.publish("1:soup")
            text = "insert of orders cannot be opened: unable to open database file"
            with pytest.raises(once.StoreFailedError, match=text):
                await world.task
            assert world.session.in_flight == 1

    play(main)


def test_what_a_function_opens_is_checked_as_a_connection_is() -> None:
    async def main() -> None:
        opened: list[sqlite3.Connection] = []

        def connect() -> sqlite3.Connection:
            opened.append(sqlite3.connect(":memory:", isolation_level=None))
            return opened[-1]

        router = Router()
        router.exactly_once("orders", store=once.sqlite(connect), key=key)(insert)
        async with running(memory_broker(), router) as world:
            await world.publish("1:soup")
            with pytest.raises(ValueError, match="autocommit"):
                await world.task

    play(main)


def test_an_awaitable_in_a_thread_is_a_failure_of_the_handler(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "orders.db"
        look = database(path)
        once.sqlite(look).create()
        router = Router()

        async def later() -> None:
            await asyncio.sleep(0)

        @router.exactly_once(
            "orders", store=once.sqlite(lambda: sqlite3.connect(path)), key=key, retries=0
        )
        def order(message: Message, db: sqlite3.Connection) -> object:
            insert(message, db)
            return later()

        async with running(memory_broker(), router) as world:
            await world.publish("1:soup")
            with pytest.raises(once.HandlerFailedError) as error:
                await world.task
            assert "nobody can wait for" in str(error.value.__cause__)
            assert orders(look) == []
        look.close()

    play(main)
