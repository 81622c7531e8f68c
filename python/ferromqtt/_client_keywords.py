"""The arguments of `Client` that other functions take as `**options`, for type checkers and `help`.

A test compares them with those of `Client.__init__`: what is added there is added here.
"""

# Without `annotations` from `__future__`: those of the dictionary below go into signatures.

import asyncio
import inspect
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal, TypedDict, TypeVar

import ferromqtt  # for what is imported when somebody asks for it
from ferromqtt._keywords import LazySignature
from ferromqtt._native import Message
from ferromqtt._option_values import ProtocolVersion
from ferromqtt.types import (
    PropertiesLike,
    ServerProfileName,
    SocketOption,
    UserProperties,
    WebSocketHeaders,
)

_Function = TypeVar("_Function", bound=Callable[..., Any])


class MemoryClientKeywords(TypedDict, total=False):
    """What `TestBroker.client` takes beside the `identifier`."""

    username: str | None
    password: str | bytes | None
    logger: logging.Logger | None
    queue_type: type[asyncio.Queue[Message]] | None
    protocol: ProtocolVersion | Literal[3, 4, 5, "auto"] | None
    will: "ferromqtt.Will | None"
    clean_session: bool | None
    timeout: float | None
    keepalive: int
    bind_address: str
    bind_port: int
    clean_start: bool | Literal[3]
    max_queued_incoming_messages: int | None
    max_queued_outgoing_messages: int | None
    max_inflight_messages: int | None
    max_concurrent_outgoing_calls: int | None
    properties: PropertiesLike | None
    tls_context: ssl.SSLContext | None
    tls_params: "ferromqtt.TLSParameters | None"
    tls_insecure: bool | None
    proxy: "ferromqtt.ProxySettings | None"
    socket_options: Iterable[SocketOption] | None
    websocket_path: str | None
    websocket_headers: WebSocketHeaders | None
    will_on_error: bool
    authenticator: Callable[[bytes], bytes | Awaitable[bytes]] | None
    strict: bool
    maximum_non_publish_size: int
    tls_server_hostname: str | None
    reconnect: "bool | ferromqtt.Reconnect"
    servers: "Iterable[ferromqtt.connection.ServerLike] | None"
    credentials: "ferromqtt.connection.CredentialsSource | None"
    manual_ack: bool
    session_expiry_interval: int | None
    receive_maximum: int | None
    maximum_packet_size: int | None
    topic_alias_maximum: int | None
    request_response_information: bool | None
    request_problem_information: bool | None
    user_properties: UserProperties | None
    authentication_method: str | None
    authentication_data: bytes | None
    session_expiry_at_disconnect: int | None
    topic_aliases: bool | int
    outgoing_queue: "ferromqtt.OutgoingQueue | None"
    outbox: "ferromqtt.Outbox | None"
    profile: ServerProfileName | None
    record: str | os.PathLike[str] | None
    record_payloads: bool


class ClientKeywords(MemoryClientKeywords, total=False):
    """The parameters of `Client` without `hostname`, `port` and `transport`, which a URL gives."""

    identifier: str | None


def with_defaults_of(
    construct: Callable[..., None], keywords: type = ClientKeywords
) -> Callable[[_Function], _Function]:
    """Give a function that takes `**options: Unpack[keywords]` a signature that names each.

    The defaults are those of a constructor.
    """
    annotations: dict[str, Any] = keywords.__annotations__

    def options() -> list[inspect.Parameter]:
        of_constructor = inspect.signature(construct).parameters
        return [
            of_constructor[name].replace(annotation=annotation)
            for name, annotation in annotations.items()
        ]

    def decorate(function: _Function) -> _Function:
        signature = LazySignature.by(function, options)
        function.__signature__ = signature  # type: ignore[attr-defined]
        own = function.__annotations__
        del own["options"]
        function.__annotations__ = annotations | own
        return function

    return decorate
