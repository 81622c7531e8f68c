"""The client and its options."""

from ferromqtt import client
from ferromqtt.client import MessagesIterator
from ferromqtt.options import ProtocolVersion, ProxySettings, TLSParameters, Will

__all__ = [
    "Client",
    "MessagesIterator",
    "ProtocolVersion",
    "ProxySettings",
    "TLSParameters",
    "Will",
]


class Client(client.Client):
    """`ferromqtt.Client` that logs where aiomqtt does, unless it is given a logger."""

    _default_logger_name = "mqtt"
