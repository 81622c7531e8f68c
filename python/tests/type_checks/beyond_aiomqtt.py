"""What type checkers accept of ferromqtt beyond aiomqtt's annotations: it is not run."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import assert_type

from paho.mqtt.subscribeoptions import SubscribeOptions as PahoOptions

import ferromqtt
from ferromqtt import (
    Client,
    ClientState,
    Credentials,
    Message,
    MessagesIterator,
    MqttError,
    PacketTypes,
    ProtocolVersion,
    ReasonCode,
    Reconnect,
    Server,
    SubscribeOptions,
    Subscription,
    SubscriptionMessages,
    Topic,
    Unacknowledged,
    Wildcard,
    events,
)
from ferromqtt.testing import TestBroker


async def any_sequence(client: Client, names: Sequence[str]) -> None:
    """Subscribe to sequences of pairs, with options of either library."""
    mixed: list[tuple[str, int | SubscribeOptions]] = [("a", 1), ("b", SubscribeOptions(1))]
    options: list[tuple[str, SubscribeOptions]] = [("a", SubscribeOptions(1))]
    pahos: list[tuple[str, PahoOptions]] = [("a", PahoOptions(1))]
    granted = await client.subscribe(mixed)
    assert_type(granted, list[ReasonCode])
    await client.subscribe(options)
    await client.subscribe(pahos)
    await client.subscribe(tuple((name, 1) for name in names))
    await client.subscribe(("a", 1))
    await client.subscribe(("a", SubscribeOptions(1)))
    await client.unsubscribe(list(names))
    await client.subscribe(list(names))
    await client.subscribe(["a", Topic("b"), Wildcard("c/#"), ("d", 1)])
    await client.subscribe([Topic("a")])
    await client.subscribe(deque(names))


class Quiz:
    """An authenticator that begins exchanges."""

    async def begin(self) -> bytes | None:
        return b""

    def __call__(self, data: bytes) -> bytes:
        return data


async def requests_and_versions() -> None:
    """Ask, respond, authenticate again, and look at the version in use."""
    client = Client("localhost", protocol="auto", authenticator=Quiz(), topic_aliases=True)
    Client("localhost", protocol="v5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(client.protocol(), ProtocolVersion)
    response = await client.request("a", "b", 1, {"ContentType": "text"}, timeout=5)
    assert_type(response, Message)
    assert_type(await client.respond(response, b"", qos=2), None)
    assert_type(await client.re_authenticate(timeout=1.5), None)


async def tuples_of_filters_are_refused(client: Client) -> None:
    """A tuple is a pair."""
    await client.subscribe(("a", "b"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.unsubscribe(("a", "b"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client("localhost", transport="ws")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def one_type_of_messages(client: Client) -> bytes:
    """Take a message of a client, whatever queue it has."""
    messages: MessagesIterator = client.messages
    message = await anext(messages)
    assert_type(message, Message)
    return message.payload


async def reconnecting(broker: TestBroker) -> None:
    """Reconnect, with credentials of either kind, and look at what happens."""

    async def fetch(server: Server, attempt: int) -> Credentials:
        return Credentials(str(server), str(attempt))

    def pair(server: Server, attempt: int) -> tuple[str, bytes]:
        return server.host, bytes(attempt)

    Client(broker, servers=[broker], reconnect=True, credentials=fetch)
    servers: list[str | tuple[str, int] | Server] = ["two", ("three", 1883), Server("four", 8883)]
    policy = Reconnect(min=1, max=5, attempts=3)
    async with Client("one", servers=servers, reconnect=policy, credentials=pair) as client:
        assert_type(client.state(), ClientState)
        await client.wait_connected(timeout=5)
        async for event in client.events():
            if isinstance(event, events.Disconnected):
                assert_type(event.cause, MqttError | None)
                assert_type(event.retry_in, float | None)
    Client("one", servers="two", reconnect="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def subscriptions_have_queues_of_their_own(client: Client) -> None:
    """In every form that filters have."""
    own = SubscribeOptions(1)
    subscription = client.subscription("a", ("b", 1), ("c", own), ["d", ("e", 2)], qos=1)
    assert_type(subscription, Subscription)
    async with subscription as messages:
        assert_type(messages, SubscriptionMessages)
        async for message in messages:
            assert_type(message, Message)
        assert_type(await anext(messages), Message)
        assert_type(messages.try_next(), Message | None)
        assert_type(messages.results(), list[tuple[str, ferromqtt.ReasonCode]])
        assert_type(messages.take_lost(), int)
        await messages.unsubscribe(timeout=1)
    client.subscription("a", maxsize=1, maxbytes=1, overflow="drop_oldest", ack="manual")
    client.subscription("a", overflow="block")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    client.subscription(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


async def acknowledging(broker: TestBroker) -> None:
    """By hand, awaited or not."""
    async with Client(broker, protocol=5, manual_ack=True) as client:
        async for message in client.messages:
            await message.ack()
            message.ack()
            message.reject(151)
            await message.reject(
                ReasonCode(PacketTypes.PUBACK, identifier=151), reason_string="no space"
            )
        assert_type(client.unacknowledged(), Unacknowledged)
        assert_type(client.unacknowledged().oldest, float | None)
        message.reject("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Made(Message):
    """A message with a constructor of its own."""

    def __init__(self, text: str) -> None:
        super().__init__(ferromqtt.Topic("a"), text.encode(), 0, False, 0, None)


def make() -> bytes:
    """Make one."""
    return Made("x").payload


async def a_broker_is_taken_for_a_host() -> None:
    """In memory."""
    broker = TestBroker(listen=False)
    assert_type(broker.client("a", keepalive=5), Client)
    broker.client("a", keep_alive=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    async with Client(broker, identifier="a") as client:
        assert_type(client, Client)
    Client(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
