"""MQTT that tells you what happened to every message.

An asyncio client for MQTT 5.0, 3.1.1 and 3.1 on a core in Rust; a drop-in for aiomqtt 2.x.
"""

from typing import TYPE_CHECKING

# The native module comes first: where it refuses to load, as in a subinterpreter, nothing is left.
from ferromqtt import _lazy, _native
from ferromqtt._native import Message, MessagesIterator, TypedMessage
from ferromqtt._option_values import ProtocolVersion
from ferromqtt._responder import Request, RequestIterator, Requests, Responder
from ferromqtt._subscription import Subscription, SubscriptionMessages
from ferromqtt.client import Client
from ferromqtt.codecs import Codec
from ferromqtt.exceptions import (
    MqttCodeError,
    MqttConnectError,
    MqttDiscardedError,
    MqttError,
    MqttKeptError,
    MqttOverflowError,
    MqttQuarantinedError,
    MqttQueueFullError,
    MqttReentrantError,
    MqttTimeoutError,
    PayloadError,
)
from ferromqtt.properties import Properties, SubscribeOptions
from ferromqtt.reasons import PacketTypes, ReasonCode
from ferromqtt.topic import Topic, TopicLike, TopicTemplate, Wildcard, WildcardLike

if TYPE_CHECKING:
    from ferromqtt import connection as connection
    from ferromqtt import events, once
    from ferromqtt import outcomes as outcomes
    from ferromqtt._drain import Drained
    from ferromqtt._json_codec import json_codec
    from ferromqtt.connection import (
        ClientState,
        ConnectResult,
        Credentials,
        Reconnect,
        Server,
        ServerLimits,
    )
    from ferromqtt.message import Unacknowledged
    from ferromqtt.options import ProxySettings, TLSParameters, Will
    from ferromqtt.outbox import Outbox, OutboxStats
    from ferromqtt.outcomes import OutgoingQueue, Published, Receipt
    from ferromqtt.router import Router
    from ferromqtt.stats import AckLatency, Stats
else:
    __getattr__, __dir__ = _lazy.names(
        __name__,
        {
            "AckLatency": "ferromqtt.stats",
            "ClientState": "ferromqtt.connection",
            "ConnectResult": "ferromqtt.connection",
            "Credentials": "ferromqtt.connection",
            "Drained": "ferromqtt._drain",
            "Outbox": "ferromqtt.outbox",
            "OutboxStats": "ferromqtt.outbox",
            "OutgoingQueue": "ferromqtt.outcomes",
            "ProxySettings": "ferromqtt.options",
            "Published": "ferromqtt.outcomes",
            "Receipt": "ferromqtt.outcomes",
            "Reconnect": "ferromqtt.connection",
            "Router": "ferromqtt.router",
            "Server": "ferromqtt.connection",
            "ServerLimits": "ferromqtt.connection",
            "Stats": "ferromqtt.stats",
            "TLSParameters": "ferromqtt.options",
            "Unacknowledged": "ferromqtt.message",
            "Will": "ferromqtt.options",
            "connection": "ferromqtt.connection",
            "events": "ferromqtt.events",
            "json_codec": "ferromqtt._json_codec",
            "once": "ferromqtt.once",
            "outcomes": "ferromqtt.outcomes",
        },
    )

__version__ = _native.__version__
__version_tuple__ = tuple(int(part) for part in __version__.split("."))

__all__ = [
    "AckLatency",
    "Client",
    "ClientState",
    "Codec",
    "ConnectResult",
    "Credentials",
    "Drained",
    "Message",
    "MessagesIterator",
    "MqttCodeError",
    "MqttConnectError",
    "MqttDiscardedError",
    "MqttError",
    "MqttKeptError",
    "MqttOverflowError",
    "MqttQuarantinedError",
    "MqttQueueFullError",
    "MqttReentrantError",
    "MqttTimeoutError",
    "Outbox",
    "OutboxStats",
    "OutgoingQueue",
    "PacketTypes",
    "PayloadError",
    "Properties",
    "ProtocolVersion",
    "ProxySettings",
    "Published",
    "ReasonCode",
    "Receipt",
    "Reconnect",
    "Request",
    "RequestIterator",
    "Requests",
    "Responder",
    "Router",
    "Server",
    "ServerLimits",
    "Stats",
    "SubscribeOptions",
    "Subscription",
    "SubscriptionMessages",
    "TLSParameters",
    "Topic",
    "TopicLike",
    "TopicTemplate",
    "TypedMessage",
    "Unacknowledged",
    "Wildcard",
    "WildcardLike",
    "Will",
    "__version__",
    "__version_tuple__",
    "events",
    "json_codec",
    "once",
]
