"""Options of a client: what it is made with beside plain values."""

from __future__ import annotations

import dataclasses
import enum
import ssl
from typing import Any

from ferromqtt import _keywords, _shown
from ferromqtt._option_values import MQTT_CLEAN_START_FIRST_ONLY, ProtocolVersion
from ferromqtt.reasons import PacketTypes
from ferromqtt.topic import TopicLike
from ferromqtt.types import PayloadType, PropertiesLike, UserProperties

__all__ = [
    "MQTT_CLEAN_START_FIRST_ONLY",
    "ProtocolVersion",
    "ProxySettings",
    "ProxyType",
    "TLSParameters",
    "Will",
]


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
        _keywords.joined(None, PacketTypes.WILLMESSAGE, _keywords.of_will(self))

    def __repr__(self) -> str:
        # Not the properties, which may hold Correlation Data, and be of a class of the user's.
        properties = None if self.properties is None else f"<{type(self.properties).__name__}>"
        keywords = {name: it for name, it in _keywords.of_will(self).items() if it is not None}
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
