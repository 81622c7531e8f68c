"""The exceptions of a client."""

from ferromqtt.exceptions import (
    _CONNECT_RC_STRINGS,
    MqttCodeError,
    MqttConnectError,
    MqttError,
    MqttReentrantError,
)

__all__ = [
    "_CONNECT_RC_STRINGS",
    "MqttCodeError",
    "MqttConnectError",
    "MqttError",
    "MqttReentrantError",
]
