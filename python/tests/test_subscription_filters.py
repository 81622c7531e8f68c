"""Which filters of a subscription each connection asks for, and what is said about the others."""

import asyncio
import logging

import pytest

from ferromqtt import Client, MqttCodeError, MqttError, ProtocolVersion, events
from ferromqtt.testing import TestBroker
from support import packets
from support.loops import LoopRunner, settle
from support.scripted import Connection, ScriptedServer
from support.subscriptions import refusing_to_unsubscribe, take
from support.virtual import memory_broker, play

V5 = ProtocolVersion.V5


def subscriptions(broker: TestBroker) -> int:
    session = broker.session("c")
    assert session is not None
    return session.subscriptions


@pytest.mark.parametrize("denied", ["a", "b", "c"])
def test_a_refusal_names_its_filter_when_another_is_unsubscribed_meanwhile(denied: str) -> None:
    async def main() -> None:
        broker = memory_broker(deny_subscribe=[denied])
        async with broker.client("c", protocol=V5) as client:
            subscription = client.subscription(["a", "b", "c"], qos=1)
            entering = asyncio.ensure_future(subscription.__aenter__())
            leaving = asyncio.ensure_future(client.unsubscribe("a"))
            await asyncio.wait([entering, leaving])
            if denied == "a":
                messages = await entering
                assert [topic for topic, _ in messages.results()] == ["b", "c"]
                await messages.unsubscribe()
                return
            with pytest.raises(MqttCodeError) as refused:
                await entering
            note = f"The server refused the subscription to {denied!r}: Not authorized (0x87)"
            assert refused.value.__notes__ == [note]

    play(main)


def test_what_could_not_be_unsubscribed_stays_subscribed() -> None:
    async def main() -> None:
        broker = memory_broker(maximum_packet_size=200)
        client = broker.client("c", protocol=V5)
        async with client.subscription(["a", "b"], qos=1) as messages:
            with pytest.raises(MqttError):
                await client.unsubscribe("a")  # not connected
            async with client:
                await settle()
                assert subscriptions(broker) == 2
                with pytest.raises(MqttCodeError, match="Packet too large"):
                    await client.unsubscribe(["a", "b", "x" * 250])
            async with client:
                await settle()
                assert subscriptions(broker) == 2
                await client.publish("a", b"1", qos=1)
                assert await take(messages, 1) == [b"1"]

    play(main)


def test_what_the_server_refuses_to_unsubscribe_is_subscribed_again(run: LoopRunner) -> None:
    def again(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        first_byte, body = connection.expect(packets.SUBSCRIBE)
        assert body.endswith(packets.string("b") + b"\x01")
        assert packets.string("a") not in body
        packet_id = packets.packet_id_of(first_byte, body)
        connection.send(packets.ack(packets.SUBACK, packet_id, b"\x00\x01"))
        connection.send(packets.encode(0x30, packets.string("b") + b"\x00still"))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, protocol=V5)
        async with client.subscription(["a", "b"], qos=1) as messages:
            async with client:
                await client.unsubscribe(["a", "b"])  # raises nothing for it, as in aiomqtt
            async with client:
                assert await take(messages, 1) == [b"still"]
                assert [topic for topic, _ in messages.results()] == ["b"]

    with ScriptedServer(refusing_to_unsubscribe(2), again) as server:
        run(main, server)


def test_a_filter_that_cannot_be_asked_for_leaves_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        deep = "a/b/c/d/e/f/g/h/i/j"  # more levels than AWS IoT Core takes
        broker = memory_broker(shared_subscription_available=False)
        client = broker.client("c", protocol=V5, profile="aws-iot")
        filters = [deep, "ok", "$share/g/t"]
        happened = client.events()
        async with client.subscription(filters, qos=1) as messages, client:
            await settle()
            assert subscriptions(broker) == 1
            refusals = [await anext(happened) for _ in range(3)][1:]
            texts = [it.forbidden_by for it in refusals if isinstance(it, events.NotSubscribed)]
            by_profile, by_server = [text or "" for text in texts]
            assert "AWS IoT Core (profile aws-iot)" in by_profile
            assert by_server.startswith("the server does not offer")
            await client.publish("ok", b"1", qos=1)
            assert await take(messages, 1) == [b"1"]
            results = [(topic, reason.value) for topic, reason in messages.results()]
            assert results == [(deep, 0x8F), ("ok", 1), ("$share/g/t", 0x9E)]
            refused = [topic for topic, _ in messages.not_subscribed()]
            assert refused == [deep, "$share/g/t"]

    with caplog.at_level(logging.WARNING, "ferromqtt"):
        play(main)
    text = "declared before the connection cannot be made on it: the server was not asked"
    assert caplog.text.count(text) == 2
    assert "refused" not in caplog.text
