"""Properties, topics and Reason Codes that cannot be."""

from collections.abc import Callable

from ferromqtt import (
    Client,
    Message,
    PacketTypes,
    ProtocolVersion,
    ReasonCode,
    Topic,
    TopicTemplate,
    Wildcard,
)
from ferromqtt.properties import Properties
from ferromqtt.testing import TestBroker
from support.provocations.registry import PROPERTIES, Given, World, provokes

V5 = ProtocolVersion.V5
LONG = 65536


def assigning(part: str, packet: int, name: str, value: Given) -> None:
    """Assign to an attribute of `Properties`."""

    @provokes(PROPERTIES, part)
    async def fail(_: World) -> None:
        setattr(Properties(packet), name, value)


def sending(part: str, call: str, properties: dict[Given, Given]) -> None:
    """Call with a dictionary of properties."""

    @provokes(PROPERTIES, part)
    async def fail(_: World) -> None:
        async with (
            TestBroker() as broker,
            Client(broker.host, broker.port, protocol=V5) as client,
        ):
            await getattr(client, call)("a", properties=properties)


def making(part: str, make: Callable[[], object]) -> None:
    @provokes(PROPERTIES, part)
    async def fail(_: World) -> None:
        make()


PUBLISH = PacketTypes.PUBLISH
assigning("did you mean {other}? They are", PUBLISH, "ContenType", "text/plain")
assigning("not {name}. They are", PUBLISH, "Quux", 1)
assigning("value must be int", PUBLISH, "MessageExpiryInterval", "60")
assigning("does not apply to packet type", PacketTypes.SUBSCRIBE, "ContentType", "text/plain")
assigning("value must be valid UTF-8", PUBLISH, "ContentType", b"\xff")
assigning("value must be valid Unicode text", PUBLISH, "ContentType", "\ud800")
assigning("value must be 0 or 1", PUBLISH, "PayloadFormatIndicator", 2)
assigning("value must be in the range", PUBLISH, "MessageExpiryInterval", -1)
assigning("value must be a str", PUBLISH, "ContentType", 5)
assigning("bytes of UTF-8", PUBLISH, "ContentType", "a" * LONG)
assigning("value must not contain", PUBLISH, "ContentType", "\0")
assigning("value must be bytes", PUBLISH, "CorrelationData", "a")
assigning(
    "Property {name} value must be at most {limit} bytes", PUBLISH, "CorrelationData", b"a" * LONG
)
assigning("value must be a pair", PUBLISH, "UserProperty", {"name": "value"})

making("unexpected keyword argument {name}; did", lambda: Client("h", keep_alive=5))  # type: ignore[call-arg]
making("takes its filters without", lambda: Client("h").subscription(topic="a"))  # type: ignore[call-overload]
making(
    "{what}() got an unexpected keyword argument {name}",
    lambda: Client("h", quux=5),  # type: ignore[call-arg]
)


@provokes(PROPERTIES, "publish() has no")
async def _(_: World) -> None:
    await Client("h").publish("a", expires_in=5)  # type: ignore[call-arg]


making("is a property of MQTT 5.0", lambda: Client("h", receive_maximum=5))
making(
    "is given twice",
    lambda: Client("h", protocol=5, properties={"ReceiveMaximum": 5}, receive_maximum=5),
)
making("{keyword} {problem}.", lambda: Client("h", protocol=5, receive_maximum=0))
making(
    "of a message is what was received",
    lambda: setattr(Message("t", b"", 0, False, 0, None), "content_type", "a"),
)
making(
    "user_properties must be a dict",
    lambda: Client("h", protocol=5, user_properties=5),  # type: ignore[arg-type]
)

sending("Property name must be str", "publish", {5: "a"})
sending("must not be given to publish", "publish", {"SubscriptionIdentifier": 1})
sending("must be given once", "subscribe", {"SubscriptionIdentifier": [1, 2]})
sending("cannot be published to", "publish", {"ResponseTopic": "a/#"})


@provokes(PROPERTIES, "beside it")
async def _(_: World) -> None:
    await Client("localhost", protocol=V5, properties={"AuthenticationData": b"a"}).__aenter__()


making("Topic must be of type str", lambda: Topic(5))  # type: ignore[arg-type]
making("Wildcard must be of type str", lambda: Wildcard(5))  # type: ignore[arg-type]
making("Invalid topic: ", lambda: Topic("a/#"))
making("Invalid wildcard: ", lambda: Wildcard("a#"))
making("Invalid template", lambda: TopicTemplate("a/{b"))
making("Cannot fill in template", lambda: TopicTemplate("a/{b}").topic())
making("{name} must be str or int", lambda: TopicTemplate("a/{b}").topic(b=1.5))  # type: ignore[arg-type]
making("does not exist in packet type", lambda: ReasonCode(PUBLISH, identifier=0x87))
making("Reason Code {code} does not exist", lambda: ReasonCode(PUBLISH, identifier=5))
making("Reason code name not found", lambda: ReasonCode(PUBLISH, "Nonsense"))
