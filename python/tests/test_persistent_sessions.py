"""Sessions that outlive a connection; connections cut in the middle (MQTT 3.1.2.4, 4.1, 4.4)."""

import asyncio
import math
from dataclasses import dataclass
from typing import Any

import pytest

from conftest import Broker, TcpBroker
from ferromqtt import Client, MqttError, PacketTypes, Properties, ProtocolVersion
from support.clients import LIMIT, receive_many, receive_until, unique
from support.loops import LoopRunner
from support.proxy import DOWNSTREAM, UPSTREAM, CuttingProxy

COUNT = 500
VERSIONS = (ProtocolVersion.V311, ProtocolVersion.V5)
# Bytes after which the connection is reset: early, late, and inside packets of every kind. The
# CONNECT is about 30 bytes, CONNACK 4 to 20, a PUBLISH here about 30, its acknowledgement 4.
CUTS = (
    (DOWNSTREAM, 5),
    (UPSTREAM, 49),
    (DOWNSTREAM, 401),
    (UPSTREAM, 83),
    (DOWNSTREAM, 1203),
    (UPSTREAM, 130),
    (DOWNSTREAM, 1777),
    (UPSTREAM, 171),
    (DOWNSTREAM, 2222),
    (UPSTREAM, 290),
)

PUBLISHER_CUTS = tuple(
    (UPSTREAM, 60 + 131 * turn) if turn % 2 == 0 else (DOWNSTREAM, 60 + 7 * turn)
    for turn in range(10)
)


def session_options(version: ProtocolVersion) -> dict[str, Any]:
    """Return the client options that keep the session for an hour."""
    if version is not ProtocolVersion.V5:
        return {"protocol": version, "clean_session": False}
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    return {"protocol": version, "clean_start": False, "properties": properties}


@dataclass
class Missed:
    """What was published, on a topic for each QoS, while the subscriber was away."""

    broker: Broker
    topic: str

    async def publish(self) -> None:
        """Publish 500 messages, alternately at QoS 1 and QoS 2."""
        async with Client(*self.broker.where, timeout=LIMIT) as publisher:
            publisher.pending_calls_threshold = COUNT
            await asyncio.gather(
                *(
                    publisher.publish(f"{self.topic}/{1 + number % 2}", number, qos=1 + number % 2)
                    for number in range(COUNT)
                )
            )

    async def end(self) -> None:
        """Publish the mark that ends the wait for anything else."""
        async with Client(*self.broker.where) as publisher:
            await publisher.publish(f"{self.topic}/2", b"last", qos=2)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("same_object", [True, False])
def test_messages_published_meanwhile_arrive_once_in_order_1_2(
    run: LoopRunner, broker: Broker, version: ProtocolVersion, *, same_object: bool
) -> None:
    missed = Missed(broker, unique("session"))
    identifier = unique("client")

    def make() -> Client:
        return Client(*broker.where, identifier=identifier, **session_options(version))

    async def main() -> None:
        client = make()
        async with client:
            await client.subscribe(f"{missed.topic}/1", qos=1)
            await client.subscribe(f"{missed.topic}/2", qos=2)
        await missed.publish()
        async with client if same_object else make() as back:
            received = await receive_many(back, COUNT)
            await missed.end()
            assert await receive_until(back, b"last") == []
        # order is promised for each topic (MQTT-4.6.0-6), and each topic has its own QoS here
        for qos in (1, 2):
            numbers = [int(message.payload) for message in received if message.qos == qos]
            assert numbers == list(range(qos - 1, COUNT, 2))

    run(main)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_clean_session_receives_nothing_it_missed_1_2(
    run: LoopRunner, broker: Broker, version: ProtocolVersion
) -> None:
    missed = Missed(broker, unique("clean"))
    clean: dict[str, Any] = (
        {"clean_start": True} if version is ProtocolVersion.V5 else {"clean_session": True}
    )

    async def main() -> None:
        client = Client(*broker.where, protocol=version, identifier=unique("client"), **clean)
        async with client:
            await client.subscribe(f"{missed.topic}/1", qos=1)
            await client.subscribe(f"{missed.topic}/2", qos=2)
        await missed.publish()
        async with client:
            # neither the messages nor the subscriptions are there; both would come before this one
            other = unique("other")
            await client.subscribe(other)
            await missed.end()
            await client.publish(other, b"last")
            assert await receive_until(client, b"last") == []

    run(main)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_nothing_is_lost_when_the_connection_is_cut_ten_times_1_5(
    run: LoopRunner, tcp_broker: TcpBroker, version: ProtocolVersion
) -> None:
    """QoS 2 exactly once, QoS 1 at least once, first arrivals in order, same client re-entered."""
    missed = Missed(tcp_broker, unique("cut"))

    async def main(proxy: CuttingProxy) -> None:
        client = Client(
            proxy.host, proxy.port, identifier=unique("client"), **session_options(version)
        )
        received: list[int] = []
        async with client:
            await client.subscribe(f"{missed.topic}/1", qos=1)
            await client.subscribe(f"{missed.topic}/2", qos=2)
        await missed.publish()
        for direction, after in CUTS:
            cut = proxy.cut_next(direction, after)
            with pytest.raises(MqttError):  # noqa: PT012  from the enter or from the iterator
                async with asyncio.timeout(LIMIT), client:
                    async for message in client.messages:
                        received.append(int(message.payload))  # noqa: PERF401
            assert await asyncio.to_thread(cut.done.wait, LIMIT)
        async with client:
            async with asyncio.timeout(LIMIT):
                while len(set(received)) < COUNT:
                    received.append(int((await anext(client.messages)).payload))
            await missed.end()
            received += [int(it.payload) for it in await receive_until(client, b"last")]

        assert set(received) == set(range(COUNT))
        exactly_once = [number for number in received if number % 2]
        assert exactly_once == list(range(1, COUNT, 2))
        first_arrivals = list(dict.fromkeys(number for number in received if not number % 2))
        assert first_arrivals == list(range(0, COUNT, 2))

    with CuttingProxy(tcp_broker.host, tcp_broker.port) as proxy:
        run(main, proxy)


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_publishes_cut_in_the_middle_keep_their_promise_1_4(
    run: LoopRunner, tcp_broker: TcpBroker, version: ProtocolVersion, qos: int
) -> None:
    """MQTT-4.4.0-1, and docs/design/0005-lost-sessions.md.

    What returned has arrived; what raised "unknown" is resent into the resumed session and arrives;
    what raised "not_sent" never does. At QoS 2 everything once.
    """
    topic = unique("publishes")

    async def main(proxy: CuttingProxy) -> None:
        client = Client(
            proxy.host,
            proxy.port,
            identifier=unique("client"),
            timeout=LIMIT,
            **session_options(version),
        )
        client.pending_calls_threshold = 1000
        fate: dict[int, str] = {}

        async def publish(number: int) -> None:
            try:
                await client.publish(topic, number, qos=qos, timeout=math.inf)
                fate[number] = "done"
            except MqttError as error:
                fate[number] = getattr(error, "delivery", "not_sent")

        async with Client(*tcp_broker.where) as observer:
            await observer.subscribe(topic, qos=2)
            for turn in range(len(PUBLISHER_CUTS)):
                cut = proxy.cut_next(*PUBLISHER_CUTS[turn])
                async with asyncio.timeout(LIMIT), client:
                    await asyncio.gather(*(publish(turn * 100 + number) for number in range(100)))
                assert await asyncio.to_thread(cut.done.wait, LIMIT)
            async with client:
                await publish(1000)
            received = [int(it.payload) for it in await receive_until(observer, b"1000")]

        expected = {number for number, end in fate.items() if end in ("done", "unknown")} - {1000}
        assert fate[1000] == "done"
        assert "not_sent" in fate.values()
        assert "unknown" in fate.values()
        assert set(received) == expected
        if qos == 2:
            assert received == sorted(expected)

    with CuttingProxy(tcp_broker.host, tcp_broker.port) as proxy:
        run(main, proxy)
