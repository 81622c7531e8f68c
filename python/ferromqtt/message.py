"""Received messages."""

from __future__ import annotations

import dataclasses

from ferromqtt._native import Message, MessagesIterator, TypedMessage

__all__ = ["Message", "MessagesIterator", "TypedMessage", "Unacknowledged"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unacknowledged:
    """What a program has taken and not acknowledged, from `Client.unacknowledged`."""

    messages: int
    """How many received messages the program has taken, and neither acknowledged nor rejected."""
    oldest: float | None
    """Seconds since the oldest of them was received; None if there is none."""
    held_back: int
    """How many messages are acknowledged, and wait with that for an earlier one.

    Acknowledgements leave in the order in which the messages came (MQTT-4.6.0-2, MQTT-4.6.0-3).
    Until they have left, these messages take up places of the server's window too.
    """
