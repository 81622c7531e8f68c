"""What can be set on a `TestBroker`, and what it counts."""

# Without `annotations` from `__future__`: each text below would be compiled at import.

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypedDict

Denials: TypeAlias = Sequence[str | tuple[str, int]]
"""What is refused: with Not authorized, or with the Reason Code beside it. Not a str alone."""


class BrokerOptions(TypedDict, total=False):
    """What can be set on a `TestBroker`. CONNACK reports the limits to clients of 5.0.

    3.x has no such report: what exceeds a limit closes the connection, or is refused in the SUBACK
    of 3.1.1.

    Attributes:
        users: User Names and their Passwords; without any, everybody may connect.
        authentication: Enhanced authentication: an Authentication Method, and the challenges that
            the broker asks one after the other, each with the answer that is right.
        deny_connect: Client Identifiers that may not connect; `*` at the end stands for any rest.
        deny_publish: Topic Filters; messages to what they match are refused.
        deny_subscribe: Topic Filters; subscriptions to them and to a part of them are refused.
        refused_versions: Versions of MQTT that are answered Unsupported Protocol Version: members
            of `ProtocolVersion`, or 3, 4 and 5.
        unanswered_versions: Those on whose CONNECT the broker closes without an answer.
        server_reference: Another server that every client is sent to when it connects.
        server_moved: Send it there forever: Server moved instead of Use another server.
            Default: no.
        response_information: For clients that ask for it.
        assign_client_identifiers: Give a client without a Client Identifier one. Default: yes.
        maximum_qos: Largest QoS of messages and subscriptions. Default: 2.
        retain_available: Whether messages can be retained. Default: yes.
        wildcard_subscription_available: Whether filters may have wildcards. Default: yes.
        shared_subscription_available: Whether there are Shared Subscriptions. Default: yes.
        subscription_identifier_available: Whether there are Subscription Identifiers. Default: yes.
        receive_maximum: How many QoS 2 messages a client may have unreleased. Default: 65,535.
        inflight_window: How many QoS 1 and 2 messages are in flight to a client of 3.x.
            Default: 20.
        maximum_packet_size: Largest packet from a client, in bytes, of 3.x too.
            Default: 268,435,460, the largest that MQTT knows.
        maximum_non_publish_size: Largest packet other than PUBLISH, in bytes, and largest packet
            before CONNECT is accepted. Default: 1 MiB.
        topic_alias_maximum: Up to which number clients may use Topic Aliases. Default: 0.
        topic_aliases_out: How many Topic Aliases the broker assigns to a client that announces a
            Topic Alias Maximum. Default: 16.
        server_keep_alive: Keep Alive in seconds, instead of what clients ask for.
        maximum_session_expiry_interval: Longest Session Expiry Interval, in seconds.
            Default: 4,294,967,295, which never ends.
        maximum_connections: How many connections have a client; more are answered Quota exceeded.
            Default: 100,000.
        maximum_sessions: How many sessions there are, connected or not; a CONNECT that would begin
            another is answered Quota exceeded. Default: 100,000.
        maximum_session_bytes: How many bytes of memory all sessions take together, with their
            subscriptions, wills and messages. Messages beyond it are dropped and counted, CONNECT
            and SUBSCRIBE are answered Quota exceeded. Default: 2 GiB.
        maximum_subscriptions: How many subscriptions one session has; more are answered Quota
            exceeded. Default: 1,000,000.
        maximum_queued_messages: How many messages wait for one session; more are dropped and
            counted. Default: 100,000.
        maximum_queued_bytes: How many bytes of memory the messages take that wait for one session
            or are in flight: topic, properties, payload and some hundred bytes around them. More
            are dropped and counted. Default: 512 MiB.
        maximum_retained_messages: How many topics have a retained message. More are answered Quota
            exceeded at QoS 1 and 2 of 5.0; others go to subscribers, are not retained, and count as
            dropped. Default: 100,000.
        maximum_retained_bytes: How many bytes of memory all retained messages take; more as above.
            Default: 1 GiB.
        maximum_output: How many bytes wait for a client that does not read; beyond it QoS 0
            messages are dropped and counted, and a client that still asks for answers is
            disconnected. Default: 64 MiB.
        journal_packets: How many packets, and how many accepted messages, the journal holds; 0
            turns it off. Default: 10,000.
        journal_bytes: How many bytes its packets take, and how many its messages. Default: 16 MiB
            each.
        maximum_postponed: How many bytes each direction of a link holds that a fault delays or
            holds back, with 128 beside each packet. Beyond it the oldest goes on. Default: 1 MiB.
        handshake_timeout: Seconds that a connection has for its CONNECT. Default: 10.

    """

    users: Mapping[str, str | bytes]
    authentication: tuple[str, Sequence[tuple[bytes, bytes]]] | None
    deny_connect: Denials
    deny_publish: Denials
    deny_subscribe: Denials
    refused_versions: Sequence[int]
    unanswered_versions: Sequence[int]
    server_reference: str | None
    server_moved: bool
    response_information: str | None
    assign_client_identifiers: bool
    maximum_qos: int
    retain_available: bool
    wildcard_subscription_available: bool
    shared_subscription_available: bool
    subscription_identifier_available: bool
    receive_maximum: int
    inflight_window: int
    maximum_packet_size: int
    maximum_non_publish_size: int
    topic_alias_maximum: int
    topic_aliases_out: int
    server_keep_alive: int | None
    maximum_session_expiry_interval: int
    maximum_connections: int
    maximum_sessions: int
    maximum_session_bytes: int
    maximum_subscriptions: int
    maximum_queued_messages: int
    maximum_queued_bytes: int
    maximum_retained_messages: int
    maximum_retained_bytes: int
    maximum_output: int
    journal_packets: int | None
    journal_bytes: int
    maximum_postponed: int
    handshake_timeout: float


class SessionStats(NamedTuple):
    """The state of one session."""

    connected: bool
    """Whether its client is connected."""
    queued: int
    """Messages that wait to be sent."""
    in_flight: int
    """Messages that were sent and are not acknowledged to the end."""
    dropped: int
    """Messages that a limit, their expiry or their size kept from it."""
    queued_bytes: int = 0
    """Bytes of memory that the messages take that are queued or in flight."""
    subscriptions: int = 0
    """Its subscriptions."""


class BrokerStats(NamedTuple):
    """What there is in a broker, and what its limits have cost since the start."""

    connections: int = 0
    """Connections that are open or being closed."""
    sessions: int = 0
    """Sessions, connected or not."""
    session_bytes: int = 0
    """Bytes of memory that sessions take, at most `maximum_session_bytes`."""
    retained_messages: int = 0
    """Topics with a retained message."""
    retained_bytes: int = 0
    """Bytes of memory that retained messages take, at most `maximum_retained_bytes`."""
    dropped: int = 0
    """Messages that a limit, their expiry or their size kept from a session or from being retained,
    and those of a Shared Subscription that nobody was left to take."""
    refused: int = 0
    """Connections, Topic Filters and messages that were refused at a limit."""
