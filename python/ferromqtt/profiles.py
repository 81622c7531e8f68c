"""The server profiles: what a service or server takes, where it does not announce it.

```python
from ferromqtt.profiles import PROFILES

print(PROFILES["aws-iot"].filters_per_subscribe)
```

`Client(..., profile="aws-iot")` uses them. docs/server-profiles.md has them as a table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from ferromqtt._native import profile_table

__all__ = ["PROFILES", "ServerProfile"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerProfile:
    """What is known of one service or server. None is no limit, or none with a source."""

    name: str
    """What `Client(profile=...)` takes."""
    tested_with: str | None
    """The server that the tests of this project run with the profile; None: from documents."""
    needs_tls: bool
    """Whether it is reached over TLS alone."""
    port: int | None = None
    """Where it listens without TLS."""
    tls_port: int | None = None
    """Where it listens with TLS."""
    secure_websocket_port: int | None = None
    """Where it listens for WebSocket with TLS."""
    alpn: tuple[int, str] | None = None
    """A port on which TLS must offer a protocol (ALPN), and its name."""
    needs_server_name: bool = False
    """Whether TLS must name the server (SNI), so that an IP address does not do."""
    versions: tuple[int, ...]
    """The versions of MQTT that it speaks: 3 (3.1), 4 (3.1.1) and 5."""
    needs_identifier: bool = False
    """Whether it assigns no Client Identifiers."""
    identifier_bytes: int | None = None
    """How many bytes a Client Identifier may have."""
    maximum_qos: int | None = None
    """The highest QoS to publish at."""
    maximum_subscribe_qos: int | None = None
    """The highest QoS to subscribe with, where it does not just grant less."""
    no_retain: bool = False
    """Whether it keeps no retained messages."""
    no_shared_subscriptions: bool = False
    """Whether it takes `$share` for a topic level like any other."""
    payload_bytes: int | None = None
    """How many bytes a payload may have."""
    packet_bytes: int | None = None
    """How many bytes a packet may have."""
    topic_bytes: int | None = None
    """How many bytes a topic or filter may have."""
    topic_levels: int | None = None
    """How many levels a topic or filter may have."""
    refused_characters: str | None = None
    """Characters that no topic may have."""
    filters_per_subscribe: int | None = None
    """How many filters one SUBSCRIBE may have; one with more is sent as several."""
    keep_alive: tuple[int, int] | None = None
    """The least and the most Keep Alive that it takes, in seconds."""
    in_flight: int | None = None
    """How many QoS 1 and 2 messages may be unacknowledged, unless the client says otherwise."""
    sources: Mapping[str, str]
    """Where each figure comes from: a document and the day it was read, or a server."""


PROFILES: Mapping[str, ServerProfile] = MappingProxyType(
    {
        figures["name"]: ServerProfile(**figures, sources=MappingProxyType(sources))
        for figures, sources in profile_table()
    }
)
"""All profiles by their names."""
