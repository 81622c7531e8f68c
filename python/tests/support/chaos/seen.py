"""What the network between one client and the broker shows of the client's session."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support import packets

from . import stream
from .ledger import Name

if TYPE_CHECKING:
    from collections.abc import Callable

_REFUSED = 0x80
_DUP = 0x08


@dataclass
class Span:
    """How long the broker held a subscription, in moments."""

    topic_filter: str
    qos: int
    begun: int
    conversation: int
    """On which of the client's connections it was made, by number."""
    ended: int | None = None


@dataclass
class Seen:
    """What one client and the broker have sent each other, over all connections."""

    moment: Callable[[], int]
    conversations: int = 0
    hidden_losses: int = 0
    """How often the broker has lost the session and the client cannot know.

    The CONNACK that says so was lost as well, or MQTT is 3.1, whose CONNACK does not say.
    """
    tells_losses: bool = True
    """Whether a CONNACK can say that the session is lost."""
    spans: list[Span] = field(default_factory=list)
    written: Counter[Name] = field(default_factory=Counter)
    """How often the client has written a PUBLISH, whatever the network made of it."""
    first_written: dict[Name, float] = field(default_factory=dict)
    """When that was, in the loop's time: the PUBLISH that is no repeat of one."""
    carried: Counter[Name] = field(default_factory=Counter)
    """How often the network has carried a PUBLISH to the client, all of it."""
    acknowledged: set[Name] = field(default_factory=set)
    """What the client has acknowledged by PUBACK or PUBREC, whatever the network made of it."""
    problems: list[str] = field(default_factory=list)

    def held(self) -> dict[str, Span]:
        """Return the subscriptions that the broker holds."""
        return {span.topic_filter: span for span in self.spans if span.ended is None}

    def lose(self) -> None:
        """Note that the broker's session is gone, or about to be."""
        self.hidden_losses += not self.tells_losses
        now = self.moment()
        for span in self.held().values():
            span.ended = now


class Conversation:
    """One connection of a client."""

    def __init__(self, seen: Seen, *, is_slow: bool = False) -> None:
        self._seen = seen
        self._is_slow = is_slow
        """What has left the client may wait in a transport."""
        self._version = 4
        self._written = stream.Packets()
        self._answered = stream.Packets()
        self._carried = stream.Packets()
        self._names: dict[int, Name] = {}
        self._filters: dict[int, list[str]] = {}
        self._number = seen.conversations = seen.conversations + 1
        self._is_clean = True
        self._keeps = False
        """Whether the broker keeps the session when this connection ends."""
        self._hides_loss = False
        """The broker has lost the session, and the client has not got the CONNACK yet."""
        self.accepted = False

    def client_wrote(self, data: bytes) -> None:
        seen = self._seen
        for first, body in self._written.feed(data):
            match first >> 4:
                case packets.CONNECT:
                    self._version = body[2 + stream.number(body)]
                    seen.tells_losses = self._version != stream.V31
                    self._is_clean, expiry = stream.connect(body, self._version)
                    self._keeps = expiry > 0
                case packets.PUBLISH:
                    self._on_publish(first, body)
                case packets.PUBACK | packets.PUBREC:
                    taken = self._names.get(stream.number(body))
                    if taken is not None:
                        seen.acknowledged.add(taken)
                case packets.SUBSCRIBE:
                    filters = stream.filters(body, self._version, options=True)
                    self._filters[stream.number(body)] = filters
                case packets.UNSUBSCRIBE:
                    for topic_filter in stream.filters(body, self._version, options=False):
                        self._on_unsubscribe(topic_filter)
                case packets.DISCONNECT:
                    self._keeps &= stream.disconnect_expiry(body, self._version) != 0

    def _on_publish(self, first: int, body: bytes) -> None:
        name = Name.of(stream.publish(first, body, self._version)[1])
        self._seen.written[name] += 1
        if not first & _DUP and not self._is_slow:
            now = asyncio.get_running_loop().time()
            self._seen.first_written.setdefault(name, now)

    def _on_unsubscribe(self, topic_filter: str) -> None:
        held = self._seen.held()
        if topic_filter in held:
            held[topic_filter].ended = self._seen.moment()
        # One whose SUBACK is on its way is over, too, when that comes.
        for filters in self._filters.values():
            filters[:] = ["" if one == topic_filter else one for one in filters]

    def broker_wrote(self, data: bytes) -> None:
        for first, body in self._answered.feed(data):
            if first >> 4 == packets.CONNACK and body[1] == 0:
                self._on_accepted(session_present=bool(body[0]))
            elif first >> 4 == packets.SUBACK:
                self._on_subscribed(self._filters.pop(stream.number(body)), body)

    def _on_accepted(self, *, session_present: bool) -> None:
        self.accepted = True
        if self._version == stream.V31:
            # The byte is reserved. Whoever makes the broker lose the session says so by `lose`.
            session_present = not self._is_clean
        self._hides_loss = not session_present and not self._is_clean
        lost = self._seen.held()
        if lost and not session_present:
            if not self._is_clean:
                text = f"the broker has lost a session that it was to keep, with {sorted(lost)}"
                self._seen.problems.append(text)
            self._seen.lose()

    def _on_subscribed(self, filters: list[str], body: bytes) -> None:
        seen = self._seen
        held = seen.held()
        codes = stream.codes(body, self._version)
        for topic_filter, code in zip(filters, codes, strict=True):
            if not topic_filter:
                continue
            if topic_filter in held and (code >= _REFUSED or held[topic_filter].qos != code):
                held[topic_filter].ended = seen.moment()
            if code < _REFUSED and (topic_filter not in held or held[topic_filter].ended):
                seen.spans.append(Span(topic_filter, code, seen.moment(), self._number))

    def carried_to_client(self, data: bytes) -> None:
        for first, body in self._carried.feed(data):
            if first >> 4 == packets.CONNACK:
                self._hides_loss = False
            if first >> 4 != packets.PUBLISH:
                continue
            packet_id, payload = stream.publish(first, body, self._version)
            name = Name.of(payload)
            self._seen.carried[name] += 1
            if packet_id:
                self._names[packet_id] = name

    def ended(self) -> None:
        """Note the end of the connection, with which a session ends that is not kept."""
        self._seen.hidden_losses += self._hides_loss
        self._hides_loss = False
        if self._keeps:
            return
        for span in self._seen.held().values():
            if span.conversation <= self._number:
                span.ended = self._seen.moment()
