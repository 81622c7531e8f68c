"""Properties as plain keywords: on the wire, in what is received, refused, and before 5.0."""

import asyncio
import copy
import dataclasses
import inspect
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Broker
from ferromqtt import (
    Client,
    Message,
    MqttError,
    PacketTypes,
    Properties,
    ProtocolVersion,
    Topic,
    Will,
)
from ferromqtt.blocking import Client as BlockingClient
from ferromqtt.testing import TestBroker
from support import packets
from support.clients import LIMIT, receive, unique
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer, answer, serve_311
from support.virtual import memory_broker, play

V5 = ProtocolVersion.V5
PAIRS = [("a", "1"), ("a", "2"), ("b", "")]
OF_A_MESSAGE: dict[str, Any] = {
    "payload_format_indicator": 1,
    "message_expiry_interval": 3600,
    "content_type": "text/plain",
    "response_topic": "answers",
    "correlation_data": b"\0\1",
    "user_properties": PAIRS,
}
WIRE: dict[str, bytes] = {
    "payload_format_indicator": b"\x01\x01",
    "message_expiry_interval": b"\x02\x00\x00\x0e\x10",
    "content_type": b"\x03" + packets.string("text/plain"),
    "response_topic": b"\x08" + packets.string("answers"),
    "correlation_data": b"\x09\x00\x02\0\1",
    "user_properties": b"".join(
        b"\x26" + packets.string(name) + packets.string(value) for name, value in PAIRS
    ),
}


@pytest.mark.parametrize("name", OF_A_MESSAGE)
def test_a_keyword_of_publish_is_the_property_of_that_name_alone(
    run: LoopRunner, name: str
) -> None:
    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        _, body = connection.expect(packets.PUBLISH)
        expected = WIRE[name]
        assert body == packets.string("t") + bytes([len(expected)]) + expected + b"x"
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=V5) as client:
            await client.publish("t", "x", **{name: OF_A_MESSAGE[name]})

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()


def test_keywords_are_joined_with_properties(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        _, body = connection.expect(packets.PUBLISH)
        for name, wire in WIRE.items():
            assert wire in body, name
        _, body = connection.expect(packets.PUBLISH)
        assert body == packets.string("t") + b"\0", "None and no pairs are no property"
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        by_keyword = dict(OF_A_MESSAGE)
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = by_keyword.pop("content_type")
        properties.UserProperty = by_keyword.pop("user_properties")
        async with Client(server.host, server.port, protocol=V5) as client:
            await client.publish("t", properties=properties, **by_keyword)
            await client.publish("t", content_type=None, user_properties={})

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()


def test_a_topic_alias_by_keyword_stands_for_the_topic(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker(listen=False, topic_alias_maximum=3)
        async with broker.client(protocol=5) as client:
            await client.subscribe("long/topic")
            await client.publish("long/topic", "1", topic_alias=3)
            await client.publish("", "2", topic_alias=3)
            received = [await receive(client), await receive(client)]
            assert [str(message.topic) for message in received] == ["long/topic"] * 2

    run(main)


def test_user_properties_may_be_a_dict_or_any_iterable_of_pairs(
    run: LoopRunner, in_memory: Broker
) -> None:
    given: list[tuple[Any, list[tuple[str, str]]]] = [
        ({"a": "1", "b": "2"}, [("a", "1"), ("b", "2")]),
        (iter(PAIRS), PAIRS),
        ((list(pair) for pair in PAIRS), PAIRS),
        ((), []),
    ]

    async def main() -> None:
        async with Client(*in_memory.where, protocol=V5) as client:
            await client.subscribe("t")
            for pairs, expected in given:
                await client.publish("t", user_properties=pairs)
                assert (await receive(client)).user_properties == expected

    run(main)


@pytest.mark.parametrize("slots", [None, 5])
def test_what_is_published_by_keywords_is_read_by_attributes(
    run: LoopRunner, broker: Broker, slots: int | None
) -> None:
    """With either server, and where calls wait for slots too."""

    async def main() -> None:
        topic = unique("keywords")
        options = {"protocol": V5, "max_concurrent_outgoing_calls": slots}
        async with Client(*broker.where, **options) as client:
            await client.subscribe(topic, qos=1, subscription_identifier=268_435_455)
            await client.publish(topic, "x", qos=1, **OF_A_MESSAGE)
            await client.publish(topic, "y", qos=1, response_topic=Topic("answers"))
            message, other = await receive(client), await receive(client)
            assert {name: getattr(message, name) for name in OF_A_MESSAGE} == OF_A_MESSAGE
            assert message.subscription_identifiers == [268_435_455]
            assert other.response_topic == "answers"
            assert other.user_properties == []
            for name in OF_A_MESSAGE.keys() - {"response_topic", "user_properties"}:
                assert getattr(other, name) is None
            await client.unsubscribe(topic, user_properties={"a": "1"})

    run(main)


def test_subscribe_and_unsubscribe_send_their_keywords(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        while (packet := connection.read_packet())[0] >> 4 != packets.DISCONNECT:
            expected = WIRE["user_properties"]
            if packet[0] >> 4 == packets.SUBSCRIBE:
                expected = b"\x0b\x07" + expected
            assert packet[1][2:].startswith(bytes([len(expected)]) + expected)
            answer(connection, *packet, v5=True)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=V5) as client:
            await client.subscribe("t", subscription_identifier=7, user_properties=PAIRS)
            await client.unsubscribe("t", user_properties=PAIRS)

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()


CONNECT: dict[str, tuple[Any, bytes]] = {
    "session_expiry_interval": (60, b"\x11\x00\x00\x00\x3c"),
    "receive_maximum": (5, b"\x21\x00\x05"),
    "maximum_packet_size": (1000, b"\x27\x00\x00\x03\xe8"),
    "topic_alias_maximum": (3, b"\x22\x00\x03"),
    "request_response_information": (True, b"\x19\x01"),
    "request_problem_information": (False, b"\x17\x00"),
    "user_properties": ({"a": "1"}, b"\x26" + packets.string("a") + packets.string("1")),
    "authentication_method": ("PLAIN", b"\x15" + packets.string("PLAIN")),
}


@pytest.mark.parametrize("name", CONNECT)
def test_a_keyword_of_the_client_is_a_property_of_connect(run: LoopRunner, name: str) -> None:
    value, wire = CONNECT[name]

    def script(connection: Connection) -> None:
        connack = packets.CONNACK_5
        if name == "authentication_method":
            connack = packets.encode(0x20, b"\0\0" + bytes([len(wire)]) + wire)
        body = connection.accept(connack)
        assert body[10:].startswith(bytes([len(wire)]) + wire)
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        options: dict[str, Any] = {name: value}
        if name == "authentication_method":
            options["authenticator"] = bytes
        async with Client(server.host, server.port, protocol=V5, **options):
            pass

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()


def test_authentication_data_by_keyword_go_beside_their_method(run: LoopRunner) -> None:
    data = b"\x16" + packets.string("first")
    method = CONNECT["authentication_method"][1]

    def script(connection: Connection) -> None:
        connack = packets.encode(0x20, b"\0\0" + bytes([len(method)]) + method)
        body = connection.accept(connack)
        assert data in body
        assert method in body
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        options: dict[str, Any] = {"authentication_method": "PLAIN", "authenticator": bytes}
        client = Client(
            server.host, server.port, protocol=V5, authentication_data=b"first", **options
        )
        async with client:
            pass

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()


@pytest.mark.parametrize("name", [*CONNECT, "authentication_data"])
@pytest.mark.parametrize("protocol", [None, 3, 4])
def test_before_5_a_keyword_of_the_client_is_refused(name: str, protocol: Any) -> None:  # noqa: ANN401
    value = CONNECT[name][0] if name in CONNECT else b"x"
    wrong = rf"^{name} is a property of MQTT 5\.0: give protocol=5, or leave it out\.$"
    with pytest.raises(ValueError, match=wrong):
        Client("localhost", protocol=protocol, **{name: value})
    Client("localhost", protocol=protocol, **{name: None})  # as if it were left out


WRONG: list[tuple[str, Any, type[Exception], str]] = [
    ("payload_format_indicator", 2, ValueError, "must be 0 or 1"),
    ("message_expiry_interval", -1, ValueError, "must be in the range 0-4294967295"),
    ("message_expiry_interval", 1 << 32, ValueError, "must be in the range 0-4294967295"),
    ("message_expiry_interval", 1.5, TypeError, "must be int, not float"),
    ("content_type", 5, TypeError, "must be a str, not int"),
    ("content_type", "a" * 65_536, ValueError, "must have at most 65535 bytes"),
    ("response_topic", b"\xff", ValueError, "must be valid UTF-8"),
    ("correlation_data", "text", TypeError, "must be bytes, not str"),
    ("user_properties", 5, TypeError, "must be a dict, or pairs of str and str, not int"),
    ("user_properties", "ab", TypeError, "must be a dict, or pairs of str and str, not str"),
    ("user_properties", [("a",)], TypeError, "must be a pair of strings"),
    ("user_properties", ["ab"], TypeError, "must be a pair of strings"),
    ("user_properties", {"a": 1}, TypeError, "must be a str, not int"),
]


@pytest.mark.parametrize(("name", "value", "kind", "text"), WRONG)
def test_a_wrong_value_is_refused_before_anything_is_sent(
    run: LoopRunner,
    name: str,
    value: Any,  # noqa: ANN401
    kind: type[Exception],
    text: str,
) -> None:
    """Of the client not even entered; of `Will` where it is made."""

    async def main() -> None:
        client = Client("localhost", protocol=V5)
        with pytest.raises(kind, match=f"^{name} {text}"):
            await client.publish("t", **{name: value})
        if name == "user_properties":
            with pytest.raises(kind, match=f"^{name} {text}"):
                await client.subscribe("t", user_properties=value)
            with pytest.raises(kind, match=f"^{name} {text}"):
                await client.unsubscribe("t", user_properties=value)
            with pytest.raises(kind, match=f"^{name} {text}"):
                Client("localhost", protocol=V5, user_properties=value)
        with pytest.raises(kind, match=f"^{name} {text}"):
            Will("w", **{name: value})

    run(main)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("receive_maximum", 0, ValueError),
        ("receive_maximum", 65_536, ValueError),
        ("maximum_packet_size", 0, ValueError),
        ("session_expiry_interval", "60", TypeError),
        ("authentication_data", "text", TypeError),
        ("request_problem_information", 2, ValueError),
    ],
)
def test_a_wrong_value_of_the_client_is_refused_where_it_is_made(
    name: str,
    value: Any,  # noqa: ANN401
    kind: type[Exception],
) -> None:
    with pytest.raises(kind, match=f"^{name} must be "):
        Client("localhost", protocol=V5, **{name: value})


def test_a_wrong_subscription_identifier_is_refused(run: LoopRunner) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=r"^subscription_identifier must be in the range 1-"):
            await Client("localhost", protocol=V5).subscribe("t", subscription_identifier=0)

    run(main)


def test_the_same_property_in_both_ways_is_refused(run: LoopRunner) -> None:
    twice = r"^content_type is given twice: leave it out, or ContentType in `properties`\.$"

    async def main() -> None:
        client = Client("localhost", protocol=V5)
        properties = {"content_type": "a"}
        with pytest.raises(ValueError, match=twice):
            await client.publish("t", properties=properties, content_type="a")
        will = Will("w", properties=properties, content_type="a")
        with pytest.raises(ValueError, match=twice):
            await Client("localhost", protocol=V5, will=will).__aenter__()
        pairs = {"UserProperty": [("a", "b")]}
        for call in (client.subscribe, client.unsubscribe):
            with pytest.raises(ValueError, match=r"^user_properties is given twice.*UserProperty"):
                await call("t", properties=pairs, user_properties={"c": "d"})
        with pytest.raises(ValueError, match=r"^receive_maximum is given twice.*ReceiveMaximum"):
            Client("localhost", protocol=V5, properties={"ReceiveMaximum": 5}, receive_maximum=5)

    run(main)


@pytest.mark.parametrize("protocol", [None, 3])
def test_before_5_keywords_are_not_sent_with_one_warning(
    run: LoopRunner,
    caplog: pytest.LogCaptureFixture,
    protocol: Any,  # noqa: ANN401
) -> None:
    """One for keywords and properties together."""

    async def main(server: ScriptedServer) -> None:
        will = Will("w", content_type="text/plain", will_delay_interval=5)
        async with Client(server.host, server.port, protocol=protocol) as client:
            await client.publish("t", content_type=None)
            assert not caplog.records
            await client.publish("t", content_type="text/plain")
            await client.publish("t", properties={"ContentType": "text/plain"})
            await client.subscribe("t", subscription_identifier=5)
            await client.unsubscribe("t", user_properties=PAIRS)
            with pytest.raises(TypeError, match="did you mean 'content_type'"):
                await client.publish("t", contenttype="text/plain")  # type: ignore[call-arg]
        (record,) = caplog.records
        assert record.getMessage().startswith("Properties are not sent: MQTT 3.1")
        async with Client(server.host, server.port, protocol=protocol, will=will):
            assert len(caplog.records) == 2

    with caplog.at_level(logging.WARNING), ScriptedServer(serve_311, serve_311) as server:
        run(main, server)
        server.join()
        assert b"text/plain" not in server.received


def test_a_will_has_its_keywords_and_waits_for_its_delay() -> None:
    """The server publishes it when the session ends, which is before the delay is over."""

    async def main() -> None:
        broker = memory_broker()
        will = Will("w", b"x", will_delay_interval=3600, **OF_A_MESSAGE)
        async with broker.client(protocol=5) as watching:
            await watching.subscribe("w")
            gone = broker.client(
                "gone", protocol=5, will=will, will_on_error=True, session_expiry_interval=10
            )
            with pytest.raises(LookupError):
                async with gone:
                    raise LookupError
            await watching.publish("w", "before")
            assert (await receive(watching)).payload == b"before", "the will waits"
            message = await receive(watching)
            assert message.payload == b"x"
            assert {name: getattr(message, name) for name in OF_A_MESSAGE} == OF_A_MESSAGE

    play(main)


def test_a_will_of_another_class_needs_no_keywords(run: LoopRunner, in_memory: Broker) -> None:
    @dataclasses.dataclass
    class Own:
        topic: str = "w"
        payload: bytes = b""
        qos: int = 0
        retain: bool = False
        properties: None = None

    async def main() -> None:
        async with Client(*in_memory.where, protocol=V5, will=Own()):  # type: ignore[arg-type]
            pass

    run(main)


def test_a_will_with_keywords_is_hashable_equal_and_replaced() -> None:
    will = Will("w", user_properties={"a": "1"}, correlation_data=b"secret", content_type="c")
    assert will == Will(
        "w", user_properties=[("a", "1")], correlation_data=b"secret", content_type="c"
    )
    assert hash(dataclasses.replace(will, topic="w")) == hash(will)
    assert pickle.loads(pickle.dumps(will)) == will
    shown = "correlation_data=<bytes>, user_properties=<tuple>)"
    assert repr(will).endswith(f", content_type='c', {shown}")


async def received(broker: Broker, **keywords: Any) -> Message:  # noqa: ANN401
    """Publish a message, and return it as it came."""
    async with Client(*broker.where, protocol=V5) as client:
        await client.subscribe("t", subscription_identifier=9)
        await client.publish("t", "x", **keywords)
        return await receive(client)


ATTRIBUTES = (*OF_A_MESSAGE, "subscription_identifiers")


def attributes(message: Message) -> dict[str, object]:
    return {name: getattr(message, name) for name in ATTRIBUTES}


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_attributes_of_a_copied_message_are_the_same(
    run: LoopRunner, in_memory: Broker, copied: Callable[[Message], Message]
) -> None:
    async def main() -> None:
        for keywords in ({}, OF_A_MESSAGE):
            message = await received(in_memory, **keywords)
            before = attributes(message)
            assert before["subscription_identifiers"] == [9]
            assert attributes(copied(message)) == before, "made of the properties"
            assert message.properties is not None
            assert attributes(message) == before, "the properties are made now"

    run(main)


def test_attributes_follow_the_properties_of_a_message_that_a_program_makes() -> None:
    plain = Message("t", b"x", 0, False, 0, None)
    nothing = dict.fromkeys(ATTRIBUTES) | {"user_properties": [], "subscription_identifiers": []}
    assert attributes(plain) == nothing
    properties = Properties(PacketTypes.PUBLISH)
    plain.properties = properties
    assert attributes(plain) == nothing
    properties.ContentType = "text/plain"
    properties.UserProperty = PAIRS
    assert plain.content_type == "text/plain"
    assert plain.user_properties == PAIRS
    plain.user_properties.clear()
    assert plain.user_properties == PAIRS, "a list of the caller's"


def test_an_attribute_of_a_subclass_wins() -> None:
    class Own(Message):
        response_topic = "of the class"

        def __init__(self) -> None:
            super().__init__("t", b"x", 0, False, 0, None)
            self.content_type = "of the instance"  # type: ignore[misc]

    for own in (Own(), copy.copy(Own())):
        assert own.content_type == "of the instance"
        assert own.response_topic == "of the class"
        assert own.user_properties == []
    with pytest.raises(AttributeError):
        Message("t", b"x", 0, False, 0, None).content_type = "a"  # type: ignore[misc]


def test_a_message_before_5_has_no_properties(run: LoopRunner, in_memory: Broker) -> None:
    async def main() -> None:
        async with Client(*in_memory.where) as client:
            await client.subscribe("t")
            await client.publish("t", "x")
            message = await receive(client)
        assert message.content_type is None
        assert message.user_properties == []

    run(main)


def test_a_cancelled_publish_with_keywords_is_not_sent(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        assert b"first" in connection.expect(packets.PUBLISH)[1]
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        client = Client(
            server.host, server.port, protocol=V5, max_inflight_messages=1, timeout=LIMIT
        )
        async with client:
            tasks = [
                asyncio.create_task(client.publish("t", text, content_type="a", qos=1))
                for text in ("first", "second")
            ]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(it, asyncio.CancelledError) for it in ended)

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()


def test_a_response_topic_with_a_wildcard_is_refused(run: LoopRunner, in_memory: Broker) -> None:
    async def main() -> None:
        async with Client(*in_memory.where, protocol=V5) as client:
            with pytest.raises(ValueError, match="ResponseTopic"):
                await client.publish("t", response_topic="a/#")

    run(main)


def test_the_blocking_client_takes_the_same(builtin: Broker) -> None:
    topic = unique("blocking")
    with BlockingClient(*builtin.where, protocol=5, session_expiry_interval=0) as client:
        client.subscribe(topic, subscription_identifier=5)
        client.publish(topic, "x", **OF_A_MESSAGE)
        message = next(client.messages(timeout=LIMIT))
        assert {name: getattr(message, name) for name in OF_A_MESSAGE} == OF_A_MESSAGE
        client.unsubscribe(topic, user_properties=PAIRS)
        with pytest.raises(TypeError, match="did you mean 'content_type'"):
            client.publish(topic, contenttype="a")  # type: ignore[call-arg]
    assert inspect.signature(BlockingClient.publish) == inspect.signature(Client.publish)


def test_a_client_that_is_gone_raises_as_without_keywords(run: LoopRunner) -> None:
    async def main() -> None:
        with pytest.raises(MqttError, match="not currently connected"):
            await Client("localhost", protocol=V5).publish("t", content_type="a")

    run(main)
