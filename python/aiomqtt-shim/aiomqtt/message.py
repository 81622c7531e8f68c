"""The message that a client receives."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from aiomqtt import _private
from aiomqtt.topic import Topic, TopicLike
from ferromqtt.message import Message
from ferromqtt.properties import Properties

__all__ = ["Message", "Properties", "Self", "Topic", "TopicLike", "sys"]

if not TYPE_CHECKING:
    __getattr__ = _private.paho_names(__name__)
