"""Packets that a test has a `TestBroker` send, field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ferromqtt._checks import wrong_type
from ferromqtt._faults import PacketKind
from ferromqtt.properties import to_native
from ferromqtt.reasons import ReasonCode
from ferromqtt.types import PropertiesLike

_ACK: Final = ("packet_id", "reason", "properties")
_ACK_OF_FILTERS: Final = ("packet_id", "reasons", "properties")
_FIELDS: Final[dict[PacketKind, tuple[str, ...]]] = {
    PacketKind.CONNACK: ("reason", "session_present", "properties"),
    PacketKind.PUBLISH: ("topic", "payload", "qos", "dup", "retain", "packet_id", "properties"),
    PacketKind.PUBACK: _ACK,
    PacketKind.PUBREC: _ACK,
    PacketKind.PUBREL: _ACK,
    PacketKind.PUBCOMP: _ACK,
    PacketKind.SUBACK: _ACK_OF_FILTERS,
    PacketKind.UNSUBACK: _ACK_OF_FILTERS,
    PacketKind.DISCONNECT: ("reason", "properties"),
    PacketKind.AUTH: ("reason", "properties"),
}


def native_fields(
    kind: PacketKind,
    fields: Mapping[str, object],
    payload: str | bytes | None,
    reason: int | ReasonCode | None,
    reasons: Sequence[int | ReasonCode] | None,
    properties: PropertiesLike | None,
) -> dict[str, object]:
    """Return the fields of a packet as the core takes them. None is not given.

    Raises:
        TypeError: A field has the wrong type. The core checks those that need not be converted.
        ValueError: The packet has no such field, or the field no such value.
    """
    data = payload.encode() if isinstance(payload, str) else payload
    if not isinstance(data, bytes | None):
        raise wrong_type("payload", "str or bytes", payload)
    if isinstance(reasons, str | bytes) or not isinstance(reasons, Sequence | None):
        raise wrong_type("reasons", "a list of Reason Codes", reasons)
    codes = None if reasons is None else [_number(code) for code in reasons]
    converted = {"payload": data, "reason": _number(reason), "reasons": codes}
    given = {name: it for name, it in {**fields, **converted}.items() if it is not None}
    there = _FIELDS.get(kind, ())
    for name in given if properties is None else (*given, "properties"):
        if name not in there:
            taken = f"send takes {', '.join(there)} for it" if there else "send takes none for it"
            raise ValueError(f"{kind.name} has no {name}: {taken}")
    if kind is PacketKind.PUBLISH and "packet_id" in given and not given.get("qos"):
        raise ValueError("PUBLISH of QoS 0 has no packet_id: give qos too, or leave it out")
    if properties is not None:
        given["properties"] = to_native(properties, kind, from_server=True)
    return given


def _number(reason: int | ReasonCode | None) -> int | None:
    return reason.value if isinstance(reason, ReasonCode) else reason
