"""Requests and responses (5.0, section 4.10), for `Client.request` and `Client.respond`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ferromqtt._checks import wrong_type
from ferromqtt._codec_arguments import decoding_of_response, take_encoded
from ferromqtt._keywords import check_names, joined
from ferromqtt._turn import TURN_BEFORE_ERROR
from ferromqtt.properties import to_native
from ferromqtt.reasons import PacketTypes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ferromqtt._internals import Internals
    from ferromqtt._native import Message
    from ferromqtt.topic import TopicLike
    from ferromqtt.types import PayloadType, PropertiesLike


async def request(
    internals: Internals,
    topic: TopicLike,
    payload: PayloadType,
    qos: int,
    properties: PropertiesLike | None,
    keywords: Mapping[str, object],
    timeout: float,
) -> Message:
    """Publish a request, and wait for its response."""
    async with internals.slot():
        async with TURN_BEFORE_ERROR:
            check_names("request", keywords)
            codec = keywords.get("codec")
            payload = take_encoded(topic, payload, keywords)
            native = joined(properties, PacketTypes.PUBLISH, keywords)
            waiter = internals.core.request((topic, payload, qos, False, native), timeout)
        response: Message = await internals.wait(waiter)
    decoding = None if codec is None else decoding_of_response(codec)
    return response if decoding is None else decoding.apply(response)


async def respond(
    internals: Internals,
    asked: Message,
    payload: PayloadType,
    qos: int | None,
    retain: bool,
    properties: PropertiesLike | None,
    keywords: Mapping[str, object],
    timeout: float,
    *,
    call: str = "respond",
) -> None:
    """Publish the response to a request. `call` is what the program has called."""
    async with internals.slot():
        async with TURN_BEFORE_ERROR:
            check_names(call, keywords)
            properties_asked = _asked(asked)
            topic = properties_asked.get("ResponseTopic", "")
            payload = take_encoded(cast("str", topic), payload, keywords)
            native = joined(properties, PacketTypes.PUBLISH, keywords)
            given = to_native(properties_asked, PacketTypes.PUBLISH)
            at = asked.qos if qos is None else qos
            waiter = internals.core.respond(given, payload, at, bool(retain), native, timeout)
        await internals.wait(waiter)


def _asked(request: Message) -> dict[str, object]:
    """Return the properties that say where, and to what, the response goes."""
    if not (hasattr(request, "properties") and hasattr(request, "qos")):
        raise wrong_type("request", "the Message that is responded to", request)
    properties = request.properties
    names = ("ResponseTopic", "CorrelationData")
    return {name: getattr(properties, name) for name in names if hasattr(properties, name)}
