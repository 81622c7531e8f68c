"""Many threads at once, for an interpreter without the GIL (`make free-threaded`)."""

import asyncio
import copy
import pickle
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ferromqtt import Client, Message, MqttError, ProtocolVersion, blocking
from ferromqtt.properties import PacketTypes, Properties
from ferromqtt.testing import TestBroker
from support import program

THREADS = 6

ROUNDS = 200 if not getattr(sys, "_is_gil_enabled", lambda: True)() else 20
"""How often a thread does what it does. With the GIL these tests only have to be right."""

IN_FLIGHT = 20
"""So many messages the broker of the package sends without an acknowledgement."""

LIMIT = 40.0
"""Seconds after which a thread is stuck."""


def at_once(*functions: Callable[[], object]) -> None:
    """Call each function in a thread of its own, all at once, and raise what one raised."""
    errors: list[BaseException] = []
    begin = threading.Barrier(len(functions))

    def call(function: Callable[[], object]) -> None:
        try:
            begin.wait(LIMIT)
            function()
        except BaseException as error:  # noqa: BLE001 - a panic, too; raised below
            errors.append(error)

    threads = [threading.Thread(target=call, args=(it,), daemon=True) for it in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive(), "a thread is stuck"
    if errors:
        raise errors[0]


def in_loops(main: Callable[[int], Coroutine[Any, Any, None]], count: int = THREADS) -> None:
    """Run a coroutine function in so many event loops, each in a thread of its own."""
    at_once(*(lambda number=number: asyncio.run(main(number)) for number in range(count)))


def rich() -> Properties:
    """Properties with all that a message may have."""
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "text/plain"
    properties.ResponseTopic = "answers"
    properties.CorrelationData = b"1"
    properties.UserProperty = [("a", "b"), ("c", "d")]
    return properties


class Server:
    """A broker in the loop of a thread of its own, with a port."""

    def __enter__(self) -> TestBroker:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.broker = TestBroker()
        asyncio.run_coroutine_threadsafe(self.broker.start(), self._loop).result(LIMIT)
        return self.broker

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.broker.stop(), self._loop).result(LIMIT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT)
        self._loop.close()


def test_importing_leaves_the_gil_as_it_is() -> None:
    look = "getattr(sys, '_is_gil_enabled', lambda: True)()"
    output = program.run(f"import sys; print({look}); import ferromqtt; print({look})")
    before, after = output.split()
    assert before == after


def test_clients_of_many_loops_lose_nothing() -> None:
    async def main(number: int) -> None:
        async with (
            TestBroker(listen=False) as broker,
            Client(broker, protocol=ProtocolVersion.V5) as taker,
            Client(broker) as giver,
        ):
            await taker.subscribe(f"{number}/#", qos=2)
            for of in range(ROUNDS):
                await giver.publish(f"{number}/{of % 400}", str(of), qos=of % 3)
            taken = [int((await anext(taker.messages)).payload) for _ in range(ROUNDS)]
            assert sorted(taken) == list(range(ROUNDS))

    in_loops(main)


def test_steps_that_are_cancelled_lose_nothing() -> None:
    async def main(_: int) -> None:
        async with TestBroker(listen=False) as broker, Client(broker) as client:
            await client.subscribe("t", qos=1)
            taken: list[Message] = []

            async def take() -> None:
                async for message in client.messages:
                    taken.append(message)  # noqa: PERF401 - it is cancelled

            for of in range(ROUNDS):
                takers = [asyncio.create_task(take()) for _ in range(3)]
                await client.publish("t", str(of), qos=of % 2)
                takers[of % 3].cancel()
                await asyncio.sleep(0)
                for taker in takers:
                    taker.cancel()
                await asyncio.gather(*takers, return_exceptions=True)
            while len(taken) < ROUNDS:
                taken.append(await anext(client.messages))
            assert [int(message.payload) for message in taken] == list(range(ROUNDS))

    in_loops(main)


def test_messages_are_read_written_and_dropped_in_any_thread() -> None:
    async def receive() -> list[Message]:
        async with (
            TestBroker(listen=False) as broker,
            Client(broker, protocol=ProtocolVersion.V5) as client,
        ):
            await client.subscribe("#", qos=1)
            for of in range(ROUNDS):
                await client.publish(f"t/{of % 10}", str(of), qos=1, properties=rich())
            return [await anext(client.messages) for _ in range(ROUNDS)]

    messages = asyncio.run(receive())
    made: list[list[Properties | None]] = []

    def read() -> None:
        mine = list(messages)
        made.append([message.properties for message in mine])
        for message in mine:
            assert message.content_type == "text/plain"
            assert message.user_properties == [("a", "b"), ("c", "d")]
            assert message.correlation_data == b"1"
            assert isinstance(message.payload, bytes)
            assert message.dup in {False, True}
            assert str(message.topic).startswith("t/")
            assert repr(message)
            assert copy.copy(message).topic == message.topic
            assert pickle.loads(pickle.dumps(message)).qos == 1
            assert mine[0] < message or mine[0].mid >= message.mid

    def write() -> None:
        for of, message in enumerate(list(messages)):
            message.payload = b"%d" % of
            message.dup = True
            message.retain = of % 2 == 0
            message.__init__(  # type: ignore[misc] - as a careless program may
                f"t/{of % 10}", b"again", 1, False, message.mid, message.properties
            )

    at_once(read, read, read, read, write, write)
    for others in zip(*made, strict=True):
        assert all(other == others[0] or other is not None for other in others)
    at_once(*[messages.copy().clear] * THREADS, messages.clear)


def test_a_chain_of_messages_is_dropped_by_another_thread() -> None:
    def chain() -> Message:
        message = Message("t", b"", 0, False, 0, None)
        for _ in range(100_000):
            message = Message("t", message, 0, False, 0, None)  # type: ignore[arg-type]
        return message

    held = [[chain()], [chain()]]
    at_once(held[0].clear, held[1].clear, chain)


def test_a_client_is_looked_at_by_other_threads() -> None:
    is_over = threading.Event()
    clients: list[Client] = []
    has_begun = threading.Event()

    async def main() -> None:
        async with TestBroker(listen=False) as broker, Client(broker) as client:
            await client.subscribe("t")
            clients.append(client)
            has_begun.set()
            for of in range(ROUNDS * 10):
                await client.publish("t", "x", qos=of % 3)
                await anext(client.messages)

    def run() -> None:
        try:
            asyncio.run(main())
        finally:
            has_begun.set()
            is_over.set()

    def look() -> None:
        has_begun.wait(LIMIT)
        (client,) = clients
        while not is_over.is_set():
            assert client.stats().received >= 0
            assert len(client.messages) >= 0
            assert client.state is not None
            assert client.identifier == ""
            client.pending_calls_threshold = 10
            assert client.pending_calls_threshold == 10
            assert repr(client)
            assert repr(client.messages)

    def call() -> None:
        has_begun.wait(LIMIT)
        (client,) = clients

        async def publish() -> None:
            await client.publish("t", "from another loop")

        while not is_over.is_set():
            with pytest.raises((RuntimeError, MqttError)):
                asyncio.run(publish())

    at_once(run, look, look, call)


def test_blocking_clients_serve_many_threads() -> None:
    with (
        Server() as broker,
        blocking.Client(broker.host, broker.port) as taker,
        blocking.Client(broker.host, broker.port) as giver,
    ):
        taker.subscribe("t", qos=1)
        taken: list[bytes] = []

        def give(number: int) -> None:
            for of in range(ROUNDS):
                giver.publish("t", f"{number}/{of}", qos=1 if of % 4 else 0)

        def take() -> None:
            messages = taker.messages(timeout=LIMIT)
            for _ in range(ROUNDS):
                taken.append(next(messages).payload)  # noqa: PERF401 - others append, too

        givers = [lambda number=number: give(number) for number in range(THREADS)]
        at_once(*givers, *[take] * THREADS)
        expected = {f"{number}/{of}".encode() for number in range(THREADS) for of in range(ROUNDS)}
        assert len(taken) == len(expected)
        assert set(taken) == expected


def test_threads_acknowledge_the_same_messages() -> None:
    with (
        Server() as broker,
        blocking.Client(broker.host, broker.port, manual_ack=True) as taker,
        blocking.Client(broker.host, broker.port) as giver,
    ):
        taker.subscribe("t", qos=1)
        iterator = taker.messages(timeout=LIMIT)
        for _ in range(ROUNDS // 10):
            for of in range(IN_FLIGHT):
                giver.publish("t", str(of), qos=1)
            messages = [next(iterator) for _ in range(IN_FLIGHT)]

            def acknowledge(messages: list[Message] = messages) -> None:
                for message in messages:
                    message.ack()

            at_once(*[acknowledge] * THREADS)
            assert taker.unacknowledged().messages == 0


def test_blocking_clients_come_and_go_in_many_threads() -> None:
    with Server() as broker:

        def run() -> None:
            for of in range(max(2, ROUNDS // 20)):
                with blocking.Client(broker.host, broker.port) as client:
                    client.subscribe("t")
                    client.publish("t", str(of), qos=1)

        at_once(*[run] * 4)


IMPORT = """
import threading
begin = threading.Barrier(8)
def use():
    begin.wait()
    import ferromqtt.blocking, ferromqtt.testing
    assert ferromqtt.Message("t", b"", 0, False, 0, None).mid == 0
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("imported")
"""


def test_it_is_imported_by_many_threads() -> None:
    assert program.run(IMPORT) == "imported\n"


EXIT = """
import asyncio, threading
from ferromqtt import Client
from ferromqtt.testing import TestBroker
busy = threading.Barrier(5)
async def main():
    async with TestBroker(listen=False) as broker, Client(broker) as client:
        await client.subscribe("t")
        for number in range(10**9):
            await client.publish("t", b"x" * 100, number % 3)
            await anext(client.messages)
            if number == 50:
                await asyncio.to_thread(busy.wait)
def run():
    asyncio.run(main())
for _ in range(4):
    threading.Thread(target=run, daemon=True).start()
busy.wait()
print("ends")
"""


def test_the_interpreter_exits_while_threads_are_busy() -> None:
    programs = [program.start(EXIT) for _ in range(2)]
    for each in programs:
        assert program.finish(each) == "ends\n"
