"""What a client sees where a server has a gap: a gap that closes, or changes, is noticed here."""

import pytest

from ferromqtt import MqttCodeError, MqttError, MqttTimeoutError
from interop.aedes import Aedes
from interop.conftest import Here
from interop.ejabberd import Ejabberd
from interop.gaps import GAPS, V5, V311, Feature, places_without
from interop.nats import Nats
from interop.rabbitmq import RabbitMQ
from support.clients import receive, receive_until, unique
from support.loops import LoopRunner


def test_each_gap_is_looked_at(request: pytest.FixtureRequest) -> None:
    looked_at = {
        place.gap(*mark.args)
        for function in vars(request.module).values()
        for mark in getattr(function, "pytestmark", ())
        if mark.name == "lacks"
        for place in places_without(*mark.args, **mark.kwargs)
    }
    assert looked_at == {gap for gap in GAPS if gap.observed}


@pytest.mark.lacks(Feature.VERSION)
def test_a_version_that_the_server_does_not_speak_is_told_at_once(
    run: LoopRunner, here: Here
) -> None:
    """Some say so in a CONNACK, of their own version or ours; others just close."""

    async def main() -> None:
        with pytest.raises(MqttError) as refusal:
            await here.client().__aenter__()
        assert not isinstance(refusal.value, MqttTimeoutError)

    run(main)


@pytest.mark.lacks(Feature.VERSION)
def test_an_automatic_version_is_one_that_the_server_speaks(run: LoopRunner, here: Here) -> None:
    """ejabberd lacks 3.1 alone, and is spoken to in 5.0."""
    topic = unique("auto")

    async def main() -> None:
        client = here.client(protocol="auto")
        for _ in range(3):  # it can be entered again, with what it has learned
            async with client:
                assert client.protocol() is (V5 if isinstance(here.server, Ejabberd) else V311)
                await client.subscribe(topic, qos=1)
                await client.publish(topic, b"x", qos=1)
                assert (await receive(client)).payload == b"x"

    run(main)


@pytest.mark.lacks(Feature.QOS_2)
def test_publishing_with_qos_2_ends_the_connection(run: LoopRunner, here: Here) -> None:
    """nats closes it. RabbitMQ answers with a PUBACK, so the client does."""
    topic = unique("qos2")

    async def main() -> None:
        async with here.client() as client:
            [granted] = await client.subscribe(topic, qos=2)
            assert granted.value == 1
            with pytest.raises(MqttError) as failure:
                await client.publish(topic, b"", qos=2)
            assert not isinstance(failure.value, MqttTimeoutError)
            assert failure.value.delivery == "unknown"

    run(main)


@pytest.mark.lacks(Feature.RETAINED_FOR_WILDCARD)
def test_a_wildcard_is_not_greeted(run: LoopRunner, here: Here) -> None:
    topic = unique("retained")

    async def main() -> None:
        async with here.client() as client:
            await client.publish(f"{topic}/a", b"kept", qos=1, retain=True)
            await client.subscribe(f"{topic}/+", qos=1)
            await client.publish(f"{topic}/b", b"last", qos=1)
            assert await receive_until(client, b"last") == []

    run(main)


@pytest.mark.lacks(Feature.SHARED, servers=(Aedes, Nats, RabbitMQ))
def test_a_shared_subscription_is_an_ordinary_one_that_matches_nothing(
    run: LoopRunner, here: Here
) -> None:
    topic, end = unique("shared"), unique("end")

    async def main() -> None:
        async with here.client() as client:
            [granted] = await client.subscribe(f"$share/group/{topic}", qos=1)
            assert granted.value == 1
            await client.subscribe(end, qos=1)
            await client.publish(topic, b"hello", qos=1)
            await client.publish(end, b"last", qos=1)
            assert await receive_until(client, b"last") == []

    run(main)


@pytest.mark.lacks(Feature.SHARED, servers=(Ejabberd,))
def test_a_shared_subscription_is_refused(run: LoopRunner, here: Here) -> None:
    """In 5.0 the CONNACK says that there are none; in 3.1.1 the server closes the connection."""

    async def main() -> None:
        async with here.client() as client:
            with pytest.raises(MqttError) as failure:
                await client.subscribe(f"$share/group/{unique('shared')}", qos=1)
            if here.version is V5:
                assert isinstance(failure.value, MqttCodeError)
                assert failure.value.rc.value == 0x9E
                await client.publish("still/connected", b"", qos=1)

    run(main)


@pytest.mark.lacks(Feature.TELLS_TAKEOVER)
def test_a_takeover_looks_like_any_closed_connection(run: LoopRunner, here: Here) -> None:
    name = unique("untold")

    async def main() -> None:
        async with here.client(identifier=name) as first, here.client(identifier=name):
            with pytest.raises(MqttError) as lost:
                await receive(first)
            assert isinstance(lost.value.__cause__, MqttCodeError)
            assert lost.value.__cause__.rc.value == 0x80

    run(main)
