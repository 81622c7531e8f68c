"""A `Store` of a program's own, and the rights that ours need."""

import asyncio
import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from ferromqtt import Message, Router, once
from support.loops import run_watched
from support.once import key, running
from support.postgres import USER, Postgres
from support.virtual import memory_broker, play

Tables = dict[str, list[Any]]


class Memory:
    """A database in memory: what a transaction changes is in a copy until it is committed."""

    errors: tuple[type[Exception], ...] = (LookupError,)
    in_thread = False

    def __init__(self) -> None:
        self.committed: Tables = {"orders": [], "handled": [], "letters": []}
        self._copies: list[Tables] = []

    @property
    def db(self) -> Tables:
        return self._copies[-1]

    def may_try_again(self, error: BaseException) -> bool:
        del error
        return False

    async def open(self) -> once.Transactions[Tables]:
        return self

    async def close(self) -> None:
        assert not self._copies

    async def begin(self) -> None:
        if self._copies:
            raise once.OpenTransactionError
        self._copies.append(copy.deepcopy(self.committed))

    async def savepoint(self) -> None:
        self._copies.append(copy.deepcopy(self.db))

    def _check_savepoint(self) -> None:
        if len(self._copies) != 2:
            raise once.SavepointGoneError

    async def release(self) -> None:
        self._check_savepoint()
        del self._copies[0]

    async def roll_back_to(self) -> None:
        self._check_savepoint()
        del self._copies[1]

    async def commit(self) -> None:
        self.committed = self._copies.pop()

    async def roll_back(self) -> None:
        self._copies.clear()

    async def remember(self, handler: str, key: str, now: int) -> bool:
        if any(row[:2] == (handler, key) for row in self.db["handled"]):
            return False
        self.db["handled"].append((handler, key, now))
        return True

    async def forget(self, handler: str, before: int, most: int) -> None:
        old = [row for row in self.db["handled"] if row[0] == handler and row[2] < before]
        for row in old[:most]:
            self.db["handled"].remove(row)

    async def release_identifiers(self, handler: str, identifiers: Sequence[str] | None) -> None:
        rows = self.db["handled"]
        gone = [
            row
            for row in rows
            if row[0] == handler and (identifiers is None or row[1] in identifiers)
        ]
        for row in gone:
            rows.remove(row)

    async def bury(self, letter: once.DeadLetter) -> None:
        self.db["letters"].append(letter)


def test_a_store_of_the_programs_own_is_used_as_ours_are() -> None:
    async def main() -> None:
        store: once.Store[Tables]
        store = memory = Memory()
        router = Router(on_error=lambda *_: None)

        @router.exactly_once("orders", store=store, key=key, on_failure="dead_letter")
        def order(message: Message, db: Tables) -> None:
            db["orders"].append(message.payload)
            if b"stone" in message.payload:
                raise ValueError("no such dish")

        async with running(memory_broker(), router) as world:
            await world.publish("1:soup", "2:stone", "1:soup", "3:bread")
            assert memory.committed["orders"] == [b"1:soup", b"3:bread"]
            assert [row[1] for row in memory.committed["handled"]] == ["1", "2", "3"]
            assert [letter.payload for letter in memory.committed["letters"]] == [b"2:stone"]
            assert world.session.in_flight == 0

    play(main)


def test_a_store_of_the_programs_own_whose_transaction_is_ended_stops_the_handler() -> None:
    async def main() -> None:
        memory = Memory()
        router = Router()

        @router.exactly_once("orders", store=memory, key=key)
        async def order(_message: Message, _db: Tables) -> None:
            await memory.commit()

        async with running(memory_broker(), router) as world:
            await world.publish("1:soup")
            with pytest.raises(once.TransactionEndedError):
                await world.task
            assert world.session.in_flight == 1

    play(main)


@contextlib.contextmanager
def limited_user(url: str) -> Iterator[str]:
    """Make a user with the rights that docs/exactly-once.md names, and return its URL."""
    with psycopg.connect(url) as db:
        db.execute("CREATE TABLE orders (payload BYTEA)")
        db.execute("CREATE ROLE limited LOGIN")
        db.execute("GRANT INSERT ON orders TO limited")
        db.execute("GRANT SELECT, INSERT, DELETE ON ferromqtt_handled TO limited")
        db.execute("GRANT INSERT ON ferromqtt_dead_letters TO limited")
    try:
        yield url.replace(f"user={USER}", "user=limited")
    finally:
        with psycopg.connect(url) as db:
            db.execute("DROP OWNED BY limited")
            db.execute("DROP ROLE limited")


def test_the_rights_that_the_page_names_are_enough() -> None:
    async def main(url: str, admin: str) -> None:
        with psycopg.connect(url) as db:
            router = Router(on_error=lambda *_: None)

            @router.exactly_once("o", store=once.psycopg(db), key=key, on_failure="dead_letter")
            def order(message: Message, db: psycopg.Connection[Any]) -> None:
                if b"stone" in message.payload:
                    raise ValueError("no such dish")
                db.execute("INSERT INTO orders VALUES (%s)", [message.payload])

            broker = memory_broker()
            async with running(broker, router):
                for each in range(120):
                    await broker.publish("o", f"{each}:{'stone' if each == 7 else ''}", qos=1)
                await broker.idle(20)
        with psycopg.connect(admin) as db:
            counts = [
                db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
                for table in ("orders", "ferromqtt_handled", "ferromqtt_dead_letters")
            ]
        assert counts == [(119,), (120,), (1,)]

    with Postgres() as server, server.database() as url:
        with psycopg.connect(url) as db:
            once.psycopg(db).create()
        with limited_user(url) as limited:
            run_watched(asyncio.new_event_loop, main, limited, url, limit=50)
