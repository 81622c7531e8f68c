"""What a client counts."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class AckLatency:
    """How long the server took to acknowledge QoS 1 and 2 publishes, in seconds.

    From PUBLISH to PUBACK or PUBCOMP, or to the PUBREC that refuses it: of those that one
    connection carried from the one to the other.
    """

    count: int
    """Of how many publishes."""
    last: float
    """Of the latest one."""
    max: float
    """The longest."""
    mean: float
    """The arithmetic mean."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stats:
    """Counters since the client was made, and how full its queues are now.

    From `Client.stats`, which may be called as often as one likes. They count over all connections.
    """

    received: int
    """Messages received; one of QoS 2 that comes again is not counted."""
    lost: int
    """Received messages that the full queue has lost."""
    queued: int
    """Received messages in the queue now; with a `queue_type` none wait there."""
    queued_bytes: int
    """Bytes of memory that those take."""
    unacknowledged: int
    """Received QoS 1 and 2 messages whose acknowledgement is withheld now."""
    sent_qos0: int
    """QoS 0 publishes encoded for the transport."""
    acknowledged: int
    """QoS 1 and 2 publishes that the server has acknowledged."""
    refused: int
    """(5.0) QoS 1 and 2 publishes that the server has refused by a Reason Code."""
    unreleased: int
    """(5.0) QoS 2 publishes that the server accepted, and then did not know: PUBCOMP 0x92.

    Whether they have arrived is unknown: `acknowledged` and `refused` do not count them.
    """
    latency: AckLatency | None
    """How long acknowledgements took; None before the first."""
    resent: int
    """PUBLISH packets sent again on a later connection."""
    unflushed: int
    """QoS 0 publishes that had returned and were never handed to a transport."""
    dropped: int
    """Publishes that the full outgoing queue has dropped, where its policy is to drop."""
    expired: int
    """Publishes whose Message Expiry Interval, or `expires_in`, was over before they were sent."""
    replaced: int
    """Publishes whose place a newer one took before they could be sent (`keep="latest"`)."""
    refused_by_disconnect: int
    """QoS 1 and 2 publishes that were given up: the server ended each connection they came by."""
    suspected: int
    """How often a publish was suspected to make the server end connections."""
    outgoing: int
    """Publishes in the outgoing queue now: they wait, or are unacknowledged."""
    outgoing_bytes: int
    """Bytes of memory that those take."""
    in_flight: int
    """Those of them that were sent and are unacknowledged."""
    attempts: int
    """Attempts to connect, one that is under way included."""
    connections: int
    """Connections that a server has accepted."""
    reconnects: int
    """Those of them that were made again after a loss (`reconnect`)."""
    tolerated: int
    """Rules that servers broke, and that were tolerated (`strict`): each time."""


_NANOSECOND = 1e-9
_NAMES = tuple(field.name for field in dataclasses.fields(Stats) if field.name != "latency")


def of_counters(counters: dict[str, int]) -> Stats:
    """Make them of the core's counters, of which some are for features that Python lacks."""
    latency = _latency(counters) if counters["latency_count"] else None
    return Stats(latency=latency, **{name: counters[name] for name in _NAMES})


def _latency(counters: dict[str, int]) -> AckLatency:
    count = counters["latency_count"]
    return AckLatency(
        count=count,
        last=counters["latency_last"] * _NANOSECOND,
        max=counters["latency_max"] * _NANOSECOND,
        mean=counters["latency_total"] * _NANOSECOND / count,
    )
