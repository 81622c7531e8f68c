"""Values of options that have names. Every client needs these; `options` has the classes."""

from __future__ import annotations

import enum
from typing import Final

MQTT_CLEAN_START_FIRST_ONLY: Final = 3
"""`clean_start` of a client that starts a new session whenever it is entered."""

OUTGOING_MESSAGES: Final = 10_000
"""How many messages the outgoing queue holds by default."""
OUTGOING_BYTES: Final = 64 << 20
"""How many bytes of memory they take at most by default."""
OUTGOING_OVERFLOW: Final = "wait"
"""What happens by default to a message for which there is no capacity."""


class ProtocolVersion(enum.IntEnum):
    """The versions of MQTT."""

    V31 = 3
    V311 = 4
    V5 = 5
