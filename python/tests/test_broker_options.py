"""The options of the broker that comes with the package, from Python and the command line."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from ferromqtt import Client, MqttCodeError, MqttConnectError, MqttError, ProtocolVersion
from ferromqtt._native import Broker
from ferromqtt.properties import Properties
from ferromqtt.reasons import PacketTypes, ReasonCode
from ferromqtt.testing import BrokerOptions, BrokerStats, SessionStats, TestBroker
from support.clients import LIMIT, receive, receive_until, unique
from support.loops import LoopRunner

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5


def client(broker: TestBroker, protocol: ProtocolVersion = V5, **arguments: object) -> Client:
    return Client(broker, protocol=protocol, **arguments)  # type: ignore[arg-type]


async def exchange(broker: TestBroker, *steps: tuple[bytes, bytes]) -> bytes:
    """Send and compare, raw; return what came when the broker closed instead."""
    async with asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection(broker.host, broker.port)
        try:
            for sent, expected in steps:
                writer.write(sent)
                try:
                    assert await reader.readexactly(len(expected)) == expected
                except asyncio.IncompleteReadError as error:
                    return error.partial
            return b"open"
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize("protocol", [V311, V5])
def test_only_users_connect(run: LoopRunner, protocol: ProtocolVersion) -> None:
    async def main() -> None:
        async with TestBroker(listen=False, users={"ann": "one", "bob": b"\xff"}) as broker:
            for name, password in (("ann", "one"), ("bob", b"\xff")):
                async with client(broker, protocol, username=name, password=password):
                    pass
            with pytest.raises(MqttConnectError):
                await client(broker, protocol, username="ann", password="two").__aenter__()

    run(main)


def test_denials_carry_their_reason_code(run: LoopRunner) -> None:
    async def main() -> None:
        options: BrokerOptions = {
            "deny_connect": [("busy-*", 0x89)],
            "deny_publish": ["secret/#", ("full/#", 0x97)],
            "deny_subscribe": ("secret/#",),
        }
        async with TestBroker(listen=False, **options) as broker:
            with pytest.raises(MqttConnectError) as refused:
                await client(broker, identifier="busy-1").__aenter__()
            assert "Server busy" in str(refused.value)
            async with client(broker, identifier="free") as one:
                for topic, code in (("secret/x", 0x87), ("full/x", 0x97)):
                    with pytest.raises(MqttCodeError) as denied:
                        await one.publish(topic, b"x", qos=1)
                    assert f"code:{code}" in str(denied.value)
                granted = await one.subscribe("secret/x")
                assert [int(getattr(code, "value", code)) for code in granted] == [0x87]

    run(main)


def test_limits_are_told_in_connack(run: LoopRunner) -> None:
    connect = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a"
    for options, properties in (
        (BrokerOptions(server_keep_alive=7), b"\x13\x00\x07"),
        (BrokerOptions(receive_maximum=5), b"\x21\x00\x05"),
        (BrokerOptions(topic_alias_maximum=3), b"\x22\x00\x03"),
        (BrokerOptions(maximum_qos=1), b"\x24\x01"),
        (BrokerOptions(retain_available=False), b"\x25\x00"),
        (BrokerOptions(maximum_packet_size=1000), b"\x27\x00\x00\x03\xe8"),
        (BrokerOptions(wildcard_subscription_available=False), b"\x28\x00"),
        (BrokerOptions(subscription_identifier_available=False), b"\x29\x00"),
        (BrokerOptions(shared_subscription_available=False), b"\x2a\x00"),
    ):

        async def main(options: BrokerOptions, properties: bytes) -> None:
            size = len(properties)
            connack = bytes([0x20, 3 + size, 0, 0, size]) + properties
            async with TestBroker(**options) as broker:
                assert await exchange(broker, (connect, connack)) == b"open"

        run(main, options, properties)


def test_authentication_asks_and_asks_again(run: LoopRunner) -> None:
    def auth(reason: bytes, data: bytes = b"") -> bytes:
        field = b"\x16\x00" + bytes([len(data)]) + data if data else b""
        properties = b"\x15\x00\x04QUIZ" + field
        return bytes([0xF0, 2 + len(properties)]) + reason + bytes([len(properties)]) + properties

    connect = b"\x10\x15\x00\x04MQTT\x05\x02\x00\x00\x07\x15\x00\x04QUIZ\x00\x01a"
    connack = b"\x20\x0a\x00\x00\x07\x15\x00\x04QUIZ"

    async def main() -> None:
        async with TestBroker(authentication=("QUIZ", [(b"why?", b"so")])) as broker:
            asked, right = auth(b"\x18", b"why?"), auth(b"\x18", b"so")
            result = await exchange(
                broker,
                (connect, asked),
                (right, connack),
                (auth(b"\x19"), asked),
                (right, auth(b"\x00")),
            )
            assert result == b"open"
            wrong = auth(b"\x18", b"no")
            closed = await exchange(broker, (connect, asked), (wrong, connack))
            assert closed == b"\x20\x03\x00\x87\x00"
            with pytest.raises(MqttConnectError):
                await client(broker).__aenter__()

    run(main)


def test_a_client_is_sent_elsewhere(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(server_reference="other.example", server_moved=True) as broker:
            connect = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a"
            expected = b"\x20\x13\x00\x9d\x10\x1c\x00\x0dother.example"
            assert await exchange(broker, (connect, expected)) == b"open"

    run(main)


def test_a_connected_client_is_sent_elsewhere(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker() as broker:
            reader, writer = await asyncio.open_connection(broker.host, broker.port)
            writer.write(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a")
            async with asyncio.timeout(LIMIT):
                assert await reader.readexactly(5) == b"\x20\x03\x00\x00\x00"
                assert broker.disconnect_client("a", 0x9C, "other.example")
                assert await reader.read() == b"\xe0\x12\x9c\x10\x1c\x00\x0dother.example"
            writer.close()
            await writer.wait_closed()

    run(main)


def test_a_client_that_is_disconnected_leaves_its_will(run: LoopRunner) -> None:
    async def main() -> None:
        async with (
            TestBroker(listen=False) as broker,
            client(broker, identifier="watcher") as watcher,
        ):
            await watcher.subscribe("t")
            name = unique("c")
            victim = await client(broker, identifier=name).__aenter__()
            assert broker.session(name) == SessionStats(
                connected=True, queued=0, in_flight=0, dropped=0
            )
            administrative = ReasonCode(PacketTypes.DISCONNECT, identifier=0x98)
            assert broker.disconnect_client(name, administrative)
            with pytest.raises(MqttError):
                await receive(victim)
            await victim.__aexit__(None, None, None)
            assert not broker.disconnect_client(name, 0x98)
            with pytest.raises(ValueError, match=r"3\.14\.2\.1"):
                broker.disconnect_client("watcher", 0)
            with pytest.raises(ValueError, match="0x05 is no Reason Code"):
                broker.disconnect_client("watcher", 5)
        assert broker.session("watcher") is None
        assert not broker.disconnect_client("watcher", 0x98)

    run(main)


def test_the_queue_of_a_session_is_bounded_and_drops_are_counted(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False, maximum_queued_messages=2) as broker:
            name = unique("away")
            keep = Client(broker, identifier=name, clean_session=False)
            async with keep:
                await keep.subscribe("t", qos=1)
            async with client(broker) as publisher:
                for number in range(5):
                    await publisher.publish("t", str(number), qos=1)
            stats = broker.session(name)
            assert stats
            assert 0 < stats.queued_bytes < broker.stats().session_bytes
            assert stats == SessionStats(
                connected=False,
                queued=2,
                in_flight=0,
                dropped=3,
                queued_bytes=stats.queued_bytes,
                subscriptions=1,
            )
            assert broker.dropped == 3
            assert broker.stats().dropped == 3
            async with keep:
                await keep.publish("t", b"last", qos=1)
                messages = await receive_until(keep, b"last")
                assert [message.payload for message in messages] == [b"0", b"1"]

    run(main)


def test_the_queue_of_a_session_is_bounded_in_bytes(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False, maximum_queued_bytes=100_000) as broker:
            name = unique("away")
            keep = Client(broker, identifier=name, clean_session=False)
            async with keep:
                await keep.subscribe("t", qos=1)
            async with client(broker) as publisher:
                for _ in range(10):
                    await publisher.publish("t", bytes(30_000), qos=1)
            stats = broker.session(name)
            assert stats
            assert (stats.queued, stats.dropped) == (3, 7)
            assert 90_000 < stats.queued_bytes <= 100_000

    run(main)


def test_what_is_refused_at_a_limit_is_counted(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker(
            listen=False,
            maximum_connections=1,
            maximum_subscriptions=1,
            maximum_retained_messages=0,
            maximum_sessions=10,
            maximum_session_bytes=1_000_000,
            maximum_retained_bytes=0,
        )
        assert broker.stats() == BrokerStats()
        async with broker, client(broker) as one:
            with pytest.raises(MqttConnectError, match="Quota exceeded"):
                await client(broker).__aenter__()
            await one.subscribe("a")
            assert [code.value for code in await one.subscribe("b")] == [0x97]
            with pytest.raises(MqttCodeError, match="Quota exceeded"):
                await one.publish("t", b"x", qos=1, retain=True)
            stats = broker.stats()
            assert (stats.refused, stats.dropped) == (3, 0)
            assert (stats.sessions, stats.retained_messages) == (1, 0)

    run(main)


def test_output_that_is_not_read_stays_in_the_broker() -> None:
    """All that waited was handed to the transport at once, up to the whole window of a client."""
    broker = Broker()
    number = broker.open()
    broker.receive(number, b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a")
    broker.receive(number, b"\x82\x07\x00\x01\x00\x00\x01t\x01")
    assert [data for _, data in broker.take_output()] == [
        b"\x20\x03\x00\x00\x00\x90\x04\x00\x01\x00\x01"
    ]
    payload = bytes(10_000)
    for packet_id in range(1, 101):
        body = b"\x00\x01t" + packet_id.to_bytes(2) + b"\x00" + payload
        length = bytes([len(body) % 128 + 128, len(body) // 128])
        broker.receive(number, b"\x32" + length + body)
    taken, most = 0, 0
    while output := broker.take_output():
        ((of, data),) = output
        assert of == number
        taken, most = taken + len(data), max(most, len(data))
    assert taken > 100 * len(payload)
    assert most <= 256 * 1024 + len(payload) + 100

    broker.receive(number, b"\x32" + length + body)
    broker.pause_output(number)
    assert broker.take_output() == []


def test_topic_aliases_of_the_broker_are_resolved_by_the_client(run: LoopRunner) -> None:
    async def main() -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.TopicAliasMaximum = 2
        async with (
            TestBroker(listen=False, topic_aliases_out=2) as broker,
            client(broker, properties=properties) as one,
        ):
            await one.subscribe("#", qos=1)
            topics = ["long/a", "long/a", "long/b", "long/c", "long/a", "long/c", "t"]
            for topic in topics:
                await one.publish(topic, topic, qos=1)
            for topic in topics:
                message = await receive(one)
                assert str(message.topic) == topic
                assert message.payload == topic.encode()

    run(main)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"maximum_qos": 3}, ValueError, "maximum_qos must be in the range 0-2, not 3"),
        ({"maximum_qos": "1"}, TypeError, "maximum_qos must be int, not str"),
        ({"receive_maximum": 0}, ValueError, "receive_maximum must be in the range 1-65535, not 0"),
        ({"inflight_window": -1}, ValueError, "range 1-65535, not -1"),
        ({"maximum_packet_size": 2**32}, ValueError, "range 1-4294967295"),
        ({"retain_available": 1}, TypeError, "retain_available must be bool, not int"),
        (
            {"handshake_timeout": 0},
            ValueError,
            "handshake_timeout must be more than 0 and at most 1e9 seconds, not 0",
        ),
        (
            {"handshake_timeout": float("nan")},
            ValueError,
            "handshake_timeout must be more than 0 and at most 1e9 seconds, not nan",
        ),
        ({"users": ["ann"]}, TypeError, "users must be a mapping"),
        ({"users": {"ann": 1}}, TypeError, "users must be a mapping to str or bytes, not int"),
        ({"deny_publish": "a"}, TypeError, "deny_publish must be a list"),
        ({"deny_publish": ["a/#/b"]}, ValueError, "# must be the last level"),
        ({"deny_publish": [("a", 0x10)]}, ValueError, "3.4.2.1"),
        ({"deny_subscribe": [("a", 0x90)]}, ValueError, "3.9.3"),
        ({"deny_connect": [("a", 5)]}, ValueError, "0x05 is no Reason Code"),
        ({"deny_connect": [("a", 0x8D)]}, ValueError, "3.2.2.2"),
        ({"response_information": "a\0"}, ValueError, "U+0000"),
        ({"server_reference": "\ud800"}, ValueError, "lone surrogate"),
        ({"authentication": "QUIZ"}, TypeError, "authentication must be (method, "),
        ({"authentication": ("Q", [(b"", b"a" * 65_536)])}, ValueError, "65536 bytes"),
        ({"authentication": ("Q", [(b"", 1)])}, TypeError, "authentication must be (method, "),
        ({"maximum": 1}, TypeError, "no option"),
    ],
)
def test_wrong_values_are_typed_errors_before_the_start(
    options: dict[str, object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as raised:
        TestBroker(**options)  # type: ignore[arg-type]
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--maximum-qos", "3"], "argument --maximum-qos: must be in the range 0-2, not 3"),
        (["--retain-available", "perhaps"], "--retain-available: 'perhaps' is neither"),
        (["--user", "s3cret"], "--user: must read NAME:PASSWORD"),
        (["--deny-publish", "a/#/b"], "--deny-publish: "),
        (["--deny-publish", "0x10:a"], "3.4.2.1"),
        (["--deny-connect", "0xzz:a"], "0xzz is no Reason Code"),
        (["--server-moved"], "--server-moved: needs --server-reference"),
    ],
)
def test_wrong_arguments_are_said_as_typed(arguments: list[str], text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ferromqtt", "broker", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert text in done.stderr
    assert "s3cret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_arguments_of_the_command_line_hold(run: LoopRunner) -> None:
    command = ["broker", "--user", "ann:one:two", "--deny-connect", "0x89:busy*", "--maximum-qos=1"]

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ferromqtt", *command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(LIMIT):
                url = (await process.stdout.readline()).decode()
            port = int(url.rpartition(":")[2])
            login = {"username": "ann", "password": "one:two", "protocol": V5}
            async with Client("127.0.0.1", port, **login) as one:  # type: ignore[arg-type]
                granted = await one.subscribe("t", qos=2)
                assert [int(getattr(code, "value", code)) for code in granted] == [1]
            with pytest.raises(MqttConnectError):
                await Client("127.0.0.1", port, protocol=V5).__aenter__()
            with pytest.raises(MqttConnectError) as refused:
                await Client("127.0.0.1", port, identifier="busy1", **login).__aenter__()  # type: ignore[arg-type]
            assert "Server busy" in str(refused.value)
        finally:
            process.terminate()
            await process.communicate()

    run(main)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((5,), TypeError, "host must be str, not int"),
        (("127.0.0.1", "1883"), TypeError, "port must be int, not str"),
        (("127.0.0.1", 65536), ValueError, "port must be in the range 0-65535, not 65536"),
    ],
)
def test_a_wrong_address_to_listen_on_is_named(
    arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"^{text}$"):
        TestBroker(*arguments)


def test_a_version_that_is_no_number_is_told_as_one_of_the_list() -> None:
    with pytest.raises(TypeError, match=r"^each of refused_versions must be int, not str$"):
        TestBroker(listen=False, refused_versions=["5"])  # type: ignore[list-item]
