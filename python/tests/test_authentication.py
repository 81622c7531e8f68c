"""Enhanced authentication (MQTT 5.0 section 4.12): `Client(authenticator=...)`."""

import asyncio

import pytest

from ferromqtt import Client, MqttConnectError, MqttError, PacketTypes, Properties, ProtocolVersion
from ferromqtt.testing import TestBroker
from support.loops import LoopRunner

CHALLENGES = [(b"why?", b"so"), (b"how?", b"thus")]


def by(method: str) -> Properties:
    """Return the CONNECT properties that name an Authentication Method."""
    properties = Properties(PacketTypes.CONNECT)
    properties.AuthenticationMethod = method
    return properties


def client_of(broker: TestBroker, **options: object) -> Client:
    return Client(
        broker.host,
        broker.port,
        protocol=ProtocolVersion.V5,
        properties=by("QUIZ"),
        **options,  # type: ignore[arg-type]
    )


def test_each_challenge_is_answered_mqtt_4_12_0_3(run: LoopRunner) -> None:
    asked: list[bytes] = []

    def answer(data: bytes) -> bytes:
        asked.append(data)
        return dict(CHALLENGES)[data]

    async def main() -> None:
        async with TestBroker(authentication=("QUIZ", CHALLENGES)) as broker:
            async with client_of(broker, authenticator=answer) as client:
                await client.publish("a", "b", qos=1)
            assert asked == [b"why?", b"how?"]

    run(main)


def test_a_wrong_answer_is_refused(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(authentication=("QUIZ", CHALLENGES)) as broker:
            client = client_of(broker, authenticator=lambda _: b"wrong")
            with pytest.raises(MqttConnectError, match="Not authorized"):
                await client.__aenter__()

    run(main)


def test_without_an_authenticator_the_server_s_question_ends_the_connection(
    run: LoopRunner,
) -> None:
    async def main() -> None:
        async with TestBroker(authentication=("QUIZ", CHALLENGES)) as broker:
            with pytest.raises(MqttError, match="give the client an `authenticator`"):
                await client_of(broker).__aenter__()

    run(main)


def test_an_authenticator_that_raises_ends_the_connection_and_is_reported(run: LoopRunner) -> None:
    reported: list[BaseException] = []

    def answer(data: bytes) -> bytes:
        raise KeyError(data)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context["exception"])
        )
        async with TestBroker(authentication=("QUIZ", CHALLENGES)) as broker:
            with pytest.raises(MqttError, match=r"`authenticator` raised KeyError$"):
                await client_of(broker, authenticator=answer).__aenter__()
        assert [type(error) for error in reported] == [KeyError]

    run(main)


def test_a_method_that_the_server_does_not_ask_by_is_refused(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(authentication=("OTHER", CHALLENGES)) as broker:
            with pytest.raises(MqttConnectError, match="Bad authentication method"):
                await client_of(broker, authenticator=bytes).__aenter__()

    run(main)
