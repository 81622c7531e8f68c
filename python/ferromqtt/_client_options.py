"""The options of a client, with what follows from them."""

from __future__ import annotations

import os
import ssl
import string
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, dataclass_transform

import ferromqtt  # for what is imported when somebody asks for it
from ferromqtt import _checks, _keywords, _option_checks, _recording, _shown
from ferromqtt._native import check_text
from ferromqtt._option_values import (
    MQTT_CLEAN_START_FIRST_ONLY,
    OUTGOING_BYTES,
    OUTGOING_MESSAGES,
    OUTGOING_OVERFLOW,
    ProtocolVersion,
)
from ferromqtt.reasons import PacketTypes
from ferromqtt.types import (
    MemoryBroker,
    PropertiesLike,
    ServerProfileName,
    SocketOption,
    WebSocketHeaders,
)

if TYPE_CHECKING:
    from ferromqtt.connection import Reconnect, Server, ServerLike
    from ferromqtt.options import ProxySettings, TLSParameters, Will
    from ferromqtt.outbox import Outbox
    from ferromqtt.outcomes import OutgoingQueue

_T = TypeVar("_T")

_BASE62 = string.digits + string.ascii_letters
_IDENTIFIER_LENGTH = 22  # enough for 128 random bits; 3.1 allows 23

_MOST_TOPIC_ALIASES = 100
"""How many the client assigns by itself where `topic_aliases` is True."""


@dataclass_transform(kw_only_default=True, eq_default=False)
def _by_keywords(made: type[_T]) -> type[_T]:
    """Give a class a constructor for its annotations, of which the class has the defaults.

    As `dataclasses.dataclass`, which compiles the constructor of 40 parameters at each import.
    """

    def init(self: Any, **options: object) -> None:  # noqa: ANN401 - of the class
        vars(self).update(options)
        self.__post_init__()

    made.__init__ = init  # type: ignore[method-assign]
    return made


@_by_keywords
class ClientOptions:
    """The options of a client that stay as they are: the parameters of `Client`, with their names.

    Some are settled here: `protocol` is a version, 5.0 for "auto", `identifier` is never None,
    `transport` is in lower case, `socket_options` is a tuple.

    Raises:
        ValueError: An option is wrong whatever the client will do. `check_enter` tells the rest.
    """

    hostname: str
    port: int = 1883
    username: str | None = None
    password: str | bytes | None = None
    identifier: str | None = None
    protocol: ProtocolVersion | Literal[3, 4, 5, "auto"] | None = None
    will: Will | None = None
    clean_session: bool | None = None
    transport: str = "tcp"
    keepalive: int = 60
    bind_address: str = ""
    bind_port: int = 0
    clean_start: bool | Literal[3] = MQTT_CLEAN_START_FIRST_ONLY
    max_queued_incoming_messages: int | None = None
    max_queued_outgoing_messages: int | None = None
    max_inflight_messages: int | None = None
    properties: PropertiesLike | None = None
    tls_context: ssl.SSLContext | None = None
    tls_params: TLSParameters | None = None
    tls_insecure: bool | None = None
    proxy: ProxySettings | None = None
    socket_options: Iterable[SocketOption] | None = None
    websocket_path: str | None = None
    websocket_headers: WebSocketHeaders | None = None
    strict: bool = False
    maximum_non_publish_size: int = 1 << 20
    tls_server_hostname: str | None = None
    reconnect: bool | Reconnect = False
    servers: Iterable[ServerLike] | None = None
    session_expiry_at_disconnect: int | None = None
    keywords: Mapping[str, object] = MappingProxyType({})
    """The properties of CONNECT that are given as keywords."""
    topic_aliases: bool | int = False
    outgoing_queue: OutgoingQueue | None = None
    outbox: Outbox | None = None
    profile: ServerProfileName | None = None
    record: str | os.PathLike[str] | None = None
    record_payloads: bool = False
    broker: MemoryBroker | None = None
    """The `hostname`, if it is a test broker."""

    def __post_init__(self) -> None:
        self.falls_back = self.protocol == "auto"
        """Whether a server that does not speak 5.0 is spoken to in 3.1.1."""
        self.alpn: str | None = None
        """The protocol that TLS offers."""
        self.usual_in_flight: int | None = None
        """How many messages may be in flight where `max_inflight_messages` does not say it."""
        usual = ProtocolVersion.V5 if self.falls_back else ProtocolVersion.V311
        version = usual if self.falls_back or self.protocol is None else self.protocol
        self.protocol = ProtocolVersion(_checks.protocol_number(version))
        _checks.check_types(self)
        if not isinstance(self.reconnect, bool | None) and self.reconnects is None:
            raise _checks.wrong_type("reconnect", "True, False or a Reconnect", self.reconnect)
        self.transport = _option_checks.checked_transport(self.transport)
        if self.outbox is not None and self.outgoing_queue is not None:
            raise ValueError(
                "outbox and outgoing_queue are both given: leave out the latter, whose bounds the "
                "former has."
            )
        if self.broker is not None:
            _option_checks.check_memory(self)
        if self.profile is not None:
            from ferromqtt._profile import settle  # noqa: PLC0415 - for those who name one

            settle(self)
        _recording.check(self.record, self.record_payloads)
        self.further_servers = _further_servers(self)
        """The servers beside `hostname`, checked."""
        self.socket_options = _checks.socket_options(self.socket_options)
        _option_checks.check_clean_session(self)
        _check_keywords(self)
        self.identifier = _client_identifier(self)
        _option_checks.check_limits(self)
        if self.username is not None:
            check_text("username", self.username)
        if self.password is not None and self.sends_password:
            _option_checks.check_password(self.password)
        if self.proxy is not None:
            _option_checks.check_proxy(self.proxy)
        if self.will is not None:
            _option_checks.check_will(self.will)
        if self.tls_params is not None:
            _option_checks.check_tls_params(self.tls_params)

    @property
    def reconnects(self) -> Reconnect | None:
        """How the client connects again; None if it does not."""
        if self.reconnect is None or self.reconnect is False:
            return None
        if self.reconnect is True:
            return ferromqtt.Reconnect()
        return self.reconnect if isinstance(self.reconnect, ferromqtt.Reconnect) else None

    @property
    def outgoing_bounds(self) -> tuple[int | None, int | None, str]:
        """The bounds of the outgoing queue: messages, bytes, and what happens when it is full."""
        queue = self.outgoing_queue
        if queue is None:
            return OUTGOING_MESSAGES, OUTGOING_BYTES, OUTGOING_OVERFLOW
        return queue.maxsize, queue.maxbytes, queue.overflow

    @property
    def most_topic_aliases(self) -> int:
        """How many Topic Aliases the client assigns by itself at most."""
        return _MOST_TOPIC_ALIASES if self.topic_aliases is True else int(self.topic_aliases or 0)

    def use_server(self, place: int) -> None:
        """Have a server of the list in place of the first one."""
        server = self.further_servers[place - 1]
        if not isinstance(server, ferromqtt.Server):
            self.broker = server
            return
        self.hostname = server.host
        if server.port is not None:
            self.port = server.port

    @property
    def clean(self) -> bool | Literal[3]:
        """What Clean Start, or Clean Session before 5.0, is to be: on, off, or on at first."""
        if self.protocol != ProtocolVersion.V5:
            usual = self.outbox is None
            return usual if self.clean_session is None else bool(self.clean_session)
        if self.clean_start is True or self.clean_start is False:
            return self.clean_start
        # As in aiomqtt, any other number means off.
        return 3 if self.clean_start == MQTT_CLEAN_START_FIRST_ONLY else False

    @property
    def sends_password(self) -> bool:
        """Whether the password is sent: before 5.0 only beside a user name."""
        return self.username is not None or self.protocol == ProtocolVersion.V5

    @property
    def connect_properties(self) -> dict[str, object] | None:
        """The properties of CONNECT as the core takes them."""
        return _keywords.joined(self.properties, PacketTypes.CONNECT, self.keywords)

    @property
    def will_properties(self) -> dict[str, object] | None:
        """The properties of the will as the core takes them; None before 5.0."""
        if self.will is None or self.protocol != ProtocolVersion.V5:
            return None
        will = self.will
        return _keywords.joined(will.properties, PacketTypes.WILLMESSAGE, self.will_keywords)

    @property
    def will_keywords(self) -> dict[str, object]:
        """The properties of the will that are given as keywords."""
        return {} if self.will is None else _keywords.of_will(self.will)


def memory_broker(hostname: object) -> MemoryBroker | None:
    """Return what `Client` was given as its host, if it is a test broker."""
    # By an attribute: most programs never import the module of the class.
    is_broker = hasattr(type(hostname), "_ferromqtt_link")
    return cast("MemoryBroker", hostname) if is_broker else None


def _further_servers(options: ClientOptions) -> tuple[Server | MemoryBroker, ...]:
    if not options.servers:
        return ()
    from ferromqtt._servers import server_of  # noqa: PLC0415 - for those who name several

    servers: list[Server | MemoryBroker] = []
    for given in options.servers:
        broker = memory_broker(given)
        if (broker is None) is not (options.broker is None):
            raise ValueError(
                "servers: test brokers in memory and servers with a socket do not go together."
            )
        servers.append(server_of(given, options) if broker is None else broker)
    return tuple(servers)


def _client_identifier(options: ClientOptions) -> str:
    """Return the Client Identifier; the server may choose one for an empty one, but not in 3.1."""
    if options.identifier:
        check_text("identifier", options.identifier, f": {_shown.quoted(options.identifier)}")
        return options.identifier
    if options.protocol == ProtocolVersion.V31 and options.outbox is None:
        from secrets import choice  # noqa: PLC0415 - slow to import, and seldom needed

        return "".join(choice(_BASE62) for _ in range(_IDENTIFIER_LENGTH))
    return ""


def _check_keywords(options: ClientOptions) -> None:
    """Check the properties that are given as keywords, and that none of them is given twice."""
    options.keywords = {name: it for name, it in options.keywords.items() if it is not None}
    if not options.keywords:
        return
    if options.protocol != ProtocolVersion.V5:
        name = next(iter(options.keywords))
        raise ValueError(f"{name} is a property of MQTT 5.0: give protocol=5, or leave it out.")
    if "user_properties" in options.keywords:
        options.keywords["user_properties"] = _keywords.pairs(options.keywords["user_properties"])
    _ = options.connect_properties
