"""What only 5.0 has, both ways."""

import asyncio

import pytest

from ferromqtt import MqttCodeError, MqttError, PacketTypes, Properties, SubscribeOptions, Will
from interop.conftest import Here
from interop.gaps import V5, Feature
from support.clients import receive, receive_until, unique
from support.loops import LoopRunner
from support.proxy import CuttingProxy

pytestmark = pytest.mark.versions(V5)


def test_publish_properties_come_back(run: LoopRunner, here: Here) -> None:
    topic = unique("properties")
    sent = Properties(PacketTypes.PUBLISH)
    sent.PayloadFormatIndicator = 1
    sent.MessageExpiryInterval = 60
    sent.ContentType = "text/plain"
    sent.ResponseTopic = f"{topic}/answer"
    sent.CorrelationData = b"\x00\x01"
    sent.UserProperty = [("a", "1"), ("a", "2"), ("b", "")]

    async def main() -> None:
        async with here.client() as client:
            await client.subscribe(topic, qos=1)
            await client.publish(topic, b"hello", qos=1, properties=sent)
            got = (await receive(client)).properties
            assert got is not None
            assert got.PayloadFormatIndicator == 1
            assert 0 < got.MessageExpiryInterval <= 60
            assert got.ContentType == "text/plain"
            assert got.ResponseTopic == f"{topic}/answer"
            assert got.CorrelationData == b"\x00\x01"
            assert got.UserProperty == sent.UserProperty

    run(main)


def test_subscription_identifier_comes_back(run: LoopRunner, here: Here) -> None:
    topic = unique("numbered")
    properties = Properties(PacketTypes.SUBSCRIBE)
    properties.SubscriptionIdentifier = 300

    async def main() -> None:
        async with here.client() as client:
            await client.subscribe(topic, qos=1, properties=properties)
            await client.publish(topic, b"hello", qos=1)
            got = (await receive(client)).properties
            assert got is not None
            assert got.SubscriptionIdentifier == [300]

    run(main)


def test_topic_aliases_that_the_client_allows_are_resolved(run: LoopRunner, here: Here) -> None:
    prefix, count = unique("alias"), 200
    properties = Properties(PacketTypes.CONNECT)
    properties.TopicAliasMaximum = 5

    async def main() -> None:
        async with here.client(properties=properties) as client:
            await client.subscribe(f"{prefix}/#", qos=1)
            for number in range(count):
                await client.publish(f"{prefix}/{number % 10}", number, qos=1)
            for number in range(count):
                message = await receive(client)
                assert message.topic.value == f"{prefix}/{number % 10}"
                assert int(message.payload) == number

    run(main)


def test_no_local_keeps_own_messages_away(run: LoopRunner, here: Here) -> None:
    topic = unique("local")

    async def main() -> None:
        async with here.client() as client, here.client() as other:
            await client.subscribe(topic, options=SubscribeOptions(qos=1, noLocal=True))
            await client.publish(topic, b"mine", qos=1)
            await other.publish(topic, b"last", qos=1)
            assert await receive_until(client, b"last") == []

    run(main)


def test_retain_as_published_keeps_the_flag(run: LoopRunner, here: Here) -> None:
    topic = unique("as-published")

    async def main() -> None:
        async with here.client() as client:
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            await client.subscribe(topic, options=options)
            await client.publish(topic, b"kept", qos=1, retain=True)
            assert (await receive(client)).retain is True

    run(main)


@pytest.mark.parametrize(("handling", "greetings"), [(0, 2), (1, 1), (2, 0)])
def test_retain_handling(run: LoopRunner, here: Here, handling: int, greetings: int) -> None:
    """0: at each SUBSCRIBE. 1: at a new subscription only. 2: never."""
    topic = unique("handling")

    async def main() -> None:
        async with here.client() as client:
            await client.publish(topic, b"kept", qos=1, retain=True)
            for _ in range(2):
                options = SubscribeOptions(qos=1, retainHandling=handling)
                await client.subscribe(topic, options=options)
            await client.publish(topic, b"last", qos=1)
            received = await receive_until(client, b"last")
            assert [message.payload for message in received] == [b"kept"] * greetings

    run(main)


def test_session_ends_with_the_connection_by_default(run: LoopRunner, here: Here) -> None:
    name, topic = unique("short"), unique("short")

    async def main() -> None:
        async with here.client(identifier=name, clean_start=False) as client:
            await client.subscribe(topic, qos=1)
        async with here.client(identifier=name, clean_start=False) as client:
            await client.publish(topic, b"not subscribed", qos=1)
            await client.subscribe(topic, qos=1)
            await client.publish(topic, b"last", qos=1)
            assert await receive_until(client, b"last") == []

    run(main)


def test_will_delay_is_ended_by_coming_back(run: LoopRunner, here: Here) -> None:
    """The Will of a session that goes on is not published."""
    name, topic = unique("delayed"), unique("delayed")
    delay = Properties(PacketTypes.WILLMESSAGE)
    delay.WillDelayInterval = 30
    will = Will(topic, b"gone", qos=1, properties=delay)

    async def main(proxy: CuttingProxy) -> None:
        async with here.client() as witness:
            await witness.subscribe(topic, qos=1)
            dying = here.lasting_client(name, hostname=proxy.host, port=proxy.port, will=will)
            async with dying:
                proxy.cut_now()
                with pytest.raises(MqttError):
                    await receive(dying)
            async with here.lasting_client(name):
                await witness.publish(topic, b"last", qos=1)
                assert await receive_until(witness, b"last") == []

    with CuttingProxy(here.server.host, here.server.port) as proxy:
        run(main, proxy)


@pytest.mark.needs(Feature.RECEIVE_MAXIMUM)
def test_small_receive_maximum_of_the_client_is_kept_to(run: LoopRunner, here: Here) -> None:
    topic, count = unique("window"), 100
    properties = Properties(PacketTypes.CONNECT)
    properties.ReceiveMaximum = 2

    async def main() -> None:
        async with here.client(properties=properties) as client, here.client() as publisher:
            await client.subscribe(topic, qos=2)
            await asyncio.gather(*(publisher.publish(topic, it, qos=2) for it in range(count)))
            numbers = [int((await receive(client)).payload) for _ in range(count)]
            assert numbers == list(range(count))

    run(main)


@pytest.mark.needs(Feature.TELLS_TAKEOVER)
def test_client_whose_session_is_taken_over_is_told(run: LoopRunner, here: Here) -> None:
    name = unique("told")

    async def main() -> None:
        async with here.client(identifier=name) as first, here.client(identifier=name):
            with pytest.raises(MqttError) as lost:
                await receive(first)
            assert isinstance(lost.value.__cause__, MqttCodeError)
            assert lost.value.__cause__.rc.value == 0x8E

    run(main)
