"""What CONNECT carries and what the broker makes of it: identity, login, will (contract 1.2)."""

import asyncio

import pytest

from conftest import TcpBroker
from ferromqtt import Client, PacketTypes, Properties, ProtocolVersion, Will
from ferromqtt.exceptions import MqttConnectError
from support import packets
from support.clients import LIMIT, receive, receive_until, unique
from support.loops import LoopRunner
from support.mosquitto import PASSWORD, USERNAME, Mosquitto
from support.proxy import CuttingProxy
from support.scripted import Connection, ScriptedServer, serve

V31, V311, V5 = ProtocolVersion.V31, ProtocolVersion.V311, ProtocolVersion.V5
HEADERS = {V31: b"\x00\x06MQIsdp\x03", V311: b"\x00\x04MQTT\x04", V5: b"\x00\x04MQTT\x05"}
CLEAN, WILL, WILL_RETAIN, HAS_PASSWORD, HAS_USERNAME = 0x02, 0x04, 0x20, 0x40, 0x80


def connect_body(run: LoopRunner, protocol: ProtocolVersion, **options: object) -> bytes:
    """Enter and leave a client with these options; return the body of its CONNECT."""
    bodies: list[bytes] = []
    connack = packets.CONNACK_5 if protocol is V5 else packets.CONNACK_311

    def script(connection: Connection) -> None:
        bodies.append(connection.accept(connack))
        assert connection.expect(packets.DISCONNECT) == (0xE0, b"")
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=protocol, **options):
            pass

    with ScriptedServer(script) as server:
        run(main, server)
    return bodies[0]


def split(body: bytes, protocol: ProtocolVersion) -> tuple[int, int, bytes]:
    """Return Connect Flags, Keep Alive and what follows (from the properties on in 5.0)."""
    header = HEADERS[protocol]
    assert body.startswith(header)
    rest = body[len(header) :]
    return rest[0], int.from_bytes(rest[1:3], "big"), rest[3:]


def test_connect_packet_by_default_1_2(run: LoopRunner) -> None:
    body = connect_body(run, V311)
    assert body == HEADERS[V311] + bytes([CLEAN]) + b"\x00\x3c" + b"\x00\x00"


def test_connect_packet_of_version_5_by_default_1_2(run: LoopRunner) -> None:
    body = connect_body(run, V5)
    assert body == HEADERS[V5] + bytes([CLEAN]) + b"\x00\x3c" + b"\x00" + b"\x00\x00"


def test_connect_packet_of_version_31_carries_a_made_up_identifier_1_2(run: LoopRunner) -> None:
    flags, keepalive, rest = split(connect_body(run, V31), V31)
    assert (flags, keepalive) == (CLEAN, 60)
    assert rest[:2] == b"\x00\x16"
    assert rest[2:].isalnum()


def test_identifier_without_one_given_1_2(run: LoopRunner, protocol: ProtocolVersion) -> None:
    """Contract 1.2: 22 base62 characters for 3.1, empty for the others, also when "" is given."""

    async def main() -> None:
        identifiers = [
            Client("localhost", protocol=protocol, identifier=given).identifier
            for given in (None, "", None)
        ]
        length = 22 if protocol is V31 else 0
        assert [len(it) for it in identifiers] == [length] * 3
        if length:
            assert len(set(identifiers)) == 3
            assert all(it.isascii() and it.isalnum() for it in identifiers)

    run(main)


def test_identifier_is_sent_as_given_1_2(run: LoopRunner, protocol: ProtocolVersion) -> None:
    _, _, rest = split(connect_body(run, protocol, identifier="fée"), protocol)
    assert rest.endswith(packets.string("fée"))


@pytest.mark.parametrize("keepalive", [0, 1, 60, 65535])
def test_keep_alive_is_sent_as_given_1_2(run: LoopRunner, keepalive: int) -> None:
    assert split(connect_body(run, V311, keepalive=keepalive), V311)[1] == keepalive


@pytest.mark.parametrize(
    ("protocol", "options", "clean"),
    [
        (V311, {"clean_session": True}, True),
        (V311, {"clean_session": False, "identifier": "a"}, False),
        (V31, {"clean_session": False, "identifier": "a"}, False),
        (V5, {"clean_start": True}, True),
        (V5, {"clean_start": 3}, True),
        (V5, {"clean_start": False}, False),
    ],
)
def test_clean_flag_1_2(
    run: LoopRunner, protocol: ProtocolVersion, options: dict[str, object], *, clean: bool
) -> None:
    flags, _, _ = split(connect_body(run, protocol, **options), protocol)
    assert bool(flags & CLEAN) is clean


@pytest.mark.parametrize(
    ("options", "flags", "fields"),
    [
        ({"username": "u", "password": "p"}, HAS_USERNAME | HAS_PASSWORD, ["u", "p"]),
        ({"username": "u", "password": b"p"}, HAS_USERNAME | HAS_PASSWORD, ["u", "p"]),
        ({"username": "u"}, HAS_USERNAME, ["u"]),
        ({"password": "p"}, 0, []),
        ({"username": "", "password": ""}, HAS_USERNAME | HAS_PASSWORD, ["", ""]),
    ],
)
def test_login_fields_1_2(
    run: LoopRunner, options: dict[str, object], flags: int, fields: list[str]
) -> None:
    sent, _, rest = split(connect_body(run, V311, **options), V311)
    assert sent == CLEAN | flags
    assert rest == b"\x00\x00" + b"".join(packets.string(field) for field in fields)


def test_a_password_without_a_user_name_is_sent_in_version_5_1_2(run: LoopRunner) -> None:
    """A token as password, for example. MQTT-3.1.2-22 of 3.1.1 forbids it there."""
    flags, _, rest = split(connect_body(run, V5, password=b"token"), V5)
    assert flags == CLEAN | HAS_PASSWORD
    assert rest.endswith(packets.string("token"))
    with pytest.raises(ValueError, match=r"^password must have at most 65535 bytes, not 65536\.$"):
        Client("localhost", protocol=V5, password=bytes(65_536))


def test_will_fields_1_2(run: LoopRunner) -> None:
    will = Will("last/words", payload=28.4, qos=2, retain=True)
    flags, _, rest = split(connect_body(run, V311, will=will), V311)
    assert flags == CLEAN | WILL | WILL_RETAIN | 2 << 3
    assert rest == b"\x00\x00" + packets.string("last/words") + packets.string("28.4")


def test_connect_and_will_properties_1_2(run: LoopRunner) -> None:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 7
    will_properties = Properties(PacketTypes.WILLMESSAGE)
    will_properties.WillDelayInterval = 9
    will = Will("w", payload=b"x", properties=will_properties)
    _, _, rest = split(connect_body(run, V5, properties=properties, will=will), V5)
    assert rest == (
        b"\x05\x11\x00\x00\x00\x07"
        + packets.string("")
        + b"\x05\x18\x00\x00\x00\x09"
        + packets.string("w")
        + packets.string("x")
    )


def test_every_enter_of_version_5_starts_clean_by_default_1_2(run: LoopRunner) -> None:
    """Contract 1.2: the value 3 means set, on every enter."""
    flags: list[int] = []

    def script(connection: Connection) -> None:
        flags.append(split(connection.accept(packets.CONNACK_5), V5)[0])
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, protocol=V5)
        for _ in range(3):
            async with client:
                pass

    with ScriptedServer(script) as server:
        run(main, server)
    assert flags == [CLEAN] * 3


def test_login_1_2(run: LoopRunner, mosquitto: Mosquitto, protocol: ProtocolVersion) -> None:
    async def main() -> None:
        topic = unique("login")
        async with Client(
            mosquitto.host,
            mosquitto.login_port,
            username=USERNAME,
            password=PASSWORD,
            protocol=protocol,
        ) as client:
            await client.subscribe(topic)
            await client.publish(topic, b"in")
            assert (await receive(client)).payload == b"in"

    run(main)


@pytest.mark.parametrize(
    "login", [{}, {"username": USERNAME}, {"username": USERNAME, "password": "wrong"}]
)
def test_refused_login_1_4(
    run: LoopRunner, mosquitto: Mosquitto, protocol: ProtocolVersion, login: dict[str, str]
) -> None:
    """Contract 1.4: the Reason Code of 5.0 also for the return codes before it."""

    async def main() -> None:
        client = Client(mosquitto.host, mosquitto.login_port, protocol=protocol, **login)
        for _ in range(2):
            with pytest.raises(MqttConnectError) as caught:
                await client.__aenter__()
            assert caught.value.rc.value == 135
            assert str(caught.value) == "[code:135] Not authorized"
            assert caught.value.args == ()

    run(main)


@pytest.mark.parametrize(
    ("code", "value", "text"),
    [
        (1, 132, "Unsupported protocol version"),
        (2, 133, "Client identifier not valid"),
        (3, 136, "Server unavailable"),
        (4, 134, "Bad user name or password"),
        (5, 135, "Not authorized"),
        (6, 128, "Unspecified error"),
    ],
)
def test_return_code_of_version_311_1_4(run: LoopRunner, code: int, value: int, text: str) -> None:
    """All five raise at once (contract 1.4, "better" for 1 and 2); then the client is usable.

    So does a code that the standard reserves, whose number is in the note.
    """

    def refuse(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        connection.send(bytes([0x20, 2, 0, code]))
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        async with asyncio.timeout(LIMIT):
            with pytest.raises(MqttConnectError) as caught:
                await client.__aenter__()
        assert caught.value.rc.value == value
        assert str(caught.value) == f"[code:{value}] {text}"
        (note,) = caught.value.__notes__
        assert note.endswith(": Return Code 6, which this version of MQTT reserves") == (code == 6)
        async with client:
            pass

    with ScriptedServer(refuse, lambda it: serve(it, packets.CONNACK_311)) as server:
        run(main, server)


def test_will_is_published_when_the_connection_is_lost_1_2(
    run: LoopRunner, tcp_broker: TcpBroker, protocol: ProtocolVersion
) -> None:
    """MQTT-3.1.2-8 (3.1.1)."""
    topic = unique("will")
    will = Will(topic, payload=b"gone", qos=1)

    async def main() -> None:
        with CuttingProxy(tcp_broker.host, tcp_broker.port) as proxy:
            async with Client(tcp_broker.host, tcp_broker.port) as observer:
                await observer.subscribe(topic, qos=1)
                async with Client(proxy.host, proxy.port, will=will, protocol=protocol):
                    proxy.cut_now()
                    message = await receive(observer)
                    assert (message.payload, message.qos, message.retain) == (b"gone", 1, False)

    run(main)


@pytest.mark.parametrize("error", [None, ValueError("the block failed")])
def test_will_is_not_published_after_an_exit_1_4(
    run: LoopRunner, tcp_broker: TcpBroker, error: Exception | None
) -> None:
    """Contract 1.4: an exit is a normal DISCONNECT, also when the block raised."""
    topic = unique("will")

    async def main() -> None:
        async with Client(tcp_broker.host, tcp_broker.port) as observer:
            await observer.subscribe(topic)
            try:
                async with Client(
                    tcp_broker.host, tcp_broker.port, will=Will(topic, payload=b"gone")
                ):
                    if error is not None:
                        raise error
            except ValueError as raised:
                assert raised is error  # noqa: PT017  a block without error must pass here too
            # the tcp_broker handles DISCONNECT, or the loss, before a client that comes later
            async with Client(tcp_broker.host, tcp_broker.port) as later:
                await later.publish(topic, b"last")
            assert await receive_until(observer, b"last") == []

    run(main)
