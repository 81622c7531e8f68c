"""`Client(protocol="auto")`: 5.0 with the servers that speak it, and 3.1.1 with the others."""

import asyncio
import functools
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from ferromqtt import Client, MqttConnectError, MqttError, ProtocolVersion
from ferromqtt.connection import ClientState, Reconnect
from ferromqtt.properties import SubscribeOptions
from ferromqtt.testing import TestBroker, VirtualLoop
from support import packets
from support.clients import LIMIT, receive, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto
from support.scripted import Connection, ScriptedServer

T = TypeVar("T")
NO_OPTIONS = (
    "Subscribe options other than the QoS are not sent: MQTT 3.1.1 has none. Leave them out, or "
    "give the client protocol=ProtocolVersion.V5."
)
V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5


def virtually(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


@pytest.mark.parametrize(
    ("options", "version"),
    [
        ({}, V5),
        ({"refused_versions": [V5]}, V311),
        ({"unanswered_versions": [5]}, V311),
    ],
)
def test_entering_succeeds_with_servers_of_either_version(
    options: dict[str, Any], version: ProtocolVersion, caplog: pytest.LogCaptureFixture
) -> None:
    """Without reconnecting, since the refusal of 5.0 is no failed attempt."""

    async def main() -> None:
        async with TestBroker(listen=False, **options) as broker:
            client = Client(broker, protocol="auto")
            assert client.protocol() is V5
            for _ in range(2):  # it can be entered again
                async with client:
                    assert client.protocol() is version
                    await client.subscribe("a", qos=2)
                    await client.publish("a", b"x", qos=2)
                    assert (await receive(client)).payload == b"x"

    with caplog.at_level(logging.WARNING):
        virtually(main())
    assert caplog.records == []


def test_mosquitto_is_spoken_to_in_5_0(run: LoopRunner, mosquitto: Mosquitto) -> None:
    async def main() -> None:
        async with Client(*mosquitto.where, protocol="auto") as client:
            topic = unique("auto")
            await client.subscribe(topic, qos=2)
            await client.publish(topic, b"x", qos=2, content_type="text/plain")
            assert (await receive(client)).content_type == "text/plain"
            assert client.protocol() is V5

    run(main)


def test_a_server_that_speaks_neither_is_told_by_its_refusal() -> None:
    async def main() -> None:
        async with TestBroker(listen=False, refused_versions=[4, 5]) as broker:
            client = Client(broker, protocol="auto", reconnect=True)
            with pytest.raises(MqttConnectError, match="Unsupported protocol version"):
                await client.__aenter__()

    virtually(main())


def test_each_connection_has_the_version_that_the_server_speaks_then(run: LoopRunner) -> None:
    """The server speaks 3.1.1 alone at first, and 5.0 alone in the end."""
    levels: list[int] = []

    def answer(connack: bytes, connection: Connection) -> None:
        _, body = connection.expect(packets.CONNECT)
        levels.append(body[6])
        connection.send(connack)

    def stay(connection: Connection) -> None:
        answer(packets.CONNACK_5, connection)
        connection.expect(packets.DISCONNECT)

    connacks = [b"\x20\x02\x00\x01", *[packets.CONNACK_311] * 2, b"\x20\x03\x00\x84\x00"]
    scripts = [*(functools.partial(answer, connack) for connack in connacks), stay]

    async def main() -> None:
        with ScriptedServer(*scripts) as server:
            policy = Reconnect(min=0.01, max=0.01)
            client = Client(
                server.host, server.port, protocol="auto", timeout=LIMIT, reconnect=policy
            )
            async with client:
                async for _ in client.events():
                    if client.protocol() is V5 and client.state() is ClientState.CONNECTED:
                        break

    run(main)
    assert levels == [5, 4, 4, 4, 5]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"clean_session": False}, r"^Clean session is not used for MQTT 5\.0"),
        ({"password": "x"}, "^a password without a user name is possible with MQTT 5.0 only"),
        ({"clean_start": False}, "^a Client Identifier is needed.*: give `identifier` "),
        (
            {"properties": {"AuthenticationMethod": "QUIZ"}},
            "^Property AuthenticationMethod has no effect where the client falls back",
        ),
    ],
)
def test_what_3_1_1_cannot_do_is_refused(options: dict[str, Any], problem: str) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            with pytest.raises(ValueError, match=problem):
                await Client(broker, protocol="auto", **options).__aenter__()

    virtually(main())


def test_the_line_of_the_fallback_names_server_and_version(
    caplog: pytest.LogCaptureFixture, run: LoopRunner
) -> None:
    async def main() -> None:
        async with TestBroker(unanswered_versions=[5]) as broker:
            async with Client(broker.host, broker.port, protocol="auto"):
                pass
            address = f"{broker.host}:{broker.port}"
            assert caplog.messages[0] == (
                f"{address} refused MQTT 5.0, or does not seem to speak it (the server closed the "
                "connection instead of answering CONNECT): trying MQTT 3.1.1"
            )

    with caplog.at_level(logging.INFO, "ferromqtt"):
        run(main)


def test_what_only_5_0_has_is_left_out_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def main(version: int) -> list[str]:
        async with TestBroker(listen=False, refused_versions=[version]) as broker:
            client = Client(broker, protocol="auto", properties={"ReceiveMaximum": 1})
            async with client:
                await client.subscribe("a", qos=1)
                for _ in range(2):
                    await client.publish("a", b"x", qos=1, properties={"ContentType": "text"})
                messages = [await receive(client) for _ in range(2)]
            return [getattr(it.properties, "ContentType", "") for it in messages]

    assert virtually(main(3)) == ["text", "text"]
    assert caplog.records == []
    assert virtually(main(5)) == ["", ""]
    assert [record.getMessage()[:24] for record in caplog.records] == ["Properties are not sent:"]


def test_the_qos_of_subscribe_options_is_kept_with_either_version(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wanted = SubscribeOptions(qos=1, noLocal=True)

    async def main(version: int) -> list[int]:
        async with TestBroker(listen=False, refused_versions=[version]) as broker:
            async with Client(broker, protocol="auto") as client:
                granted = [
                    *await client.subscribe("a", options=wanted),
                    *await client.subscribe(("b", wanted)),
                    *await client.subscribe([("c", wanted), ("d", 2)]),
                ]
                qos = [code.value for code in granted]
                async with client.subscription(("e", wanted), [("f", wanted)]) as messages:
                    qos += [code.value for _, code in messages.results()]
                async with client.subscription("g", qos=1, no_local=True) as messages:
                    qos.append(messages.granted_qos())
            return qos

    assert virtually(main(3)) == [1, 1, 1, 2, 1, 1, 1]
    assert caplog.records == []
    assert virtually(main(5)) == [1, 1, 1, 2, 1, 1, 1]
    (record,) = caplog.records
    assert record.getMessage() == NO_OPTIONS


@pytest.mark.parametrize("reconnect", [False, True])
def test_a_subscription_from_before_the_connection_is_made_with_what_3_1_1_has(
    caplog: pytest.LogCaptureFixture, reconnect: bool
) -> None:
    async def main() -> None:
        async with TestBroker(listen=False, refused_versions=[5]) as broker:
            client = Client(broker, protocol="auto", reconnect=reconnect)
            subscription = client.subscription("a", qos=1, no_local=True, subscription_identifier=7)
            async with subscription as messages, client:
                await client.subscribe("b")  # the answer to the other has come by then
                await client.publish("a", b"x", qos=1)
                assert (await anext(messages)).payload == b"x"
                assert messages.granted_qos() == 1
                assert messages.not_subscribed() == []

    virtually(main())
    assert [record.getMessage()[:17] for record in caplog.records] == [
        "Subscribe options",
        "Properties are no",
    ]


def test_a_fault_of_the_network_is_told_as_before(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        connection.expect(packets.CONNECT)

    async def main() -> None:
        with ScriptedServer(script) as server:
            client = Client(server.host, server.port, protocol="auto", timeout=LIMIT)
            with pytest.raises(MqttError, match="closed the connection instead of answering"):
                await client.__aenter__()

    run(main)
