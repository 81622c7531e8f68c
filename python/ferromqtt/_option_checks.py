"""What the options of a client must be, each by itself and beside the others.

The core checks all that MQTT demands once more. What is checked here is refused when the client is
made, or entered, in aiomqtt's words where that has any.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING

from ferromqtt import _checks, _shown
from ferromqtt._native import MAX_BYTES, Host, check_text, payload_bytes
from ferromqtt._option_values import MQTT_CLEAN_START_FIRST_ONLY, ProtocolVersion
from ferromqtt.topic import Topic

if TYPE_CHECKING:
    from ferromqtt._client_options import ClientOptions
    from ferromqtt.options import ProxySettings, TLSParameters, Will

_PEM = "-----BEGIN "
_MAX_PACKET_LIMIT = 0xFFFF_FFFF
_MAX_EXPIRY = 0xFFFF_FFFF
_MAX_KEEP_ALIVE = 65535
_MAX_PORT = 65535
_GIVE_V5 = "give protocol=ProtocolVersion.V5"

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


def check_memory(options: ClientOptions) -> None:
    for name in _OF_SOCKETS:
        if getattr(options, name) != getattr(type(options), name):  # which has the default
            raise ValueError(
                f"{name} makes no sense with a test broker in memory, which speaks plain MQTT "
                "without a socket: leave it out."
            )


def checked_transport(name: str) -> str:
    name = name.lower()
    if name not in ("websockets", "tcp", "unix"):
        raise ValueError(
            f'transport must be "websockets", "tcp" or "unix", not {_shown.text(name)}'
        )
    if name == "unix" and not hasattr(socket, "AF_UNIX"):
        raise ValueError('"unix" transport not supported: this system has no Unix sockets')
    return name


def check_clean_session(options: ClientOptions) -> None:
    if options.clean_session is None:
        return
    if options.protocol == ProtocolVersion.V5:
        given = bool(options.clean_session)
        raise ValueError(
            "Clean session is not used for MQTT 5.0. clean_session must be left out there, not "
            f"{given}: give clean_start."
        )
    if not options.clean_session and not options.identifier and options.outbox is None:
        raise ValueError(
            "A client id must be provided if clean session is False. Give `identifier`."
        )


def check_limits(options: ClientOptions) -> None:
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


def check_password(password: str | bytes) -> None:
    if isinstance(password, str):
        # Not by an error of encoding, which would hold the password.
        encoded = password.encode(errors="surrogatepass")
        if encoded != password.encode(errors="replace"):
            raise ValueError("password must be valid Unicode text: it has a lone surrogate.")
    else:
        encoded = bytes(password)
    if len(encoded) > MAX_BYTES:
        raise ValueError(f"password must have at most {MAX_BYTES} bytes, not {len(encoded)}.")


def check_proxy(proxy: ProxySettings) -> None:
    from ferromqtt.options import ProxyType  # noqa: PLC0415 - for those who have one

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


def check_tls_params(params: TLSParameters) -> None:
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


def check_will(will: Will) -> None:
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
