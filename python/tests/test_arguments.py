"""Wrong arguments are refused before a byte is sent (contract 1.2, 1.3)."""

import asyncio
import ssl
from typing import Any

import pytest

from ferromqtt import (
    Client,
    Message,
    MqttReentrantError,
    PacketTypes,
    Properties,
    ProtocolVersion,
    SubscribeOptions,
    TLSParameters,
    Wildcard,
    Will,
)
from support import packets
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer

V31, V311, V5 = ProtocolVersion.V31, ProtocolVersion.V311, ProtocolVersion.V5
Options = dict[str, Any]
Error = type[Exception] | tuple[type[Exception], ...]
Row = tuple[tuple[Any, ...], Options, Error, str]
"""Positional arguments, keywords, the error, what its text must match."""

# options, error, text: raised by the constructor, or by the enter at the latest
CONSTRUCTOR: dict[str, tuple[Options, type[Exception], str]] = {
    "will with empty topic": ({"will": Will("")}, ValueError, "^Invalid topic"),
    "will with QoS 3": ({"will": Will("a", qos=3)}, ValueError, "^Invalid QoS level"),
    "will with a wildcard": ({"will": Will("a/#")}, ValueError, ""),
    "will with a null character": ({"will": Will("a\0")}, ValueError, ""),
    "clean_session in version 5": (
        {"protocol": V5, "clean_session": True},
        ValueError,
        "^Clean session is not used for MQTT 5.0",
    ),
    "clean_session False in version 5": (
        {"protocol": V5, "clean_session": False},
        ValueError,
        "^Clean session is not used for MQTT 5.0",
    ),
    "kept session without identifier": (
        {"clean_session": False},
        ValueError,
        "^A client id must be provided if clean session is False",
    ),
    "kept session with empty identifier": (
        {"clean_session": False, "identifier": ""},
        ValueError,
        "^A client id must be provided if clean session is False",
    ),
    "unknown transport": (
        {"transport": "udp"},
        ValueError,
        "websockets",
    ),
    "unknown protocol": ({"protocol": 6}, ValueError, "^protocol must be "),
}
ENTER: dict[str, tuple[Options, type[Exception], str]] = {
    "empty host": ({"hostname": ""}, ValueError, "^Invalid host"),
    "port 0": ({"port": 0}, ValueError, "^Invalid port number"),
    "negative port": ({"port": -1}, ValueError, "^Invalid port number"),
    "negative keepalive": ({"keepalive": -1}, ValueError, ""),
    "negative bind_port": ({"bind_port": -1}, ValueError, ""),
    "clean_start in version 3.1.1": (
        {"clean_start": True},
        ValueError,
        "^Clean start only applies to MQTT V5",
    ),
    "clean_start False in version 3.1": (
        {"clean_start": False, "protocol": V31},
        ValueError,
        "^Clean start only applies to MQTT V5",
    ),
    "properties in version 3.1.1": (
        {"properties": Properties(PacketTypes.CONNECT)},
        ValueError,
        "^Properties only apply to MQTT V5",
    ),
    "context and parameters": (
        {"tls_context": ssl.create_default_context(), "tls_params": TLSParameters()},
        ValueError,
        "^SSL/TLS has already been configured",
    ),
    "tls_insecure without TLS": (
        {"tls_insecure": True},
        ValueError,
        "^Must configure SSL context before using tls_insecure_set",
    ),
}
PUBLISH: dict[str, Row] = {
    "empty topic": (("",), {}, ValueError, "^Invalid topic"),
    "topic None": ((None,), {}, ValueError, "^Invalid topic"),
    "wildcard object": (
        (Wildcard("a/#"),),
        {},
        TypeError,
        "^topic must be str or Topic, not Wildcard",
    ),
    "bytes topic": ((b"a",), {}, (AttributeError, TypeError), ""),
    "plus in topic": (("a/+",), {}, ValueError, "^Publish topic cannot contain wildcards"),
    "hash in topic": (("a#b",), {}, ValueError, "^Publish topic cannot contain wildcards"),
    "null character in topic": (("a\0b",), {}, ValueError, ""),
    "surrogate in topic": (("a\ud800",), {}, ValueError, ""),
    "topic of 65536 bytes": (("a" * 65536,), {}, ValueError, "^Publish topic is too long"),
    "topic of 32768 two-byte characters": (
        ("ä" * 32768,),
        {},
        ValueError,
        "^Publish topic is too long",
    ),
    "QoS 3": (("a", b"", 3), {}, ValueError, "^Invalid QoS level"),
    "QoS -1": (("a",), {"qos": -1}, ValueError, "^Invalid QoS level"),
    "dict payload": (("a", {}), {}, TypeError, "^payload must be a string, bytearray, int, float"),
    "list payload": (("a", [1]), {}, TypeError, "^payload must be a string, bytearray, int, float"),
    "surrogate in payload": (("a", "\ud800"), {}, ValueError, ""),
    "unknown keyword": (("a",), {"retained": True}, TypeError, "unexpected keyword argument"),
    "too many arguments": (("a", b"", 0, False, None, 1), {}, TypeError, ""),
    "no topic": ((), {}, TypeError, "topic"),
}
SUBSCRIBE_3: dict[str, Row] = {
    "list of numbers": (([1],), {}, ValueError, ""),
    "empty list": (([],), {}, ValueError, "^Empty topic list"),
    "None": ((None,), {}, ValueError, "^No topic specified, or incorrect topic type"),
    "empty filter": (("",), {}, ValueError, ""),
    "filter with hash inside": (("a/#/b",), {}, ValueError, "^Invalid subscription filter"),
    "filter with hash in a level": (("a#",), {}, ValueError, "^Invalid subscription filter"),
    "filter with plus in a level": (("a+/b",), {}, ValueError, "^Invalid subscription filter"),
    "second filter bad": (([("a", 0), ("b#", 0)],), {}, ValueError, "^Invalid subscription filter"),
    "null character": (("a\0",), {}, ValueError, ""),
    "filter of 65536 bytes": (("a" * 65536,), {}, ValueError, ""),
    "QoS 3": (("a", 3), {}, ValueError, "^Invalid QoS level"),
    "QoS 3 in a tuple": ((("a", 3),), {}, ValueError, "^Invalid QoS level"),
    "QoS -1 in a list": (([("a", -1)],), {}, ValueError, "^Invalid QoS level"),
    "unknown keyword": (("a",), {"quality": 1}, TypeError, "unexpected keyword argument"),
}
SUBSCRIBE_5: dict[str, Row] = {
    "options and qos": (
        ("a",),
        {"qos": 1, "options": SubscribeOptions(qos=1)},
        ValueError,
        "^Subscribe options and qos parameters cannot be combined",
    ),
    "tuple with a number": ((("a", 1),), {}, ValueError, ""),
    "empty list": (([],), {}, ValueError, "^Empty topic list"),
    "None": ((None,), {}, ValueError, "^No topic specified, or incorrect topic type"),
    "filter with hash inside": (("a/#/b",), {}, ValueError, "^Invalid subscription filter"),
}
UNSUBSCRIBE: dict[str, Row] = {
    "None": ((None,), {}, ValueError, ""),
    "tuple": ((("a", "b"),), {}, ValueError, ""),
    "bytes": ((b"a",), {}, (ValueError, TypeError, AttributeError), ""),
    "empty filter": (("",), {}, ValueError, ""),
    "empty list": (([],), {}, ValueError, ""),
    "malformed filter": (("a/#/b",), {}, ValueError, ""),
    "malformed filter in a list": ((["a", "b#"],), {}, ValueError, ""),
    "null character": (("a\0",), {}, ValueError, ""),
    "unknown keyword": (("a",), {"topics": 1}, TypeError, "unexpected keyword argument"),
}


def accept_and_watch(connection: Connection) -> None:
    """Accept the client; nothing but DISCONNECT may follow."""
    connection.accept_any()
    assert connection.expect(packets.DISCONNECT) == (0xE0, b"")


def refuse_anything(connection: Connection) -> None:
    """Nobody may come here with so much as a byte."""
    connection.read_to_end()


@pytest.mark.parametrize("name", CONSTRUCTOR)
def test_constructor_refuses_1_2(run: LoopRunner, name: str) -> None:
    options, error, text = CONSTRUCTOR[name]

    async def main() -> None:
        with pytest.raises(error, match=text):
            Client("localhost", **options)

    run(main)


@pytest.mark.parametrize("name", ENTER)
def test_enter_refuses_before_it_connects_1_2_and_1_4(run: LoopRunner, name: str) -> None:
    """The second attempt says the same: the client is not left "not reentrant"."""
    options, error, text = ENTER[name]

    async def main(server: ScriptedServer) -> None:
        client = Client(**({"hostname": server.host, "port": server.port} | options))
        for _ in range(2):
            with pytest.raises(error, match=text):
                await client.__aenter__()

    with ScriptedServer(refuse_anything) as server:
        run(main, server)
        server.join()
        assert server.received == b""


def test_keepalive_over_two_bytes_is_refused_1_2(run: LoopRunner) -> None:
    """Contract 1.2: an error of packing in the original; any ValueError-like error will do."""

    async def main(server: ScriptedServer) -> None:
        with pytest.raises(Exception, match=r"keepalive|Keep Alive|65535|ushort") as caught:
            await Client(server.host, server.port, keepalive=65536).__aenter__()
        assert not isinstance(caught.value, MqttReentrantError)

    with ScriptedServer(refuse_anything) as server:
        run(main, server)
        server.join()
        assert server.received == b""


def check_calls(
    run: LoopRunner,
    protocol: ProtocolVersion,
    method: str,
    row: Row,
) -> None:
    """The call raises connected and not connected alike, and the server sees nothing of it."""
    arguments, keywords, error, text = row

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, protocol=protocol)
        with pytest.raises(error, match=text):
            await getattr(client, method)(*arguments, **keywords)
        async with client:
            with pytest.raises(error, match=text):
                await getattr(client, method)(*arguments, **keywords)

    with ScriptedServer(accept_and_watch) as server:
        run(main, server)


@pytest.mark.parametrize("name", PUBLISH)
def test_publish_refuses_1_3(run: LoopRunner, name: str) -> None:
    check_calls(run, V311, "publish", PUBLISH[name])


@pytest.mark.parametrize("name", [it for it in PUBLISH if it not in ("empty topic", "topic None")])
def test_publish_of_version_5_refuses_1_3(run: LoopRunner, name: str) -> None:
    check_calls(run, V5, "publish", PUBLISH[name])


@pytest.mark.parametrize("name", SUBSCRIBE_3)
def test_subscribe_refuses_1_3(run: LoopRunner, name: str) -> None:
    check_calls(run, V311, "subscribe", SUBSCRIBE_3[name])


@pytest.mark.parametrize("name", SUBSCRIBE_5)
def test_subscribe_of_version_5_refuses_1_3(run: LoopRunner, name: str) -> None:
    check_calls(run, V5, "subscribe", SUBSCRIBE_5[name])


@pytest.mark.parametrize("name", UNSUBSCRIBE)
def test_unsubscribe_refuses_1_3(run: LoopRunner, protocol: ProtocolVersion, name: str) -> None:
    check_calls(run, protocol, "unsubscribe", UNSUBSCRIBE[name])


@pytest.mark.timeout(120)
def test_payload_over_the_protocols_limit_1_3(run: LoopRunner) -> None:
    """268435455 bytes is the largest Remaining Length, so this cannot be a packet."""
    payload = bytes(268_435_456)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            with pytest.raises(ValueError, match=r"^Payload too large"):
                await client.publish("a", payload)

    with ScriptedServer(accept_and_watch) as server:
        run(main, server)


def test_longest_topic_is_accepted_1_3(run: LoopRunner) -> None:
    topic = "a" * 65535

    def script(connection: Connection) -> None:
        connection.accept()
        _, body = connection.expect(packets.PUBLISH)
        assert body == b"\xff\xff" + topic.encode() + b"x"
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            await client.publish(topic, b"x")

    with ScriptedServer(script) as server:
        run(main, server)


def test_every_positional_argument_works_as_a_keyword_1_3(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        assert connection.expect(packets.PUBLISH) == (0x31, b"\x00\x01ax")
        packet_id = packets.packet_id_of(*connection.expect(packets.SUBSCRIBE))
        connection.send(packets.ack(packets.SUBACK, packet_id, b"\x02"))
        packet_id = packets.packet_id_of(*connection.expect(packets.UNSUBSCRIBE))
        connection.send(packets.ack(packets.UNSUBACK, packet_id))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(hostname=server.host, port=server.port) as client:
            await client.publish(
                topic="a", payload="x", qos=0, retain=True, properties=None, timeout=20
            )
            await client.subscribe(topic="a", qos=2, options=None, properties=None, timeout=20)
            await client.unsubscribe(topic="a", properties=None, timeout=20)

    with ScriptedServer(script) as server:
        run(main, server)


def test_client_options_are_keyword_only_1_2(run: LoopRunner) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="positional argument"):
            Client("localhost", 1883, "user")  # type: ignore[misc]

    run(main)


def test_queue_type_is_called_with_maxsize_1_2(run: LoopRunner) -> None:
    sizes: list[int] = []

    class Recorded(asyncio.Queue[Message]):
        def __init__(self, maxsize: int = 0) -> None:
            sizes.append(maxsize)
            super().__init__(maxsize=maxsize)

    async def main() -> None:
        Client("localhost", queue_type=Recorded)
        Client("localhost", queue_type=Recorded, max_queued_incoming_messages=7)

    run(main)
    assert sizes == [0, 7]
