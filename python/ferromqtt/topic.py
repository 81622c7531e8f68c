"""Topics and the wildcards that match them."""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

from ferromqtt import _shown
from ferromqtt._native import TopicTemplate, wildcard_matches

__all__ = ["MAX_TOPIC_LENGTH", "Topic", "TopicLike", "TopicTemplate", "Wildcard", "WildcardLike"]

MAX_TOPIC_LENGTH = 65535
"""The longest topic or wildcard, in characters."""


@dataclasses.dataclass(frozen=True)
class Wildcard:
    """What a subscription asks for: a topic in which levels may be `+`, and the last one `#`.

    Args:
        value: The wildcard as text.

    Attributes:
        value: The wildcard as text.

    Raises:
        TypeError: The value is not a string.
        ValueError: It is empty, too long, or has a `+` or `#` where none may stand.
    """

    value: str

    def __post_init__(self) -> None:
        if not isinstance(self.value, str):
            raise TypeError(f"Wildcard must be of type str, not {type(self.value).__name__}")
        if wildcard_matches(self.value, "") is None:
            raise _invalid(self.value)

    def __str__(self) -> str:
        return self.value


WildcardLike: TypeAlias = str | Wildcard
"""What `Topic.matches` takes."""


# Its methods are those of Wildcard: each that is generated costs every import of the package.
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Topic(Wildcard):
    """The topic a message is published to: no wildcard in it.

    Args:
        value: The topic as text.

    Attributes:
        value: The topic as text.

    Raises:
        TypeError: The value is not a string.
        ValueError: It is empty, too long, or contains `+` or `#`.
    """

    def __post_init__(self) -> None:
        if not isinstance(self.value, str):
            raise TypeError(f"Topic must be of type str, not {type(self.value).__name__}")
        if not 0 < len(self.value) <= MAX_TOPIC_LENGTH or "+" in self.value or "#" in self.value:
            raise ValueError(f"Invalid topic: {_shown.escaped(self.value)}")

    def matches(self, wildcard: WildcardLike) -> bool:
        """Tell whether a subscription to `wildcard` would receive messages of this topic.

        A shared subscription `$share/name/wildcard` matches as its `wildcard` does. A leading
        wildcard matches topics that start with `$` too, which a server would not send for it.

        Raises:
            TypeError: `wildcard` is neither a string nor a `Wildcard`.
            ValueError: It is a malformed wildcard.
        """
        text = wildcard.value if isinstance(wildcard, Wildcard) else wildcard
        if not isinstance(text, str):
            raise TypeError(f"Wildcard must be of type str, not {type(text).__name__}")
        matches = wildcard_matches(text, self.value)
        if matches is None:
            raise _invalid(text)
        return matches


TopicLike: TypeAlias = str | Topic
"""What `Message` takes as its topic."""


def _trusted_topic(value: str) -> Topic:
    """Make a `Topic` of a text that the core has checked."""
    topic = object.__new__(Topic)
    object.__setattr__(topic, "value", value)
    return topic


def _invalid(wildcard: str) -> ValueError:
    return ValueError(f"Invalid wildcard: {_shown.escaped(wildcard)}")
