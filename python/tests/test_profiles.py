"""`Client(profile=...)`: limits that a service does not announce, and how it is reached."""

import asyncio
import re
import ssl
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ferromqtt import (
    Client,
    MqttCodeError,
    MqttError,
    ProtocolVersion,
    TLSParameters,
    Will,
    blocking,
)
from ferromqtt._client_options import ClientOptions
from ferromqtt._internals import internals_of
from ferromqtt.events import Connected
from ferromqtt.profiles import PROFILES
from ferromqtt.testing import TestBroker, VirtualLoop
from ferromqtt.types import ServerProfileName
from support import certificates, packets
from support.clients import receive
from support.loops import LoopRunner
from support.mosquitto import Mosquitto
from support.scripted import Connection, ScriptedServer, over_tls, serve_311

T = TypeVar("T")
NAMES: tuple[ServerProfileName, ...] = (
    "aws-iot",
    "azure-event-grid",
    "azure-iot-hub",
    "hivemq-cloud",
    "emqx-cloud",
    "rabbitmq",
    "nats",
    "mosquitto-2.0",
)
CLOUDS = NAMES[:5]
V5 = ProtocolVersion.V5


def virtually(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def options_of(**options: Any) -> ClientOptions:  # noqa: ANN401
    return internals_of(Client("h.example", **options)).options


def test_the_names_are_those_of_the_table() -> None:
    assert tuple(PROFILES) == NAMES
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert (name in CLOUDS) == (profile.tested_with is None) == profile.needs_tls
        assert set(profile.sources) >= {"versions"}
        for source in profile.sources.values():
            assert re.fullmatch(r"https://\S+ \(read \d{4}-\d\d-\d\d\)|seen with .*", source)
    assert PROFILES["aws-iot"].filters_per_subscribe == 8
    assert PROFILES["aws-iot"].alpn == (443, "x-amzn-mqtt-ca")
    assert PROFILES["mosquitto-2.0"].filters_per_subscribe is None


@pytest.mark.parametrize("name", CLOUDS)
def test_a_service_is_reached_over_tls_at_its_port(name: ServerProfileName) -> None:
    options = options_of(profile=name)
    assert (options.port, options.tls_params) == (8883, TLSParameters())
    own = TLSParameters(certfile="c.pem")
    options = options_of(profile=name, port=443, tls_params=own)
    assert (options.port, options.tls_params) == (443, own)
    assert options.alpn == ("x-amzn-mqtt-ca" if name == "aws-iot" else None)
    context = ssl.create_default_context()
    assert options_of(profile=name, tls_context=context).tls_params is None
    websocket = {"aws-iot": 443, "azure-event-grid": 443, "azure-iot-hub": 443, "emqx-cloud": 8084}
    options = options_of(profile=name, transport="websockets")
    assert (options.port, options.alpn) == (websocket.get(name, 1883), None)


@pytest.mark.parametrize(("name", "tls_port"), [("rabbitmq", 8883), ("nats", 1883)])
def test_a_server_is_reached_with_tls_where_that_is_asked_for(
    name: ServerProfileName, tls_port: int
) -> None:
    options = options_of(profile=name)
    assert (options.port, options.tls_params) == (1883, None)
    assert options_of(profile=name, tls_params=TLSParameters()).port == tls_port
    assert options_of(profile=name, port=7).port == 7


def test_the_version_is_one_that_the_service_speaks() -> None:
    assert options_of(profile="nats").protocol is ProtocolVersion.V311
    options = options_of(profile="nats", protocol="auto")
    assert (options.protocol, options.falls_back) == (ProtocolVersion.V311, False)
    assert options_of(profile="aws-iot", protocol="auto").falls_back


def test_a_url_names_the_place_and_the_profile_the_rest() -> None:
    made = Client.from_url("mqtts://u:p@h.example", profile="hivemq-cloud")
    options = internals_of(made).options
    assert (options.port, options.tls_params) == (8883, TLSParameters())
    made = Client.from_url("mqtts://h.example:443", profile="aws-iot")
    assert internals_of(made).options.alpn == "x-amzn-mqtt-ca"
    with pytest.raises(ValueError, match=re.escape("write mqtts:// or wss://")):
        Client.from_url("mqtt://h.example", profile="aws-iot")
    with pytest.raises(ValueError, match="the query of the URL may hold client_id"):
        Client.from_url("h?profile=aws-iot", profile="aws-iot")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"profile": "aws"}, 'no server profile "aws": give one of aws-iot, azure-event-grid'),
        ({"hostname": "10.0.0.1", "profile": "aws-iot"}, "needs the name of the server in TLS"),
        ({"profile": "aws-iot", "transport": "unix"}, "needs TLS: connect with it"),
    ],
)
def test_a_profile_that_is_none_or_does_not_fit_is_refused(
    arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        Client(**{"hostname": "h", **arguments})
    with pytest.raises(TypeError, match="profile must be str"):
        Client("h", profile=5)  # type: ignore[arg-type]


def test_an_address_does_where_tls_asks_for_another_name() -> None:
    Client("10.0.0.1", profile="aws-iot", tls_server_hostname="h.example")


@pytest.mark.parametrize(
    ("profile", "arguments", "text"),
    [
        ("aws-iot", {"will": Will("w", qos=2)}, "the will cannot be published: AWS IoT Core"),
        ("azure-iot-hub", {"will": Will("w", retain=True)}, "does not support retained"),
        ("aws-iot", {"keepalive": 0}, "a Keep Alive of 1200 s"),
        ("aws-iot", {"keepalive": 1201}, "a Keep Alive of 1200 s"),
        ("aws-iot", {"identifier": "i" * 129}, "of 129 bytes is longer than the 128"),
        ("azure-event-grid", {"identifier": None}, "needs a Client Identifier"),
        ("azure-iot-hub", {"protocol": 5}, "does not speak MQTT 5.0: choose 3.1.1"),
    ],
)
def test_arguments_that_contradict_the_profile_are_refused_on_enter(
    profile: str, arguments: dict[str, Any], text: str
) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            arguments.setdefault("identifier", "station-7")
            with pytest.raises(ValueError, match=re.escape(text)) as refusal:
                await Client(broker, profile=profile, **arguments).__aenter__()  # type: ignore[arg-type]
            assert f"(profile {profile})" in str(refusal.value)

    virtually(main())


def deep(levels: int) -> str:
    return "/".join("a" * levels)


@pytest.mark.parametrize(
    ("profile", "message", "code", "text"),
    [
        ("nats", {"topic": "t", "qos": 2}, 0x9B, "NATS 2.9 (profile nats) accepts QoS 1 at most"),
        ("nats", {"topic": "a b"}, 0x90, "contains ' ', which NATS 2.9 (profile nats)"),
        ("azure-iot-hub", {"topic": "t", "retain": True}, 0x9A, "does not support retained"),
        ("aws-iot", {"topic": deep(9)}, 0x90, "topic of 9 levels has more than the 8 that AWS"),
        ("aws-iot", {"topic": "t" * 257}, 0x90, "of 257 bytes is longer than the 256 that AWS"),
        ("aws-iot", {"topic": "t", "payload": bytes(131_073)}, 0x95, "than the 131072 that AWS"),
        ("azure-event-grid", {"topic": "t", "payload": bytes(524_288)}, 0x95, "than the 524288"),
    ],
)
@pytest.mark.parametrize("call", ["publish", "enqueue", "publish_nowait"])
def test_a_message_that_the_service_does_not_take_is_refused_and_costs_no_connection(
    profile: ServerProfileName, message: dict[str, Any], code: int, text: str, call: str
) -> None:
    async def main() -> None:
        async with (
            TestBroker(listen=False) as broker,
            Client(broker, profile=profile, identifier="station-7") as client,
        ):
            publish = getattr(client, call)
            with pytest.raises(MqttCodeError) as refusal:
                await publish(**message) if call != "publish_nowait" else publish(**message)
            assert refusal.value.rc.value == code
            told = "\n".join(refusal.value.__notes__)
            assert text in told
            assert refusal.value.delivery == "not_sent"
            await client.subscribe("still/here")
            await client.publish("still/here", b"x", qos=1)
            assert (await receive(client)).topic.value == "still/here"

    virtually(main())


def test_a_subscription_that_the_service_does_not_take_is_refused() -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            async with Client(broker, profile="rabbitmq") as client:
                with pytest.raises(MqttCodeError) as refusal:
                    await client.subscribe("$share/g/a")
                assert refusal.value.rc.value == 0x9E
            async with Client(broker, profile="aws-iot") as client:
                with pytest.raises(MqttCodeError) as refusal:
                    await client.subscribe("a", qos=2)
                assert refusal.value.rc.value == 0x9B
                with pytest.raises(MqttCodeError) as refusal:
                    await client.subscribe(deep(9))
                assert refusal.value.rc.value == 0x8F

    virtually(main())


def test_a_subscribe_with_too_many_filters_is_sent_as_several() -> None:
    """Through the driver: the Reason Codes are those of all packets, in order."""
    sizes: list[int] = []

    def play(connection: Connection) -> None:
        connection.accept()
        for _ in range(3):
            _, body = connection.expect(packets.SUBSCRIBE)
            count = body[2:].count(b"filter/")
            sizes.append(count)
            codes = bytes([0x80 if len(sizes) == 2 else 1] * count)
            connection.send(bytes([0x90, 2 + count]) + body[:2] + codes)
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        client = Client("127.0.0.1", server.port, profile="mosquitto-2.0")
        # The profile of a service with the limit, and the transport of one without TLS.
        internals_of(client).options.profile = "azure-event-grid"
        internals_of(client).options.identifier = "station-7"
        async with client:
            codes = await client.subscribe([(f"filter/{number}", 1) for number in range(25)])
            assert [code.value for code in codes] == [1] * 10 + [0x80] * 10 + [1] * 5

    with ScriptedServer(play) as server:
        asyncio.run(main(server))
    assert sizes == [10, 10, 5]


async def restored(client: Client) -> None:
    """Wait until the client has connected again and subscribed: what follows is acknowledged."""
    async for event in client.events():
        if isinstance(event, Connected):
            break
    await client.subscribe("last", qos=1)


@pytest.mark.parametrize("reconnect", [False, True])
def test_a_subscription_of_many_filters_gets_the_messages_of_all(reconnect: bool) -> None:
    async def main() -> None:
        async with (
            TestBroker(listen=False) as broker,
            Client(broker, profile="aws-iot", identifier="a", reconnect=reconnect) as client,
            client.subscription(*(f"f/{number}" for number in range(20)), qos=1) as messages,
        ):
            if reconnect:
                assert broker.disconnect_client("a", 0x80)
                await restored(client)
            for number in range(20):
                await client.publish(f"f/{number}", b"x", qos=1)
            topics = [(await anext(messages)).topic.value for _ in range(20)]
            assert topics == [f"f/{number}" for number in range(20)]

    virtually(main())


@pytest.mark.parametrize("waits", [False, True])
def test_a_subscription_of_many_filters_is_ended(waits: bool) -> None:
    """Whatever it took to make it: by packets that the server takes."""
    names = [f"{'x' * 30}/{number}" for number in range(200)]

    async def main() -> None:
        async with (
            TestBroker(listen=False, maximum_packet_size=1024) as broker,
            Client(broker, profile="aws-iot", identifier="a", protocol=V5) as client,
        ):
            async with client.subscription(*names, qos=1) as messages:
                if waits:
                    await messages.unsubscribe()
            await client.publish(names[0], b"x", qos=1)  # behind what leaving has sent
            session = broker.session("a")
            assert session is not None
            assert session.subscriptions == 0
            assert len(client.messages) == 0

    virtually(main())


def test_a_client_for_threads_has_profiles_too() -> None:
    client = blocking.Client("h.example", profile="aws-iot")
    assert internals_of(client._ferromqtt_blocking.client).options.port == 8883


def test_alpn_is_offered_on_the_port_that_needs_it(run: LoopRunner, tmp_path: Path) -> None:
    certificates.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    context.set_alpn_protocols(["x-amzn-mqtt-ca"])
    found: list[str | None] = []

    def play(connection: Connection) -> None:
        assert isinstance(connection.sock, ssl.SSLSocket)
        found.append(connection.sock.selected_alpn_protocol())
        serve_311(connection)

    with ScriptedServer(over_tls(context, play)) as server:

        async def main() -> None:
            authority = TLSParameters(ca_certs=str(tmp_path / "ca.pem"))
            client = Client("localhost", 443, profile="aws-iot", tls_params=authority)
            internals_of(client).options.port = server.port  # nobody may listen on 443 here
            async with client:
                await client.publish("t", b"x", qos=1)

        run(main)
    assert found == ["x-amzn-mqtt-ca"]


def test_mosquitto_is_spoken_to_within_its_limits(run: LoopRunner, mosquitto: Mosquitto) -> None:
    """More levels than it takes cost the connection; with the profile they are refused."""

    async def main() -> None:
        async with Client(mosquitto.host, mosquitto.port) as plain:
            with pytest.raises(MqttError) as cut:
                await plain.publish(deep(202), b"", qos=1)
            assert cut.value.delivery == "unknown"
        where = (mosquitto.host, mosquitto.port)
        async with Client(*where, profile="mosquitto-2.0") as client:
            with pytest.raises(MqttCodeError, match="Topic name invalid"):
                await client.publish(deep(202), b"", qos=1)
            await client.subscribe(deep(201), qos=1)
            await client.publish(deep(201), b"x", qos=1)
            assert (await receive(client)).payload == b"x"

    run(main)
