"""What happened at a `TestBroker`: packets, messages, and the errors of tests that miss one."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from ferromqtt._faults import PacketKind

if TYPE_CHECKING:
    from ferromqtt._native import Broker


@dataclasses.dataclass(frozen=True, kw_only=True)
class JournalMessage:
    """A message that the broker accepted, as it was published."""

    at: float
    """Seconds since the first thing that happened at the broker."""
    client: str
    """Client Identifier of its publisher; empty for the broker itself."""
    topic: str
    """Topic Name."""
    payload: bytes = dataclasses.field(repr=False)
    """Application Message."""
    qos: int
    """Quality of Service that it was published with."""
    retain: bool
    """Retain flag that it was published with."""

    def json(self) -> Any:  # noqa: ANN401 - whatever the payload holds
        """Return the payload, read as JSON.

        Raises:
            ValueError: It is no JSON.
        """
        return json.loads(self.payload)


@dataclasses.dataclass(frozen=True, kw_only=True)
class JournalPacket:
    """A packet that went by, and what befell it. Its `str` is a line for people."""

    at: float
    """Seconds since the first thing that happened at the broker."""
    side: str
    """`"sends"` when the broker sent it, `"receives"` when it received it."""
    link: int
    """Number of the connection."""
    client: str
    """Client Identifier; empty until it is known."""
    kind: PacketKind | None
    """Its type; None where the first byte names none."""
    packet_id: int | None
    """Packet Identifier, if it has one."""
    reason: int | None
    """Reason Code, if it has one; of several the largest, which is a failure if one is."""
    topic: str | None
    """Topic Name of a PUBLISH, also where a Topic Alias stands for it."""
    payload: bytes | None = dataclasses.field(repr=False)
    """Application Message of a PUBLISH."""
    qos: int | None
    """Quality of Service of a PUBLISH."""
    dup: bool
    """DUP flag of a PUBLISH."""
    retain: bool
    """Retain flag of a PUBLISH."""
    fault: str | None
    """The rule that befell it, if one did."""
    passed: bool
    """Whether it, or what a fault made of it, went on to its receiver."""
    text: str = dataclasses.field(repr=False)
    """What `str` returns, with the beginning of a payload."""

    def __str__(self) -> str:
        return self.text


def messages_of(broker: Broker, topic: str) -> list[JournalMessage]:
    """Return the messages that the broker accepted to topics that match."""
    return [
        JournalMessage(at=at, client=client, topic=name, payload=payload, qos=qos, retain=retain)
        for at, client, name, payload, qos, retain in broker.published(topic)
    ]


def packets_of(
    broker: Broker, kind: PacketKind | None, client: str | None, side: str | None
) -> list[JournalPacket]:
    """Return the packets that went by."""
    sends = None if side is None else side == "sends"
    packets = []
    for seen, contents, publish in broker.packets(kind, client, sends):
        at, by_broker, link, name = seen
        number, packet_id, reason, fault, passed, text = contents
        topic, payload, qos, dup, retain = publish or (None, None, None, False, False)
        packets.append(
            JournalPacket(
                at=at,
                side="sends" if by_broker else "receives",
                link=link,
                client=name,
                kind=None if number is None else PacketKind(number),
                packet_id=packet_id,
                reason=reason,
                topic=topic,
                payload=payload,
                qos=qos,
                dup=dup,
                retain=retain,
                fault=fault,
                passed=passed,
                text=text,
            )
        )
    return packets


UNSET: Any = object()
"""Stands for a field that does not matter."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a test wants of messages."""

    topic: str
    payload: bytes | None
    json: Any = UNSET
    qos: int | None
    retain: bool | None

    @classmethod
    def of(
        cls,
        topic: str,
        payload: str | bytes | None,
        json_: object,
        qos: int | None,
        retain: bool | None,
    ) -> Wanted:
        """Check and keep what was given; a text stands for its UTF-8."""
        if payload is not None and json_ is not UNSET:
            raise ValueError("payload and json exclude each other")
        data = payload.encode() if isinstance(payload, str) else payload
        return cls(topic=topic, payload=data, json=json_, qos=qos, retain=retain)

    def found(self, broker: Broker) -> list[JournalMessage]:
        """Return the messages that are wanted."""
        return [message for message in messages_of(broker, self.topic) if self._selects(message)]

    def _selects(self, message: JournalMessage) -> bool:
        return (
            (self.payload is None or message.payload == self.payload)
            and (self.json is UNSET or self._is_json(message))
            and (self.qos is None or message.qos == self.qos)
            and (self.retain is None or message.retain == self.retain)
        )

    def _is_json(self, message: JournalMessage) -> bool:
        try:
            return bool(message.json() == self.json)
        except ValueError:
            return False

    def explain(self, broker: Broker, headline: str) -> str:
        """Return the text of a failure: what came instead, unused rules, and the chart."""
        payload = self.payload
        if self.json is not UNSET:
            headline += f"   json {json.dumps(self.json)}"
            payload = json.dumps(self.json).encode()
        return broker.explain_missing(headline, self.topic, payload, self.qos, self.retain)
