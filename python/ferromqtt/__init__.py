"""MQTT that tells you what happened to every message.

An asyncio client for MQTT 5.0, 3.1.1 and 3.1 on a core in Rust; a drop-in for aiomqtt 2.x.
"""

from typing import TYPE_CHECKING

# The native module comes first: where it refuses to load, as in a subinterpreter, nothing is left.
from ferromqtt import _lazy, _native
from ferromqtt._drain import Drained
from ferromqtt._responder import Request, RequestIterator, Requests, Responder
from ferromqtt._subscription import Subscription, SubscriptionMessages
from ferromqtt.client import Client, ProtocolVersion, ProxySettings, TLSParameters, Will
from ferromqtt.codecs import Codec, json_codec
from ferromqtt.connection import (
    ClientState,
    ConnectResult,
    Credentials,
    Reconnect,
    Server,
    ServerLimits,
)
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
from ferromqtt.message import Message, MessagesIterator, TypedMessage, Unacknowledged
from ferromqtt.outcomes import OutgoingQueue, Published, Receipt
from ferromqtt.properties import Properties, SubscribeOptions
from ferromqtt.reasons import PacketTypes, ReasonCode
from ferromqtt.topic import Topic, TopicLike, TopicTemplate, Wildcard, WildcardLike

if TYPE_CHECKING:
    from ferromqtt import events, once
    from ferromqtt.outbox import Outbox, OutboxStats
    from ferromqtt.router import Router
    from ferromqtt.stats import AckLatency, Stats
else:
    __getattr__, __dir__ = _lazy.names(
        __name__,
        {
            "AckLatency": "ferromqtt.stats",
            "Outbox": "ferromqtt.outbox",
            "OutboxStats": "ferromqtt.outbox",
            "Router": "ferromqtt.router",
            "Stats": "ferromqtt.stats",
            "events": "ferromqtt.events",
            "once": "ferromqtt.once",
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
