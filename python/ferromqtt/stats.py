"""What a client counts."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stats:
    """Counters since the client was made, and how full its outgoing queue is now.

    From `Client.stats`, which may be called as often as one likes. They count over all connections.
    """

    received: int
    """Messages received; one of QoS 2 that comes again is not counted."""
    lost: int
    """Received messages that the full queue has lost."""
    sent_qos0: int
    """QoS 0 publishes encoded for the transport."""
    acknowledged: int
    """QoS 1 and 2 publishes that the server has acknowledged."""
    resent: int
    """PUBLISH packets sent again on a later connection."""
    unflushed: int
    """QoS 0 publishes that had returned and were never handed to a transport."""
    expired: int
    """Publishes whose Message Expiry Interval was over before they could be sent."""
    refused_by_disconnect: int
    """QoS 1 and 2 publishes that were given up: the server ended each connection they came by."""
    suspected: int
    """How often a publish was suspected to make the server end connections."""
    outgoing: int
    """Publishes in the outgoing queue now: they wait, or are unacknowledged."""
    outgoing_bytes: int
    """Bytes of memory that those take."""
    attempts: int
    """Attempts to connect, one that is under way included."""
    connections: int
    """Connections that a server has accepted."""
    tolerated: int
    """Rules that servers broke, and that were tolerated (`strict`): each time."""


_NAMES = tuple(field.name for field in dataclasses.fields(Stats))


def of_counters(counters: dict[str, int]) -> Stats:
    """Make them of the core's counters, of which some are for features that Python lacks."""
    return Stats(**{name: counters[name] for name in _NAMES})
