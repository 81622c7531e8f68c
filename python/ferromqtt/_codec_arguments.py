"""The argument `codec` of a client's calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from ferromqtt._native import Decoding, TopicTemplate
from ferromqtt.codecs import AnyDecoder, decoder_of, encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ferromqtt.topic import TopicLike
    from ferromqtt.types import PayloadType


def take_encoded(
    topic: TopicLike, payload: PayloadType, keywords: Mapping[str, Any]
) -> PayloadType:
    """Return the payload, encoded if there is a codec among the keywords, which is taken out.

    Raises:
        PayloadError: The codec cannot encode it.
        TypeError: There is no such codec.
    """
    codec = cast("dict[str, Any]", keywords).pop("codec", None)
    return payload if codec is None else encoded(codec, topic, payload)


class Reading(NamedTuple):
    """How the messages of a subscription are read."""

    decoding: Decoding | None
    """None for as they are."""
    names: dict[str, str]
    """The templates of those filters that come of one."""

    @classmethod
    def of(cls, templates: list[TopicTemplate], codec: AnyDecoder | None) -> Self:
        """Return how messages are read that come by one of these templates, and by a codec.

        Raises:
            TypeError: There is no such codec.
        """
        decode, name = (None, "") if codec is None else decoder_of(codec)
        is_plain = codec is None and not templates
        decoding = None if is_plain else Decoding(templates, decode, name)
        names = {template.filter: template.value for template in reversed(templates)}
        return cls(decoding, names)

    def shown(self, filters: Iterable[tuple[Any, ...]]) -> str:
        """Return the filters for people, with the templates as they were given."""
        return ", ".join(repr(self.names.get(each[0], each[0])) for each in filters)


def decoding_of_response(codec: object) -> Decoding | None:
    """Return how the response to a request is read; None if its codec can only encode."""
    try:
        return Decoding([], *decoder_of(codec))
    except TypeError:
        return None
