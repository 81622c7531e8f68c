"""Codecs: from values to payloads and back.

A codec is any object with `encode(value)`, which returns bytes or a str, and `decode(payload)`, or
with `dumps` and `loads` in their place, as the module `json` has them. Calls that publish take one
as `codec=`, and so does `Client.subscription`. docs/codecs.md of the repository shows more.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from ferromqtt import _checks, _lazy, _shown
from ferromqtt.exceptions import PayloadError
from ferromqtt.topic import Wildcard

if TYPE_CHECKING:
    from ferromqtt._json_codec import JsonCodec, json_codec
else:
    __getattr__, __dir__ = _lazy.names(
        __name__,
        {"JsonCodec": "ferromqtt._json_codec", "json_codec": "ferromqtt._json_codec"},
    )

__all__ = [
    "Codec",
    "Decoder",
    "Dumps",
    "Encoder",
    "JsonCodec",
    "Loads",
    "MismatchError",
    "PayloadError",
    "json_codec",
]

T = TypeVar("T")
_T_co = TypeVar("_T_co", covariant=True)
_T_contra = TypeVar("_T_contra", contravariant=True)


class MismatchError(ValueError):
    """JSON, or a value, that is not of the codec's type. Its text has names and types alone."""


class Encoder(Protocol[_T_contra]):
    """The half of a codec that calls which publish need."""

    def encode(self, value: _T_contra, /) -> bytes | str:
        """Return the payload for a value. Any `Exception` says that there is none."""


class Decoder(Protocol[_T_co]):
    """The half of a codec that a subscription needs."""

    def decode(self, payload: bytes, /) -> _T_co:
        """Return the value in a payload. Any `Exception` says that there is none."""


class Codec(Encoder[T], Decoder[T], Protocol[T]):
    """From values of one type to payloads, and back."""


class Dumps(Protocol):
    """The half of a module such as `json` that calls which publish need."""

    @property
    def dumps(self) -> Callable[[Any], bytes | str]:
        """Return the payload for a value."""


class Loads(Protocol):
    """The half of a module such as `json` that a subscription needs."""

    @property
    def loads(self) -> Callable[[bytes], Any]:
        """Return the value in a payload."""


AnyEncoder: TypeAlias = Encoder[Any] | Dumps
"""What calls that publish take as `codec`."""
AnyDecoder: TypeAlias = Decoder[Any] | Loads
"""What `Client.subscription` takes as `codec`."""


def decoder_of(codec: object) -> tuple[Callable[[bytes], Any], str]:
    """Return the function of a codec that decodes, and what errors call the codec.

    Raises:
        TypeError: It has none.
    """
    return _function_of(codec, "decode", "loads"), _name_of(codec)


def can_encode(codec: object) -> bool:
    """Tell whether a codec has the half that calls which publish need."""
    return any(callable(getattr(codec, name, None)) for name in ("encode", "dumps"))


def encoded(codec: object, topic: object, value: object) -> bytes | str:
    """Return the payload that a codec makes of a value.

    Raises:
        PayloadError: The codec cannot encode it.
        TypeError: There is no such codec.
    """
    encode = _function_of(codec, "encode", "dumps")
    try:
        payload: object = encode(value)
    except Exception as cause:
        raise _error("A value", topic, "encoded", codec, _shown_cause(cause)) from cause
    if isinstance(payload, bytes | str):
        return payload
    if isinstance(payload, bytearray | memoryview):
        return bytes(payload)
    returned = f"it returned {type(payload).__name__}, not bytes or str"
    raise _error("A value", topic, "encoded", codec, returned)


def _function_of(codec: object, name: str, other: str) -> Callable[[Any], Any]:
    of_texts = isinstance(codec, str | bytes | bytearray)  # these have methods of such names
    for each in (name, other):
        function: Callable[[Any], Any] | None = getattr(codec, each, None)
        if of_texts or not callable(function):
            continue
        if isinstance(codec, type) and inspect.isfunction(inspect.getattr_static(codec, each)):
            raise TypeError(f"codec must be an object, not the class {codec.__name__}: make one")
        return function
    must_be = f"an object with {name}(), or with {other}() as the module json"
    raise _checks.wrong_type("codec", must_be, codec)


def _name_of(codec: object) -> str:
    """Return what errors call a codec: of a module the name, of an object its class."""
    if isinstance(codec, types.ModuleType | type):
        return codec.__name__
    from ferromqtt._json_codec import JsonCodec  # noqa: PLC0415 - for those who have a codec

    return repr(codec) if isinstance(codec, JsonCodec) else type(codec).__name__


def _shown_cause(cause: BaseException) -> str:
    """Return the text of an exception that is known to show no value, and the class of another."""
    is_safe = isinstance(cause, MismatchError) or type(cause) is json.JSONDecodeError
    return str(cause) if is_safe else type(cause).__name__


def _error(what: str, topic: object, verb: str, codec: object, why: str) -> PayloadError:
    name = codec if isinstance(codec, str) else _name_of(codec)
    text = topic.value if isinstance(topic, Wildcard) else str(topic)
    return PayloadError(
        f"{what} for {_shown.quoted(text)} cannot be {verb} by the codec {name}: {why}",
        topic=text,
        codec=name,
    )


def _undecodable(topic: object, codec: str, cause: BaseException) -> PayloadError:
    """Return the exception for a payload that a codec cannot decode: for the native module."""
    error = _error("The payload", topic, "decoded", codec, _shown_cause(cause))
    error.__cause__ = cause
    return error
