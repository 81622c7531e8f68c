"""Messages with outcomes: how `Client.enqueue` and its like call the native module."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from ferromqtt import _checks
from ferromqtt._codec_arguments import take_encoded
from ferromqtt._turn import TURN, TURN_BEFORE_ERROR
from ferromqtt.outcomes import OutgoingMessage, Published, Receipt, ignore
from ferromqtt.properties import from_native
from ferromqtt.reasons import PacketTypes, ReasonCode

if TYPE_CHECKING:
    from ferromqtt._internals import Internals
    from ferromqtt.codecs import AnyEncoder
    from ferromqtt.topic import TopicLike
    from ferromqtt.types import PayloadType, PropertiesLike

_Keep = Literal["all", "latest"]
_FIELDS = ("topic", "payload", "qos", "retain", "properties")
_SENT = Published(ReasonCode(PacketTypes.PUBACK, identifier=0))


def published(code: int, properties: dict[str, object] | None, resent_as_new: bool) -> Published:
    """Return the outcome of a message that was acknowledged."""
    if code == 0 and properties is None and not resent_as_new:
        return _SENT
    reason = ReasonCode(PacketTypes.PUBACK, identifier=code)
    of_ack = None if properties is None else from_native(properties, PacketTypes.PUBACK)
    return Published(reason, of_ack, resent_as_new)


def _check_terms(expires_in: float | None, keep: object) -> bool:
    """Return whether only the latest message to the topic is to be kept."""
    if expires_in is not None:
        if not _checks.is_number(expires_in):
            raise _checks.wrong_type("expires_in", "a number of seconds", expires_in)
        if not float(expires_in) > 0:  # nor NaN
            raise ValueError(f"expires_in must be more than 0 seconds, not {expires_in}.")
    if keep not in ("all", "latest"):
        shown = repr(keep) if isinstance(keep, str) else type(keep).__name__
        raise ValueError(f'keep must be "all" or "latest", not {shown}.')
    return keep == "latest"


def _check_expiry(expires_in: float | None, native: Mapping[str, object] | None) -> None:
    """Raise ValueError for a message that has two times to expire."""
    if expires_in is not None and native and "message_expiry_interval" in native:
        raise ValueError(
            "expires_in and the Message Expiry Interval are both given: leave out the latter, "
            "which is what is left of expires_in when the message is sent."
        )


def publish_nowait(
    internals: Internals,
    message: tuple[TopicLike, PayloadType, int, bool, PropertiesLike | None],
    keywords: Mapping[str, object],
    expires_in: float | None,
    keep: _Keep,
) -> Receipt:
    """Accept a message into the outgoing queue, or raise."""
    core = internals.core
    latest = _check_terms(expires_in, keep)
    native = _with_native(internals, "publish_nowait", message, keywords)
    _check_expiry(expires_in, native[-1])
    future, key, *_ = core.enqueue(native, None, expires_in, latest)
    return Receipt(core, future, key)


async def enqueue(
    internals: Internals,
    message: tuple[TopicLike, PayloadType, int, bool, PropertiesLike | None],
    keywords: Mapping[str, object],
    timeout: float,
    expires_in: float | None,
    keep: _Keep,
) -> Receipt:
    """Accept a message into the outgoing queue, once it has capacity."""
    core = internals.core
    async with TURN_BEFORE_ERROR:
        latest = _check_terms(expires_in, keep)
        native = _with_native(internals, "enqueue", message, keywords)
        _check_expiry(expires_in, native[-1])
        future, key, accepted, call, rests = core.enqueue(native, timeout, expires_in, latest)
    if accepted is None:
        receipt = Receipt(core, future, key)
        if rests:
            await TURN
        return receipt
    try:
        key = await accepted
    except (asyncio.CancelledError, GeneratorExit):
        core.abandon(call)
        if accepted.done() and not accepted.cancelled() and accepted.exception() is None:
            Receipt(core, future, accepted.result())  # it was accepted just now, and goes its way
        ignore(future)
        raise
    except Exception:
        ignore(future)  # it says the same of the outcome
        raise
    return Receipt(core, future, key)


async def publish_many(
    internals: Internals,
    messages: Iterable[OutgoingMessage],
    defaults: tuple[int, bool, PropertiesLike | None],
    timeout: float,
    codec: AnyEncoder | None = None,
) -> list[Published | Exception]:
    """Publish messages in their order, and wait for the outcome of each."""
    core = internals.core
    async with internals.slot():
        async with TURN_BEFORE_ERROR:
            fields = [_fields(message, (None, None, *defaults)) for message in messages]
            native = [
                _with_native(
                    internals, "publish", message, {} if codec is None else {"codec": codec}
                )
                for message in fields
            ]
            submitted, calls = core.publish_many(native, timeout)
        results: list[Published | Exception] = []
        try:
            await TURN
            for sent in submitted:
                if isinstance(sent, Exception):
                    results.append(sent)
                else:
                    results.append(_SENT if sent is None else await _outcome(sent))
        except (asyncio.CancelledError, GeneratorExit):
            first = len(results)
            for sent, call in zip(submitted[first:], calls[first:], strict=True):
                if call:
                    core.abandon(call)
                if isinstance(sent, asyncio.Future) and sent.done() and not sent.cancelled():
                    sent.exception()  # nobody wants it
            raise
    return results


async def _outcome(future: asyncio.Future[Published]) -> Published | Exception:
    try:
        return await future
    except Exception as error:  # noqa: BLE001 - a result of its own
        return error


def _with_native(
    internals: Internals, call: str, message: tuple[Any, ...], keywords: Mapping[str, object]
) -> tuple[Any, ...]:
    """Return a message with its properties as the core takes them."""
    topic, payload, qos, retain, properties = message
    payload = take_encoded(topic, payload, keywords)
    native = None
    if properties is not None or keywords:
        native = internals.call_properties(call, PacketTypes.PUBLISH, properties, keywords)
    return topic, payload, qos, retain, native


def _fields(message: OutgoingMessage, defaults: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return topic, payload, QoS, RETAIN and properties of a message in one of its forms."""
    if isinstance(message, tuple):
        if not 1 < len(message) <= len(_FIELDS):
            raise ValueError(
                "publish_many: a message must have a topic and a payload, and then at most qos, "
                f"retain and properties, not {len(message)} values."
            )
        return *message, *defaults[len(message) :]
    if isinstance(message, Mapping):
        unknown = sorted(str(name) for name in message if name not in _FIELDS)
        if unknown:
            raise ValueError(f"publish_many: a message has no {', '.join(unknown)}.")
        if "topic" not in message:
            raise ValueError("publish_many: a message must have a topic.")
        return tuple(message.get(name, it) for name, it in zip(_FIELDS, defaults, strict=True))
    if not hasattr(message, "topic") or not hasattr(message, "payload"):
        must_be = "a tuple of topic and payload, a dict, or an object with these attributes"
        raise _checks.wrong_type("publish_many: a message", must_be, message)
    return tuple(getattr(message, name, it) for name, it in zip(_FIELDS, defaults, strict=True))
