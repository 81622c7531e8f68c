"""The names of aiomqtt 2.5.1, served by ferromqtt."""

from .client import Client, MessagesIterator, ProtocolVersion, ProxySettings, TLSParameters, Will
from .exceptions import MqttCodeError, MqttError, MqttReentrantError
from .message import Message
from .topic import Topic, TopicLike, Wildcard, WildcardLike

__version__ = "2.5.1"
"""The version it stands in for. Its own is that of the distribution `ferromqtt-aiomqtt`."""
__version_tuple__ = (2, 5, 1)

__all__ = [
    "Client",
    "Message",
    "MessagesIterator",
    "MqttCodeError",
    "MqttError",
    "MqttReentrantError",
    "ProtocolVersion",
    "ProxySettings",
    "TLSParameters",
    "Topic",
    "TopicLike",
    "Wildcard",
    "WildcardLike",
    "Will",
    "__version__",
    "__version_tuple__",
]
