"""Topics and wildcards."""

from __future__ import annotations

import dataclasses
import sys
from typing import TypeAlias

from ferromqtt.topic import MAX_TOPIC_LENGTH, Topic, TopicLike, Wildcard, WildcardLike

__all__ = [
    "MAX_TOPIC_LENGTH",
    "Topic",
    "TopicLike",
    "TypeAlias",
    "Wildcard",
    "WildcardLike",
    "dataclasses",
    "sys",
]
