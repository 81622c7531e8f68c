"""`Router.exactly_once` without a key: messages of QoS 2 are known by their Packet Identifiers."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ferromqtt import Message, MqttError, Router, once
from ferromqtt.testing import PacketKind, TestBroker
from ferromqtt.types import SubscriptionTopic
from support.once import PERSISTENT, Running, database, letters, orders, running, session
from support.virtual import memory_broker, play

NAME = '"worker" orders by Packet Identifier'
"""The name of a handler of `orders`."""


def insert(message: Message, db: sqlite3.Connection) -> None:
    """Handle an order."""
    db.execute("INSERT INTO orders VALUES (?, ?)", (message.mid, message.payload))


def rows(db: sqlite3.Connection) -> list[str]:
    """Return what the handler of `orders` has on record, in order of insertion."""
    found = db.execute(
        "SELECT message_key FROM ferromqtt_handled WHERE handler = ? ORDER BY rowid", (NAME,)
    )
    return [row for (row,) in found]


class Place:
    """A database in a file, and where its connection is used."""

    def __init__(self, path: Path, where: str) -> None:
        self.path = path
        self.look = database(path)
        once.sqlite(self.look).create()
        self._db = sqlite3.connect(path, timeout=0)
        self.store: Any = once.sqlite(self._db)
        if where == "thread":
            self.store = once.sqlite(lambda: sqlite3.connect(path, timeout=0))

    @property
    def rows(self) -> list[str]:
        """What is committed of the handler's rows."""
        return rows(self.look)

    @property
    def orders(self) -> list[bytes]:
        """What is committed of the application's."""
        return orders(self.look)

    def router(self, handler: Any = insert, **keywords: Any) -> Router:  # noqa: ANN401 - any
        """Return a router with one handler."""
        router = Router()
        given: dict[str, Any] = {"store": self.store, "key": None, "qos": 2} | keywords
        router.exactly_once("orders", **given)(handler)
        return router

    def close(self) -> None:
        """Close the connections."""
        self.look.close()
        self._db.close()


@pytest.fixture(params=["loop", "thread"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:  # noqa: ANN401 - a generator
    with contextlib.closing(Place(tmp_path / "orders.db", request.param)) as made:
        yield made


@contextlib.asynccontextmanager
async def serving(broker: TestBroker, router: Router, **options: Any) -> AsyncIterator[Running]:  # noqa: ANN401 - those of the client
    """Run a router, from when the client has subscribed: that waits for a commit."""
    async with running(broker, router, **options) as world:
        await asyncio.sleep(1)
        yield world


def count(broker: TestBroker, kind: PacketKind) -> int:
    """Return how many packets of this kind the broker has received, and not lost."""
    return sum(packet.passed for packet in broker.packets(kind, side="receives"))


def options_of(protocol: int) -> dict[str, Any]:
    """Return the options of a client whose session is kept, in this version."""
    if protocol == 4:
        return {"protocol": 4}
    kept = {"clean_start": False, "session_expiry_interval": 600}
    return {"protocol": 5, "clean_session": None, **kept}


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_message_is_known_by_its_identifier_until_the_server_lets_go_of_it(
    place: Place, protocol: int
) -> None:
    """MQTT-4.3.3-10. Equal payloads are of messages that have nothing to do with each other."""

    async def main() -> None:
        broker = memory_broker()
        hold = broker.sends(PacketKind.PUBREL).hold()
        async with serving(broker, place.router(), **options_of(protocol)) as world:
            await world.publish("soup", "soup", qos=2)
            assert place.orders == [b"soup", b"soup"]
            assert place.rows == ["1", "2"]
            assert count(broker, PacketKind.PUBREC) == 2
            hold.remove()
            hold.release()
            await asyncio.sleep(1)
            assert place.rows == []
            assert count(broker, PacketKind.PUBCOMP) == 2
            await world.publish("bread", qos=2)
            assert place.orders == [b"soup", b"soup", b"bread"]
            assert world.session.in_flight == 0

    play(main)


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_message_whose_pubrec_was_lost_with_the_program_is_handled_once(
    place: Place, protocol: int
) -> None:
    async def main() -> None:
        broker = memory_broker()
        options = options_of(protocol)
        lost = broker.receives(PacketKind.PUBREC).always().lose()
        async with serving(broker, place.router(), **options) as world:
            await world.publish("soup", qos=2)
            assert (place.orders, place.rows) == ([b"soup"], ["1"])
        lost.remove()
        async with serving(broker, place.router(), **options) as world:
            await world.publish("bread", qos=2)
            assert place.orders == [b"soup", b"bread"]
            assert place.rows == []
            assert world.session.in_flight == 0

    play(main)


@pytest.mark.parametrize("protocol", [4, 5])
def test_pubcomp_waits_until_the_row_of_an_earlier_program_is_deleted(
    place: Place, protocol: int
) -> None:
    """It was killed between PUBREC and PUBREL. Nothing brings the message again."""

    async def main() -> None:
        broker = memory_broker()
        options = options_of(protocol)
        lost = broker.sends(PacketKind.PUBREL).always().lose()
        async with serving(broker, place.router(), **options) as world:
            await world.publish("soup", qos=2)
        assert place.rows == ["1"]
        lost.remove()
        held = broker.sends(PacketKind.PUBREL).hold()
        async with serving(broker, place.router(), **options) as world:
            await asyncio.sleep(1)
            place.look.execute("BEGIN IMMEDIATE")  # the row cannot be deleted
            held.remove()
            held.release()
            await asyncio.sleep(1)
            with pytest.raises(once.StoreFailedError, match="begin a transaction: database is loc"):
                await world.task
        assert count(broker, PacketKind.PUBCOMP) == 0
        place.look.rollback()
        async with serving(broker, place.router(), **options) as world:
            await asyncio.sleep(1)
            assert (place.orders, place.rows) == ([b"soup"], [])
            assert count(broker, PacketKind.PUBCOMP) == 1
            await world.publish("bread", qos=2)
            assert place.orders == [b"soup", b"bread"]

    play(main)


def test_a_message_that_comes_again_since_the_connection_was_lost_is_handled_once(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        with contextlib.closing(Place(tmp_path / "orders.db", "loop")) as place:
            broker = memory_broker()
            seen: list[bool] = []

            async def order(message: Message, db: sqlite3.Connection) -> None:
                seen.append(message.dup)
                insert(message, db)
                broker.kill("worker")
                await asyncio.sleep(5)  # there is another connection before this is committed

            async with serving(broker, place.router(order), reconnect=True) as world:
                await world.publish("soup", qos=2)
                await asyncio.sleep(10)
                assert seen == [False]
                assert (place.orders, place.rows) == ([b"soup"], [])
                assert world.session.in_flight == 0

    play(main)


def test_rows_of_a_lost_session_are_deleted_and_hide_no_message_of_the_next(place: Place) -> None:
    async def main() -> None:
        broker = memory_broker()
        lost = broker.sends(PacketKind.PUBREL).always().lose()
        async with serving(broker, place.router(), reconnect=True) as world:
            await world.publish("soup", "bread", qos=2)
            assert place.rows == ["1", "2"]
            broker.forget_session("worker")
            lost.remove()
            await asyncio.sleep(5)
            assert place.rows == []
            await world.publish("rice", qos=2)
            assert place.orders == [b"soup", b"bread", b"rice"]
            assert {packet.packet_id for packet in broker.packets(PacketKind.PUBREC)} == {1, 2}
            assert place.rows == []

    play(main)


def test_nothing_makes_a_server_send_before_the_rows_of_a_lost_session_are_deleted(
    place: Place,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        broker.sends(PacketKind.PUBREL).always().lose()
        async with serving(broker, place.router()) as world:
            await world.publish("soup", qos=2)
        broker.forget_session("worker")
        subscribed = count(broker, PacketKind.SUBSCRIBE)
        held = broker.sends(PacketKind.CONNACK).hold()

        def pass_connack() -> None:
            held.remove()
            held.release()

        later = asyncio.get_running_loop().call_later
        later(1, lambda: place.look.execute("BEGIN IMMEDIATE"))
        later(2, pass_connack)
        async with serving(broker, place.router()) as world:
            with pytest.raises(once.StoreFailedError, match="database is locked"):
                await world.task
        assert count(broker, PacketKind.SUBSCRIBE) == subscribed
        place.look.rollback()
        assert place.rows == ["1", "connecting"]

    play(main)


def test_messages_of_a_lost_session_that_wait_are_handled_and_leave_no_row(
    tmp_path: Path,
) -> None:
    """The server uses their identifiers for others, which a row would hide."""

    async def main() -> None:
        with contextlib.closing(Place(tmp_path / "orders.db", "loop")) as place:
            broker = memory_broker()
            may_go_on = asyncio.Event()

            async def order(message: Message, db: sqlite3.Connection) -> None:
                insert(message, db)
                await may_go_on.wait()

            router = place.router(order, batch=1)
            async with serving(broker, router, reconnect=True) as world:
                await world.publish("soup", "bread", qos=2)
                broker.forget_session("worker")
                await asyncio.sleep(5)
                may_go_on.set()
                await asyncio.sleep(1)
                assert place.rows == []
                await world.publish("rice", "salt", qos=2)
                assert place.orders == [b"soup", b"bread", b"rice", b"salt"]
                assert place.rows == []
                assert world.session.in_flight == 0

    play(main)


def test_a_copy_that_waits_while_its_session_is_lost_is_not_handled_again(tmp_path: Path) -> None:
    """What says that it was handled goes with the session, and so only behind the copy."""

    async def main() -> None:
        with contextlib.closing(Place(tmp_path / "orders.db", "loop")) as place:
            broker = memory_broker()

            async def order(message: Message, db: sqlite3.Connection) -> None:
                insert(message, db)
                await asyncio.sleep(4)

            router = place.router(order, batch=1)
            async with serving(broker, router, reconnect=True) as world:
                await world.publish("soup", "bread", "rice", qos=2)
                broker.kill("worker")  # soup is at work, and comes again
                await asyncio.sleep(5)
                assert [packet.dup for packet in broker.packets(PacketKind.PUBLISH)][3:] == [
                    True
                ] * 3
                broker.forget_session("worker")
                await asyncio.sleep(20)
                assert place.orders == [b"soup", b"bread", b"rice"]
                assert place.rows == []
                await world.publish("salt", qos=2)
                await asyncio.sleep(5)
                assert place.orders == [b"soup", b"bread", b"rice", b"salt"]

    play(main)


def test_a_new_message_under_an_identifier_in_doubt_is_handled_and_reported(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """MQTT-3.3.1-1. The answer that the session was lost has died with a program."""

    async def main() -> None:
        broker = memory_broker()
        lost = broker.sends(PacketKind.PUBREL).always().lose()
        async with serving(broker, place.router()) as world:
            await world.publish("soup", qos=2)
        lost.remove()
        broker.forget_session("worker")
        unanswered = broker.sends(PacketKind.CONNACK).always().lose()
        async with running(broker, place.router()) as world:
            with pytest.raises(MqttError, match="no CONNACK"):
                await world.task  # the server has a session now, and the program does not know
        assert place.rows == ["1", "connecting"]
        unanswered.remove()
        async with serving(broker, place.router()) as world:
            await world.publish("bread", qos=2)
            assert place.orders == [b"soup", b"bread"]
            assert place.rows == ["connecting"]
            assert world.session.in_flight == 0
        text = "insert of orders may have handled a message to orders twice"
        assert sum(text in record.getMessage() for record in caplog.records) == 1

    play(main)


def test_without_a_doubt_an_identifier_on_record_is_that_of_its_message(place: Place) -> None:
    """Also where a server forgets to set DUP."""

    async def main() -> None:
        broker = memory_broker()
        async with serving(broker, place.router()) as world:
            broker.sends(PacketKind.PUBREL).always().lose()
            await world.publish("soup", qos=2)
        async with serving(broker, place.router()) as world:
            broker.send("worker", PacketKind.PUBLISH, topic="orders", qos=2, packet_id=1)
            await asyncio.sleep(1)
            assert place.orders == [b"soup"]

    play(main)


def test_the_first_connection_waits_for_its_record_and_ends_with_a_database_that_fails() -> None:
    async def main() -> None:
        with contextlib.closing(sqlite3.connect(":memory:")) as db:
            broker = memory_broker()
            router = Router()
            router.exactly_once("orders", store=once.sqlite(db), key=None, qos=2)(insert)
            with pytest.raises(once.StoreFailedError, match="no such table: ferromqtt_handled"):
                await router.serve(broker.client(**PERSISTENT))
            assert broker.connects() == []

    play(main)


def test_handlers_of_one_message_have_a_row_each_and_pubcomp_waits_for_both(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        with contextlib.closing(Place(tmp_path / "orders.db", "loop")) as place:
            broker = memory_broker()
            other = sqlite3.connect(tmp_path / "orders.db")
            works = False

            def fail(message: Message, db: sqlite3.Connection) -> None:
                if not works:
                    raise ValueError("no such dish")
                insert(message, db)

            router = place.router()
            router.exactly_once("#", store=once.sqlite(other), key=None, qos=2)(fail)
            async with serving(broker, router) as world:
                await world.publish("soup", qos=2)
                with pytest.raises(once.HandlerFailedError):
                    await world.task
                assert (place.orders, place.rows) == ([b"soup"], ["1"])
            works = True
            async with serving(broker, router) as world:
                await asyncio.sleep(1)
                assert place.orders == [b"soup", b"soup"]
                table = "SELECT COUNT(*) FROM ferromqtt_handled"
                assert place.look.execute(table).fetchone() == (0,)
                assert world.session.in_flight == 0
            other.close()

    play(main)


def test_a_dead_letter_has_no_key_and_is_not_handled_again(place: Place) -> None:
    async def main() -> None:
        broker = memory_broker()

        def fail(_message: Message, _db: object) -> None:
            raise ValueError("no such dish")

        lost = broker.receives(PacketKind.PUBREC).always().lose()
        router = place.router(fail, on_failure="dead_letter")
        async with serving(broker, router) as world:
            await world.publish("stone", qos=2)
        lost.remove()
        async with serving(broker, router) as world:
            await world.publish(qos=2)
            assert world.session.in_flight == 0
        assert letters(place.look, "message_key, payload") == [(None, b"stone")]

    play(main)


def test_a_message_of_less_than_qos_2_is_warned_of(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with serving(memory_broker(), place.router()) as world:
            await world.publish("soup", "bread", qos=1)
            assert (place.orders, place.rows) == ([b"soup", b"bread"], [])
        text = "has no key=, and gets a message of QoS 1, to orders"
        assert sum(text in record.getMessage() for record in caplog.records) == 1

    play(main)


def test_rows_stay_for_the_next_run_of_a_router_that_is_cancelled(place: Place) -> None:
    async def main() -> None:
        broker = memory_broker()
        lost = broker.sends(PacketKind.PUBREL).always().lose()
        async with serving(broker, place.router()) as world:
            await world.publish("soup", qos=2)
        async with serving(broker, place.router()) as world:
            await asyncio.sleep(1)
            world.task.cancel()
        assert place.rows == ["1"]
        lost.remove()
        async with serving(broker, place.router()):
            await asyncio.sleep(1)
        assert place.rows == []

    play(main)


def test_a_client_keeps_no_identifiers_for_a_router_that_is_over(place: Place) -> None:
    async def main() -> None:
        broker = memory_broker()
        client = broker.client(**PERSISTENT)
        router = place.router()
        started = asyncio.Event()
        task = asyncio.create_task(router.serve(client, started=started))
        await started.wait()
        router.stop()
        await task
        async with client:
            await client.subscribe("others", qos=2)
            await broker.publish("others", "hello", qos=2)
            (await anext(client.messages)).ack()
            await asyncio.sleep(1)
            assert session(broker).in_flight == 0

    play(main)


@pytest.mark.parametrize(
    ("topic", "keywords", "text"),
    [
        ("orders", {"qos": 1}, "without key= needs qos=2"),
        (("orders", 1), {}, "without key= needs qos=2"),
        ("$share/group/orders", {"name": "orders"}, "Shared Subscription needs key="),
    ],
)
def test_what_identifiers_are_not_enough_for_is_refused_at_the_decorator(
    place: Place, topic: SubscriptionTopic, keywords: dict[str, Any], text: str
) -> None:
    given: dict[str, Any] = {"store": place.store, "key": None, "qos": 2} | keywords
    with pytest.raises(ValueError, match=text):
        Router().exactly_once(topic, **given)(insert)


def test_a_client_whose_session_may_be_lost_unseen_is_refused(place: Place) -> None:
    async def main() -> None:
        client = memory_broker().client(**PERSISTENT, protocol=3)
        with pytest.raises(ValueError, match=r"has no key=, and needs MQTT 3\.1\.1 or 5\.0"):
            await place.router().serve(client)
        client = memory_broker().client(**PERSISTENT)
        with pytest.raises(ValueError, match=r"has no key=, and needs router\.serve"):
            await place.router().run(client)

    play(main)
