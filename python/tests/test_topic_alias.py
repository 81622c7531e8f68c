"""Topic Aliases that the caller sets (5.0, section 3.3.2.3.4)."""

from typing import Any

import pytest

from ferromqtt import Client, MqttCodeError, PacketTypes, Properties, ProtocolVersion
from ferromqtt.testing import TestBroker
from support import packets
from support.clients import receive_many, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto
from support.scripted import Connection, ScriptedServer, answer

V5 = ProtocolVersion.V5
CONNACK = packets.encode(0x20, b"\x00\x00\x03\x22\x00\x03")
"""With a Topic Alias Maximum of 3."""


def alias(number: int) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)
    properties.TopicAlias = number
    return properties


async def publish_by_aliases(*where: Any) -> None:  # noqa: ANN401 - a host and a port, or a broker
    """Publish with topics, with aliases alone, and with an alias that gets another topic."""
    topic = unique("alias")
    async with Client(*where, protocol=V5) as client:
        await client.subscribe(f"{topic}/#", qos=2)
        for qos in (0, 1, 2):
            await client.publish(f"{topic}/a", "1", qos, properties=alias(1))
            await client.publish("", "2", qos, properties=alias(1))
            await client.publish(f"{topic}/b", "3", qos, properties=alias(2))
            await client.publish("", "4", qos, properties=alias(1))
            await client.publish(f"{topic}/b", "5", qos, properties=alias(1))
            await client.publish("", "6", qos, properties=alias(1))
            received = await receive_many(client, 6)
            came = [(str(it.topic).removeprefix(topic), it.payload) for it in received]
            topics = ["/a", "/a", "/b", "/a", "/b", "/b"]
            assert came == list(zip(topics, [b"%d" % n for n in range(1, 7)], strict=True))


def test_messages_arrive_by_their_alias_1_3(run: LoopRunner, mosquitto: Mosquitto) -> None:
    run(publish_by_aliases, *mosquitto.where)


def test_messages_arrive_by_their_alias_at_the_test_broker_1_3(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False, topic_alias_maximum=2) as broker:
            await publish_by_aliases(broker)

    run(main)


def test_the_alias_is_on_the_wire_and_the_topic_once_1_3(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        connection.accept(CONNACK)
        _, body = connection.expect(packets.PUBLISH)
        assert body == packets.string("a/b") + b"\x03\x23\x00\x03x"
        _, body = connection.expect(packets.PUBLISH)
        assert body == packets.string("") + b"\x03\x23\x00\x03y"
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=V5) as client:
            await client.publish("a/b", "x", properties=alias(3))
            await client.publish("", "y", properties={"TopicAlias": 3})

    with ScriptedServer(script) as server:
        run(main, server)
        server.join()


def accept(connection: Connection) -> None:
    connection.accept(CONNACK)
    while (packet := connection.read_packet())[0] >> 4 != packets.DISCONNECT:
        assert packet[0] >> 4 == packets.SUBSCRIBE, "a refused publish was sent"
        answer(connection, *packet, v5=True)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("topic", ["a", ""])
def test_an_alias_above_the_server_s_maximum_is_refused_mqtt_3_2_2_17(
    run: LoopRunner, topic: str, qos: int
) -> None:
    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=V5) as client:
            with pytest.raises(MqttCodeError, match="Topic alias invalid") as refused:
                await client.publish(topic, "x", qos, properties=alias(4))
            assert (refused.value.rc, refused.value.delivery) == (148, "not_sent")
            assert "topic alias 4 is above the 3 that the server allows" in str(refused.value.args)
            await client.subscribe("a")  # the connection lives

    with ScriptedServer(accept) as server:
        run(main, server)
        server.join()


def test_alias_0_is_refused_mqtt_3_3_2_8(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=V5) as client:
            with pytest.raises(
                ValueError, match=r"^Property TopicAlias value must be in the range 1"
            ):
                await client.publish("a", "x", properties={"TopicAlias": 0})
            await client.subscribe("a")

    with ScriptedServer(accept) as server:
        run(main, server)
        server.join()


def test_an_alias_of_an_earlier_connection_is_unknown_mqtt_3_3_2_7(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False, topic_alias_maximum=2) as broker:
            client = Client(broker, protocol=V5)
            unknown = r"^Invalid topic\. It is empty, and topic alias 1 stands for no topic on this"
            for _ in range(2):
                async with client:
                    with pytest.raises(ValueError, match=unknown):
                        await client.publish("", "x", 1, properties=alias(1))
                    await client.publish("a", "x", 1, properties=alias(1))
                    await client.publish("", "x", 1, properties=alias(1))
            with pytest.raises(MqttCodeError, match="not currently connected"):
                await client.publish("", "x", 1, properties=alias(1))

    run(main)


def test_the_client_assigns_aliases_when_asked_mqtt_3_2_2_17(run: LoopRunner) -> None:
    """Each topic is sent once for a connection, within the server's Topic Alias Maximum of 3."""
    topics = [f"plant/line-{number % 3}/temperature" for number in range(30)]

    def bytes_for(**options: Any) -> int:  # noqa: ANN401 - as of `Client`
        sent: list[bytes] = []

        def script(connection: Connection) -> None:
            connection.accept(CONNACK)
            while (packet := connection.read_packet())[0] >> 4 != packets.DISCONNECT:
                if packet[0] >> 4 == packets.PUBLISH:
                    sent.append(packet[1])

        async def main() -> None:
            with ScriptedServer(script) as server:
                async with Client(server.host, server.port, protocol=V5, **options) as client:
                    for topic in topics:
                        await client.publish(topic, b"21.5")

        run(main)
        assert len(sent) == len(topics)
        assert sum(b"plant/" in packet for packet in sent) == (3 if options else 30)
        return sum(map(len, sent))

    assert bytes_for(topic_aliases=True) == bytes_for(topic_aliases=3) == 372
    assert bytes_for() == 930


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"topic_aliases": -1}, r"^topic_aliases must be in the range 0-65535, not -1\.$"),
        ({"topic_aliases": 65_536}, "^topic_aliases must be in the range"),
        ({"topic_aliases": "all"}, "^topic_aliases must be True, False or a number, not str$"),
    ],
)
def test_a_number_of_aliases_that_there_cannot_be_is_refused(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        Client("localhost", protocol=V5, **options)


def test_aliases_before_5_0_are_refused(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            with pytest.raises(ValueError, match=r"^topic_aliases only apply to MQTT V5"):
                await Client(broker, topic_aliases=True).__aenter__()

    run(main)


def test_messages_arrive_on_their_topics_by_aliases_of_the_client(
    run: LoopRunner, mosquitto: Mosquitto
) -> None:
    """More topics than mosquitto allows aliases, at each QoS, and again on the next connection."""
    prefix = unique("assigned")

    async def main() -> None:
        client = Client(*mosquitto.where, protocol=V5, topic_aliases=True)
        for _ in range(2):
            async with client:
                await client.subscribe(f"{prefix}/#", qos=2)
                for number in range(90):
                    await client.publish(f"{prefix}/{number % 15}", b"%d" % number, number % 3)
                received = await receive_many(client, 90)
            came = sorted((int(it.payload), str(it.topic)) for it in received)
            assert came == [(number, f"{prefix}/{number % 15}") for number in range(90)]

    run(main)
