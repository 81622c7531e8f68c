"""What happened at a `TestBroker`: packets, messages, and the errors of tests that miss one."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from ferromqtt._checks import check_qos, wrong_type
from ferromqtt._faults import UNSET, PacketKind

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
            ValueError: It is no JSON, or lies deeper than Python can read.
        """
        try:
            return json.loads(self.payload)
        except RecursionError:
            raise ValueError("the JSON of the payload lies too deep to be read") from None


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


def messages_of(broker: Broker, topic: str, *, after: int = 0) -> list[JournalMessage]:
    """Return the messages that the broker accepted to topics that match, after its first ones."""
    return [
        JournalMessage(at=at, client=client, topic=name, payload=payload, qos=qos, retain=retain)
        for at, client, name, payload, qos, retain in broker.published(topic, after)
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


def same_json(one: Any, other: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether two values are the same in JSON, where true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


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
        if not isinstance(topic, str):
            raise wrong_type("topic", "str", topic)
        if payload is not None and json_ is not UNSET:
            raise ValueError("payload and json exclude each other")
        data = payload.encode() if isinstance(payload, str) else payload
        if data is not None and not isinstance(data, bytes):
            raise wrong_type("payload", "str, bytes or None (json= is for values)", payload)
        if qos is not None:
            check_qos(qos)
        if retain is not None and not isinstance(retain, bool):
            raise wrong_type("retain", "bool or None", retain)
        return cls(topic=topic, payload=data, json=json_, qos=qos, retain=retain)

    def found(self, broker: Broker, *, after: int = 0) -> list[JournalMessage]:
        """Return the messages that are wanted, of those behind the first that were accepted."""
        messages = messages_of(broker, self.topic, after=after)
        return [message for message in messages if self._selects(message)]

    def to_topic(self, broker: Broker) -> list[JournalMessage]:
        """Return the messages to a topic that is wanted."""
        return messages_of(broker, self.topic)

    def _selects(self, message: JournalMessage) -> bool:
        return (
            (self.payload is None or message.payload == self.payload)
            and (self.json is UNSET or self._is_json(message))
            and (self.qos is None or message.qos == self.qos)
            and (self.retain is None or message.retain == self.retain)
        )

    def _is_json(self, message: JournalMessage) -> bool:
        try:
            return same_json(message.json(), self.json)
        except (ValueError, RecursionError):  # no JSON, or too deep
            return False

    def explain(self, broker: Broker, headline: str) -> str:
        """Return the text of a failure: what came instead, unused rules, and the chart."""
        if self.json is not UNSET:
            from ferromqtt._misses import explain_json  # noqa: PLC0415 - a failure's alone

            return explain_json(headline, self, broker)
        return broker.explain_missing(headline, self.topic, self.payload, self.qos, self.retain)
