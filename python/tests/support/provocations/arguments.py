"""Calls with wrong arguments, of a client that is connected."""

from collections.abc import Awaitable, Callable
from typing import Any

from ferromqtt import Client, Message, ProtocolVersion, SubscribeOptions
from ferromqtt.testing import TestBroker
from support.provocations.registry import ARGUMENTS, Given, World, provokes

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5
LONG = "a" * 65536


def calling(
    part: str, call: Callable[[Any], Awaitable[object]], version: ProtocolVersion = V5
) -> None:
    """Make a call of a connected client."""

    @provokes(ARGUMENTS, part)
    async def fail(_: World) -> None:
        async with (
            TestBroker(topic_alias_maximum=1) as broker,
            Client(broker.host, broker.port, protocol=version) as client,
        ):
            await call(client)


def publishing(part: str, *args: Given, **given: Given) -> None:
    calling(part, lambda client: client.publish(*args, **given))


def subscribing(part: str, *args: Given, version: ProtocolVersion = V5, **given: Given) -> None:
    calling(part, lambda client: client.subscribe(*args, **given), version)


publishing("Invalid topic. topic must not be empty", "")
publishing("not NoneType", None)
publishing("topic must be str or Topic, not {", b"a")
publishing("{argument} must be valid", "\ud800")
publishing("topic must not contain U+0000", "\0")
publishing("cannot contain wildcards", "a/#")
publishing("Publish topic is too long", LONG)
publishing("topic alias {alias} stands", "", properties={"TopicAlias": 1})
publishing("Invalid QoS level", "a", qos=3)
publishing("payload must be a string", "a", {})
publishing("timeout must be a number", "a", timeout="5")
publishing("timeout must be 0 or more", "a", timeout=-1)
publishing("properties must be", "a", properties=5)
calling("max must be 1", lambda client: client.messages.batches(0))
calling("Payload too large", lambda client: client.publish("a", bytes(1 << 28)))

subscribing("No topic specified", b"a")
subscribing("Empty topic list", [])
subscribing("Invalid topic. topic must be str, Topic", [(b"a", 1)])
subscribing("one filter with its QoS", ("a", "b"), version=V311)
subscribing("one filter with its options", ("a", "b"))
subscribing("Each subscription", [("a", 1, 2)])
subscribing("Subscribe options must be", ("a", 1))
subscribing("Subscribe options and qos", "a", 1, SubscribeOptions(1))
subscribing("noLocal", "$share/name/a", options=SubscribeOptions(noLocal=True))
subscribing("It must not be empty", "")
subscribing("filter. It must be valid", "\ud800")
subscribing("it must have at most", LONG)
subscribing("it must not contain U+0000", "\0")
subscribing("# must stand", "a#")
subscribing("+ must stand", "a+")
subscribing("a shared subscription is", "$share/name")


@provokes(ARGUMENTS, "Invalid retain handling")
async def _(_: World) -> None:
    options = SubscribeOptions()
    options.retainHandling = 5
    await Client("localhost", protocol=V5).subscribe("a", options=options)


@provokes(ARGUMENTS, "Retain handling should")
async def _(_: World) -> None:
    SubscribeOptions(retainHandling=5)


@provokes(ARGUMENTS, "QoS should")
async def _(_: World) -> None:
    SubscribeOptions(qos=5)


@provokes(ARGUMENTS, "A Message can be ordered")
async def _(_: World) -> None:
    one = Message("a", b"", 0, False, 1, None)
    sorted([5, one])  # type: ignore[list-item, type-var]
