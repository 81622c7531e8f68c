"""`Client.connack`: what a CONNACK has settled, with defaults and over reconnects."""

from typing import Any, Literal

import pytest

from conftest import Broker
from ferromqtt import Client, ConnectResult, MqttConnectError, Reconnect, ServerLimits
from ferromqtt.blocking import Client as BlockingClient
from ferromqtt.testing import TestBroker
from support import packets
from support.clients import LIMIT, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto
from support.scripted import Connection, ScriptedServer

DEFAULTS: dict[str, Any] = {
    "receive_maximum": 65_535,
    "max_qos": 2,
    "retain_available": True,
    "max_packet_size": 268_435_460,
    "topic_alias_maximum": 0,
    "wildcard_subscription_available": True,
    "shared_subscription_available": True,
    "subscription_identifiers_available": True,
}


def result(client: Client | BlockingClient) -> ConnectResult:
    found = client.connack
    assert found is not None
    return found


def connack(properties: bytes = b"", *, present: bool = False, code: int = 0) -> bytes:
    return packets.encode(0x20, bytes([present, code, len(properties)]) + properties)


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("protocol", [3, 4])
def test_before_5_all_values_are_defaults(
    run: LoopRunner, broker: Broker, protocol: Literal[3, 4], clean: bool
) -> None:
    async def main() -> None:
        name = unique("connack")[:23]
        client = Client(
            *broker.where, identifier=name, protocol=protocol, clean_session=clean, keepalive=7
        )
        assert client.connack is None
        async with client:
            found = result(client)
        limits = DEFAULTS | {"subscription_identifiers_available": False}
        assert found.limits == ServerLimits(**limits)
        assert found.client_id == name
        assert found.session_present is False
        assert found.server_keep_alive == 7
        assert found.session_expiry_interval == (0 if clean else 0xFFFF_FFFF)
        assert found.reason_code == 0
        assert (found.reason_string, found.server_reference) == (None, None)
        assert found.user_properties == []
        assert found.properties.isEmpty()
        assert result(client) == found, "it stays when the connection has ended"

    run(main)


def test_what_a_server_of_5_does_not_say_is_the_default_or_the_client_s_own(
    run: LoopRunner,
) -> None:
    def script(connection: Connection) -> None:
        connection.accept(connack())
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        client = Client(
            server.host,
            server.port,
            identifier="me",
            protocol=5,
            keepalive=7,
            session_expiry_interval=60,
        )
        async with client:
            found = result(client)
        assert found.limits == ServerLimits(**DEFAULTS)
        assert (found.client_id, found.server_keep_alive) == ("me", 7)
        assert found.session_expiry_interval == 60

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()


SAID = b"".join(
    [
        b"\x11\x00\x00\x00\x05",  # Session Expiry Interval
        b"\x21\x00\x0a",  # Receive Maximum
        b"\x24\x01",  # Maximum QoS
        b"\x25\x00",  # Retain Available
        b"\x27\xff\xff\xff\xff",  # Maximum Packet Size
        b"\x12" + packets.string("given"),  # Assigned Client Identifier
        b"\x22\x00\x03",  # Topic Alias Maximum
        b"\x1f" + packets.string("welcome"),  # Reason String
        b"\x26" + packets.string("a") + packets.string("b"),  # User Property
        b"\x28\x00",  # Wildcard Subscription Available
        b"\x29\x00",  # Subscription Identifiers Available
        b"\x2a\x00",  # Shared Subscription Available
        b"\x13\x00\x09",  # Server Keep Alive
        b"\x1a" + packets.string("answers/"),  # Response Information
        b"\x1c" + packets.string("other"),  # Server Reference
    ]
)


def test_what_a_server_of_5_says_is_there(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        connection.accept(connack(SAID))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        options = {"request_response_information": True, "session_expiry_interval": 60}
        client = Client(server.host, server.port, protocol=5, **options)
        async with client:
            found = result(client)
        assert found.limits == ServerLimits(
            receive_maximum=10,
            max_qos=1,
            retain_available=False,
            max_packet_size=268_435_460,
            topic_alias_maximum=3,
            wildcard_subscription_available=False,
            shared_subscription_available=False,
            subscription_identifiers_available=False,
        )
        assert (found.client_id, client.identifier) == ("given", "")
        assert found.server_keep_alive == 9
        assert found.session_expiry_interval == 5
        assert found.reason_string == "welcome"
        assert found.user_properties == [("a", "b")]
        assert found.response_information == "answers/"
        assert found.server_reference == "other"
        assert found.properties.MaximumPacketSize == 0xFFFF_FFFF
        assert len({found, result(client)}) == 1

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()


def test_each_connection_has_a_result_of_its_own_and_a_refusal_has_none(run: LoopRunner) -> None:
    """Over a lost connection, which is made again, and one that is refused."""

    def lose(connection: Connection) -> None:
        connection.accept(connack(b"\x21\x00\x0a"))
        connection.close()

    def resume(connection: Connection) -> None:
        connection.accept(connack(b"\x24\x00", present=True))
        connection.expect(packets.DISCONNECT)

    def refuse(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        connection.send(connack(code=0x87))
        connection.close()

    async def main(server: ScriptedServer) -> None:
        client = Client(
            server.host,
            server.port,
            identifier="me",
            protocol=5,
            reconnect=Reconnect(min=0.01, max=0.01),
        )
        events = client.events()
        async with client:
            seen = 0
            async for event in events:
                seen += type(event).__name__ == "Connected"
                if seen == 2:
                    break
            found = result(client)
            assert found.session_present
            assert (found.limits.receive_maximum, found.limits.max_qos) == (65_535, 0)
            assert found.session_expiry_interval == 3600, "what `reconnect` has asked for"
        with pytest.raises(MqttConnectError):
            await client.__aenter__()
        assert result(client) == found

    with ScriptedServer(lose, resume, refuse) as server:
        run(main, server)
        server.join()


def test_mosquitto_names_a_client_and_says_its_limits(
    run: LoopRunner, mosquitto: Mosquitto
) -> None:
    async def main() -> None:
        async with Client(*mosquitto.where, protocol=5) as client:
            found = result(client)
        assert found.client_id.startswith("auto-")
        assert found.limits.max_qos == 2
        assert found.limits.topic_alias_maximum == found.properties.TopicAliasMaximum

    run(main)


def test_a_limit_that_is_shown_is_the_one_that_refuses(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker(listen=False, maximum_qos=1, retain_available=False)
        async with broker.client(protocol=5) as client:
            limits = result(client).limits
            assert (limits.max_qos, limits.retain_available) == (1, False)
            await client.publish("t", qos=limits.max_qos)

    run(main)


def test_authentication_data_are_not_kept(run: LoopRunner) -> None:
    secret = b"\x15" + packets.string("PLAIN") + b"\x16" + packets.string("secret")

    def script(connection: Connection) -> None:
        connection.accept(connack(secret))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        client = Client(
            server.host,
            server.port,
            protocol=5,
            authentication_method="PLAIN",
            authentication_data=b"secret",
            authenticator=bytes,
        )
        async with client:
            found = result(client)
        assert found.properties.AuthenticationMethod == "PLAIN"
        assert not hasattr(found.properties, "AuthenticationData")
        assert "secret" not in repr(found) + repr(client)

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()


def test_the_blocking_client_has_it(builtin: Broker) -> None:
    client = BlockingClient(*builtin.where, protocol=5, timeout=LIMIT)
    assert client.connack is None
    with client:
        assert result(client).limits.max_qos == 2
