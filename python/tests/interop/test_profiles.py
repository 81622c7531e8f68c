"""Server profiles against the servers that they are about."""

from typing import Any

import pytest

from ferromqtt import Client, MqttCodeError, MqttError
from ferromqtt.profiles import PROFILES
from ferromqtt.types import ServerProfileName
from interop.conftest import Servers
from interop.mosquitto import Mosquitto
from interop.nats import Nats
from interop.rabbitmq import RabbitMQ
from interop.server import NotHere, Server
from support.clients import LIMIT, receive, receive_until, unique
from support.loops import LoopRunner

Profiled = tuple[ServerProfileName, Server]
KINDS: dict[ServerProfileName, type[Server]] = {
    "mosquitto-2.0": Mosquitto,
    "nats": Nats,
    "rabbitmq": RabbitMQ,
}


@pytest.fixture(params=KINDS)
def profiled(request: pytest.FixtureRequest, servers: Servers) -> Profiled:
    name: ServerProfileName = request.param
    try:
        return name, servers.get(KINDS[name])
    except NotHere as error:
        pytest.skip(f"{name} is not run: {error}")


def client_of(server: Server, **options: Any) -> Client:  # noqa: ANN401 - as `Client` takes them
    return Client(server.host, server.port, timeout=LIMIT, **options)


def deep(levels: int) -> str:
    return "/".join("a" * levels)


def test_each_row_that_is_tested_is_tested_here() -> None:
    assert set(KINDS) == {name for name, row in PROFILES.items() if row.tested_with}


def test_what_the_profile_allows_goes_there_and_back(run: LoopRunner, profiled: Profiled) -> None:
    name, server = profiled
    row = PROFILES[name]
    topic = unique("profile")
    if row.topic_levels:
        topic += deep(row.topic_levels)[1:]

    async def main() -> None:
        async with client_of(server, profile=name) as client:
            qos = 2 if row.maximum_qos is None else row.maximum_qos
            await client.subscribe(topic, qos=qos)
            await client.publish(topic, b"x" * 100_000, qos=qos, retain=not row.no_retain)
            message = await receive(client)
            assert (message.topic.value, message.qos) == (topic, qos)
            await client.publish(topic, b"", qos=1, retain=True)

    run(main)


def test_many_filters_are_one_call(run: LoopRunner, profiled: Profiled) -> None:
    name, server = profiled
    topics = [f"{unique('many')}/{number}" for number in range(30)]

    async def main() -> None:
        async with client_of(server, profile=name) as client:
            codes = await client.subscribe([(topic, 1) for topic in topics])
            assert [code.value for code in codes] == [1] * len(topics)
            await client.publish(topics[-1], b"x", qos=1)
            assert (await receive(client)).topic.value == topics[-1]

    run(main)


REFUSED: list[tuple[ServerProfileName, dict[str, Any], int]] = [
    ("rabbitmq", {"topic": "t", "qos": 2}, 0x9B),
    ("nats", {"topic": "t", "qos": 2}, 0x9B),
    ("nats", {"topic": "a b", "qos": 1}, 0x90),
    ("nats", {"topic": "a.b", "qos": 1}, 0x90),
    ("mosquitto-2.0", {"topic": deep(202), "qos": 1}, 0x90),
]


@pytest.mark.parametrize(
    ("profiled", "message", "code"),
    [(name, message, code) for name, message, code in REFUSED],
    indirect=["profiled"],
)
def test_what_is_refused_would_have_cost_the_connection(
    run: LoopRunner, profiled: Profiled, message: dict[str, Any], code: int
) -> None:
    name, server = profiled

    async def main() -> None:
        async with client_of(server) as plain:
            with pytest.raises(MqttError) as cut:
                await plain.publish(**message)
            assert cut.value.delivery == "unknown"
        async with client_of(server, profile=name) as client:
            with pytest.raises(MqttCodeError) as refusal:
                await client.publish(**message)
            assert refusal.value.rc.value == code
            assert f"(profile {name})" in refusal.value.__notes__[0]
            await client.publish("still/connected", b"", qos=1)

    run(main)


@pytest.mark.parametrize("profiled", ["nats", "rabbitmq"], indirect=True)
def test_a_shared_subscription_that_would_match_nothing_is_refused(
    run: LoopRunner, profiled: Profiled
) -> None:
    name, server = profiled
    topic = unique("shared")

    async def main() -> None:
        async with client_of(server) as plain:
            await plain.subscribe([(f"$share/group/{topic}", 1), (f"{topic}/end", 1)])
            await plain.publish(topic, b"hello", qos=1)
            await plain.publish(f"{topic}/end", b"last", qos=1)
            assert await receive_until(plain, b"last") == []
        async with client_of(server, profile=name) as client:
            with pytest.raises(MqttCodeError) as refusal:
                await client.subscribe(f"$share/group/{topic}", qos=1)
            assert refusal.value.rc.value == 0x9E

    run(main)


@pytest.mark.parametrize("profiled", ["nats"], indirect=True)
@pytest.mark.parametrize("topic", ["a b/#", "a.b"])
def test_a_filter_that_the_server_would_refuse_is_refused(
    run: LoopRunner, profiled: Profiled, topic: str
) -> None:
    name, server = profiled

    async def main() -> None:
        async with client_of(server) as plain:
            [code] = await plain.subscribe(topic, qos=1)
            assert code.value == 0x80
        async with client_of(server, profile=name) as client:
            with pytest.raises(MqttCodeError) as refusal:
                await client.subscribe(topic, qos=1)
            assert refusal.value.rc.value == 0x8F

    run(main)


def test_the_version_is_one_that_the_server_speaks(run: LoopRunner, profiled: Profiled) -> None:
    name, server = profiled

    async def main() -> None:
        client = client_of(server, profile=name, protocol="auto")
        async with client:
            expected = {"mosquitto-2.0": 5, "nats": 4, "rabbitmq": 4}[name]
            assert client.protocol() == expected

    run(main)
