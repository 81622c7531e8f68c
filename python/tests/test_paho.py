"""What programs bring from paho, and what of it ferromqtt has itself (contract 1.8).

Texts and shapes are compared with paho-mqtt itself, which ferromqtt neither needs nor imports.
"""

import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes as PahoPacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode as PahoReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions as PahoSubscribeOptions

from ferromqtt import (
    Client,
    MqttCodeError,
    MqttConnectError,
    PacketTypes,
    Properties,
    ProtocolVersion,
    ReasonCode,
    SubscribeOptions,
    Will,
)
from ferromqtt.options import MQTT_CLEAN_START_FIRST_ONLY
from ferromqtt.reasons import MQTTErrorCode, error_string
from support import packets
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer, answer, serve

V5 = ProtocolVersion.V5


def constants(kind: type) -> dict[str, object]:
    """Return what a class defines in capital letters."""
    return {name: value for name, value in vars(kind).items() if name.isupper()}


def reason_codes() -> Iterator[tuple[PahoReasonCode, ReasonCode]]:
    """Return every Reason Code in every packet that can carry it, paho's and ours."""
    for packet_type in PahoPacketTypes.indexes:
        for value in PahoReasonCode(PahoPacketTypes.CONNACK).names:
            try:
                theirs = PahoReasonCode(packet_type, identifier=value)
                theirs.getName()
            except Exception:  # noqa: BLE001  not in this packet, which paho says in many ways
                continue
            yield theirs, ReasonCode(packet_type, identifier=value)


def names_of_properties(packet_type: int) -> list[str]:
    """Return the attributes that paho allows in a packet."""
    theirs = PahoProperties(packet_type)
    return [
        name.replace(" ", "")
        for name, identifier in theirs.names.items()
        if packet_type in theirs.properties[identifier][1]
    ]


VALUES: dict[str, Any] = {
    "ContentType": "text/plain",
    "ResponseTopic": "answer",
    "CorrelationData": b"\x00\xff",
    "AssignedClientIdentifier": "me",
    "AuthenticationMethod": "SCRAM",
    "AuthenticationData": b"data",
    "ResponseInformation": "r",
    "ServerReference": "elsewhere",
    "ReasonString": "why",
    "UserProperty": ("name", "value"),
}
"""A value for each property that is not a number; 1 for the others."""

PACKETS = [*PahoPacketTypes.indexes, PahoPacketTypes.WILLMESSAGE]


def filled(kind: Callable[[int], Any], packet_type: int) -> Any:  # noqa: ANN401
    """Return properties of either class with everything set that the packet can have."""
    properties = kind(packet_type)
    for name in names_of_properties(packet_type):
        setattr(properties, name, VALUES.get(name, 1))
    return properties


def test_paho_is_not_imported_1_8() -> None:
    program = (
        "import sys, json, ferromqtt, ferromqtt.options, ferromqtt.testing;"
        "print(json.dumps([name for name in sys.modules if name.split('.')[0] == 'paho']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert json.loads(done.stdout) == []


def test_packet_types_equal_those_of_paho_1_8() -> None:
    assert constants(PacketTypes) == constants(PahoPacketTypes)
    assert PacketTypes.Names == PahoPacketTypes.Names
    assert PacketTypes.indexes == PahoPacketTypes.indexes


def test_error_codes_and_texts_equal_those_of_paho_1_8() -> None:
    assert {code.name: int(code) for code in MQTTErrorCode} == {
        code.name: int(code) for code in paho.MQTTErrorCode
    }
    for code in [*range(-3, 20), 99, 255]:
        assert error_string(code) == paho.error_string(code)
        assert str(MqttCodeError(code)) == f"[code:{code}] {paho.error_string(code)}"
    for theirs in paho.MQTTErrorCode:
        assert MqttCodeError(theirs).rc == theirs
        assert str(MqttCodeError(theirs)) == f"[code:{int(theirs)}] {paho.error_string(theirs)}"


def test_clean_start_constant_equals_that_of_paho_1_8() -> None:
    assert MQTT_CLEAN_START_FIRST_ONLY == paho.MQTT_CLEAN_START_FIRST_ONLY == 3


def test_reason_codes_equal_those_of_paho_1_8() -> None:
    found = 0
    for theirs, ours in reason_codes():
        found += 1
        assert (ours.value, ours.packetType) == (theirs.value, theirs.packetType)
        assert ours.getName() == theirs.getName() == str(ours) == str(theirs)
        assert ours.json() == theirs.json()
        assert ours.pack() == theirs.pack()
        assert repr(ours) == repr(theirs)
        assert ours.is_failure == theirs.is_failure
        assert ours.getId(str(ours)) == theirs.getId(str(theirs))
        assert ReasonCode(ours.packetType, str(theirs)).value == theirs.value
        assert ours == theirs.value
        assert ours == str(theirs)
        assert ours == theirs
        assert not ours < theirs
        assert ours <= theirs
        assert str(MqttCodeError(theirs)) == str(MqttCodeError(ours))
        assert pickle.loads(pickle.dumps(ours)) == ours
    assert found > 90


def test_reason_codes_that_paho_refuses_are_refused_1_8() -> None:
    """But 153 in CONNACK: section 3.2.2.2 of the standard has it, paho's table has not."""
    assert str(ReasonCode(PacketTypes.CONNACK, identifier=153)) == "Payload format invalid"
    for packet_type in PahoPacketTypes.indexes:
        known = {ours.value for _, ours in reason_codes() if ours.packetType == packet_type}
        if packet_type == PacketTypes.CONNACK:
            known.add(153)
        for value in set(range(256)) - known:
            with pytest.raises((KeyError, ValueError)):
                ReasonCode(packet_type, identifier=value)
    with pytest.raises(KeyError, match="Reason code name not found"):
        ReasonCode(PacketTypes.CONNACK, "no such name")


def test_reason_codes_are_ordered_like_numbers_1_8() -> None:
    low = ReasonCode(PacketTypes.SUBACK, identifier=1)
    high = ReasonCode(PacketTypes.SUBACK, identifier=135)
    assert low < high
    assert high > low
    assert low <= 1
    assert low >= 1
    assert high > PahoReasonCode(PacketTypes.SUBACK, identifier=1)
    assert sorted([high, low]) == [low, high]
    with pytest.raises(TypeError):
        assert low < "Granted QoS 2"
    assert low != "Granted QoS 2"
    assert low is not None
    assert low != object()
    assert {low: "one"}[ReasonCode(PacketTypes.SUBACK, identifier=1)] == "one"


def test_a_reason_code_of_paho_in_an_error_1_8() -> None:
    code = PahoReasonCode(PacketTypes.CONNACK, "Not authorized")
    error = MqttConnectError(code)  # type: ignore[arg-type]
    assert error.rc is code
    assert str(error) == "[code:135] Not authorized"
    assert error.args == ()


def test_subscribe_options_equal_those_of_paho_1_8() -> None:
    theirs, ours = (
        inspect.signature(kind).parameters for kind in (PahoSubscribeOptions, SubscribeOptions)
    )
    assert [(it.name, it.default, it.kind) for it in ours.values()] == [
        (it.name, it.default, it.kind) for it in theirs.values()
    ]
    assert constants(SubscribeOptions) == constants(PahoSubscribeOptions)
    for arguments in ((), (1,), (2, True, True, 2), (0, False, True, 1)):
        assert SubscribeOptions(*arguments).json() == PahoSubscribeOptions(*arguments).json()
        assert repr(SubscribeOptions(*arguments)) == repr(PahoSubscribeOptions(*arguments))
        assert str(SubscribeOptions(*arguments)) == str(PahoSubscribeOptions(*arguments))
    with pytest.raises(ValueError, match=r"^QoS should be 0, 1 or 2, not 3$"):
        SubscribeOptions(3)
    with pytest.raises(ValueError, match=r"^Retain handling should be 0, 1 or 2, not 3$"):
        SubscribeOptions(retainHandling=3)
    with pytest.raises(AttributeError):
        SubscribeOptions().qos = 1  # type: ignore[attr-defined]


def masked(properties: PahoProperties) -> str:
    """Return what paho shows of properties, without what is secret."""
    shown = str(properties)
    for name in ("AuthenticationData", "CorrelationData"):
        if hasattr(properties, name):
            value = getattr(properties, name)
            shown = shown.replace(f"{name} : {value}", f"{name} : (not shown)")
    return shown


@pytest.mark.parametrize("packet_type", PACKETS)
def test_properties_are_set_and_told_as_paho_does_1_8(packet_type: int) -> None:
    ours, theirs = filled(Properties, packet_type), filled(PahoProperties, packet_type)
    assert ours.json() == theirs.json()
    assert str(ours) == masked(theirs)
    assert ours.isEmpty() == theirs.isEmpty()
    for name in names_of_properties(packet_type):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert dict(ours.names) == theirs.names
    assert pickle.loads(pickle.dumps(ours)).json() == theirs.json()
    ours.clear()
    theirs.clear()
    assert ours.isEmpty()
    assert ours.json() == theirs.json() == {}


@pytest.mark.parametrize("packet_type", PACKETS)
def test_properties_that_paho_refuses_are_refused_1_8(packet_type: int) -> None:
    allowed = set(names_of_properties(packet_type))
    for name in Properties(packet_type).names:
        attribute = name.replace(" ", "")
        if attribute in allowed:
            continue
        with pytest.raises(ValueError, match=f"{attribute} does not apply to packet type"):
            setattr(Properties(packet_type), attribute, VALUES.get(attribute, 1))


def test_attributes_of_properties_1_8() -> None:
    properties = Properties(PacketTypes.PUBLISH)
    assert properties.packetType == PacketTypes.PUBLISH
    with pytest.raises(AttributeError):
        _ = properties.ContentType
    text = (
        r"^Property name must be one of MQTT 5\.0's, not 'Content': did you mean ContentType\? They"
    )
    with pytest.raises(ValueError, match=text):
        properties.Content = "x"
    setattr(properties, "Content Type", "a name with a space")
    assert properties.ContentType == "a name with a space"
    properties.UserProperty = ("a", "1")
    properties.UserProperty = [("b", "2"), ("a", "3")]
    assert properties.UserProperty == [("a", "1"), ("b", "2"), ("a", "3")]
    properties.SubscriptionIdentifier = 7
    assert properties.SubscriptionIdentifier == [7]
    for name, value in (("TopicAlias", 0), ("TopicAlias", 65536), ("PayloadFormatIndicator", 2)):
        with pytest.raises(ValueError, match=name) as refused:
            setattr(properties, name, value)
        with pytest.raises(Exception, match=name):
            setattr(PahoProperties(PacketTypes.PUBLISH), name, value)
        assert not hasattr(properties, name), refused


def exchange(run: LoopRunner, properties: Any, will_properties: Any, options: Any) -> bytes:  # noqa: ANN401
    """Use properties and options in everything that takes them; return what the server saw."""

    async def main(server: ScriptedServer) -> None:
        will = Will("will", b"x", properties=will_properties(PacketTypes.WILLMESSAGE))
        connect = properties(PacketTypes.CONNECT)
        client = Client(server.host, server.port, protocol=V5, properties=connect, will=will)
        async with client:
            publish = properties(PacketTypes.PUBLISH)
            await client.publish("a", b"x", qos=1, properties=publish)
            subscribe = properties(PacketTypes.SUBSCRIBE)
            await client.subscribe("a", options=options(1, True, True, 2), properties=subscribe)
            await client.subscribe(("a", options(2)), properties=subscribe)
            await client.subscribe([("a", options(2)), ("b", 1)])
            await client.unsubscribe("a", properties=properties(PacketTypes.UNSUBSCRIBE))

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        granted = [b"\x01", b"\x02", b"\x02\x01"]
        while (packet := connection.read_packet())[0] >> 4 != packets.DISCONNECT:
            if packet[0] >> 4 == packets.SUBSCRIBE:
                packet_id = packets.packet_id_of(*packet)
                codes = b"\x00" + granted.pop(0)
                connection.send(packets.ack(packets.SUBACK, packet_id, codes))
            else:
                answer(connection, *packet, v5=True)

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()
        return server.received


def to_send(kind: Callable[[int], Any]) -> Callable[[int], Any]:
    """Return a maker of properties that a client may send in a packet."""

    def make(packet_type: int) -> Any:  # noqa: ANN401
        properties = kind(packet_type)
        for name in names_of_properties(packet_type):
            # an alias is the client's own business; the other two are a server's
            if name in ("TopicAlias", "AuthenticationMethod", "AuthenticationData"):
                continue
            if name == "SubscriptionIdentifier" and packet_type == PacketTypes.PUBLISH:
                continue
            setattr(properties, name, VALUES.get(name, 100 if name == "ReceiveMaximum" else 1))
        if hasattr(properties, "MaximumPacketSize"):
            properties.MaximumPacketSize = 1_000_000
        return properties

    return make


def duck(packet_type: int) -> SimpleNamespace:
    """Return properties of no known class at all."""
    made = to_send(Properties)(packet_type)
    return SimpleNamespace(**made.json() | {"packetType": packet_type} | binary(made))


def binary(properties: Properties) -> dict[str, bytes]:
    """Return what json() shows in another form."""
    found = getattr(properties, "CorrelationData", None)
    return {} if found is None else {"CorrelationData": found}


def test_properties_and_options_of_paho_reach_the_wire_1_8(run: LoopRunner) -> None:
    """The same bytes, whoever's class they are of; each property is found in the packets."""
    ours = exchange(run, to_send(Properties), to_send(Properties), SubscribeOptions)
    theirs = exchange(run, to_send(PahoProperties), to_send(PahoProperties), PahoSubscribeOptions)

    def options(qos: int = 0, local: bool = False, kept: bool = False, how: int = 0) -> Any:  # noqa: ANN401
        return SimpleNamespace(QoS=qos, noLocal=local, retainAsPublished=kept, retainHandling=how)

    of_nobody = exchange(run, duck, duck, options)
    assert ours == theirs == of_nobody
    for text in (
        b"\x26\x00\x04name\x00\x05value",
        b"\x03\x00\x0atext/plain",
        b"\x09\x00\x02\x00\xff",
    ):
        assert text in theirs
    assert theirs.count(b"\x26\x00\x04name\x00\x05value") == 6
    assert b"\x00\x01a\x2d" in theirs  # QoS 1, No Local, Retain As Published, Retain Handling 2


def test_the_value_3_of_paho_starts_clean_1_8(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        start: Any = paho.MQTT_CLEAN_START_FIRST_ONLY
        async with Client(server.host, server.port, protocol=V5, clean_start=start):
            pass

    with ScriptedServer(lambda connection: serve(connection, packets.CONNACK_5)) as server:
        run(main, server)
        server.join()
        assert server.received[9] & 0x02


def test_a_received_message_has_properties_with_paho_s_surface_1_8(run: LoopRunner) -> None:
    properties = to_send(PahoProperties)(PacketTypes.PUBLISH)
    packed = properties.pack() + b""

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        connection.expect(packets.PUBLISH)
        body = packets.string("a") + packed + b"x"
        connection.send(packets.encode(0x30, body))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=V5) as client:
            await client.publish("go")
            received = (await anext(client.messages)).properties
            assert received is not None
            assert received.json() == properties.json()
            assert received.packetType == PacketTypes.PUBLISH
            assert str(received) == masked(properties)
            assert not received.isEmpty()

    with ScriptedServer(script) as server:
        run(main, server)
