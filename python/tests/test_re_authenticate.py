"""Authenticating again, and what an exchange begins with (5.0, section 4.12)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ferromqtt import Client, MqttCodeError, MqttError, MqttTimeoutError
from ferromqtt.connection import Reconnect
from ferromqtt.testing import TestBroker, VirtualLoop
from support import packets
from support.clients import LIMIT
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer

CHALLENGES = [(b"why?", b"so"), (b"how?", b"thus")]
METHOD = b"\x15" + packets.string("QUIZ")


class Quiz:
    """Answers the broker, and begins each exchange; it notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.begun = 0

    def begin(self) -> bytes | Awaitable[bytes | None] | None:
        self.begun += 1
        return b"number %d" % self.begun

    def __call__(self, data: bytes) -> bytes:
        self.asked.append(data)
        return dict(CHALLENGES)[data]


class LateQuiz(Quiz):
    """Begins by a coroutine."""

    async def begin(self) -> bytes | None:  # type: ignore[override]
        await asyncio.sleep(1)
        return bytes(super().begin())  # type: ignore[arg-type]


def client_of(*where: Any, **options: Any) -> Client:  # noqa: ANN401 - as of `Client`
    return Client(*where, protocol=5, properties={"AuthenticationMethod": "QUIZ"}, **options)


def virtually(main: Callable[[TestBroker], Any]) -> None:
    async def run() -> None:
        async with TestBroker(listen=False, authentication=("QUIZ", CHALLENGES)) as broker:
            await main(broker)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


@pytest.mark.parametrize("quiz", [Quiz, LateQuiz])
def test_each_exchange_is_begun_and_answered_mqtt_4_12_1_1(quiz: type[Quiz]) -> None:
    async def main(broker: TestBroker) -> None:
        authenticator = quiz()
        async with client_of(broker, authenticator=authenticator) as client:
            for number in (1, 2, 3):
                assert authenticator.asked == [b"why?", b"how?"] * number
                assert authenticator.begun == number
                await client.re_authenticate()
            await client.publish("a", "b", qos=1)

    virtually(main)


def test_a_function_authenticates_again_without_a_beginning() -> None:
    async def main(broker: TestBroker) -> None:
        answers = dict(CHALLENGES)
        async with client_of(broker, authenticator=answers.__getitem__) as client:
            await client.re_authenticate()

    virtually(main)


def test_the_beginning_is_in_connect_and_in_auth(run: LoopRunner) -> None:
    begun: list[bytes] = []

    def script(connection: Connection) -> None:
        begun.append(connection.expect(packets.CONNECT)[1])
        connection.send(packets.encode(0x20, b"\0\0" + bytes([len(METHOD)]) + METHOD))
        begun.append(connection.expect(packets.AUTH)[1])
        connection.send(packets.encode(0xF0, b"\0" + bytes([len(METHOD)]) + METHOD))
        connection.expect(packets.DISCONNECT)

    async def main() -> None:
        with ScriptedServer(script) as server:
            async with client_of(server.host, server.port, authenticator=Quiz()) as client:
                await client.re_authenticate(timeout=LIMIT)

    run(main)
    for number, packet in enumerate(begun, 1):
        assert b"\x16" + packets.string(f"number {number}") in packet
    assert begun[1][0] == 0x19  # Re-authenticate


def test_a_wrong_answer_ends_the_connection_mqtt_4_12_1_2() -> None:
    async def main(broker: TestBroker) -> None:
        quiz = Quiz()
        async with client_of(broker, authenticator=quiz) as client:
            quiz.__class__ = Wrong
            with pytest.raises(MqttError, match="Not authorized"):
                await client.re_authenticate()

    virtually(main)


class Wrong(Quiz):
    """Answers wrongly."""

    def __call__(self, data: bytes) -> bytes:
        return data


def test_what_cannot_begin_is_refused_before_anything_is_sent() -> None:
    async def main(broker: TestBroker) -> None:
        client = client_of(broker, authenticator=Quiz())
        with pytest.raises(MqttCodeError, match="not currently connected"):
            await client.re_authenticate()
        async with client:
            first = asyncio.create_task(client.re_authenticate())
            await asyncio.sleep(0)
            with pytest.raises(MqttError, match="AUTH cannot say"):
                await client.re_authenticate()
            await first
        async with TestBroker(listen=False) as plain:
            async with Client(plain, protocol=5) as other:
                with pytest.raises(ValueError, match="no `authenticator`"):
                    await other.re_authenticate()
            async with Client(plain, protocol=5, authenticator=bytes) as other:
                with pytest.raises(ValueError, match="AUTH needs the Authentication Method"):
                    await other.re_authenticate()

    virtually(main)


@pytest.mark.parametrize("place", ["connect", "again"])
def test_a_beginning_that_raises_is_told_without_its_text(place: str) -> None:
    class Broken(Quiz):
        def begin(self) -> bytes | None:
            if place == "connect" or self.begun:
                raise KeyError("secret")
            self.begun += 1
            return None

    async def main(broker: TestBroker) -> None:
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context["message"])
        )
        policy = Reconnect(initial=True)
        client = client_of(broker, authenticator=Broken(), reconnect=policy)
        with pytest.raises(MqttError, match=r"`authenticator` raised KeyError$"):
            async with client:
                await client.re_authenticate()
        expected = ["ferromqtt: an `authenticator` raised"] if place == "connect" else []
        assert reported == expected

    virtually(main)


def test_a_server_that_never_answers_is_told_in_time(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        connection.send(packets.encode(0x20, b"\0\0" + bytes([len(METHOD)]) + METHOD))
        connection.expect(packets.AUTH)
        connection.expect(packets.DISCONNECT)

    async def main() -> None:
        with ScriptedServer(script) as server:
            async with client_of(server.host, server.port, authenticator=Quiz()) as client:
                with pytest.raises(MqttTimeoutError, match="has not accepted the authentication"):
                    await client.re_authenticate(timeout=0.05)

    run(main)


def test_an_exchange_under_way_is_not_disturbed_by_another_beginning() -> None:
    async def main(broker: TestBroker) -> None:
        class Slow(Quiz):
            async def __call__(self, data: bytes) -> bytes:  # type: ignore[override]
                await asyncio.sleep(1)
                return super().__call__(data)

        authenticator = Slow()
        async with client_of(broker, authenticator=authenticator) as client:
            first = asyncio.create_task(client.re_authenticate())
            await asyncio.sleep(0.5)
            begun = authenticator.begun
            with pytest.raises(MqttError, match="Re-authenticate"):
                await client.re_authenticate()
            assert authenticator.begun == begun
            await first

    virtually(main)


def test_what_was_begun_for_a_connection_that_has_ended_is_not_sent_on_the_next_one() -> None:
    async def main(broker: TestBroker) -> None:
        authenticator = LateQuiz()
        async with client_of(
            broker, authenticator=authenticator, identifier="c", reconnect=Reconnect(min=0.1)
        ) as client:
            again = asyncio.create_task(client.re_authenticate(timeout=100))
            await asyncio.sleep(0.5)
            broker.disconnect_client("c", 0x8B)
            with pytest.raises(MqttCodeError):
                await again
            await client.wait_connected()
            assert client.stats().connections == 2
            assert authenticator.asked == [b"why?", b"how?"] * 2

    virtually(main)
