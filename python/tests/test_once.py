"""`Router.exactly_once`: when a message is handled, remembered and acknowledged."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ferromqtt import Message, Router, once
from support.once import (
    PERSISTENT,
    database,
    insert,
    key,
    keys,
    letters,
    orders,
    running,
    session,
)
from support.secrets import SECRET, Watch
from support.virtual import memory_broker, play


def store_of(db: sqlite3.Connection) -> once.SyncStore[sqlite3.Connection]:
    store = once.sqlite(db)
    store.create()
    return store


def test_what_a_handler_does_is_committed_with_its_key_and_then_acknowledged(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        db = database(tmp_path / "orders.db")
        other = sqlite3.connect(tmp_path / "orders.db")
        broker = memory_broker()
        router = Router()
        before: list[tuple[int, list[bytes], list[str]]] = []

        @router.exactly_once("orders", store=store_of(db), key=key)
        def order(message: Message, db: sqlite3.Connection) -> None:
            insert(message, db)
            before.append((session(broker).in_flight, orders(other), keys(other)))

        async with running(broker, router) as world:
            await world.publish("1:soup", "2:bread")
            assert before == [(2, [], []), (2, [], [])]
            assert world.session.in_flight == 0
            assert (orders(other), keys(other)) == ([b"1:soup", b"2:bread"], ["1", "2"])
        db.close()
        other.close()

    play(main)


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_message_whose_key_is_remembered_is_acknowledged_and_not_handled(
    qos: int, protocol: int
) -> None:
    async def main() -> None:
        db = database()
        router = Router()
        router.exactly_once("orders", store=store_of(db), key=key, qos=qos)(insert)
        options: dict[str, Any] = {"protocol": protocol}
        if protocol == 5:
            options |= {
                "clean_session": None,
                "clean_start": False,
                "session_expiry_interval": 60,
            }
        async with running(memory_broker(), router, **options) as world:
            await world.publish("1:soup", "1:soup", qos=qos)  # in one batch
            await world.publish("1:soup", qos=qos)
            assert orders(db) == [b"1:soup"]
            assert world.session.in_flight == 0
            assert world.client.unacknowledged().messages == 0
        db.close()

    play(main)


@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_comes_again_since_the_connection_was_lost_is_handled_once(
    qos: int,
) -> None:
    async def main() -> None:
        db = database()
        broker = memory_broker()
        router = Router()
        seen: list[bool] = []

        def key_of(message: Message) -> str:
            seen.append(message.dup)
            return key(message)

        @router.exactly_once("orders", store=store_of(db), key=key_of, qos=qos)
        async def order(message: Message, db: sqlite3.Connection) -> None:
            insert(message, db)
            broker.kill("worker")
            await asyncio.sleep(5)  # there is another connection before this is committed

        async with running(broker, router, reconnect=True) as world:
            await world.publish("1:soup", qos=qos)
            await asyncio.sleep(10)
            assert seen == [False, True]
            assert orders(db) == [b"1:soup"]
            assert world.session.in_flight == 0
        db.close()

    play(main)


def test_messages_of_a_batch_that_the_end_of_the_connection_leaves_come_again() -> None:
    async def main() -> None:
        db = database()
        broker = memory_broker()
        router = Router()
        router.exactly_once("orders", store=store_of(db), key=key)(insert)
        async with running(broker, router) as world:
            broker.kill("worker")
            await world.publish("1:soup", "2:bread")
            assert orders(db) == []
        async with running(broker, router) as world:
            await asyncio.sleep(1)
            assert orders(db) == [b"1:soup", b"2:bread"]
            assert world.session.in_flight == 0
        db.close()

    play(main)


@pytest.mark.parametrize(("batch", "transactions"), [(1, 5), (2, 3), (100, 1)])
def test_messages_that_wait_share_a_transaction_up_to_the_batch(
    batch: int, transactions: int
) -> None:
    async def main() -> None:
        db = database()
        broker = memory_broker()
        router = Router()
        router.exactly_once("orders", store=store_of(db), key=key, batch=batch)(insert)
        async with broker.client(**PERSISTENT) as client:
            await client.subscribe("orders", qos=1)
        for each in range(5):
            await broker.publish("orders", str(each), qos=1)
        statements: list[str] = []
        db.set_trace_callback(statements.append)
        # They are in the queue before the router has begun.
        async with running(broker, router):
            await asyncio.sleep(1)
        db.set_trace_callback(None)
        assert statements.count("COMMIT") == transactions
        assert statements.count("BEGIN IMMEDIATE") == transactions
        assert len(orders(db)) == 5
        db.close()

    play(main)


def test_a_batch_waits_for_no_further_message() -> None:
    async def main() -> None:
        db = database()
        router = Router()
        at: list[float] = []

        @router.exactly_once("orders", store=store_of(db), key=key, batch=100)
        def order(_message: Message, _db: sqlite3.Connection) -> None:
            at.append(asyncio.get_running_loop().time())

        async with running(memory_broker(), router) as world:
            began = asyncio.get_running_loop().time()
            await world.publish("1")
            assert world.session.in_flight == 0
        assert at == [pytest.approx(began, abs=0.01)]
        db.close()

    play(main)


def test_a_handler_that_raises_takes_back_its_own_part_and_not_the_batch() -> None:
    async def main() -> None:
        db = database()
        failed: list[tuple[str, bytes, int]] = []
        router = Router(
            on_error=lambda error, message: failed.append(
                (str(error), message.payload, len(letters(db, "id")))
            )
        )

        @router.exactly_once("orders/#", store=store_of(db), key=key, on_failure="dead_letter")
        def order(message: Message, db: sqlite3.Connection) -> None:
            insert(message, db)
            if b"stone" in message.payload:
                raise ValueError("no such dish")

        async with running(memory_broker(), router) as world:
            await world.publish("1:soup", "2:stone", "3:bread", topic="orders/a")
            assert world.session.in_flight == 0
            assert orders(db) == [b"1:soup", b"3:bread"]
            assert failed == [("no such dish", b"2:stone", 1)]
            columns = "handler, message_key, topic, payload, qos, properties, error"
            assert letters(db, columns) == [
                (
                    "worker orders/#",
                    "2",
                    "orders/a",
                    b"2:stone",
                    1,
                    "{}",
                    "ValueError: no such dish",
                )
            ]
            await world.publish("2:stone", topic="orders/a")
            assert len(letters(db, "id")) == 1, "what is a dead letter is handled"
        db.close()

    play(main)


def test_a_dead_letter_has_the_properties_of_its_message() -> None:
    async def main() -> None:
        db = database()
        router = Router(on_error=lambda *_: None)

        @router.exactly_once("orders", store=store_of(db), key=key, on_failure="dead_letter")
        def order(_message: Message, _db: sqlite3.Connection) -> None:
            raise ValueError("a text with \0 in it, and half of a character: \udc80")

        options: dict[str, Any] = {
            "protocol": 5,
            "clean_session": None,
            "clean_start": False,
            "session_expiry_interval": 60,
        }
        broker = memory_broker()
        async with running(broker, router, **options), broker.client(protocol=5) as other:
            await other.publish(
                "orders", "1", qos=1, content_type="text/plain", correlation_data=b"\x01\x02"
            )
            await asyncio.sleep(1)
            properties = '{"ContentType": "text/plain", "CorrelationData": "0102"}'
            text = "ValueError: a text with \ufffd in it, and half of a character: \ufffd"
            assert letters(db, "properties, error") == [(properties, text)]
        db.close()

    play(main)


def test_a_failing_handler_is_called_again_and_then_stops_the_router() -> None:
    async def main() -> None:
        db = database()
        broker = memory_broker()
        router = Router()
        calls: list[bytes] = []
        is_broken = True

        @router.exactly_once("orders", store=store_of(db), key=key)
        def order(message: Message, db: sqlite3.Connection) -> None:
            calls.append(message.payload)
            insert(message, db)
            if is_broken and b"stone" in message.payload:
                raise ValueError("no such dish")

        async with running(broker, router) as world:
            await world.publish("1:soup", "2:stone", "3:bread")
            with pytest.raises(
                once.HandlerFailedError, match=r"failed 3 times.*to orders"
            ) as error:
                await world.task
            assert str(error.value.__cause__) == "no such dish"
            assert "stone" not in str(error.value)
            assert calls == [b"1:soup", *[b"2:stone"] * 3]
            assert (orders(db), keys(db)) == ([b"1:soup"], ["1"])
            await asyncio.sleep(1)
            assert world.session.in_flight == 2, "it is acknowledged what was committed"
        is_broken = False
        async with running(broker, router) as world:
            await asyncio.sleep(1)
            assert orders(db) == [b"1:soup", b"2:stone", b"3:bread"]
            assert world.session.in_flight == 0
        db.close()

    play(main)


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_a_handler_is_called_again_as_often_as_it_was_said(retries: int) -> None:
    async def main() -> None:
        db = database()
        router = Router()
        calls = 0

        @router.exactly_once("orders", store=store_of(db), key=key, retries=retries)
        def order(message: Message, db: sqlite3.Connection) -> None:
            nonlocal calls
            calls += 1
            insert(message, db)
            if calls <= retries:
                raise ValueError("not yet")

        async with running(memory_broker(), router) as world:
            await world.publish("1")
            assert calls == retries + 1
            assert orders(db) == [b"1"]
            assert world.session.in_flight == 0
        db.close()

    play(main)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (None, "the key of a message must be str, int, bytes or UUID, not NoneType"),
        (True, "must be str, int, bytes or UUID, not bool"),
        ("", "must have 1-255 characters, not 0"),
        ("x" * 256, "must have 1-255 characters, not 256"),
        ("a\0", "must not have the character U"),
        ("a\udc80", "must not have the character U"),
    ],
)
def test_a_message_with_a_wrong_key_is_one_that_failed(bad: object, text: str) -> None:
    async def main() -> None:
        db = database()
        router = Router(on_error=lambda *_: None)
        keys_of = {b"bad": bad, b"good": 7}
        router.exactly_once(
            "orders",
            store=store_of(db),
            key=lambda message: keys_of[message.payload],
            on_failure="dead_letter",
        )(insert)
        async with running(memory_broker(), router) as world:
            await world.publish("bad", "good")
            assert orders(db) == [b"good"]
            assert keys(db) == ["7"]
            ((no_key, error),) = letters(db, "message_key, error")
            assert no_key is None
            assert text in error
            assert world.session.in_flight == 0
        db.close()

    play(main)


def test_a_message_of_qos_0_is_handled_at_most_once_and_a_line_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        db = database()
        router = Router()
        router.exactly_once("orders", store=store_of(db), key=key)(insert)
        async with running(memory_broker(), router) as world:
            await world.publish("1:soup", "1:soup", "2:bread", qos=0)
            assert orders(db) == [b"1:soup", b"2:bread"]
        db.close()

    play(main)
    lines = [it.getMessage() for it in caplog.records if "QoS 0" in it.getMessage()]
    assert len(lines) == 1


def test_two_handlers_of_one_router_remember_apart() -> None:
    async def main() -> None:
        db = database()
        store = store_of(db)
        router = Router()
        router.exactly_once("orders", store=store, key=key)(insert)
        router.exactly_once("bills", store=store, key=key)(insert)
        router.exactly_once("orders/+", store=store, key=key, name="by number")(insert)
        async with running(memory_broker(), router) as world:
            for topic in ("orders", "bills", "orders/1"):
                await world.publish("1", topic=topic)
            assert len(orders(db)) == 3
        names = db.execute("SELECT handler FROM ferromqtt_handled ORDER BY rowid").fetchall()
        assert names == [("worker orders",), ("worker bills",), ("by number",)]
        db.close()

    play(main)


def test_old_keys_go_by_and_by_and_young_ones_stay() -> None:
    async def main() -> None:
        db = database()
        store = store_of(db)
        router = Router()
        router.exactly_once("orders", store=store, key=key, keep_keys_for=3600)(insert)
        router.exactly_once("bills", store=store, key=key, keep_keys_for=7200)(insert)
        async with running(memory_broker(), router, keepalive=0) as world:
            await world.publish("of a bill", topic="bills")
            for each in range(150):
                await world.publish(f"first {each}")
            await asyncio.sleep(3000)
            await world.publish("young")
            await asyncio.sleep(1000)
            count = len(keys(db))
            for each in range(150):
                await world.publish(f"second {each}")
            left = keys(db)
            assert len(left) <= count
            assert {"of a bill", "young", "second 0"} <= set(left)
            await world.publish("young")
            assert orders(db).count(b"young") == 1
        db.close()

    play(main)


def test_a_handler_that_returns_a_generator_has_failed() -> None:
    async def main() -> None:
        db = database()
        router = Router()
        handler: Any = lambda message, db: (insert(message, db) for _ in range(1))  # noqa: E731
        router.exactly_once("orders", store=store_of(db), key=key, retries=0)(handler)
        async with running(memory_broker(), router) as world:
            await world.publish("1:soup")
            with pytest.raises(once.HandlerFailedError) as error:
                await world.task
            assert "a generator, which nobody runs" in str(error.value.__cause__)
            assert world.session.in_flight == 1
        db.close()

    play(main)


def test_keys_can_be_kept_forever() -> None:
    async def main() -> None:
        db = database()
        router = Router()
        router.exactly_once("orders", store=store_of(db), key=key, keep_keys_for=1e300)(insert)
        async with running(memory_broker(), router) as world:
            await world.publish(*(f"{each}:" for each in range(120)))
            assert len(keys(db)) == 120
            assert world.session.in_flight == 0
        db.close()

    play(main)


def test_stop_lets_the_batch_that_is_at_work_be_committed() -> None:
    async def main() -> None:
        db = database()
        broker = memory_broker()
        router = Router()

        @router.exactly_once("orders", store=store_of(db), key=key, batch=1)
        async def order(message: Message, db: sqlite3.Connection) -> None:
            await asyncio.sleep(10)
            insert(message, db)

        async with running(broker, router) as world:
            await world.publish("1:soup", "2:bread")
            router.stop()
            await world.task
            await asyncio.sleep(1)
            assert orders(db) == [b"1:soup"]
            assert world.session.in_flight == 1, "it is not acknowledged what is not handled"
        async with running(broker, router) as world:
            await asyncio.sleep(20)
            assert orders(db) == [b"1:soup", b"2:bread"]
        db.close()

    play(main)


def test_a_run_that_is_cancelled_takes_the_batch_back() -> None:
    async def main() -> None:
        db = database()
        broker = memory_broker()
        router = Router()
        hangs = True

        @router.exactly_once("orders", store=store_of(db), key=key)
        async def order(message: Message, db: sqlite3.Connection) -> None:
            insert(message, db)
            if hangs and b"bread" in message.payload:
                await asyncio.Event().wait()

        async with running(broker, router) as world:
            await world.publish("1:soup", "2:bread")
            world.task.cancel()
            await asyncio.wait([world.task])
            assert not db.in_transaction
            assert (orders(db), keys(db)) == ([], [])
            assert world.session.in_flight == 2
        hangs = False
        async with running(broker, router) as world:
            await asyncio.sleep(1)
            assert orders(db) == [b"1:soup", b"2:bread"]
        db.close()

    play(main)


def test_a_handler_that_awaits_what_is_cancelled_has_failed() -> None:
    async def main() -> None:
        db = database()
        router = Router()

        @router.exactly_once("orders", store=store_of(db), key=key, retries=0)
        async def order(_message: Message, _db: sqlite3.Connection) -> None:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

        async with running(memory_broker(), router) as world:
            await world.publish("1")
            with pytest.raises(once.HandlerFailedError) as error:
                await world.task
            assert "awaited something that was cancelled" in str(error.value.__cause__)
        db.close()

    play(main)


def test_neither_payloads_nor_keys_are_shown(watch: Watch) -> None:
    async def main() -> None:
        db = database()
        store = store_of(db)
        letter = once.DeadLetter("h", SECRET, "orders", SECRET.encode(), 1, SECRET, SECRET, 0)
        watch.see(store, letter)
        router = Router()
        watch.see(router)
        keywords: dict[str, Any] = {"store": store, "key": lambda message: message.payload.decode()}

        @router.exactly_once("orders", on_failure="dead_letter", **keywords)
        def order(_message: Message, _db: sqlite3.Connection) -> None:
            raise ValueError("no such dish")

        async with running(memory_broker(), router) as world:
            await world.publish(SECRET)
            assert letters(db, "payload") == [(SECRET.encode(),)]
            db.execute("DROP TABLE ferromqtt_dead_letters")
            await world.publish(f"{SECRET} again")
            with pytest.raises(once.StoreFailedError) as failed:
                await world.task
            watch.see(failed.value)
        router = Router()
        router.exactly_once("orders", **keywords)(order)
        async with running(memory_broker(), router) as world:
            await world.publish(f"{SECRET} for the last time")
            with pytest.raises(once.HandlerFailedError) as stopped:
                await world.task
            watch.see(stopped.value)
        db.close()

    play(main)


def test_other_tasks_have_their_turn_between_batches() -> None:
    async def main() -> None:
        db = database()
        broker = memory_broker()
        router = Router()
        turns: list[str] = []

        @router.exactly_once("orders", store=store_of(db), key=key, batch=1)
        def order(_message: Message, _db: sqlite3.Connection) -> None:
            turns.append("handler")
            asyncio.get_running_loop().call_soon(turns.append, "other")

        async with broker.client(**PERSISTENT) as client:
            await client.subscribe("orders", qos=1)
        for each in range(3):
            await broker.publish("orders", str(each), qos=1)
        async with running(broker, router):
            await asyncio.sleep(1)
        assert turns == ["handler", "other"] * 3
        db.close()

    play(main)
