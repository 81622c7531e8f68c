"""Properties: which names there are, dictionaries, equality, and what 3.x does not send."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from paho.mqtt.properties import Properties as PahoProperties

from ferromqtt import Client, PacketTypes, Properties, ProtocolVersion, Will
from support import packets
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer, answer, serve_311

V5 = ProtocolVersion.V5
WRONG_NAMES: dict[str, tuple[Any, str]] = {
    "a key": ({"ContentTyp": "text/plain"}, "ContentType"),
    "a key in snake case": ({"content_typ": "text/plain"}, "ContentType"),
    "a key of mixed spelling": ({"contentType": "text/plain"}, "ContentType"),
    "an attribute": (SimpleNamespace(packetType=3, ContentTyp="text/plain"), "ContentType"),
    "an attribute in snake case": (SimpleNamespace(content_type="text/plain"), "ContentType"),
    "a plural": ({"UserProperties": [("a", "b")]}, "UserProperty"),
}


@pytest.mark.parametrize("case", WRONG_NAMES)
def test_a_wrong_name_is_refused_with_the_nearest_1_8(run: LoopRunner, case: str) -> None:
    properties, meant = WRONG_NAMES[case]

    async def main() -> None:
        wrong = (
            rf"^Property name must be one of MQTT 5\.0's, not '\w+': did you mean {meant}\? They"
        )
        client = Client("localhost", protocol=V5)
        with pytest.raises(ValueError, match=wrong):
            await client.publish("a", properties=properties)
        with pytest.raises(ValueError, match=wrong):
            await client.subscribe("a", properties=properties)
        with pytest.raises(ValueError, match=wrong):
            await client.unsubscribe("a", properties=properties)
        with pytest.raises(ValueError, match=wrong):
            await Client("localhost", protocol=V5, properties=properties).__aenter__()
        will = Will("a", properties=properties)
        with pytest.raises(ValueError, match=wrong):
            await Client("localhost", protocol=V5, will=will).__aenter__()

    run(main)


def test_a_wrong_name_is_refused_when_it_is_assigned_1_8() -> None:
    properties = Properties(PacketTypes.PUBLISH)
    with pytest.raises(ValueError, match=r"not 'ContentTyp': did you mean ContentType\? They"):
        properties.ContentTyp = "text/plain"
    with pytest.raises(ValueError, match=r"not 'Zzz'\. They are .*WillDelayInterval"):
        properties.Zzz = 1


@pytest.mark.parametrize("properties", ["ContentType", 5, [("ContentType", "text/plain")]])
def test_properties_of_another_type_are_named_1_8(run: LoopRunner, properties: Any) -> None:  # noqa: ANN401
    async def main() -> None:
        with pytest.raises(TypeError, match=r"^properties must be Properties or a dict, not "):
            await Client("localhost", protocol=V5).publish("a", properties=properties)

    run(main)


def test_attributes_that_are_no_properties_may_be_there_1_8(run: LoopRunner) -> None:
    """As `types` and `names` of paho's class, and what a class of the user's adds."""
    paho = PahoProperties(PacketTypes.PUBLISH)
    paho.ContentType = "a"
    one_s_own = SimpleNamespace(packetType=3, ContentType="a", source="x", _cache={}, LIMIT=1)

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        for _ in range(2):
            _, body = connection.expect(packets.PUBLISH)
            assert body == packets.string("t") + b"\x04\x03" + packets.string("a")
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=V5) as client:
            for properties in (paho, one_s_own):
                await client.publish("t", properties=properties)

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()


@pytest.mark.parametrize("name", ["ContentType", "Content Type", "content_type"])
def test_a_dictionary_is_taken_in_every_call_1_8(run: LoopRunner, name: str) -> None:
    pairs = [("a", "1"), ("a", "2")]

    def script(connection: Connection) -> None:
        connect = connection.accept(packets.CONNACK_5)
        assert b"\x11\x00\x00\x00\x05" in connection.received, connect
        assert b"\x03" + packets.string("of the will") in connection.received
        while (packet := connection.read_packet())[0] >> 4 != packets.DISCONNECT:
            for key, value in pairs:
                assert b"\x26" + packets.string(key) + packets.string(value) in packet[1]
            if packet[0] >> 4 == packets.PUBLISH:
                assert b"\x03" + packets.string("text/plain") in packet[1]
            answer(connection, *packet, v5=True)

    async def main(server: ScriptedServer) -> None:
        will = Will("w", properties={name: "of the will"})
        connect = {"SessionExpiryInterval": 5}
        client = Client(server.host, server.port, protocol=V5, will=will, properties=connect)
        async with client:
            properties = {name: "text/plain", "UserProperty": pairs}
            await client.publish("t", qos=1, properties=properties)
            await client.subscribe("t", properties={"user_property": pairs})
            await client.unsubscribe("t", properties={"User Property": pairs})

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()


def test_equality_is_that_of_packet_and_properties_1_8() -> None:
    def made(packet: int = PacketTypes.PUBLISH, **properties: object) -> Properties:
        one = Properties(packet)
        for name, value in properties.items():
            setattr(one, name, value)
        return one

    one, same = made(ContentType="a", UserProperty=("a", "b")), made(UserProperty=("a", "b"))
    assert one != same
    same.ContentType = "a"  # in another order
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same}) == 1
    assert one != made(ContentType="b", UserProperty=("a", "b"))
    assert made(PacketTypes.PUBLISH) != made(PacketTypes.WILLMESSAGE)
    assert one != {"ContentType": "a"}
    assert hash(Will("a", properties=one)) == hash(Will("a", properties=same))


def test_repr_shows_what_is_set_and_no_secrets_1_8() -> None:
    properties = Properties(PacketTypes.PUBLISH)
    assert repr(properties) == "Properties(PacketTypes.PUBLISH)"
    properties.ContentType = "text/plain"
    properties.CorrelationData = b"s3cret"
    properties.UserProperty = ("a", "b")
    assert repr(properties) == (
        "Properties(PacketTypes.PUBLISH, ContentType='text/plain', CorrelationData=(not shown), "
        "UserProperty=[('a', 'b')])"
    )
    will = Properties(PacketTypes.WILLMESSAGE)
    will.WillDelayInterval = 5
    assert repr(will) == "Properties(PacketTypes.WILLMESSAGE, WillDelayInterval=5)"


@pytest.mark.parametrize("protocol", [None, ProtocolVersion.V31])
def test_before_5_properties_are_not_sent_with_one_warning_1_3(
    run: LoopRunner, caplog: pytest.LogCaptureFixture, protocol: ProtocolVersion | None
) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "text/plain"
    empty = Properties(PacketTypes.PUBLISH)

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, protocol=protocol, identifier="a")
        async with client:
            await client.publish("t", properties=empty)
            assert not caplog.records
            for _ in range(3):
                await client.publish("t", properties=properties)
                await client.publish("t", properties={"ContentType": "text/plain"})
            await client.subscribe("t", properties=properties)
            await client.unsubscribe("t", properties=properties)

    with caplog.at_level(logging.WARNING), ScriptedServer(serve_311) as server:
        run(main, server)
        server.join()
        assert b"text/plain" not in server.received
    version = "3.1.1" if protocol is None else "3.1"
    (record,) = caplog.records
    assert record.getMessage() == (
        f"Properties are not sent: MQTT {version} has none. Leave them out, or give the client "
        "protocol=ProtocolVersion.V5."
    )


def test_before_5_properties_of_a_will_are_not_sent_with_one_warning_1_3(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(server: ScriptedServer) -> None:
        will = Will("w", properties={"ContentType": "text/plain"})
        client = Client(server.host, server.port, will=will)
        async with client:
            await client.publish("t", properties={"ContentType": "text/plain"})

    with caplog.at_level(logging.WARNING), ScriptedServer(serve_311) as server:
        run(main, server)
        server.join()
        assert b"text/plain" not in server.received
    assert len(caplog.records) == 1
