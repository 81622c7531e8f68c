"""The exceptions of a client."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from aiomqtt import _private
from ferromqtt.exceptions import (
    _CONNECT_RC_STRINGS,
    MqttCodeError,
    MqttConnectError,
    MqttError,
    MqttReentrantError,
)
from ferromqtt.reasons import ReasonCode

__all__ = [
    "_CONNECT_RC_STRINGS",
    "Any",
    "MqttCodeError",
    "MqttConnectError",
    "MqttError",
    "MqttReentrantError",
    "ReasonCode",
    "contextlib",
]

if not TYPE_CHECKING:
    __getattr__ = _private.paho_names(__name__)
