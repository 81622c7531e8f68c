"""Code of the user's that a client is given: a class of queue, arguments, an authenticator."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import Iterator

import pytest

from conftest import Broker
from ferromqtt import (
    Client,
    Message,
    MqttError,
    PacketTypes,
    Properties,
    ProtocolVersion,
    Will,
)
from ferromqtt._internals import internals_of
from support import packets
from support.clients import LIMIT, receive_many, unique
from support.loops import LoopRunner
from test_misuse_callbacks import logger_with, look_at, publish_by_hand, raise_it
from test_misuse_protocol import Wire


class HostileQueue(asyncio.Queue[Message]):
    """Misbehaves as a test tells it to."""

    client: Client
    error: Exception | None = None

    def act(self) -> None:
        """Run before each message is put."""

    def put_nowait(self, item: Message) -> None:
        self.act()
        if self.error is not None:
            raise self.error
        super().put_nowait(item)


def hostile_client(broker: Broker, queue: type[HostileQueue]) -> Client:
    client = Client(*broker.where, queue_type=queue)
    queue.client = client
    return client


ERRORS = [
    KeyError("k"),
    asyncio.QueueFull(),
    MqttError("m"),
    ExceptionGroup("g", [ValueError()]),
    RecursionError(),
    MemoryError(),
    StopIteration(),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_what_put_nowait_raises_costs_one_message(broker: Broker, error: Exception) -> None:
    async def main() -> None:
        class Queue(HostileQueue):
            pass

        Queue.error = error
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        client = hostile_client(broker, Queue)
        internals_of(client).core.logger = logger_with(logging.NullHandler())
        topic = unique("queue")
        async with client:
            await client.subscribe(topic)
            await client.publish(topic, "lost", qos=1)
            Queue.error = None
            await client.publish(topic, "kept", qos=1)
            async with asyncio.timeout(LIMIT):
                assert (await anext(client.messages)).payload == b"kept"

    asyncio.run(main())


def test_put_nowait_may_use_the_client(run: LoopRunner, broker: Broker) -> None:
    async def main() -> None:
        class Queue(HostileQueue):
            def act(self) -> None:
                gc.collect()
                len(self.client.messages)
                publish_by_hand(self.client, topic + "/other")
                publish_by_hand(self.client, topic + "/other", 1)

        topic = unique("queue")
        async with hostile_client(broker, Queue) as client:
            await client.subscribe(topic)
            for number in range(20):
                await client.publish(topic, str(number), qos=number % 3)
            received = await receive_many(client, 20)
            assert [message.payload for message in received] == [b"%d" % n for n in range(20)]

    run(main)


@pytest.mark.parametrize("by_hand", [True, False])
def test_put_nowait_may_leave_the_client(run: LoopRunner, broker: Broker, by_hand: bool) -> None:
    async def main() -> None:
        tasks: list[asyncio.Task[None]] = []

        class Queue(HostileQueue):
            def act(self) -> None:
                leaving = self.client.__aexit__(None, None, None)
                if not by_hand:
                    tasks.append(asyncio.create_task(leaving))
                    return
                with contextlib.suppress(StopIteration):
                    leaving.send(None)
                leaving.close()

        topic = unique("queue")
        async with hostile_client(broker, Queue) as client:
            await client.subscribe(topic)
            with contextlib.suppress(MqttError):
                await client.publish(topic, "x")
            async with asyncio.timeout(LIMIT):
                with contextlib.suppress(MqttError):
                    async for _ in client.messages:
                        pass
                assert not internals_of(client).core.connected
                await asyncio.gather(*tasks)

    run(main)


@pytest.mark.parametrize("method", ["get", "qsize"])
def test_what_the_queue_raises_elsewhere_reaches_the_iterator(
    run: LoopRunner, broker: Broker, method: str
) -> None:
    async def main() -> None:
        class Queue(HostileQueue):
            armed = False

            async def get(self) -> Message:
                if self.armed and method == "get":
                    raise_it()
                return await super().get()

            def qsize(self) -> int:
                if self.armed and method == "qsize":
                    raise_it()
                return super().qsize()

        topic = unique("queue")
        async with hostile_client(broker, Queue) as client:
            await client.subscribe(topic)
            await client.publish(topic, "x", qos=1)
            Queue.armed = True
            with pytest.raises(KeyError, match="raised by the user"):
                await anext(client.messages)
            Queue.armed = False
            async with asyncio.timeout(LIMIT):
                assert (await anext(client.messages)).payload == b"x"

    run(main)


class Curious:
    """Its conversions use the client."""

    client: Client | None = None
    calls = 0

    def _look(self) -> None:
        if self.client is not None:
            type(self).calls += 1
            look_at(self.client)
            publish_by_hand(self.client, "curious")
            gc.collect()


class CuriousInt(int, Curious):
    def __index__(self) -> int:
        self._look()
        return int.__index__(self)

    def __int__(self) -> int:
        self._look()
        return int.__int__(self)

    def __str__(self) -> str:
        self._look()
        return int.__repr__(self)

    def __bool__(self) -> bool:
        self._look()
        return int.__bool__(self)

    def __eq__(self, other: object) -> bool:
        self._look()
        return int.__eq__(self, other)

    def __lt__(self, other: int) -> bool:
        self._look()
        return int.__lt__(self, other)

    __hash__ = int.__hash__


class CuriousFloat(float, Curious):
    def __str__(self) -> str:
        self._look()
        return float.__repr__(self)

    def __float__(self) -> float:
        self._look()
        return float.__float__(self)


class CuriousStr(str, Curious):
    __slots__ = ()

    def __str__(self) -> str:
        self._look()
        return str.__str__(self)


@contextlib.contextmanager
def curious_about(client: Client) -> Iterator[None]:
    Curious.client, Curious.calls, CuriousInt.calls = client, 0, 0
    try:
        yield
    finally:
        Curious.client = None


def test_options_whose_conversion_uses_the_client(run: LoopRunner, broker: Broker) -> None:
    async def main() -> None:
        client = Client(
            *broker.where,  # Python itself refuses a port of another class than int
            keepalive=CuriousInt(30),
            max_inflight_messages=CuriousInt(10),
            max_queued_outgoing_messages=CuriousInt(100),
            max_queued_incoming_messages=CuriousInt(100),
            will=Will(CuriousStr("will"), CuriousInt(7), CuriousInt(1)),
            identifier=CuriousStr(unique("curious")),
        )
        with curious_about(client):
            await client.__aenter__()
        await client.__aexit__(None, None, None)
        assert CuriousInt.calls

    run(main)


def test_arguments_whose_conversion_uses_the_client(run: LoopRunner, broker: Broker) -> None:
    async def main() -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = CuriousInt(100)
        topic = CuriousStr(unique("curious"))
        client = Client(*broker.where, protocol=ProtocolVersion.V5)
        async with client:
            with curious_about(client):
                client.pending_calls_threshold = CuriousInt(10)
                await client.subscribe(topic, CuriousInt(1))
                for payload in (CuriousInt(5), CuriousFloat(2.5), CuriousStr("text")):
                    for qos in (0, 1, 2):
                        await client.publish(
                            topic,
                            payload,
                            CuriousInt(qos),
                            CuriousInt(0),  # type: ignore[arg-type]
                            properties,
                            timeout=CuriousFloat(50.0),
                        )
                assert CuriousInt.calls > 10
            received = await receive_many(client, 9)
            assert [m.payload for m in received] == [b"5"] * 3 + [b"2.5"] * 3 + [b"text"] * 3

    run(main)


@pytest.mark.parametrize("outcome", ["answer", "raise", "no bytes"])
def test_an_authenticator_may_use_the_client(run: LoopRunner, outcome: str) -> None:
    async def main() -> None:
        wire = Wire(ProtocolVersion.V5)

        def answer(data: bytes) -> bytes:
            look_at(wire.client)
            publish_by_hand(wire.client, "inner", 1)
            gc.collect()
            if outcome == "raise":
                raise_it()
            return data if outcome == "answer" else None  # type: ignore[return-value]

        properties = Properties(PacketTypes.CONNECT)
        properties.AuthenticationMethod = "method"
        wire.client = Client("localhost", protocol=ProtocolVersion.V5, properties=properties)
        wire.core = internals_of(wire.client).core
        wire.core.connector = None
        wire.core.authenticator = answer
        wire.core.configure(**internals_of(wire.client).core_options())
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await wire.core.start()
        wire.link.connection_made(wire.transport)
        body = b"\x18" + bytes([9 + 7]) + b"\x15" + packets.string("method") + b"\x16\0\4data"
        wire.feed(packets.encode(0xF0, body))
        wire.core.flush()
        sent = b"".join(wire.transport.written)
        assert (b"\xf0" in sent) is (outcome == "answer")
        wire.lose()
        with pytest.raises(MqttError):
            await wire.core.accepted()

    run(main)
