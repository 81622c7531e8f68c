"""The names that the modules of aiomqtt 2.5.1 have at run time.

`make upstream` compares `NAMES` with the original: run as a program where that is installed, this
file fails when they differ.
"""

import importlib
import sys

IMPORTED = [
    "asyncio",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "logging",
    "math",
    "socket",
    "ssl",
    "sys",
]
TYPING = [
    "Any",
    "AsyncIterator",
    "Awaitable",
    "Callable",
    "Concatenate",
    "Coroutine",
    "Generator",
    "Iterable",
    "Iterator",
    "Literal",
    "Self",
    "TracebackType",
    "TypeVar",
    "cast",
]

NAMES: dict[str, list[str]] = {
    "aiomqtt": [
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
        "__all__",
        "__version__",
        "__version_tuple__",
        "client",
        "exceptions",
        "message",
        "topic",
        "types",
    ],
    "aiomqtt.client": [
        *IMPORTED,
        *TYPING,
        *[
            "CallbackAPIVersion",
            "Client",
            "ClientT",
            "MQTT_LOGGER",
            "Message",
            "MessagesIterator",
            "MqttCodeError",
            "MqttConnectError",
            "MqttError",
            "MqttReentrantError",
            "P",
            "PahoSocket",
            "PayloadType",
            "Properties",
            "ProtocolVersion",
            "ProxySettings",
            "ReasonCode",
            "SocketOption",
            "SubscribeOptions",
            "SubscribeTopic",
            "T",
            "TLSParameters",
            "WebSocketHeaders",
            "Will",
            "_outgoing_call",
            "_set_client_socket_defaults",
            "annotations",
            "mqtt",
        ],
    ],
    "aiomqtt.exceptions": [
        "Any",
        "MqttCodeError",
        "MqttConnectError",
        "MqttError",
        "MqttReentrantError",
        "ReasonCode",
        "_CONNECT_RC_STRINGS",
        "annotations",
        "contextlib",
        "mqtt",
    ],
    "aiomqtt.message": [
        "Message",
        "Properties",
        "Self",
        "Topic",
        "TopicLike",
        "annotations",
        "mqtt",
        "sys",
    ],
    "aiomqtt.topic": [
        "MAX_TOPIC_LENGTH",
        "Topic",
        "TopicLike",
        "TypeAlias",
        "Wildcard",
        "WildcardLike",
        "annotations",
        "dataclasses",
        "sys",
    ],
    "aiomqtt.types": [
        "Any",
        "Callable",
        "P",
        "PahoSocket",
        "ParamSpec",
        "PayloadType",
        "SocketOption",
        "SubscribeOptions",
        "SubscribeTopic",
        "T",
        "TypeAlias",
        "TypeVar",
        "WebSocketHeaders",
        "annotations",
        "socket",
        "ssl",
        "sys",
    ],
}

LAZY = "mqtt"
"""paho's module: there when paho-mqtt is installed, and imported only when it is asked for."""


OF_MODULES = frozenset(
    [
        "__annotations__",
        "__builtins__",
        "__cached__",
        "__doc__",
        "__file__",
        "__loader__",
        "__name__",
        "__package__",
        "__path__",
        "__spec__",
    ]
)
"""Names that Python gives every module or package."""


def differences() -> list[str]:
    """Return in which names the installed aiomqtt differs from the list."""
    found = []
    for name, listed in NAMES.items():
        there = vars(importlib.import_module(name)).keys() - OF_MODULES
        found += [f"{name}.{it} is not in the list" for it in sorted(there - set(listed))]
        found += [f"{name}.{it} is not in aiomqtt" for it in sorted(set(listed) - there)]
    return found


if __name__ == "__main__":
    sys.exit("\n".join(differences()) or None)
