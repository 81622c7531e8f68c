"""What each server can not do: the one table that the scenarios, the checks and the summary use."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from ferromqtt import ProtocolVersion
from interop.aedes import Aedes
from interop.ejabberd import Ejabberd
from interop.mosquitto import Mosquitto
from interop.nats import Nats
from interop.rabbitmq import RabbitMQ
from interop.server import Server

V31, V311, V5 = ProtocolVersion.V31, ProtocolVersion.V311, ProtocolVersion.V5
SERVERS: tuple[type[Server], ...] = (Mosquitto, Aedes, Ejabberd, Nats, RabbitMQ)


class Feature(Enum):
    """What a scenario may need besides the connection itself; the value is told in the summary."""

    VERSION = "this version of MQTT"
    QOS_2 = "QoS 2"
    ONCE = "QoS 2 exactly once when the connection was cut"
    RETAINED_FOR_WILDCARD = "retained messages for a filter with a wildcard"
    SHARED = "shared subscriptions"
    KEEP_ALIVE_OF_ONE = "a Keep Alive of one second"
    RECEIVE_MAXIMUM = "a small Receive Maximum of the client"
    TELLS_TAKEOVER = "a DISCONNECT for a client whose session is taken over"
    LARGE_OVER_WEBSOCKET = "large messages over WebSocket"


@dataclass(frozen=True)
class Gap:
    """Something that a server does not do, at these versions."""

    server: type[Server]
    feature: Feature
    reason: str
    versions: tuple[ProtocolVersion, ...] = (V31, V311, V5)
    observed: bool = True
    """Whether a test asserts what a client sees there; not when that depends on the moment."""


@dataclass(frozen=True)
class Place:
    """A server and the version of MQTT that it is spoken to in."""

    server: type[Server]
    version: ProtocolVersion

    def __str__(self) -> str:
        return f"{self.server.name}-{self.version.name}"

    def gap(self, feature: Feature) -> Gap | None:
        """Return the gap that the feature falls into here, if any."""
        for gap in GAPS:
            if (gap.server, gap.feature) == (self.server, feature) and self.version in gap.versions:
                return gap
        return None


GAPS = (
    Gap(Mosquitto, Feature.TELLS_TAKEOVER, "2.0.11 just closes", (V5,)),
    Gap(
        Mosquitto,
        Feature.LARGE_OVER_WEBSOCKET,
        "2.0.11 writes 4 KB each tenth of a second",
        observed=False,
    ),
    Gap(
        Mosquitto,
        Feature.RECEIVE_MAXIMUM,
        "2.0.11 sends more QoS 2 messages at once than a Receive Maximum of 2 allows",
        (V5,),
        observed=False,
    ),
    Gap(Aedes, Feature.VERSION, "made for MQTT 3 only", (V5,)),
    Gap(
        Aedes,
        Feature.ONCE,
        "may send a message again after its PUBREL, with the same Packet Identifier",
        observed=False,
    ),
    Gap(Aedes, Feature.SHARED, "takes $share for an ordinary topic level"),
    Gap(Ejabberd, Feature.VERSION, "made for the two OASIS standards", (V31,)),
    Gap(Ejabberd, Feature.SHARED, "knows none"),
    Gap(Nats, Feature.VERSION, "made for 3.1.1 only", (V31, V5)),
    Gap(Nats, Feature.QOS_2, "made for QoS 0 and 1 (QoS 2 came with 2.10, Debian has 2.9)"),
    Gap(Nats, Feature.SHARED, "takes $share for an ordinary topic level"),
    Gap(
        Nats,
        Feature.KEEP_ALIVE_OF_ONE,
        "rounds one and a half times that down to a second, as long as the client waits",
        observed=False,
    ),
    Gap(RabbitMQ, Feature.VERSION, "5.0 came with RabbitMQ 3.13, Debian has 3.10", (V5,)),
    Gap(RabbitMQ, Feature.QOS_2, "made for QoS 0 and 1"),
    Gap(RabbitMQ, Feature.RETAINED_FOR_WILDCARD, "looks them up by the exact filter"),
    Gap(RabbitMQ, Feature.SHARED, "takes $share for an ordinary topic level"),
)

PLACES = tuple(Place(server, version) for server in SERVERS for version in ProtocolVersion)


def places_for(
    features: Iterable[Feature], versions: Iterable[ProtocolVersion] = ProtocolVersion
) -> list[Place]:
    """Return where a scenario that needs these features, in these versions, can be played."""
    needed = (Feature.VERSION, *features)
    wanted = [place for place in PLACES if place.version in versions]
    return [place for place in wanted if not any(map(place.gap, needed))]


def places_without(feature: Feature, servers: Iterable[type[Server]] = SERVERS) -> list[Place]:
    """Return where one of these servers lacks the feature, of the versions that it speaks."""
    missing = [place for place in PLACES if place.server in servers and place.gap(feature)]
    if feature is Feature.VERSION:
        return missing
    return [place for place in missing if not place.gap(Feature.VERSION)]
