"""The arguments of a client's calls: which filters to subscribe to and to unsubscribe from.

The texts are aiomqtt's, since programs and their tests compare them; what helps follows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

from ferromqtt._checks import check_qos, wrong_type
from ferromqtt._native import TopicTemplate, check_filter
from ferromqtt._option_values import ProtocolVersion
from ferromqtt.topic import Wildcard
from ferromqtt.types import SubscribeOptionsLike, SubscribeTopic

_TEXTS = (str, bytes, bytearray, memoryview)  # sequences that are one thing
_EMPTY_LIST = "Empty topic list. topic must name at least one filter."
_NO_OPTIONS = "Subscribe options must be instance of SubscribeOptions class."
_NO_TOPIC = "No topic specified, or incorrect topic type."

SubscribeFilter = tuple[str, int, bool, bool, int]
"""Topic Filter, QoS, No Local, Retain As Published, Retain Handling."""


def subscribe_filters(
    topic: SubscribeTopic,
    qos: int,
    options: SubscribeOptionsLike | None,
    version: ProtocolVersion,
) -> list[SubscribeFilter]:
    """Return the filters that the arguments of a subscribe call ask for.

    Raises:
        ValueError: A filter is malformed, or the arguments are none of the forms that the protocol
            version has.
    """
    v5 = version == ProtocolVersion.V5
    wanted: object = options if v5 else None  # before 5.0 options are not used
    text: object = topic
    if _is_list(topic):
        if not topic:
            raise ValueError(_EMPTY_LIST)
        return [_of_list(entry, qos, options, version) for entry in topic]
    if isinstance(topic, tuple):
        text, second = _pair(topic)
        if isinstance(second, str | Wildcard | TopicTemplate):
            begin, what = (_NO_OPTIONS, "options") if v5 else ("Invalid QoS level.", "QoS")
            raise ValueError(  # noqa: TRY004 - aiomqtt's
                f"{begin} A tuple is one filter with its {what}: give several filters as a list."
            )
        if v5:
            wanted = _subscribe_options(second)
        else:
            qos = check_qos(second)
    text = _text_of(text)
    if text is None:
        raise ValueError(f"{_NO_TOPIC} {_must_be_filter(topic)}")
    check_qos(qos)
    if wanted is not None:
        wanted = _subscribe_options(wanted)
        if qos != 0:
            raise ValueError("Subscribe options and qos parameters cannot be combined.")
    if not v5 and not text:
        raise ValueError(f"Invalid topic. {_must_be_filter(text)}")
    return [_filter(text, qos if wanted is None else wanted)]


class SubscriptionFlags(NamedTuple):
    """The options of a subscription beside its QoS. Before 5.0 there are none."""

    no_local: bool
    retain_as_published: bool
    retain_handling: int

    def check(self, version: ProtocolVersion) -> None:
        """Raise TypeError or ValueError for one that is wrong, or not in this version."""
        for name in ("no_local", "retain_as_published"):
            if not isinstance(getattr(self, name), bool):
                raise wrong_type(name, "bool", getattr(self, name))
        handling = self.retain_handling
        if not isinstance(handling, int) or isinstance(handling, bool):
            raise wrong_type("retain_handling", "0, 1 or 2", handling)
        if handling not in (0, 1, 2):
            raise ValueError(f"retain_handling must be 0, 1 or 2, not {handling}")
        given = [name for name, value in self._asdict().items() if value]
        if given and version != ProtocolVersion.V5:
            raise ValueError(
                f"{given[0]} needs MQTT 5.0: give the client protocol=ProtocolVersion.V5, or leave "
                "it out"
            )


def subscription_filters(
    topics: tuple[Any, ...], qos: int, flags: SubscriptionFlags, version: ProtocolVersion
) -> list[SubscribeFilter]:
    """Return the filters that the arguments of `Client.subscription` ask for.

    Raises:
        ValueError: A filter is malformed, there is none, or an option is wrong.
        TypeError: An option has the wrong type.
    """
    check_qos(qos)
    flags.check(version)
    entries: list[Any] = []
    for topic in topics:
        if _is_list(topic):
            entries += topic
        else:
            entries.append(topic)
    if not entries:
        raise ValueError("No topic specified: give the subscription at least one filter.")
    return [_of_subscription(entry, qos, flags, version) for entry in entries]


def _of_subscription(
    entry: Any,  # noqa: ANN401 - anything may be given
    qos: int,
    flags: SubscriptionFlags,
    version: ProtocolVersion,
) -> SubscribeFilter:
    if isinstance(entry, tuple):
        topic, wanted = _pair(entry)
        if isinstance(wanted, str | Wildcard | TopicTemplate):
            raise ValueError(  # noqa: TRY004 - as `subscribe_filters`
                "A tuple is one filter with its QoS or options: give several filters as arguments "
                "of their own, or as a list."
            )
        if not isinstance(wanted, int) and version == ProtocolVersion.V5:
            return _of_list(entry, qos, None, version)
        qos = check_qos(wanted)
        entry = topic
    text = _text_of(entry)
    if not text:
        raise ValueError(f"Invalid topic. {_must_be_filter(entry)}")
    if check_filter(text) and flags.no_local:
        raise ValueError("no_local must not be given for a shared subscription: leave it out.")
    return text, qos, *flags


def has_options(filters: list[SubscribeFilter]) -> bool:
    """Whether one of the filters has an option that only 5.0 has."""
    return any(any(it[2:]) for it in filters)


def without_options(filters: list[SubscribeFilter]) -> list[SubscribeFilter]:
    """Return the filters with what 3.1.1 has too: the QoS."""
    return [(text, qos, False, False, 0) for text, qos, *_ in filters]


def _is_list(topic: object) -> TypeGuard[Sequence[Any]]:
    """Whether this is a sequence of filters and pairs, and not a filter or a pair."""
    if isinstance(topic, tuple):
        return bool(topic) and isinstance(topic[0], tuple)
    return isinstance(topic, Sequence) and not isinstance(topic, _TEXTS)


def unsubscribe_filters(topic: object) -> list[str]:
    """Return the filters that the argument of an unsubscribe call names.

    Raises:
        ValueError: A filter is malformed, there is none, or the argument is of another type.
    """
    if topic is None or topic == "":
        raise ValueError(f"Invalid topic. {_must_be_filter(topic)}")
    given: list[Any]
    if isinstance(topic, str | Wildcard | TopicTemplate):
        given = [topic]
    elif isinstance(topic, Sequence) and not isinstance(topic, (*_TEXTS, tuple)):
        given = list(topic)
    else:
        raise ValueError(f"{_NO_TOPIC} {_must_be_filter(topic)}")  # noqa: TRY004 - aiomqtt's
    if not given:
        raise ValueError(_EMPTY_LIST)
    filters = []
    for entry in given:
        text = _text_of(entry)
        if not text:
            raise ValueError(f"Invalid topic. {_must_be_filter(entry)}")
        check_filter(text)
        filters.append(text)
    return filters


def without_templates(topics: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[TopicTemplate]]:
    """Return the arguments of `Client.subscription` with filters, and the templates among them.

    A str with a brace is a template, as a `TopicTemplate` is.

    Raises:
        ValueError: A template is malformed.
    """
    templates: list[TopicTemplate] = []

    def plain(topic: object) -> object:
        if isinstance(topic, str) and ("{" in topic or "}" in topic):
            topic = TopicTemplate(topic)
        if not isinstance(topic, TopicTemplate):
            return topic
        templates.append(topic)
        return topic.filter

    def entry(given: Any) -> object:  # noqa: ANN401 - anything may be given
        if isinstance(given, tuple) and len(given) == 2:  # noqa: PLR2004 - a pair
            return plain(given[0]), given[1]
        return plain(given)

    found = tuple(
        [entry(each) for each in topic] if _is_list(topic) else entry(topic) for topic in topics
    )
    return found, templates


def _text_of(topic: object) -> str | None:
    if isinstance(topic, TopicTemplate):
        return topic.filter
    text = topic.value if isinstance(topic, Wildcard) else topic
    return text if isinstance(text, str) else None


def _must_be_filter(topic: object) -> str:
    if topic == "":
        return "topic must not be empty."
    kind = type(topic).__name__
    return f"topic must be str, Topic, Wildcard or TopicTemplate, or a list of them, not {kind}."


def _of_list(
    entry: Any,  # noqa: ANN401 - anything may be given
    qos: int,
    options: SubscribeOptionsLike | None,
    version: ProtocolVersion,
) -> SubscribeFilter:
    if isinstance(entry, str | Wildcard | TopicTemplate):
        return subscribe_filters(entry, qos, options, version)[0]
    v5 = version == ProtocolVersion.V5
    topic, wanted = _pair(entry)
    if not v5 or isinstance(wanted, int):
        wanted = check_qos(wanted)
    text = _text_of(topic)
    if text is None or (not v5 and not text):
        raise ValueError(f"Invalid topic. {_must_be_filter(topic)}")
    return _filter(text, wanted)


def _pair(entry: object) -> tuple[Any, Any]:
    if not isinstance(entry, tuple | list) or len(entry) != 2:  # noqa: PLR2004 - a pair
        raise ValueError(f"Each subscription must be a topic or a (topic, QoS) pair, not {entry!r}")
    return entry[0], entry[1]


def _filter(text: str, wanted: object) -> SubscribeFilter:
    """Return the filter `text` with a QoS, or with the options of a subscription."""
    shared = check_filter(text)
    if isinstance(wanted, int):
        return text, check_qos(wanted), False, False, 0
    options = _subscribe_options(wanted)
    if options.noLocal and shared:
        raise ValueError("noLocal must not be given for a shared subscription: leave it out.")
    retain_handling = options.retainHandling
    if not isinstance(retain_handling, int) or retain_handling not in (0, 1, 2):
        given = (
            retain_handling if isinstance(retain_handling, int) else type(retain_handling).__name__
        )
        raise ValueError(f"Invalid retain handling. retainHandling must be 0, 1 or 2, not {given}.")
    qos = check_qos(options.QoS)
    no_local, as_published = bool(options.noLocal), bool(options.retainAsPublished)
    return text, qos, no_local, as_published, int(retain_handling)


def _subscribe_options(options: Any) -> SubscribeOptionsLike:  # noqa: ANN401 - read by its attributes
    names = ("QoS", "noLocal", "retainAsPublished", "retainHandling")
    if not all(hasattr(options, name) for name in names):
        kind = type(options).__name__
        raise ValueError(
            f"{_NO_OPTIONS} On MQTT 5.0 they are `options`, or stand in a pair beside the topic, "
            f"and must not be {kind}; a QoS may stand in a list of pairs."
        )
    checked: SubscribeOptionsLike = options
    return checked
