"""What type checkers make of codecs and templates: it is not run."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, assert_type

from ferromqtt import (
    Client,
    Codec,
    Message,
    PayloadError,
    Subscription,
    SubscriptionMessages,
    TopicTemplate,
    TypedMessage,
    Wildcard,
    blocking,
    json_codec,
)


@dataclasses.dataclass
class Reading:
    """What is sent."""

    celsius: float


class Lines:
    """A codec of the program's own."""

    def encode(self, value: list[str]) -> str:
        return "\n".join(value)

    def decode(self, payload: bytes) -> list[str]:
        return payload.decode().splitlines()


class OnlyDecodes:
    """Half a codec, which a subscription takes."""

    def decode(self, payload: bytes, /) -> int:
        return int(payload)


async def values_have_the_type_of_the_codec(client: Client) -> None:
    """Of each form that codecs have."""
    async with client.subscription("room/{room}/temp", codec=json_codec(Reading)) as readings:
        assert_type(readings, SubscriptionMessages[TypedMessage[Reading]])
        async for message in readings:
            assert_type(message, TypedMessage[Reading])
            assert_type(message.value, Reading)
            assert_type(message.error, PayloadError | None)
            assert_type(message.params, dict[str, str])
            await message.ack()
        async for batch in readings.batches(max=10):
            assert_type(batch, list[TypedMessage[Reading]])
        assert_type(readings.try_next(), TypedMessage[Reading] | None)
    async with client.subscription("a", codec=Lines()) as lines:
        assert_type((await anext(lines)).value, list[str])
    assert_type(client.subscription("a", codec=OnlyDecodes()), Subscription[TypedMessage[int]])
    async with client.subscription("a", codec=json) as anything:
        assert_type(anything, SubscriptionMessages[TypedMessage[Any]])
    async with client.subscription("a", codec=json_codec(list[Reading])) as lists:
        assert_type((await anext(lists)).value, list[Reading])
    client.subscription("a", codec="json")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def without_a_codec_there_is_no_value(client: Client) -> None:
    """A message has its names all the same."""
    plain = client.subscription("a/{b}", TopicTemplate("c/{d}"), (TopicTemplate("e"), 1))
    assert_type(plain, Subscription[Message])
    again: Subscription = plain
    async with again as messages:
        message = await anext(messages)
        assert_type(message, Message)
        assert_type(message.params["b"], str)
        print(message.value)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    await client.subscribe(TopicTemplate("a/{b}"))
    await client.subscribe([TopicTemplate("a/{b}"), ("c", 1), Wildcard("d/#")])
    await client.unsubscribe(TopicTemplate("a/{b}"))


async def what_is_published_is_of_the_type_of_the_codec(client: Client) -> None:
    """By each call that publishes."""
    codec: Codec[Reading] = json_codec(Reading)
    reading = Reading(21.5)
    await client.publish("a", reading, qos=1, codec=codec, content_type="application/json")
    await client.publish("a", {"celsius": 21.5}, codec=json, timeout=5)
    await client.enqueue("a", reading, codec=codec, keep="latest")
    client.publish_nowait("a", ["b"], codec=Lines())
    await client.publish_many([("a", reading)], codec=codec)
    response = await client.request("a", reading, codec=codec, timeout=5)
    assert_type(response, TypedMessage[Reading])
    assert_type(await client.request("a", 1, codec=json), TypedMessage[Any])
    await client.respond(response, reading, codec=codec)
    await client.publish("a", 21.5, codec=codec)  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await client.publish("a", reading)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def the_same_for_threads(client: blocking.Client) -> None:
    """Without `await`."""
    with client.subscription("room/{room}/temp", codec=json_codec(Reading)) as readings:
        assert_type(readings, blocking.SubscriptionMessages[TypedMessage[Reading]])
        for message in readings.within(1):
            assert_type(message.value, Reading)
        assert_type(readings.try_next(), TypedMessage[Reading] | None)
    with client.subscription("a", codec=json) as anything:
        assert_type(next(anything).value, Any)
    with client.subscription("a/{b}") as messages:
        assert_type(next(messages), Message)
    client.publish("a", Reading(21.5), codec=json_codec(Reading))
    client.publish("a", Reading(21.5))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    client.enqueue("a", [1], codec=json).wait()
    client.publish_nowait("a", [1], codec=json).wait()
    assert_type(client.request("a", 1, codec=json), TypedMessage[Any])
