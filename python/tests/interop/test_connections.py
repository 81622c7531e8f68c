"""Logging in, being taken over, dying, being cut off and coming back."""

import asyncio
import math
from collections import Counter

import pytest

from ferromqtt import MqttConnectError, MqttError, Will
from interop.conftest import Here
from interop.gaps import Feature
from interop.server import LOGIN
from support.clients import LIMIT, receive, receive_many, receive_until, unique
from support.loops import LoopRunner
from support.proxy import DOWNSTREAM, UPSTREAM, CuttingProxy

BAD_LOGIN = {134, 135}  # Bad User Name or Password, Not authorized: both are in use


def test_right_password_is_let_in(run: LoopRunner, here: Here) -> None:
    topic = unique("login")

    async def main() -> None:
        client = here.client(port=here.login_port, username=LOGIN.username, password=LOGIN.password)
        async with client:
            await client.subscribe(topic)
            await client.publish(topic, b"in")
            assert (await receive(client)).payload == b"in"

    run(main)


@pytest.mark.parametrize(
    ("username", "password"), [(LOGIN.username, "wrong-one"), ("nobody", LOGIN.password)]
)
def test_wrong_login_is_refused(run: LoopRunner, here: Here, username: str, password: str) -> None:
    async def main() -> None:
        client = here.client(port=here.login_port, username=username, password=password)
        with pytest.raises(MqttConnectError) as refusal:
            await client.__aenter__()
        assert refusal.value.rc.value in BAD_LOGIN
        assert password not in str(refusal.value)

    run(main)


def test_two_clients_without_identifier_live_side_by_side(run: LoopRunner, here: Here) -> None:
    """The server gives each a Client Identifier of its own (3.1 clients make one up)."""
    topic = unique("nameless")

    async def main() -> None:
        async with here.client() as one, here.client() as other:
            await one.subscribe(topic, qos=1)
            await other.publish(topic, b"hello", qos=1)
            assert (await receive(one)).payload == b"hello"

    run(main)


def test_second_client_of_a_name_takes_over(run: LoopRunner, here: Here) -> None:
    name, topic = unique("twice"), unique("taken")

    async def main() -> None:
        async with here.client(identifier=name) as first, here.client(identifier=name) as second:
            with pytest.raises(MqttError):
                await receive(first)
            await second.subscribe(topic, qos=1)
            await second.publish(topic, b"mine", qos=1)
            assert (await receive(second)).payload == b"mine"

    run(main)


@pytest.mark.parametrize("qos", [0, 1])
def test_will_is_published_when_the_client_dies(run: LoopRunner, here: Here, qos: int) -> None:
    topic = unique("will")

    async def main(proxy: CuttingProxy) -> None:
        async with here.client() as witness:
            await witness.subscribe(topic, qos=1)
            will = Will(topic, b"gone", qos=qos)
            async with here.client(hostname=proxy.host, port=proxy.port, will=will) as client:
                proxy.cut_now()
                with pytest.raises(MqttError):
                    await receive(client)
            message = await receive(witness)
            assert (message.payload, message.qos, message.retain) == (b"gone", qos, False)

    with CuttingProxy(here.server.host, here.server.port) as proxy:
        run(main, proxy)


def test_will_is_not_published_when_the_client_leaves(run: LoopRunner, here: Here) -> None:
    topic = unique("no-will")

    async def main() -> None:
        async with here.client() as witness:
            await witness.subscribe(topic, qos=1)
            async with here.client(will=Will(topic, b"gone", qos=1)):
                pass
            await witness.publish(topic, b"last", qos=1)
            assert await receive_until(witness, b"last") == []

    run(main)


def test_session_receives_what_it_missed(run: LoopRunner, here: Here) -> None:
    name, topic, count = unique("missed"), unique("missed"), 100

    async def main() -> None:
        async with here.lasting_client(name) as client:
            await client.subscribe(topic, qos=1)
        async with here.client() as publisher:
            for number in range(count):
                await publisher.publish(topic, number, qos=1)
        # no subscribe here: the subscription is part of the session, as the messages are
        async with here.lasting_client(name) as client:
            received = await receive_many(client, count)
            assert [int(message.payload) for message in received] == list(range(count))
            await client.unsubscribe(topic)

    run(main)


def test_clean_start_forgets_the_session(run: LoopRunner, here: Here) -> None:
    name, topic, other = unique("forgotten"), unique("forgotten"), unique("new")

    async def main() -> None:
        async with here.lasting_client(name) as client:
            await client.subscribe(topic, qos=1)
        async with here.client() as publisher:
            await publisher.publish(topic, b"missed", qos=1)
        async with here.client(identifier=name) as client:
            await client.subscribe(other, qos=1)
            await client.publish(topic, b"not subscribed", qos=1)
            await client.publish(other, b"last", qos=1)
            assert await receive_until(client, b"last") == []

    run(main)


def test_nothing_is_lost_when_the_connection_is_cut(run: LoopRunner, here: Here) -> None:
    run_cuts(run, here, 1)


@pytest.mark.needs(Feature.QOS_2)
def test_no_qos_2_message_is_lost_when_the_connection_is_cut(run: LoopRunner, here: Here) -> None:
    run_cuts(run, here, 2)


@pytest.mark.needs(Feature.QOS_2, Feature.ONCE)
def test_no_qos_2_message_comes_twice_when_the_connection_is_cut(
    run: LoopRunner, here: Here
) -> None:
    received = run_cuts(run, here, 2)
    assert [number for number, times in Counter(received).items() if times > 1] == []


CUTS = ((DOWNSTREAM, 100), (UPSTREAM, 200), (DOWNSTREAM, 1777), (UPSTREAM, 555))


def run_cuts(run: LoopRunner, here: Here, qos: int) -> list[int]:
    """Publish to oneself while the connection is cut, and enter again each time.

    Returns what was received.
    """
    name, topic = unique("cut"), unique("cut")
    fate: dict[int, str] = {}

    async def main(proxy: CuttingProxy) -> list[int]:
        client = here.lasting_client(name, hostname=proxy.host, port=proxy.port)

        async def publish(number: int) -> None:
            try:
                await client.publish(topic, number, qos=qos, timeout=math.inf)
                fate[number] = "done"
            except MqttError as error:
                fate[number] = error.delivery or "unknown"

        received: list[int] = []
        async with client:
            [granted] = await client.subscribe(topic, qos=qos)
            assert granted.value == qos
        for turn, (direction, after) in enumerate(CUTS):
            cut = proxy.cut_next(direction, after)
            calls = []
            with pytest.raises(MqttError):  # noqa: PT012 - from the enter or from the iterator
                async with asyncio.timeout(LIMIT), client:
                    numbers = range(turn * 100, turn * 100 + 100)
                    calls = [asyncio.ensure_future(publish(number)) for number in numbers]
                    async for message in client.messages:
                        received.append(int(message.payload))  # noqa: PERF401 - as far as it gets
            await asyncio.gather(*calls)
            assert await asyncio.to_thread(cut.done.wait, LIMIT)
        expected = {number for number, end in fate.items() if end != "not_sent"}
        async with client:
            async with asyncio.timeout(LIMIT):
                while not expected <= set(received):
                    received.append(int((await anext(client.messages)).payload))
            await client.publish(topic, 1000, qos=qos)
            received += [int(it.payload) for it in await receive_until(client, b"1000")]
            await client.unsubscribe(topic)
        assert set(received) == expected
        assert "unknown" in fate.values()
        return received

    with CuttingProxy(here.server.host, here.server.port) as proxy:
        return run(main, proxy)


@pytest.mark.needs(Feature.KEEP_ALIVE_OF_ONE)
def test_idle_connection_is_kept_alive(run: LoopRunner, here: Here) -> None:
    """A Server closes after one and a half times the Keep Alive without a packet."""

    async def main() -> None:
        async with here.client(keepalive=1) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.8):
                    await anext(client.messages)
            await client.publish(unique("idle"), b"still here", qos=1)

    run(main)
