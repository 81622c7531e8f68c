"""How a client connects, and connects again: servers, credentials, reconnecting, and its state."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from ferromqtt import _checks, _shown
from ferromqtt._native import authority
from ferromqtt.properties import Properties, from_native
from ferromqtt.reasons import PacketTypes, ReasonCode
from ferromqtt.types import MemoryBroker

__all__ = [
    "ClientState",
    "ConnectResult",
    "Credentials",
    "CredentialsLike",
    "CredentialsSource",
    "Reconnect",
    "Server",
    "ServerLike",
    "ServerLimits",
]

_MAX_ATTEMPTS = 0xFFFF_FFFF


class ClientState(enum.Enum):
    """Where a client stands: from `Client.state`."""

    DISCONNECTED = "disconnected"
    """There is no connection, and none will come: the client is not entered, or it has ended."""
    CONNECTING = "connecting"
    """The client is being entered, and no server has accepted a connection yet."""
    CONNECTED = "connected"
    """A server has accepted the connection, and it has not ended."""
    RECONNECTING = "reconnecting"
    """The connection was lost, and the client is about to make another one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconnect:
    """How a client connects again by itself when its connection is lost.

    After a loss the client waits, tries, and waits twice as long after each failure. An end that
    trying again cannot mend, such as a wrong password or another client that has taken over the
    Client Identifier, is final.

    ```python
    async with Client("test.mosquitto.org", reconnect=Reconnect(max=30, initial=True)) as client:
        ...
    ```

    Args:
        min: The first wait in seconds.
        max: The longest wait in seconds.
        jitter: How much of each wait is random, from 0 to 1, so that the clients of a server that
            has failed do not all come back at the same moment. With 0.5 a wait takes between half
            and the whole of its length.
        attempts: How many attempts in a row may fail before the client gives up. The row ends with
            a connection that has lasted ten seconds. None for no limit. With several servers, each
            attempt counts, and the client gives up only when all have been tried.
        initial: Whether entering tries again too. By default a first attempt that fails raises, so
            that a wrong address is reported at once.

    Raises:
        ValueError: A number is out of its range.
        TypeError: An argument has the wrong type.
    """

    min: float = 1.0
    max: float = 60.0
    jitter: float = 0.5
    attempts: int | None = None
    initial: bool = False

    def __post_init__(self) -> None:
        for name in ("min", "max", "jitter"):
            value = getattr(self, name)
            if not _checks.is_number(value):
                raise _checks.wrong_type(f"Reconnect: {name}", "a number", value)
        if not isinstance(self.initial, bool):
            raise _checks.wrong_type("Reconnect: initial", "bool", self.initial)
        if not 0 < self.min <= self.max or self.min == math.inf:
            raise ValueError(
                "Reconnect: min and max must be seconds, with 0 < min <= max, "
                f"not min={self.min} and max={self.max}."
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"Reconnect: jitter must be in the range 0-1, not {self.jitter}.")
        if self.attempts is None:
            return
        if not _checks.is_count(self.attempts):
            raise _checks.wrong_type("Reconnect: attempts", "int or None", self.attempts)
        if not 1 <= self.attempts <= _MAX_ATTEMPTS:
            must_be = f"in the range 1-{_MAX_ATTEMPTS}, or None"
            raise ValueError(f"Reconnect: attempts must be {must_be}, not {self.attempts}.")


@dataclasses.dataclass(frozen=True)
class Server:
    """A server that a client connects to: what `credentials` is called with.

    Its `str` is an address for people.

    Args:
        host: Its name or address, or the path of its Unix socket.
        port: Its port; None for a Unix socket, and for a test broker in memory.
    """

    host: str
    port: int | None = None

    def __str__(self) -> str:
        return _shown.host(self.host) if self.port is None else authority(self.host, self.port)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """What the server allows: from `Client.connack`.

    Each value is what the CONNACK says (MQTT 5.0, section 3.2.2.3), or the default of the standard
    where it says nothing. Before 5.0 all are defaults.
    """

    receive_maximum: int
    """How many QoS 1 and 2 messages may be unacknowledged at once. Default: 65,535."""
    max_qos: int
    """The highest QoS to publish at. Default: 2."""
    retain_available: bool
    """Whether retained messages are supported. Default: they are."""
    max_packet_size: int
    """The largest packet in bytes. Default: 268,435,460, the largest that MQTT can express."""
    topic_alias_maximum: int
    """How many Topic Aliases the client may use. Default: none."""
    wildcard_subscription_available: bool
    """Whether filters may have wildcards. Default: they may."""
    shared_subscription_available: bool
    """Whether subscriptions may be shared. Default: they may. Before 5.0 nothing tells."""
    subscription_identifiers_available: bool
    """Whether subscriptions may have identifiers. Default: they may; before 5.0 not."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConnectResult:
    """What the CONNACK of a connection has settled (MQTT 5.0, section 3.2): `Client.connack`.

    Each value is the one that holds: where the server said nothing, that is the default of the
    standard, or what the client asked for.
    """

    session_present: bool
    """Whether the server resumed the session."""
    client_id: str
    """The Client Identifier in use: the client's own, or the one that the server assigned."""
    limits: ServerLimits
    """What the server allows."""
    server_keep_alive: int
    """The Keep Alive in use, in seconds; 0 turns it off: the server's, or the client's own."""
    session_expiry_interval: int
    """Seconds for which the server keeps the session after the connection.

    0 ends it with that, and 4,294,967,295 keeps it forever. Before 5.0 it is one of these two.
    """
    properties: Properties
    """The properties as they came, without Authentication Data; before 5.0 there are none."""

    @property
    def reason_code(self) -> ReasonCode:
        """Success: the connection was accepted. A refusal is a `MqttConnectError`."""
        return ReasonCode(PacketTypes.CONNACK)

    @property
    def reason_string(self) -> str | None:
        """(5.0) What the server says about it, for people."""
        return self._text("ReasonString")

    @property
    def response_information(self) -> str | None:
        """(5.0) The beginning of topics for responses, if `request_response_information` asked."""
        return self._text("ResponseInformation")

    @property
    def server_reference(self) -> str | None:
        """(5.0) Another server to use."""
        return self._text("ServerReference")

    @property
    def user_properties(self) -> list[tuple[str, str]]:
        """(5.0) Pairs of texts; empty if there are none."""
        return list(getattr(self.properties, "UserProperty", ()))

    def _text(self, name: str) -> str | None:
        return getattr(self.properties, name, None)


def connect_result(fields: dict[str, Any] | None) -> ConnectResult | None:
    """Make it of the core's fields."""
    if fields is None:
        return None
    properties = from_native(fields.pop("properties"), PacketTypes.CONNACK)
    limits = ServerLimits(**fields.pop("limits"))
    return ConnectResult(limits=limits, properties=properties, **fields)


ServerLike: TypeAlias = str | tuple[str, int] | Server | MemoryBroker
"""One of `Client(servers=...)`: "host", "host:port", a URL, (host, port), or a `TestBroker`."""


@dataclasses.dataclass(frozen=True, repr=False)
class Credentials:
    """What a client authenticates with at one attempt to connect: what `credentials` returns.

    Its `repr` shows none of it.

    Args:
        username: User Name; None for that of the client.
        password: Password; None for that of the client.
        websocket_headers: Further headers of the WebSocket request, such as Authorization, over
            those of the client. Not used with other transports.
        websocket_path: Path and query of the WebSocket request, for services whose credentials are
            a signature in the URL; None for that of the client.
    """

    username: str | None = None
    password: str | bytes | None = None
    websocket_headers: Mapping[str, str] | None = None
    websocket_path: str | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"


CredentialsLike: TypeAlias = Credentials | tuple[str | None, str | bytes | None] | None
"""`Credentials`, a pair of user name and password, or None for those of the client."""
CredentialsSource: TypeAlias = Callable[[Server, int], CredentialsLike | Awaitable[CredentialsLike]]
"""What `Client(credentials=...)` takes: called with the server and the number of the attempt."""
