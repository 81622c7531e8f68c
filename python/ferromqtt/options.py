"""What a client is told: its options, and the checks of them and of the arguments of its calls.

The texts are aiomqtt's, since programs and their tests compare them.
"""

from __future__ import annotations

import dataclasses
import enum
import socket
import string
from typing import TYPE_CHECKING, Any, Final, Literal

from ferromqtt import _shown
from ferromqtt._native import Host, payload_bytes
from ferromqtt.properties import to_native
from ferromqtt.reasons import PacketTypes
from ferromqtt.topic import has_misplaced_wildcard

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from ferromqtt.types import (
        PayloadType,
        PropertiesLike,
        SocketOption,
        SubscribeOptionsLike,
        SubscribeTopic,
        WebSocketHeaders,
    )

MQTT_CLEAN_START_FIRST_ONLY: Final = 3
"""`clean_start` of a client whose session starts anew whenever the client is entered."""

_MAX_BYTES = 65535  # of a string or of binary data in a packet
_MAX_PACKET_LIMIT = 0xFFFF_FFFF
_MAX_KEEP_ALIVE = 65535
_MAX_PORT = 65535
_BASE62 = string.digits + string.ascii_letters
_IDENTIFIER_LENGTH = 22  # enough for 128 random bits; 3.1 allows 23

SubscribeFilter = tuple[str, int, bool, bool, int]
"""Topic Filter, QoS, No Local, Retain As Published, Retain Handling."""


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


@dataclasses.dataclass(frozen=True)
class Will:
    """The message that the server publishes when it loses the client.

    Args:
        topic: The topic to publish to.
        payload: The payload, as `Client.publish` takes it.
        qos: The QoS to publish at.
        retain: Whether the server is to keep it for later subscribers.
        properties: (MQTT 5.0 only) Properties of `PacketTypes.WILLMESSAGE`.
    """

    topic: str
    payload: PayloadType | None = None
    qos: int = 0
    retain: bool = False
    properties: PropertiesLike | None = None

    def __repr__(self) -> str:
        # Not the properties, which may hold Correlation Data, and be of a class of the user's.
        properties = None if self.properties is None else f"<{type(self.properties).__name__}>"
        return (
            f"{type(self).__name__}(topic={self.topic!r}, payload={_shown.length(self.payload)}, "
            f"qos={self.qos!r}, retain={self.retain!r}, properties={properties})"
        )


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


# Nothing more than is used: making methods that nobody calls costs every import of the package.
@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class ClientOptions:
    """The options of a client that stay as they are: the parameters of `Client`, with their names.

    Some are settled here: `protocol` and `identifier` are never None, `transport` is in lower case,
    `socket_options` is a tuple.

    Raises:
        ValueError: An option is wrong whatever the client will do. `check_enter` tells the rest.
    """

    hostname: str
    port: int = 1883
    username: str | None = None
    password: str | bytes | None = None
    identifier: str | None = None
    protocol: ProtocolVersion | None = None
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

    def __post_init__(self) -> None:
        version = ProtocolVersion.V311 if self.protocol is None else self.protocol
        # An enumeration is asked for: of a bare number it is not sure that a version is meant.
        self.protocol = ProtocolVersion(version.value)
        self.transport = _transport(self.transport)
        self.socket_options = tuple(self.socket_options or ())
        _check_clean_session(self)
        self.identifier = _client_identifier(self)
        _check_limits(self)
        if self.username is not None:
            _check_string("username", self.username)
            if self.password is not None:
                _check_password(self.password)
        if self.proxy is not None:
            _check_proxy(self.proxy)
        if self.will is not None:
            _check_will(self.will)

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
    def address(self) -> str:
        """Host and port, or the path of a Unix socket, as logs show them."""
        if self.transport == "unix":
            return self.hostname
        host = f"[{self.hostname}]" if ":" in str(self.hostname) else self.hostname
        return f"{host}:{self.port}"

    @property
    def connect_properties(self) -> dict[str, object] | None:
        """The properties of CONNECT as the core takes them."""
        return to_native(self.properties, PacketTypes.CONNECT)

    @property
    def will_properties(self) -> dict[str, object] | None:
        """The properties of the will as the core takes them; None before 5.0."""
        if self.will is None or self.protocol != ProtocolVersion.V5:
            return None
        return to_native(self.will.properties, PacketTypes.WILLMESSAGE)


def check_enter(options: ClientOptions) -> None:
    """Check what aiomqtt checks only when the client is entered.

    Raises:
        ValueError: An option is wrong, or does not go with another one.
    """
    _check_tls(options)
    if options.protocol != ProtocolVersion.V5:
        if options.clean_start != MQTT_CLEAN_START_FIRST_ONLY:
            raise ValueError("Clean start only applies to MQTT V5")
        if options.properties is not None:
            raise ValueError("Properties only apply to MQTT V5")
    if not 0 <= options.bind_port <= _MAX_PORT:
        raise ValueError("Invalid bind port number.")
    if not options.hostname:
        raise ValueError("Invalid host.")
    if not 0 < options.port <= _MAX_PORT:
        raise ValueError("Invalid port number.")
    if options.keepalive < 0:
        raise ValueError("Keepalive must be >=0.")
    if options.keepalive > _MAX_KEEP_ALIVE:
        raise ValueError(f"Keepalive must be at most {_MAX_KEEP_ALIVE} seconds.")


def _check_tls(options: ClientOptions) -> None:
    if options.tls_context is not None and options.tls_params is not None:
        raise ValueError("SSL/TLS has already been configured.")
    if options.tls_insecure is not None and not (options.tls_context or options.tls_params):
        raise ValueError("Must configure SSL context before using tls_insecure_set.")
    if options.tls_server_hostname is None:
        return
    if not (options.tls_context or options.tls_params):
        raise ValueError("tls_server_hostname needs TLS: give tls_context or tls_params too.")
    try:
        Host(options.tls_server_hostname)
    except ValueError as error:
        raise ValueError(f"tls_server_hostname {options.tls_server_hostname!r}: {error}") from None


def _transport(name: str) -> str:
    name = name.lower()
    if name not in ("websockets", "tcp", "unix"):
        raise ValueError(f'transport must be "websockets", "tcp" or "unix", not {name}')
    if name == "unix" and not hasattr(socket, "AF_UNIX"):
        raise ValueError('"unix" transport not supported')
    return name


def _check_clean_session(options: ClientOptions) -> None:
    if options.clean_session is None:
        return
    if options.protocol == ProtocolVersion.V5:
        raise ValueError("Clean session is not used for MQTT 5.0")
    if not options.clean_session and not options.identifier:
        raise ValueError("A client id must be provided if clean session is False.")


def _client_identifier(options: ClientOptions) -> str:
    """Return the Client Identifier; the server may choose one for an empty one, but not in 3.1."""
    if options.identifier:
        _check_string("identifier", options.identifier)
        return options.identifier
    if options.protocol == ProtocolVersion.V31:
        from secrets import choice  # noqa: PLC0415 - slow to import, and seldom needed

        return "".join(choice(_BASE62) for _ in range(_IDENTIFIER_LENGTH))
    return ""


def _check_limits(options: ClientOptions) -> None:
    if options.max_inflight_messages is not None and options.max_inflight_messages < 0:
        raise ValueError("Invalid inflight.")
    size = options.maximum_non_publish_size
    if not isinstance(size, int) or not 1 <= size <= _MAX_PACKET_LIMIT:
        raise ValueError(f"maximum_non_publish_size must be in the range 1-{_MAX_PACKET_LIMIT}.")
    queued = options.max_queued_outgoing_messages
    if queued is None:
        return
    if not isinstance(queued, int):
        raise TypeError("queue_size should be an int")
    if queued < 0:
        raise ValueError("Invalid queue size.")


def _check_password(password: str | bytes) -> None:
    if not isinstance(password, str | bytes | bytearray):
        raise TypeError(f"password must be of type str or bytes, not {type(password).__name__}")
    if isinstance(password, str):
        # Not by an error of encoding, which would hold the password.
        encoded = password.encode(errors="surrogatepass")
        if encoded != password.encode(errors="replace"):
            raise ValueError("password must be valid UTF-8.")
    else:
        encoded = bytes(password)
    if len(encoded) > _MAX_BYTES:
        raise ValueError(f"password is too long: {_MAX_BYTES} bytes at most.")


def _check_proxy(proxy: ProxySettings) -> None:
    arguments = proxy.proxy_args
    if arguments["proxy_type"] not in tuple(ProxyType) or not arguments["proxy_addr"]:
        raise ValueError("proxy_type and/or proxy_addr are invalid.")


def _check_will(will: Will) -> None:
    if not will.topic:
        raise ValueError("Invalid topic.")
    _check_string("will topic", will.topic)
    if "+" in will.topic or "#" in will.topic:
        raise ValueError("Will topic cannot contain wildcards.")
    _check_qos(will.qos)
    if len(payload_bytes(will.payload)) > _MAX_BYTES:
        raise ValueError(f"Will payload is too large: {_MAX_BYTES} bytes at most.")


def _check_string(what: str, text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{what} must be of type str, not {type(text).__name__}")
    if len(text.encode()) > _MAX_BYTES:
        raise ValueError(f"{what} is too long: {_MAX_BYTES} bytes of UTF-8 at most.")
    if "\0" in text:
        raise ValueError(f"{what} must not contain U+0000.")


def _check_qos(qos: object) -> int:
    if not isinstance(qos, int) or qos not in (0, 1, 2):
        raise ValueError("Invalid QoS level.")
    return int(qos)


def subscribe_filters(
    topic: SubscribeTopic,
    qos: int,
    options: SubscribeOptionsLike | None,
    version: ProtocolVersion,
) -> list[SubscribeFilter]:
    """Return the filters that the arguments of a subscribe call ask for.

    Raises:
        ValueError: A filter is malformed, or the arguments are none of the forms that the protocol
            version has.
    """
    v5 = version == ProtocolVersion.V5
    wanted: object = options if v5 else None  # before 5.0 options are not used
    text: object = topic
    if isinstance(topic, list):
        return _listed_filters(topic, v5=v5)
    if isinstance(topic, tuple):
        text, second = _pair(topic)
        if v5:
            wanted = _subscribe_options(second)
        else:
            qos = _check_qos(second)
    if not isinstance(text, str):
        raise ValueError("No topic specified, or incorrect topic type.")  # noqa: TRY004 - aiomqtt's
    _check_qos(qos)
    if wanted is not None:
        wanted = _subscribe_options(wanted)
        if qos != 0:
            raise ValueError("Subscribe options and qos parameters cannot be combined.")
    if not v5 and not text:
        raise ValueError("Invalid topic.")
    return [_filter(text, qos if wanted is None else wanted)]


def unsubscribe_filters(topic: str | list[str]) -> list[str]:
    """Return the filters that the argument of an unsubscribe call names.

    Raises:
        ValueError: A filter is malformed, there is none, or the argument is of another type.
    """
    if topic is None or topic == "":
        raise ValueError("Invalid topic.")
    if not isinstance(topic, str | list):
        raise ValueError("No topic specified, or incorrect topic type.")  # noqa: TRY004 - aiomqtt's
    filters = [topic] if isinstance(topic, str) else list(topic)
    if not filters:
        raise ValueError("Empty topic list")
    for text in filters:
        if not isinstance(text, str) or not text:
            raise ValueError("Invalid topic.")
        _check_filter(text)
    return filters


def _listed_filters(topics: list[Any], *, v5: bool) -> list[SubscribeFilter]:
    if not topics:
        raise ValueError("Empty topic list")
    filters = []
    for entry in topics:
        text, wanted = _pair(entry)
        if not v5 or isinstance(wanted, int):
            wanted = _check_qos(wanted)
        if not isinstance(text, str) or (not v5 and not text):
            raise ValueError("Invalid topic.")
        filters.append(_filter(text, wanted))
    return filters


def _pair(entry: object) -> tuple[Any, Any]:
    if not isinstance(entry, tuple | list) or len(entry) != 2:  # noqa: PLR2004 - a pair
        raise ValueError(f"Each subscription must be a (topic, QoS) pair, not {entry!r}")
    return entry[0], entry[1]


def _filter(text: str, wanted: object) -> SubscribeFilter:
    """Return the filter `text` with a QoS, or with the options of a subscription."""
    shared = _check_filter(text)
    if isinstance(wanted, int):
        return text, _check_qos(wanted), False, False, 0
    options = _subscribe_options(wanted)
    if options.noLocal and shared:
        raise ValueError("noLocal must not be given for a shared subscription: leave it out.")
    retain_handling = options.retainHandling
    if not isinstance(retain_handling, int) or retain_handling not in (0, 1, 2):
        raise ValueError("Invalid retain handling: it must be 0, 1 or 2.")
    qos = _check_qos(options.QoS)
    no_local, as_published = bool(options.noLocal), bool(options.retainAsPublished)
    return text, qos, no_local, as_published, int(retain_handling)


def _subscribe_options(options: Any) -> SubscribeOptionsLike:  # noqa: ANN401 - read by its attributes
    names = ("QoS", "noLocal", "retainAsPublished", "retainHandling")
    if not all(hasattr(options, name) for name in names):
        raise ValueError("Subscribe options must be instance of SubscribeOptions class.")
    checked: SubscribeOptionsLike = options
    return checked


def _check_filter(text: str) -> bool:
    """Check a Topic Filter, and tell whether it is of a shared subscription."""
    if not 0 < len(text.encode()) <= _MAX_BYTES or has_misplaced_wildcard(text):
        raise ValueError("Invalid subscription filter.")
    if "\0" in text:
        raise ValueError("Invalid subscription filter: it must not contain U+0000.")
    if not text.startswith("$share/"):
        return False
    name, _, rest = text.removeprefix("$share/").partition("/")
    if not name or not rest or name in ("+", "#"):
        raise ValueError("Invalid subscription filter: a shared one is $share/name/filter.")
    return True
