"""Calls that fail, and connections that are lost."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from ferromqtt import Client, Message, MqttError, ProtocolVersion, Reconnect
from ferromqtt._internals import internals_of
from ferromqtt.testing import TestBroker
from ferromqtt.types import ServerProfileName
from support import packets
from support.clients import LIMIT
from support.provocations.registry import CALLS, PROVOCATIONS, Given, World, provokes
from support.scripted import Connection, ScriptedServer, serve_311
from support.websocket_server import BINARY, CLOSE, TEXT, WebSocketPeer, frame

V5 = ProtocolVersion.V5


def losing(part: str, data: bytes = b"", *, reset: bool = False, **given: Given) -> None:
    """A server that accepts, sends this at the first publish, and ends the connection."""

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5 if "protocol" in given else packets.CONNACK_311)
        connection.expect(packets.PUBLISH)
        connection.send(data)
        if reset:
            connection.reset()

    @provokes(CALLS, part)
    async def lose(_: World) -> None:
        with ScriptedServer(script) as server:
            async with Client(server.host, server.port, **given) as client:
                await client.publish("a")
                await anext(client.messages)


ITERATION = "iteration: "
losing(f"{ITERATION}the server closed")
losing(f"{ITERATION}the server disconnected", b"\xe0\x01\x8e", protocol=V5)
losing(f"{ITERATION}the server broke the protocol", packets.CONNACK_311)
losing(f"{ITERATION}{{reason}}", reset=True)


@provokes(CALLS, "[code:{code}] {reason}")
async def _(world: World) -> None:
    with pytest.raises(MqttError) as caught:
        await PROVOCATIONS[f"{CALLS}: {ITERATION}the server closed"][1](world)
    assert caught.value.__cause__ is not None
    raise caught.value.__cause__


@provokes(CALLS, f"{ITERATION}nothing came")
async def _(_: World) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.read_to_end()

    with ScriptedServer(script) as server:
        async with Client(server.host, server.port, keepalive=1) as client:
            await anext(client.messages)


@provokes(CALLS, f"{ITERATION}the client disconnected")
async def _(_: World) -> None:
    async with TestBroker() as broker:
        async with Client(broker.host, broker.port) as client:
            pass
        await anext(client.messages)


@provokes(CALLS, f"{ITERATION}this client cut")
async def _(_: World) -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        internals_of(client).core.cut()
        await anext(client.messages)


def auto(broker: TestBroker) -> Client:
    return Client(broker, protocol="auto")


def requesting(part: str, *, notes: bool = False, **options: Given) -> None:
    """A request that a test broker with these options does not let be answered."""

    @provokes(CALLS, part)
    async def request(_: World) -> None:
        async with TestBroker(listen=False, **options) as broker, auto(broker) as client:
            if notes:
                await client.subscribe("asked")
            await client.request("asked", "x")


requesting("[code:16]")
requesting("Nobody is there")
requesting("lets this client receive no", notes=True, deny_subscribe=[("responses/#", 0x87)])
requesting("Requests and responses", refused_versions=[5])


@provokes(CALLS, "This client can receive no response")
async def _(_: World) -> None:
    """It waits for a connection, which turns out to take smaller packets."""
    narrow = TestBroker(listen=False, maximum_packet_size=30)
    policy = Reconnect(min=0.01, max=0.01)
    async with (
        TestBroker(listen=False) as broker,
        narrow,
        Client(broker, servers=[narrow], protocol=5, reconnect=policy) as client,
    ):
        await broker.stop()
        await client.request("asked", "x")


@provokes(CALLS, "no Response Topic")
async def _(_: World) -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port, protocol=5) as client:
        await client.respond(Message("t", b"", 0, False, 0, None), "x")


def authenticating_again(part: str, *, quiz: bool = False, **options: Given) -> None:
    """An authentication that cannot be begun, or does not end."""

    @provokes(CALLS, part)
    async def again(_: World) -> None:
        asked = asyncio.Event()

        async def answer(data: bytes) -> bytes:
            if asked.is_set():
                await asyncio.sleep(LIMIT)
            return data

        if quiz:
            options["properties"] = {"AuthenticationMethod": "QUIZ"}
            options["authenticator"] = answer
        quizzes = ("QUIZ", [(b"a", b"a")]) if quiz else None
        async with (
            TestBroker(listen=False, authentication=quizzes) as broker,
            Client(broker, protocol=5, **options) as client,
        ):
            asked.set()
            await asyncio.gather(*(client.re_authenticate(timeout=0.1) for _ in range(2)))


authenticating_again("There is no `authenticator`")
authenticating_again("AUTH needs", authenticator=bytes)
authenticating_again("AUTH cannot say", quiz=True)


@provokes(CALLS, "has not accepted the authentication")
async def _(_: World) -> None:
    async def answer(_: bytes) -> bytes:
        answers.append(None)
        if len(answers) > 1:
            await asyncio.sleep(LIMIT)
        return b"a"

    answers: list[None] = []
    async with (
        TestBroker(authentication=("QUIZ", [(b"a", b"a")])) as broker,
        Client(
            broker.host,
            broker.port,
            protocol=5,
            properties={"AuthenticationMethod": "QUIZ"},
            authenticator=answer,
        ) as client,
    ):
        await client.re_authenticate(timeout=0.1)


@provokes(CALLS, "ended before the answer came")
async def _(_: World) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.PUBLISH)

    with ScriptedServer(script) as server:
        async with Client(server.host, server.port) as client:
            await client.publish("a", qos=1)


@provokes(CALLS, "not currently connected")
async def _(_: World) -> None:
    await Client("localhost").publish("a")


def mute(connection: Connection) -> None:
    connection.accept()
    while connection.read_packet()[0] >> 4 != packets.DISCONNECT:
        pass


def crowded(part: str, **given: Given) -> None:
    """A second publish beside one that is not acknowledged."""

    @provokes(CALLS, part)
    async def fail(_: World) -> None:
        with ScriptedServer(mute) as server:
            async with Client(server.host, server.port, timeout=0.3, **given) as client:
                first = asyncio.ensure_future(client.publish("a", qos=1, timeout=LIMIT))
                await asyncio.sleep(0)
                try:
                    await client.publish("a", qos=1, timeout=0.05)
                finally:
                    first.cancel()
                    await asyncio.wait([first])


crowded("[code:15]", max_queued_outgoing_messages=1)
crowded("the outgoing queue is full", max_queued_outgoing_messages=1)
crowded("no {packet} from")
crowded("nothing could be sent", max_inflight_messages=1)


def limited(part: str, limit: bytes, *args: Given, topic: str = "a", **given: Given) -> None:
    """A publish beyond what CONNACK says."""

    def script(connection: Connection) -> None:
        connection.accept(packets.encode(0x20, b"\0\0" + bytes([len(limit)]) + limit))
        connection.read_to_end()

    @provokes(CALLS, part)
    async def fail(_: World) -> None:
        with ScriptedServer(script) as server:
            async with Client(server.host, server.port, protocol=V5) as client:
                await client.publish(topic, *args, **given)


limited("[code:149]", b"\x27\0\0\0\x64", b"." * 200)
limited("packet of {bytes} bytes is larger than", b"\x27\0\0\0\x64", b"." * 200)
limited(
    "with the topic that its",
    b"\x27\0\0\0\x64\x22\0\x05",
    b"." * 60,
    topic="a" * 60,
    properties={"TopicAlias": 1},
)
limited("at most; publish", b"\x24\0", qos=1)
limited("retained messages", b"\x25\0", retain=True)


def beyond(part: str, profile: ServerProfileName, call: str, topic: str, **given: Given) -> None:
    """A call beyond what the server of a profile takes."""

    @provokes(CALLS, part)
    async def fail(_: World) -> None:
        async with (
            TestBroker(listen=False) as broker,
            Client(broker, profile=profile) as client,
        ):
            await getattr(client, call)(topic, **given)


beyond("payload of {bytes}", "aws-iot", "publish", "a", payload=b"." * 131_073)
beyond("topic of {bytes}", "aws-iot", "publish", "a" * 257)
beyond("topic of {levels}", "aws-iot", "subscribe", "a/" * 8)
beyond("topic contains", "nats", "publish", "a b")
beyond("at most; subscribe", "aws-iot", "subscribe", "a", qos=2)


@provokes(CALLS, "The server refused the message")
async def _(_: World) -> None:
    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        number = packets.packet_id_of(*connection.expect(packets.PUBLISH))
        connection.send(packets.ack(packets.PUBACK, number, b"\x87"))
        connection.read_to_end()

    with ScriptedServer(script) as server:
        async with Client(server.host, server.port, protocol=V5) as client:
            await client.publish("a", qos=1)


@provokes(CALLS, "lost its Packet Identifier")
async def _(_: World) -> None:
    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        number = packets.packet_id_of(*connection.expect(packets.PUBLISH))
        connection.send(packets.ack(packets.PUBREC, number))
        connection.expect(packets.PUBREL)
        connection.send(packets.ack(packets.PUBCOMP, number, b"\x92"))
        connection.read_to_end()

    with ScriptedServer(script) as server:
        async with Client(server.host, server.port, protocol=V5) as client:
            await client.publish("a", qos=2)


async def leave_beside_a_large_message(end: Callable[[Connection], None], limit: float) -> None:
    """Leave a client whose message the server does not read; then have the server end it."""
    left = threading.Event()

    def script(connection: Connection) -> None:
        connection.accept()
        left.wait(LIMIT)
        end(connection)

    with ScriptedServer(script) as server:
        client = Client(server.host, server.port, timeout=LIMIT)
        await client.__aenter__()
        large = asyncio.ensure_future(client.publish("a", b"." * 30_000_000))
        await asyncio.sleep(0)
        client.timeout = limit
        leaving = asyncio.ensure_future(client.__aexit__(ValueError, None, None))
        await asyncio.sleep(0)
        if limit == LIMIT:
            left.set()
        await asyncio.wait([leaving, large])
        left.set()
        large.exception()
        await leaving


@provokes(CALLS, "was lost before everything")
async def _(_: World) -> None:
    await leave_beside_a_large_message(Connection.reset, LIMIT)


@provokes(CALLS, "not everything could be written")
async def _(_: World) -> None:
    await leave_beside_a_large_message(lambda _: None, 0.1)


async def on_another_loop(action: Callable[[Client], Awaitable[object]]) -> None:
    with ScriptedServer(serve_311) as server:
        async with Client(server.host, server.port) as client:

            async def act() -> None:
                await action(client)

            await asyncio.to_thread(asyncio.run, act())


@provokes(CALLS, "on another event loop: leave it there")
async def _(_: World) -> None:
    await on_another_loop(lambda client: client.__aexit__(None, None, None))


@provokes(CALLS, "on another event loop: use it there")
async def _(_: World) -> None:
    await on_another_loop(lambda client: client.publish("a"))


@provokes(CALLS, "another event loop: iterate there")
async def _(_: World) -> None:
    client = Client("127.0.0.1", 1)
    waiting, entered = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    async def iterate() -> None:
        step = asyncio.ensure_future(anext(client.messages))
        await asyncio.sleep(0)
        waiting.set()
        await asyncio.wait([step])
        errors.append(step.exception() or RuntimeError())

    elsewhere = asyncio.create_task(asyncio.to_thread(asyncio.run, iterate()))
    await asyncio.to_thread(waiting.wait, LIMIT)
    with pytest.raises(MqttError):
        await client.__aenter__()
    entered.set()
    await elsewhere
    raise errors[0]


@provokes(CALLS, "is bound to a different event loop")
async def _(_: World) -> None:
    with ScriptedServer(mute) as server:
        async with Client(
            server.host, server.port, timeout=LIMIT, max_concurrent_outgoing_calls=1
        ) as client:
            calls = [asyncio.ensure_future(client.publish("a", qos=1)) for _ in range(2)]
            await asyncio.sleep(0)
            try:
                await asyncio.to_thread(asyncio.run, publish(client))
            finally:
                for call in calls:
                    call.cancel()
                await asyncio.wait(calls)


async def publish(client: Client) -> None:
    await client.publish("a")


@provokes(CALLS, "This step was awaited")
async def _(_: World) -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.subscribe("a")
        await client.publish("a")
        step = anext(client.messages)
        await step
        await step


losing(
    f"{ITERATION}a packet other than PUBLISH",
    b"\x90\x80\x01",
    maximum_non_publish_size=100,
)


def in_a_websocket(part: str, data: bytes) -> None:
    """A server of WebSocket that accepts, sends this, and ends the connection."""

    def script(connection: Connection) -> None:
        peer = WebSocketPeer(connection).accept()
        peer.receive()
        peer.send(frame(BINARY, packets.CONNACK_311) + data)

    @provokes(CALLS, part)
    async def lose(_: World) -> None:
        with ScriptedServer(script) as server:
            async with Client(server.host, server.port, transport="websockets") as client:
                await anext(client.messages)


in_a_websocket(f"{ITERATION}the server closed the WebSocket", frame(CLOSE, b"\x03\xe9"))
in_a_websocket("broke the WebSocket protocol", frame(TEXT, b"x"))


def refusing(
    part: str, limit: bytes, call: Callable[[Client], Awaitable[object]], **given: Given
) -> None:
    """A call beyond what CONNACK says, or more than may be in flight."""

    def script(connection: Connection) -> None:
        connection.accept(packets.encode(0x20, b"\0\0" + bytes([len(limit)]) + limit))
        connection.read_to_end()

    @provokes(CALLS, part)
    async def fail(_: World) -> None:
        with ScriptedServer(script) as server:
            async with Client(server.host, server.port, protocol=V5, **given) as client:
                await call(client)


async def let_a_message_expire(client: Client) -> None:
    first = asyncio.ensure_future(client.publish("a", qos=1))
    await asyncio.sleep(0)
    try:
        await client.publish("a", qos=1, properties={"MessageExpiryInterval": 1})
    finally:
        first.cancel()
        await asyncio.wait([first])


async def use_all_identifiers(client: Client) -> None:
    subscribe = internals_of(client).core.subscribe
    for _ in range(65_535):
        subscribe([("a", 0, False, False, 0)], None, LIMIT)
    try:
        await client.subscribe("a")
    finally:
        client.timeout = 0.01


refusing("expired before", b"", let_a_message_expire, max_inflight_messages=1)
refusing("does not offer", b"\x28\0", lambda client: client.subscribe("a/#"))
refusing(
    "is above the {maximum}", b"", lambda client: client.publish("a", properties={"TopicAlias": 1})
)
refusing("all 65535", b"", use_all_identifiers)


@provokes(CALLS, "The client was drained")
async def _(_: World) -> None:
    with ScriptedServer(serve_311) as server:
        async with Client(server.host, server.port) as client:
            await client.drain()
            await client.publish("a")


@provokes(CALLS, "drain it there")
async def _(_: World) -> None:
    with ScriptedServer(serve_311) as server:
        async with Client(server.host, server.port) as client:
            await asyncio.to_thread(asyncio.run, client.drain())
