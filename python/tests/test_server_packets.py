"""`TestBroker.send`: packets that a right server would not send."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ferromqtt import MqttCodeError, ProtocolVersion
from ferromqtt.reasons import PacketTypes, ReasonCode
from ferromqtt.testing import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUBACK,
    TestBroker,
)
from support.clients import receive
from support.virtual import memory_broker, play

V5 = ProtocolVersion.V5


def test_a_message_has_what_it_was_given() -> None:
    async def main() -> None:
        broker = memory_broker()
        properties = {"user_property": [("a", "b")], "SubscriptionIdentifier": [3, 4]}
        async with broker.client("c", protocol=V5) as client:
            await client.subscribe("#")
            assert broker.send("c", PUBLISH, topic="a", payload="x", properties=properties)
            message = await receive(client)
            assert (message.payload, message.qos, message.retain) == (b"x", 0, False)
            assert message.properties.UserProperty == [("a", "b")]
            assert message.properties.SubscriptionIdentifier == [3, 4]
            assert broker.send("c", PUBLISH, topic="b", qos=1, packet_id=9, dup=True, retain=True)
            message = await receive(client)
            assert (message.payload, message.qos, message.retain) == (b"", 1, True)

    play(main)


def test_an_answer_comes_in_place_of_the_right_one() -> None:
    async def main() -> None:
        broker = memory_broker()
        broker.receives(PUBLISH).lose()
        async with broker.client("c", protocol=V5) as client:
            publishing = asyncio.create_task(client.publish("b", qos=1))
            await asyncio.sleep(1)
            (lost,) = broker.packets(PUBLISH)
            full = {"reason_string": "the store is full"}
            code = ReasonCode(PacketTypes.PUBACK, identifier=0x97)
            broker.send("c", PUBACK, packet_id=lost.packet_id, reason=code, properties=full)
            with pytest.raises(MqttCodeError, match="the store is full"):
                await publishing

    play(main)


def test_the_version_of_the_link_leaves_out_what_it_does_not_have() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with broker.client("c", protocol=ProtocolVersion.V311):
            broker.send("c", PUBREC, packet_id=1, reason=0x97, properties={"reason_string": "x"})
            assert str(broker.packets(PUBREC)[0]) == "PUBREC (id 1)"

    play(main)


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        (CONNACK, {"session_present": True}, "CONNACK (0x00 Success, Session Present)"),
        (PUBLISH, {"topic": "a", "retain": True}, "PUBLISH (QoS 0, RETAIN, topic "),
        (PUBLISH, {"topic": "a/#"}, "PUBLISH (8 bytes, malformed)"),  # a Topic Name has no wildcard
        (PUBREC, {"packet_id": 1}, "PUBREC (id 1)"),
        (PUBREL, {"packet_id": 2, "reason": 0x92}, "PUBREL (id 2, 0x92"),
        (PUBCOMP, {"packet_id": 3}, "PUBCOMP (id 3)"),
        (SUBACK, {"packet_id": 4, "reasons": [0, 0x80]}, "SUBACK (id 4, 0x00 Granted QoS 0, 0x80"),
        (UNSUBACK, {"packet_id": 5, "reasons": (0x11,)}, "UNSUBACK (id 5, 0x11"),
        (PINGRESP, {}, "PINGRESP"),
        (DISCONNECT, {"reason": 0x8B}, "DISCONNECT (0x8B"),
        (AUTH, {"reason": 0x18}, "AUTH (0x18"),
    ],
)
def test_each_packet_that_servers_send_can_be_sent(
    kind: int, fields: dict[str, Any], text: str
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with broker.client("c", protocol=V5):
            rule = broker.sends(kind).lose()  # it would end the connection
            assert broker.send("c", kind, **fields)
            await broker.idle()
            assert rule.fired == 1
            assert str(broker.packets(kind, side="sends")[-1]).startswith(text)

    play(main)


def test_without_a_link_nothing_is_sent() -> None:
    async def main() -> None:
        assert not memory_broker().send("nobody", PINGRESP)

    play(main)


@pytest.mark.parametrize(
    ("send", "error", "words"),
    [
        (lambda b: b.send("c", None), TypeError, "kind must be a PacketKind, not NoneType"),
        (lambda b: b.send(1, PINGRESP), TypeError, "client_identifier must be str, not int"),
        (lambda b: b.send("c", CONNECT), ValueError, "no server sends CONNECT: give its bytes"),
        (lambda b: b.send("c", PUBACK), ValueError, "PUBACK needs packet_id"),
        (lambda b: b.send("c", SUBACK, packet_id=1), ValueError, "SUBACK needs reasons"),
        (lambda b: b.send("c", PUBLISH, payload="x"), ValueError, "PUBLISH needs topic"),
        (lambda b: b.send("c", PUBLISH, topic="a", qos=1), ValueError, "PUBLISH needs packet_id"),
        (
            lambda b: b.send("c", PUBLISH, topic="a", packet_id=1),
            ValueError,
            "PUBLISH of QoS 0 has no packet_id: give qos too, or leave it out",
        ),
        (
            lambda b: b.send("c", PUBACK, topic="a"),
            ValueError,
            "PUBACK has no topic: send takes packet_id, reason, properties for it",
        ),
        (
            lambda b: b.send("c", PINGRESP, reason=0),
            ValueError,
            "PINGRESP has no reason: send takes none for it",
        ),
        (lambda b: b.send("c", PUBACK, packet_id=0), ValueError, "packet_id must be in the range"),
        (lambda b: b.send("c", PUBACK, packet_id="1"), TypeError, "packet_id must be int, not str"),
        (lambda b: b.send("c", AUTH, reason=5), ValueError, "reason: 0x05 is no Reason Code"),
        (lambda b: b.send("c", AUTH, reason="5"), TypeError, "reason must be int, not str"),
        (
            lambda b: b.send("c", SUBACK, packet_id=1, reasons=b"1"),
            TypeError,
            "reasons must be a list of Reason Codes, not bytes",
        ),
        (lambda b: b.send("c", PUBLISH, topic=1), TypeError, "topic must be str, not int"),
        (lambda b: b.send("c", PUBLISH, topic="\0"), ValueError, "topic: string contains"),
        (lambda b: b.send("c", PUBLISH, payload=1), TypeError, "payload must be str or bytes"),
        (lambda b: b.send("c", PUBLISH, qos=3), ValueError, "qos must be in the range 0-2, not 3"),
        (lambda b: b.send("c", PUBLISH, dup=1), TypeError, "dup must be bool, not int"),
        (
            lambda b: b.send("c", PUBACK, packet_id=1, properties={"topic_alias": 1}),
            ValueError,
            "Property TopicAlias does not apply to packet type",
        ),
    ],
)
def test_what_no_packet_holds_is_refused_in_words(
    send: Callable[[TestBroker], bool], error: type[Exception], words: str
) -> None:
    broker = memory_broker()
    with pytest.raises(error) as raised:
        send(broker)
    assert words in str(raised.value)
