"""Packet types, Reason Codes and the codes of errors that are not from the server."""
# ruff: noqa: N802, N803, N806 - paho's names: programs written for it read and pass them

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class PacketTypes:
    """The packet types of MQTT 5.0, and one more for the properties of a will."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15
    WILLMESSAGE = 99

    indexes: ClassVar = range(1, 16)
    Names: ClassVar = (
        *("reserved", "Connect", "Connack", "Publish", "Puback", "Pubrec", "Pubrel", "Pubcomp"),
        *("Subscribe", "Suback", "Unsubscribe", "Unsuback", "Pingreq", "Pingresp", "Disconnect"),
        "Auth",
    )


def packet_name(packet_type: int) -> str:
    """Return the name of a packet type, for messages to people."""
    if packet_type == PacketTypes.WILLMESSAGE:
        return "Will"
    known = packet_type in PacketTypes.indexes
    return PacketTypes.Names[packet_type] if known else "Unknown"


_CONNACK, _DISCONNECT = (PacketTypes.CONNACK,), (PacketTypes.DISCONNECT,)
_AUTH = (PacketTypes.AUTH,)
_BOTH = _CONNACK + _DISCONNECT
_PUB = (PacketTypes.PUBACK, PacketTypes.PUBREC)
_REL = (PacketTypes.PUBREL, PacketTypes.PUBCOMP)
_SUB, _UNSUB = (PacketTypes.SUBACK,), (PacketTypes.UNSUBACK,)
_ANY = _CONNACK + _PUB + _SUB + _UNSUB + _DISCONNECT

# Section 2.4 of the standard, with the names that paho gives.
_NAMES: dict[int, dict[str, tuple[int, ...]]] = {
    0: {
        "Success": _CONNACK + _PUB + _REL + _UNSUB + _AUTH,
        "Normal disconnection": _DISCONNECT,
        "Granted QoS 0": _SUB,
    },
    1: {"Granted QoS 1": _SUB},
    2: {"Granted QoS 2": _SUB},
    4: {"Disconnect with will message": _DISCONNECT},
    16: {"No matching subscribers": _PUB},
    17: {"No subscription found": _UNSUB},
    24: {"Continue authentication": _AUTH},
    25: {"Re-authenticate": _AUTH},
    128: {"Unspecified error": _ANY},
    129: {"Malformed packet": _BOTH},
    130: {"Protocol error": _BOTH},
    131: {"Implementation specific error": _ANY},
    132: {"Unsupported protocol version": _CONNACK},
    133: {"Client identifier not valid": _CONNACK},
    134: {"Bad user name or password": _CONNACK},
    135: {"Not authorized": _ANY},
    136: {"Server unavailable": _CONNACK},
    137: {"Server busy": _BOTH},
    138: {"Banned": _CONNACK},
    139: {"Server shutting down": _DISCONNECT},
    140: {"Bad authentication method": _BOTH},
    141: {"Keep alive timeout": _DISCONNECT},
    142: {"Session taken over": _DISCONNECT},
    143: {"Topic filter invalid": _SUB + _UNSUB + _DISCONNECT},
    144: {"Topic name invalid": _BOTH + _PUB},
    145: {"Packet identifier in use": _PUB + _SUB + _UNSUB},
    146: {"Packet identifier not found": _REL},
    147: {"Receive maximum exceeded": _DISCONNECT},
    148: {"Topic alias invalid": _DISCONNECT},
    149: {"Packet too large": _BOTH},
    150: {"Message rate too high": _DISCONNECT},
    151: {"Quota exceeded": _BOTH + _PUB + _SUB},
    152: {"Administrative action": _DISCONNECT},
    153: {"Payload format invalid": _BOTH + _PUB},
    154: {"Retain not supported": _BOTH},
    155: {"QoS not supported": _BOTH},
    156: {"Use another server": _BOTH},
    157: {"Server moved": _BOTH},
    158: {"Shared subscription not supported": _SUB + _DISCONNECT},
    159: {"Connection rate exceeded": _BOTH},
    160: {"Maximum connect time": _DISCONNECT},
    161: {"Subscription identifiers not supported": _SUB + _DISCONNECT},
    162: {"Wildcard subscription not supported": _SUB + _DISCONNECT},
}

_FIRST_FAILURE = 0x80


@functools.total_ordering
class ReasonCode:
    """What a packet says about the outcome of an operation.

    It equals, and hashes as, its number. It also equals its name and any other object that has a
    `value` and a `packetType` of the same number, such as paho's Reason Codes.

    Args:
        packetType: The type of the packet it stands in; the name depends on it.
        aName: The name of the Reason Code. Not used when `identifier` is given.
        identifier: The number of the Reason Code.

    Attributes:
        packetType: The type of the packet.
        value: The number.
        names: Of each number the names, and of each name the packet types.

    Raises:
        KeyError: There is no such number, or no such name in this packet.
        ValueError: The number exists, but not in this packet.
    """

    __slots__ = ("packetType", "value")

    names: ClassVar[Mapping[int, Mapping[str, tuple[int, ...]]]] = MappingProxyType(_NAMES)

    def __init__(self, packetType: int, aName: str = "Success", identifier: int = -1) -> None:
        self.packetType = packetType
        if identifier == -1:
            if packetType == PacketTypes.DISCONNECT and aName == "Success":
                aName = "Normal disconnection"
            self.value = self.getId(aName)
        else:
            self.value = identifier
            self.getName()  # raises when the packet cannot carry it

    def getName(self) -> str:
        """Return the name that the number has in this packet."""
        names = self.names.get(self.value)
        if names is None:
            raise KeyError(f"Reason Code {self.value} does not exist")
        for name, packet_types in names.items():
            if self.packetType in packet_types:
                return name
        packet = packet_name(self.packetType)
        raise ValueError(f"Reason Code {self.value} does not exist in packet type {packet}")

    def getId(self, name: str) -> int:
        """Return the number that the name has in this packet."""
        for value, names in self.names.items():
            if self.packetType in names.get(name, ()):
                return value
        raise KeyError(f"Reason code name not found: {name}")

    @property
    def is_failure(self) -> bool:
        """Whether the operation failed."""
        return self.value >= _FIRST_FAILURE

    def json(self) -> str:
        """Return what stands for it in JSON: the name."""
        return self.getName()

    def pack(self) -> bytearray:
        """Return the byte that stands for it on the wire."""
        return bytearray([self.value])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.getName() == other
        return self.value == _number(other)

    def __lt__(self, other: object) -> bool:
        number = _number(other)
        return NotImplemented if number is None else self.value < number

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return self.getName()

    def __repr__(self) -> str:
        return f"ReasonCode({packet_name(self.packetType)}, {self.getName()!r})"


def _number(other: object) -> int | None:
    if isinstance(other, int):
        return other
    value = getattr(other, "value", None) if hasattr(other, "packetType") else None
    return value if isinstance(value, int) else None


class MQTTErrorCode(enum.IntEnum):
    """Why a call failed on this side of the connection."""

    MQTT_ERR_AGAIN = -1
    MQTT_ERR_SUCCESS = 0
    MQTT_ERR_NOMEM = 1
    MQTT_ERR_PROTOCOL = 2
    MQTT_ERR_INVAL = 3
    MQTT_ERR_NO_CONN = 4
    MQTT_ERR_CONN_REFUSED = 5
    MQTT_ERR_NOT_FOUND = 6
    MQTT_ERR_CONN_LOST = 7
    MQTT_ERR_TLS = 8
    MQTT_ERR_PAYLOAD_SIZE = 9
    MQTT_ERR_NOT_SUPPORTED = 10
    MQTT_ERR_AUTH = 11
    MQTT_ERR_ACL_DENIED = 12
    MQTT_ERR_UNKNOWN = 13
    MQTT_ERR_ERRNO = 14
    MQTT_ERR_QUEUE_SIZE = 15
    MQTT_ERR_KEEPALIVE = 16


_ERROR_STRINGS = (
    "No error.",
    "Out of memory.",
    "A network protocol error occurred when communicating with the broker.",
    "Invalid function arguments provided.",
    "The client is not currently connected.",
    "The connection was refused.",
    "Message not found (internal error).",
    "The connection was lost.",
    "A TLS error occurred.",
    "Payload too large.",
    "This feature is not supported.",
    "Authorisation failed.",
    "Access denied by ACL.",
    "Unknown error.",
    "Error defined by errno.",
    "Message queue full.",
    "Client or broker did not communicate in the keepalive interval.",
)


def error_string(code: int) -> str:
    """Return the text of an `MQTTErrorCode`."""
    return _ERROR_STRINGS[code] if 0 <= code < len(_ERROR_STRINGS) else "Unknown error."
