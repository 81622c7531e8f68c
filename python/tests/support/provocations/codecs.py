"""Codecs of calls and of subscriptions."""

import dataclasses
import json

from ferromqtt import Client, Message, json_codec
from support.provocations.registry import ARGUMENTS, CALLS, PROPERTIES, World, provokes
from support.virtual import memory_broker


class Codec:
    """One of which no object was made."""

    def decode(self, payload: bytes) -> bytes:
        """Return the payload."""
        return payload


@dataclasses.dataclass
class Reading:
    """What is sent."""

    celsius: float


@provokes(ARGUMENTS, "codec must be an object with {method}")
async def _(_: World) -> None:
    Client("localhost").subscription("a", codec="json")  # type: ignore[call-overload]


@provokes(ARGUMENTS, "not the class {name}: make one")
async def _(_: World) -> None:
    Client("localhost").subscription("a", codec=Codec)  # type: ignore[call-overload]


@provokes(ARGUMENTS, "cannot be encoded by the codec")
async def _(_: World) -> None:
    async with memory_broker().client() as client:
        await client.publish("a", {1, 2}, codec=json)


def _made(annotation: object) -> type:
    return dataclasses.make_dataclass("Made", [("it", annotation)])


@provokes(ARGUMENTS, "json_codec has no form for")
async def _(_: World) -> None:
    json_codec(_made(bytes))


@provokes(ARGUMENTS, "an annotation of {class} cannot be read")
async def _(_: World) -> None:
    json_codec(_made("Nowhere"))


@provokes(ARGUMENTS, "has an InitVar")
async def _(_: World) -> None:
    json_codec(_made(dataclasses.InitVar[int]))


@provokes(ARGUMENTS, "{class}.{field} is missing")
async def _(_: World) -> None:
    json_codec(Reading).decode(b"{}")


@provokes(ARGUMENTS, "{constant} is no JSON")
async def _(_: World) -> None:
    json_codec(Reading).decode(b'{"celsius": NaN}')


@provokes(ARGUMENTS, "{field} must be finite")
async def _(_: World) -> None:
    json_codec(Reading).decode(b'{"celsius": 1e400}')


@provokes(ARGUMENTS, "{field} must be {type}, not {given}")
async def _(_: World) -> None:
    json_codec(Reading).decode(b'{"celsius": "hot"}')


@provokes(CALLS, "cannot be decoded by the codec")
async def _(_: World) -> None:
    async with (
        memory_broker().client() as client,
        client.subscription("a", codec=json) as messages,
    ):
        await client.publish("a", "no JSON")
        _ = (await anext(messages)).value


@provokes(PROPERTIES, "This message has no value")
async def _(_: World) -> None:
    _ = Message("a", b"", 0, False, 0, None).value  # type: ignore[misc]
