"""Properties of MQTT 5.0 as plain keywords of calls, and errors for keywords that do not exist.

A call takes them as `**keywords: Unpack[...]`, which costs it a quarter of what keyword-only
parameters would. Type checkers and `help` find them.
"""

# Without `annotations` from `__future__`: those of the dictionaries below go into signatures.

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any, Self, TypeAlias, TypedDict, TypeVar

from ferromqtt import _checks
from ferromqtt.codecs import AnyEncoder
from ferromqtt.properties import keyword_value, row_of_keyword, to_native
from ferromqtt.topic import Topic, TopicLike
from ferromqtt.types import PropertiesLike, UserProperties

_Bytes: TypeAlias = bytes | bytearray | memoryview
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Class = TypeVar("_Class", bound=type)


class LazySignature(inspect.Signature):
    """A signature that is made when somebody looks at it: few programs do, and making it costs."""

    __slots__ = ("_parts",)
    _parts: tuple[FunctionType, Callable[[], list[inspect.Parameter]]]

    @classmethod
    def by(cls, function: Any, further: Callable[[], list[inspect.Parameter]]) -> Self:  # noqa: ANN401 - a function
        """Return that of a function as it is now, with further parameters for its `**` one."""
        signature = cls.__new__(cls)
        # What a decorator changes in the function does not change its copy.
        plain = FunctionType(
            function.__code__,
            function.__globals__,
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        plain.__kwdefaults__ = function.__kwdefaults__
        plain.__annotations__ = dict(function.__annotations__)
        signature._parts = plain, further  # noqa: SLF001 - of this class
        return signature

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - what a signature consists of
        # Python asks here for what the slots of the class above do not have yet.
        if name.startswith("__") or name == "_parts":
            raise AttributeError(name)
        plain, further = self._parts
        found = inspect.signature(plain)
        named = [it for it in found.parameters.values() if it.kind is not it.VAR_KEYWORD]
        inspect.Signature.__init__(
            self, [*named, *further()], return_annotation=found.return_annotation
        )
        return object.__getattribute__(self, name)


class PublishKeywords(TypedDict, total=False):
    """What `Client.publish` takes as keywords: its time limit, and the properties of PUBLISH."""

    timeout: float | None
    payload_format_indicator: int | None
    message_expiry_interval: int | None
    content_type: str | None
    response_topic: TopicLike | None
    correlation_data: _Bytes | None
    user_properties: UserProperties | None
    topic_alias: int | None


class RequestKeywords(TypedDict, total=False):
    """The properties of PUBLISH that `Client.request` and `Client.respond` take as keywords."""

    payload_format_indicator: int | None
    message_expiry_interval: int | None
    content_type: str | None
    user_properties: UserProperties | None


class EnqueueKeywords(RequestKeywords, total=False):
    """The properties of PUBLISH that `Client.enqueue` and `publish_nowait` take as keywords."""

    response_topic: TopicLike | None
    correlation_data: _Bytes | None


class PublishCodecKeywords(PublishKeywords, total=False):
    """All that `Client.publish` takes as keywords. Those above are for its overloads."""

    codec: AnyEncoder | None


class RequestCodecKeywords(RequestKeywords, total=False):
    """All that `Client.request` and `Client.respond` take as keywords."""

    codec: AnyEncoder | None


class EnqueueCodecKeywords(EnqueueKeywords, total=False):
    """All that `Client.enqueue` and `Client.publish_nowait` take as keywords."""

    codec: AnyEncoder | None


class SubscribeKeywords(TypedDict, total=False):
    """The properties of SUBSCRIBE that `Client.subscribe` takes as keywords."""

    subscription_identifier: int | None
    user_properties: UserProperties | None


class UnsubscribeKeywords(TypedDict, total=False):
    """The properties of UNSUBSCRIBE that `Client.unsubscribe` takes as keywords."""

    user_properties: UserProperties | None


WILL: tuple[str, ...] = (
    "payload_format_indicator",
    "message_expiry_interval",
    "content_type",
    "response_topic",
    "correlation_data",
    "user_properties",
    "will_delay_interval",
)
"""The properties of a will that `Will` takes as keywords."""


def of_will(will: object) -> dict[str, object]:
    """Return the properties that a will has as keywords; of another class, those that it has."""
    return {name: getattr(will, name, None) for name in WILL}


_CALLS: dict[str, tuple[frozenset[str], inspect.Signature]] = {}
"""The properties that each call takes as keywords, and its signature with them."""


def takes(keywords: type, call: str | None = None) -> Callable[[_Function], _Function]:
    """Give a call that takes `**keywords: Unpack[keywords]` a signature that names each of them.

    `call` is its name for `check_names`, where several have the same.
    """

    def decorate(function: _Function) -> _Function:
        of_keywords: dict[str, Any] = keywords.__annotations__

        def parameters() -> list[inspect.Parameter]:
            kind = inspect.Parameter.KEYWORD_ONLY
            return [
                inspect.Parameter(name, kind, default=None, annotation=annotation)
                for name, annotation in of_keywords.items()
            ]

        signature = LazySignature.by(function, parameters)
        function.__signature__ = signature  # type: ignore[attr-defined]
        annotations = function.__annotations__
        del annotations["keywords"]
        function.__annotations__ = of_keywords | annotations
        _CALLS[call or function.__name__] = frozenset(of_keywords), signature
        return function

    return decorate


def names_unknown(made: _Class) -> _Class:
    """Let the constructor of a class name the nearest keyword where it is given an unknown one."""
    construct: FunctionType = made.__init__  # type: ignore[misc]
    code = construct.__code__
    known = frozenset(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])

    @functools.wraps(construct)
    def init(self: object, /, *args: object, **keywords: object) -> None:
        if not keywords.keys() <= known:
            raise _unknown(made.__name__, next(it for it in keywords if it not in known), known)
        construct(self, *args, **keywords)

    made.__init__ = init  # type: ignore[misc]
    return made


_FILTERS = frozenset(("filter", "filters", "topic", "topicfilter", "topicfilters", "topics"))


def check_names(call: str, keywords: Mapping[str, object]) -> None:
    """Raise TypeError for a keyword that a call does not have, naming the nearest one."""
    names, signature = _CALLS[call]
    for name in keywords:
        if name not in names:
            parameters = signature.parameters.values()
            filters = next((it.name for it in parameters if it.kind is it.VAR_POSITIONAL), None)
            if filters is not None and _checks.letters(name) in _FILTERS:
                raise TypeError(
                    f'{call}() takes its filters without a keyword: {call}("room/+/temp")'
                )
            raise _unknown(call, name, signature.parameters.keys() - {"self", filters})


def are_given(keywords: Mapping[str, object]) -> bool:
    """Tell whether one is not None."""
    return any(value is not None for value in keywords.values())


def joined(
    properties: PropertiesLike | None, packet_type: int, keywords: Mapping[str, object]
) -> dict[str, object] | None:
    """Return what the core takes for properties that are given in both ways.

    Raises:
        TypeError: A keyword has the wrong type.
        ValueError: A value is wrong, or the same property is given twice.
    """
    native = to_native(properties, packet_type)
    for name, value in keywords.items():
        if value is None:
            continue
        row = row_of_keyword(name)
        checked = keyword_value(row, name, _plain(name, value))
        native = {} if native is None else native
        if row.native in native:
            raise ValueError(
                f"{name} is given twice: leave it out, or {row.attribute} in `properties`."
            )
        native[row.native] = checked
    return native


def pairs(given: Any) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 - anything may be given
    """Return User Properties, which may be a dictionary, as pairs.

    Raises:
        TypeError: They are neither a dictionary nor pairs.
    """
    if isinstance(given, str | bytes | bytearray) or not hasattr(type(given), "__iter__"):
        must_be = "a dict, or pairs of str and str"
        raise _checks.wrong_type("user_properties", must_be, given)
    found = given.items() if isinstance(given, Mapping) else given
    return tuple(tuple(each) if isinstance(each, list | tuple) else each for each in found)


def _plain(name: str, value: object) -> object:
    """Return the value of a keyword as `Properties` would take it."""
    if name == "user_properties":
        return list(pairs(value))
    if name == "response_topic" and isinstance(value, Topic):
        return value.value
    return value


_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "address": ("hostname",),
    "alias": ("topic_alias",),
    "autoreconnect": ("reconnect",),
    "body": ("payload",),
    "broker": ("hostname",),
    "clean": ("clean_start",),
    "clientid": ("identifier",),
    "connecttimeout": ("timeout",),
    "correlationid": ("correlation_data",),
    "data": ("payload",),
    "decoder": ("codec",),
    "delay": ("will_delay_interval",),
    "deserializer": ("codec",),
    "encoder": ("codec",),
    "expires": ("expires_in", "message_expiry_interval", "session_expiry_interval"),
    "expiry": ("expires_in", "message_expiry_interval", "session_expiry_interval"),
    "filters": ("topic",),
    "headers": ("websocket_headers", "user_properties"),
    "heartbeat": ("keepalive",),
    "host": ("hostname",),
    "id": ("identifier", "subscription_identifier"),
    "identifier": ("subscription_identifier",),
    "keeplatest": ("keep",),
    "lastwill": ("will",),
    "lwt": ("will",),
    "manualack": ("ack",),
    "message": ("payload",),
    "metadata": ("user_properties",),
    "mimetype": ("content_type",),
    "msg": ("payload",),
    "mqttversion": ("protocol",),
    "nolocal": ("options",),
    "pass": ("password",),
    "passwd": ("password",),
    "path": ("websocket_path",),
    "protocolversion": ("protocol",),
    "pw": ("password",),
    "pwd": ("password",),
    "queuesize": ("maxsize",),
    "replyto": ("response_topic",),
    "retainaspublished": ("options",),
    "retainhandling": ("options",),
    "schema": ("codec",),
    "serializer": ("codec",),
    "server": ("hostname",),
    "ssl": ("tls_context",),
    "sslcontext": ("tls_context",),
    "tls": ("tls_context",),
    "topicfilter": ("topic",),
    "ttl": ("expires_in", "message_expiry_interval", "session_expiry_interval"),
    "user": ("username",),
    "version": ("protocol",),
    "wspath": ("websocket_path",),
}
"""What other libraries, and the standard, call arguments that have another name here."""


_OF_ENQUEUE = ("expires_in", "keep")


def _unknown(what: str, name: str, known: Iterable[str]) -> TypeError:
    names = {_checks.letters(it): it for it in known}
    elsewhere = _ELSEWHERE.get(_checks.letters(name), ())
    meant = next((it for it in elsewhere if it in names.values()), None)
    meant = meant or _checks.nearest(name, names)
    if what == "publish" and name in _OF_ENQUEUE:
        return TypeError(f"publish() has no {name!r}: `enqueue` and `publish_nowait` have it")
    question = f"; did you mean {meant!r}?" if meant else ""
    return TypeError(f"{what}() got an unexpected keyword argument {name!r}{question}")
