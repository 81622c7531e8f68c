"""The options of a client, and the checks of their values.

The texts are aiomqtt's, since programs and their tests compare them.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import socket
import ssl
import string
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, cast

from ferromqtt import _checks, _keywords, _recording, _shown
from ferromqtt._native import MAX_BYTES, Host, check_text, payload_bytes
from ferromqtt._profile import settle
from ferromqtt._servers import server_of
from ferromqtt.connection import Reconnect, Server, ServerLike
from ferromqtt.outcomes import OutgoingQueue
from ferromqtt.reasons import PacketTypes
from ferromqtt.topic import Topic, TopicLike
from ferromqtt.types import (
    MemoryBroker,
    PayloadType,
    PropertiesLike,
    ServerProfileName,
    SocketOption,
    UserProperties,
    WebSocketHeaders,
)

MQTT_CLEAN_START_FIRST_ONLY: Final = 3
"""`clean_start` of a client that starts a new session whenever it is entered."""

_PEM = "-----BEGIN "
_MAX_PACKET_LIMIT = 0xFFFF_FFFF
_MAX_EXPIRY = 0xFFFF_FFFF
_MAX_KEEP_ALIVE = 65535
_MAX_PORT = 65535
_GIVE_V5 = "give protocol=ProtocolVersion.V5"
_BASE62 = string.digits + string.ascii_letters
_IDENTIFIER_LENGTH = 22  # enough for 128 random bits; 3.1 allows 23


class ProtocolVersion(enum.IntEnum):
    """The versions of MQTT."""

    V31 = 3
    V311 = 4
    V5 = 5


class ProxyType(enum.IntEnum):
    """The kinds of proxies, by the numbers that PySocks gives them."""

    SOCKS4 = 1
    SOCKS5 = 2
    HTTP = 3


@_keywords.names_unknown
@dataclasses.dataclass(frozen=True)
class Will:
    """The message that the server publishes when it loses the client.

    Args:
        topic: The topic to publish to.
        payload: The payload, as `Client.publish` takes it.
        qos: The QoS to publish at.
        retain: Whether the server is to keep it for later subscribers.
        properties: (MQTT 5.0 only) Properties of `PacketTypes.WILLMESSAGE`. The following are
            properties as plain keywords, beside these, which must not have the same one. Before
            5.0 neither are sent, with one warning for each client.
        payload_format_indicator: (5.0) 1 if the payload is text in UTF-8, 0 if it is bytes.
        message_expiry_interval: (5.0) Seconds for which the message is worth delivering, from
            when it is published.
        content_type: (5.0) What the payload is, for the receiver, such as "application/json".
        response_topic: (5.0) The topic that a response is to be published to.
        correlation_data: (5.0) Bytes by which the requester knows the response.
        user_properties: (5.0) Pairs of texts for the receiver: a dict, or an iterable of pairs. As
            an attribute, a tuple of pairs.
        will_delay_interval: (5.0) Seconds that the server waits with it, for the client to come
            back. It is published at the latest when the session ends.

    Raises:
        TypeError: A keyword has the wrong type, or there is none of that name.
        ValueError: A property that is a keyword cannot have that value.
    """

    topic: TopicLike
    payload: PayloadType | None = None
    qos: int = 0
    retain: bool = False
    properties: PropertiesLike | None = None
    _: dataclasses.KW_ONLY
    payload_format_indicator: int | None = None
    message_expiry_interval: int | None = None
    content_type: str | None = None
    response_topic: TopicLike | None = None
    correlation_data: bytes | bytearray | memoryview | None = None
    user_properties: UserProperties | None = None
    will_delay_interval: int | None = None

    def __post_init__(self) -> None:
        if self.user_properties is not None:
            pairs = _keywords.pairs(self.user_properties)
            object.__setattr__(self, "user_properties", pairs)
        _keywords.joined(None, PacketTypes.WILLMESSAGE, _will_keywords(self))

    def __repr__(self) -> str:
        # Not the properties, which may hold Correlation Data, and be of a class of the user's.
        properties = None if self.properties is None else f"<{type(self.properties).__name__}>"
        keywords = {name: it for name, it in _will_keywords(self).items() if it is not None}
        shown = "".join(
            f", {name}=<{type(it).__name__}>" if name in _NOT_SHOWN else f", {name}={it!r}"
            for name, it in keywords.items()
        )
        return (
            f"{type(self).__name__}(topic={self.topic!r}, payload={_shown.length(self.payload)}, "
            f"qos={self.qos!r}, retain={self.retain!r}, properties={properties}"
            f"{shown})"
        )


_NOT_SHOWN = ("correlation_data", "user_properties")


def _will_keywords(will: Will) -> dict[str, object]:
    # Those of an object of another class, as far as it has them.
    return {name: getattr(will, name, None) for name in _keywords.WILL}


@dataclasses.dataclass(frozen=True)
class TLSParameters:
    """What an `ssl.SSLContext` is to be made of.

    Args:
        ca_certs: File of the authorities to trust; None for those of the system.
        certfile: File of the client's own certificate.
        keyfile: File of its private key, if it is not in `certfile`.
        cert_reqs: Whether the server needs a certificate; None for `ssl.CERT_REQUIRED`.
        tls_version: One of `ssl.PROTOCOL_*`; None for `ssl.PROTOCOL_TLS_CLIENT`.
        ciphers: The ciphers to allow; None for the defaults.
        keyfile_password: Opens the private key.
    """

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    cert_reqs: ssl.VerifyMode | None = None
    tls_version: Any | None = None
    ciphers: str | None = None
    keyfile_password: str | None = dataclasses.field(default=None, repr=False)


class ProxySettings:
    """The proxy to connect through.

    Args:
        proxy_type: SOCKS4, SOCKS5 or HTTP: 1, 2 or 3.
        proxy_addr: Its name or address.
        proxy_rdns: Whether the proxy is to resolve the server's name.
        proxy_username: The name to log in with.
        proxy_password: The password to log in with.
        proxy_port: Its port; None for the usual one of its type.

    Attributes:
        proxy_args: The arguments by their names.
    """

    def __init__(
        self,
        *,
        proxy_type: int,
        proxy_addr: str,
        proxy_rdns: bool | None = True,
        proxy_username: str | None = None,
        proxy_password: str | None = None,
        proxy_port: int | None = None,
    ) -> None:
        self.proxy_args: dict[str, Any] = {
            "proxy_type": proxy_type,
            "proxy_addr": proxy_addr,
            "proxy_rdns": proxy_rdns,
            "proxy_username": proxy_username,
            "proxy_password": proxy_password,
            "proxy_port": proxy_port,
        }

    def __repr__(self) -> str:
        shown = dict(self.proxy_args)
        if isinstance(shown.get("proxy_addr"), str):
            shown["proxy_addr"] = _shown.host(shown["proxy_addr"])
        password = shown.pop("proxy_password", None)
        arguments = [f"{name}={value!r}" for name, value in shown.items()]
        if password is not None:
            arguments.append("proxy_password=(not shown)")
        return f"{type(self).__name__}({', '.join(arguments)})"


# Nothing more than is used: making methods that nobody calls costs every import of the package.
@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
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
    keywords: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """The properties of CONNECT that are given as keywords."""
    topic_aliases: bool | int = False
    outgoing_queue: OutgoingQueue | None = None
    profile: ServerProfileName | None = None
    record: str | os.PathLike[str] | None = None
    record_payloads: bool = False
    broker: MemoryBroker | None = None
    """The `hostname`, if it is a test broker."""
    falls_back: bool = dataclasses.field(init=False)
    """Whether a server that does not speak 5.0 is spoken to in 3.1.1."""
    further_servers: tuple[Server | MemoryBroker, ...] = dataclasses.field(init=False)
    """The servers beside `hostname`, checked."""
    alpn: str | None = dataclasses.field(default=None, init=False)
    """The protocol that TLS offers."""
    usual_in_flight: int | None = dataclasses.field(default=None, init=False)
    """How many messages may be in flight where `max_inflight_messages` does not say it."""

    def __post_init__(self) -> None:
        self.falls_back = self.protocol == "auto"
        usual = ProtocolVersion.V5 if self.falls_back else ProtocolVersion.V311
        version = usual if self.falls_back or self.protocol is None else self.protocol
        self.protocol = ProtocolVersion(_checks.protocol_number(version))
        _checks.check_types(self)
        if not isinstance(self.reconnect, bool | Reconnect | None):
            raise _checks.wrong_type("reconnect", "True, False or a Reconnect", self.reconnect)
        self.transport = _transport(self.transport)
        if self.broker is not None:
            _check_memory(self)
        if self.profile is not None:
            settle(self)
        _recording.check(self.record, self.record_payloads)
        self.further_servers = _further_servers(self)
        self.socket_options = _checks.socket_options(self.socket_options)
        _check_clean_session(self)
        _check_keywords(self)
        self.identifier = _client_identifier(self)
        _check_limits(self)
        if self.username is not None:
            check_text("username", self.username)
        if self.password is not None and self.sends_password:
            _check_password(self.password)
        if self.proxy is not None:
            _check_proxy(self.proxy)
        if self.will is not None:
            _check_will(self.will)
        if self.tls_params is not None:
            _check_tls_params(self.tls_params)

    @property
    def reconnects(self) -> Reconnect | None:
        """How the client connects again; None if it does not."""
        if isinstance(self.reconnect, Reconnect):
            return self.reconnect
        return Reconnect() if self.reconnect else None

    @property
    def most_topic_aliases(self) -> int:
        """How many Topic Aliases the client assigns by itself at most."""
        return _MOST_TOPIC_ALIASES if self.topic_aliases is True else int(self.topic_aliases or 0)

    def use_server(self, place: int) -> None:
        """Have a server of the list in place of the first one."""
        server = self.further_servers[place - 1]
        if not isinstance(server, Server):
            self.broker = server
            return
        self.hostname = server.host
        if server.port is not None:
            self.port = server.port

    @property
    def clean(self) -> bool | Literal[3]:
        """What Clean Start, or Clean Session before 5.0, is to be: on, off, or on at first."""
        if self.protocol != ProtocolVersion.V5:
            return True if self.clean_session is None else bool(self.clean_session)
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
        return {} if self.will is None else _will_keywords(self.will)


_MOST_TOPIC_ALIASES = 100
"""How many the client assigns by itself where `topic_aliases` is True."""

_OF_SOCKETS = (
    "port",
    "transport",
    "bind_address",
    "bind_port",
    "tls_context",
    "tls_params",
    "tls_insecure",
    "tls_server_hostname",
    "proxy",
    "socket_options",
    "websocket_path",
    "websocket_headers",
)
"""Options about what lies below MQTT: a link in memory has none of it."""


def check_enter(options: ClientOptions) -> None:
    """Check what aiomqtt checks only when the client is entered.

    Raises:
        ValueError: An option is wrong, or does not go with another one.
    """
    _check_tls(options)
    if options.protocol != ProtocolVersion.V5:
        if options.clean_start != MQTT_CLEAN_START_FIRST_ONLY:
            raise ValueError(f"Clean start only applies to MQTT V5: leave it out, or {_GIVE_V5}")
        if options.topic_aliases:
            raise ValueError(f"topic_aliases only apply to MQTT V5: leave them out, or {_GIVE_V5}")
        if options.properties is not None:
            raise ValueError(f"Properties only apply to MQTT V5: leave them out, or {_GIVE_V5}")
    port = options.bind_port
    if not 0 <= port <= _MAX_PORT:
        must_be = f"bind_port must be in the range 0-{_MAX_PORT}, not {port}."
        raise ValueError(f"Invalid bind port number. {must_be}")
    _check_host(options)
    port = options.port
    if not 0 < port <= _MAX_PORT:
        must_be = f"port must be in the range 1-{_MAX_PORT}, not {port}."
        raise ValueError(f"Invalid port number. {must_be}")
    keepalive = options.keepalive
    if not 0 <= keepalive <= _MAX_KEEP_ALIVE:
        must_be = f"keepalive must be in the range 0-{_MAX_KEEP_ALIVE}, not {keepalive}."
        raise ValueError(f"Keepalive must be >=0. {must_be}" if keepalive < 0 else must_be)


def _check_host(options: ClientOptions) -> None:
    if options.broker is not None:
        return
    host = options.hostname
    if not host:
        raise ValueError("Invalid host. hostname must not be empty.")
    if options.transport == "unix":
        return
    try:
        Host(host)
    except ValueError as error:
        instead = ", or the URL to Client.from_url" if "://" in host else ""
        raise ValueError(f"hostname {_shown.host(host)!r}: {error}{instead}") from None


def _check_tls(options: ClientOptions) -> None:
    if options.tls_context is not None and options.tls_params is not None:
        raise ValueError(
            "SSL/TLS has already been configured. Give tls_context or tls_params, not both."
        )
    if options.tls_insecure is not None and not (options.tls_context or options.tls_params):
        raise ValueError(
            "Must configure SSL context before using tls_insecure_set. "
            f"tls_insecure={options.tls_insecure} needs tls_context or tls_params beside it."
        )
    if options.tls_server_hostname is None:
        return
    if not (options.tls_context or options.tls_params):
        raise ValueError("tls_server_hostname needs TLS: give tls_context or tls_params too.")
    try:
        Host(options.tls_server_hostname)
    except ValueError as error:
        shown = _shown.host(options.tls_server_hostname)
        raise ValueError(f"tls_server_hostname {shown!r}: {error}") from None


def memory_broker(hostname: object) -> MemoryBroker | None:
    """Return what `Client` was given as its host, if it is a test broker."""
    # By an attribute: most programs never import the module of the class.
    is_broker = hasattr(type(hostname), "_ferromqtt_link")
    return cast("MemoryBroker", hostname) if is_broker else None


def _check_memory(options: ClientOptions) -> None:
    for name in _OF_SOCKETS:
        if getattr(options, name) != getattr(ClientOptions, name):  # which has the default
            raise ValueError(
                f"{name} makes no sense with a test broker in memory, which speaks plain MQTT "
                "without a socket: leave it out."
            )


def _further_servers(options: ClientOptions) -> tuple[Server | MemoryBroker, ...]:
    servers: list[Server | MemoryBroker] = []
    for given in options.servers or ():
        broker = memory_broker(given)
        if (broker is None) is not (options.broker is None):
            raise ValueError(
                "servers: test brokers in memory and servers with a socket do not go together."
            )
        servers.append(server_of(given, options) if broker is None else broker)
    return tuple(servers)


def _transport(name: str) -> str:
    name = name.lower()
    if name not in ("websockets", "tcp", "unix"):
        raise ValueError(
            f'transport must be "websockets", "tcp" or "unix", not {_shown.text(name)}'
        )
    if name == "unix" and not hasattr(socket, "AF_UNIX"):
        raise ValueError('"unix" transport not supported: this system has no Unix sockets')
    return name


def _check_clean_session(options: ClientOptions) -> None:
    if options.clean_session is None:
        return
    if options.protocol == ProtocolVersion.V5:
        given = bool(options.clean_session)
        raise ValueError(
            "Clean session is not used for MQTT 5.0. clean_session must be left out there, not "
            f"{given}: give clean_start."
        )
    if not options.clean_session and not options.identifier:
        raise ValueError(
            "A client id must be provided if clean session is False. Give `identifier`."
        )


def _client_identifier(options: ClientOptions) -> str:
    """Return the Client Identifier; the server may choose one for an empty one, but not in 3.1."""
    if options.identifier:
        check_text("identifier", options.identifier, f": {_shown.quoted(options.identifier)}")
        return options.identifier
    if options.protocol == ProtocolVersion.V31:
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


def _check_limits(options: ClientOptions) -> None:
    if options.max_inflight_messages is not None and options.max_inflight_messages < 0:
        given = options.max_inflight_messages
        raise ValueError(f"Invalid inflight. max_inflight_messages must be >=0, not {given}.")
    size = options.maximum_non_publish_size
    if not 1 <= size <= _MAX_PACKET_LIMIT:
        must_be = f"in the range 1-{_MAX_PACKET_LIMIT}"
        raise ValueError(f"maximum_non_publish_size must be {must_be}, not {size}.")
    expiry = options.session_expiry_at_disconnect
    if expiry is not None and options.protocol != ProtocolVersion.V5:
        raise ValueError(f"session_expiry_at_disconnect only applies to MQTT V5: {_GIVE_V5}.")
    if expiry is not None and not 0 <= expiry <= _MAX_EXPIRY:
        must_be = f"in the range 0-{_MAX_EXPIRY} seconds"
        raise ValueError(f"session_expiry_at_disconnect must be {must_be}, not {expiry}.")
    aliases = options.most_topic_aliases
    if not 0 <= aliases <= MAX_BYTES:
        raise ValueError(f"topic_aliases must be in the range 0-{MAX_BYTES}, not {aliases}.")
    queued: object = options.max_queued_outgoing_messages
    if queued is None:
        return
    if not isinstance(queued, int):
        kind = type(queued).__name__
        must_be = f"max_queued_outgoing_messages must be int, not {kind}."
        raise TypeError(f"queue_size should be an int. {must_be}")
    if queued < 0:
        raise ValueError(
            f"Invalid queue size. max_queued_outgoing_messages must be >=0, not {queued}."
        )


def _check_password(password: str | bytes) -> None:
    if isinstance(password, str):
        # Not by an error of encoding, which would hold the password.
        encoded = password.encode(errors="surrogatepass")
        if encoded != password.encode(errors="replace"):
            raise ValueError("password must be valid Unicode text: it has a lone surrogate.")
    else:
        encoded = bytes(password)
    if len(encoded) > MAX_BYTES:
        raise ValueError(f"password must have at most {MAX_BYTES} bytes, not {len(encoded)}.")


def _check_proxy(proxy: ProxySettings) -> None:
    arguments = proxy.proxy_args
    kind, where = arguments["proxy_type"], arguments["proxy_addr"]
    invalid = "proxy_type and/or proxy_addr are invalid."
    if kind not in tuple(ProxyType):
        raise ValueError(f"{invalid} proxy_type must be 1, 2 or 3, not {kind!r}.")
    if not where:
        raise ValueError(f"{invalid} proxy_addr must not be empty.")
    if not isinstance(where, str):
        raise _checks.wrong_type("proxy_addr", "str", where)
    port = arguments["proxy_port"]
    if port is not None and (not isinstance(port, int) or isinstance(port, bool)):
        raise _checks.wrong_type("proxy_port", "int", port)
    for name in ("proxy_username", "proxy_password"):
        value = arguments[name]
        if value is None or (isinstance(value, bytes) and name == "proxy_password"):
            continue
        if not isinstance(value, str):
            must_be = "str" if name == "proxy_username" else "str or bytes"
            raise _checks.wrong_type(name, must_be, value)
        # Not by an error of encoding, which would hold the password.
        if value.encode(errors="surrogatepass") != value.encode(errors="replace"):
            raise ValueError(f"{name} must be valid Unicode text: it has a lone surrogate.")


def _check_tls_params(params: TLSParameters) -> None:
    for name in ("ca_certs", "certfile", "keyfile"):
        file = getattr(params, name)
        if not isinstance(file, str | bytes | os.PathLike | None):
            raise _checks.wrong_type(f"tls_params: {name}", "str or a path", file)
        text = file.decode(errors="replace") if isinstance(file, bytes) else file
        if isinstance(text, str) and _PEM in text:
            raise ValueError(f"tls_params: {name} must be the path of a file, not what it holds.")
    if params.keyfile is not None and params.certfile is None:
        raise ValueError(
            "tls_params: keyfile needs certfile: give the certificate that the key belongs to."
        )
    verify, version = params.cert_reqs, params.tls_version
    if verify is not None and verify not in tuple(ssl.VerifyMode):
        must_be = "ssl.CERT_NONE, ssl.CERT_OPTIONAL or ssl.CERT_REQUIRED"
        raise _wrong_number("tls_params: cert_reqs", must_be, verify)
    # Not by its number: 3 is that of PROTOCOL_TLSv1, and was meant to be another one.
    is_version = isinstance(version, type(ssl.PROTOCOL_TLS_CLIENT))
    if version is not None and (not is_version or version == ssl.PROTOCOL_TLS_SERVER):
        must_be = "ssl.PROTOCOL_TLS_CLIENT, or another ssl.PROTOCOL_* for clients"
        raise _wrong_number("tls_params: tls_version", must_be, version)
    if not isinstance(params.ciphers, str | None):
        raise _checks.wrong_type("tls_params: ciphers", "str", params.ciphers)
    password: object = params.keyfile_password
    if not isinstance(password, str | bytes | bytearray | None) and not callable(password):
        raise _checks.wrong_type("tls_params: keyfile_password", "str or bytes", password)


def _wrong_number(what: str, must_be: str, given: object) -> Exception:
    if isinstance(given, int):
        return ValueError(f"{what} must be {must_be}, not {given!r}.")
    return _checks.wrong_type(what, must_be, given)


def _check_will(will: Will) -> None:
    topic: object = will.topic.value if isinstance(will.topic, Topic) else will.topic
    if not topic:
        raise ValueError("Invalid topic. will topic must not be empty.")
    if not isinstance(topic, str):
        raise _checks.wrong_type("will topic", "str or Topic", topic)
    check_text("will topic", topic, f": {_shown.quoted(topic)}")
    if "+" in topic or "#" in topic:
        raise ValueError(f"will topic must not contain wildcards: {topic!r}.")
    _checks.check_qos(will.qos)
    size = len(payload_bytes(will.payload))
    if size > MAX_BYTES:
        raise ValueError(f"will payload must have at most {MAX_BYTES} bytes, not {size}.")
