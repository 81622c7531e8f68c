"""Enhanced authentication (MQTT 5.0 section 4.12): `Client(authenticator=...)`."""

import asyncio
import contextlib

import pytest

from ferromqtt import Client, MqttConnectError, MqttError, PacketTypes, Properties, ProtocolVersion
from ferromqtt.testing import TestBroker
from support import packets
from support.clients import LIMIT
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer

CHALLENGES = [(b"why?", b"so"), (b"how?", b"thus")]


def by(method: str) -> Properties:
    """Return the CONNECT properties that name an Authentication Method."""
    properties = Properties(PacketTypes.CONNECT)
    properties.AuthenticationMethod = method
    return properties


def client_of(broker: TestBroker, **options: object) -> Client:
    return Client(
        broker,
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
        async with TestBroker(listen=False, authentication=("QUIZ", CHALLENGES)) as broker:
            async with client_of(broker, authenticator=answer) as client:
                await client.publish("a", "b", qos=1)
            assert asked == [b"why?", b"how?"]

    run(main)


def test_a_wrong_answer_is_refused(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False, authentication=("QUIZ", CHALLENGES)) as broker:
            client = client_of(broker, authenticator=lambda _: b"wrong")
            with pytest.raises(MqttConnectError, match="Not authorized"):
                await client.__aenter__()

    run(main)


def test_without_an_authenticator_the_server_s_question_ends_the_connection(
    run: LoopRunner,
) -> None:
    async def main() -> None:
        async with TestBroker(listen=False, authentication=("QUIZ", CHALLENGES)) as broker:
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
        async with TestBroker(listen=False, authentication=("QUIZ", CHALLENGES)) as broker:
            with pytest.raises(MqttError, match=r"`authenticator` raised KeyError$"):
                await client_of(broker, authenticator=answer).__aenter__()
        assert [type(error) for error in reported] == [KeyError]

    run(main)


@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_an_answer_that_is_too_long_ends_the_connection_and_is_named(
    run: LoopRunner, kind: str
) -> None:
    answer = bytes(65_536)

    async def later(_: bytes) -> bytes:
        return answer

    async def main() -> None:
        async with TestBroker(listen=False, authentication=("QUIZ", CHALLENGES)) as broker:
            client = client_of(
                broker, authenticator=later if kind == "coroutine" else lambda _: answer
            )
            with pytest.raises(MqttError) as caught:
                await client.__aenter__()
        assert str(caught.value) == (
            "The answer of the client's `authenticator` cannot be sent: authentication_data of "
            "AUTH is 65536 bytes long, and MQTT allows 65535: shorten it"
        )

    run(main)


def test_an_answer_that_the_server_did_not_wait_for_is_named(run: LoopRunner) -> None:
    """The server accepts the connection while the authenticator's coroutine runs."""
    method = b"\x15" + packets.string("QUIZ")
    ended: list[MqttError] = []

    def script(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        asking = b"\x18" + bytes([len(method)]) + method
        connection.send(packets.encode(0xF0, asking))
        connection.send(packets.encode(0x20, b"\0\0" + bytes([len(method)]) + method))
        connection.read_to_end()

    async def main() -> None:
        accepted = asyncio.Event()

        async def answer(_: bytes) -> bytes:
            await accepted.wait()
            return b"late"

        with ScriptedServer(script) as server:
            client = Client(
                server.host,
                server.port,
                protocol=ProtocolVersion.V5,
                properties=by("QUIZ"),
                authenticator=answer,
            )
            async with client:
                accepted.set()
                with pytest.raises(MqttError) as caught:
                    await anext(client.messages)
                ended.append(caught.value)

    run(main)
    text = "The answer of the client's `authenticator` cannot be sent: AUTH cannot say "
    assert text in str(ended[0])


def test_a_method_that_the_server_does_not_ask_by_is_refused(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False, authentication=("OTHER", CHALLENGES)) as broker:
            with pytest.raises(MqttConnectError, match="Bad authentication method"):
                await client_of(broker, authenticator=bytes).__aenter__()

    run(main)


def test_a_coroutine_s_answers_are_awaited(run: LoopRunner) -> None:
    asked: list[bytes] = []

    async def answer(data: bytes) -> bytes:
        asked.append(data)
        await asyncio.sleep(0)
        return dict(CHALLENGES)[data]

    async def main() -> None:
        async with TestBroker(listen=False, authentication=("QUIZ", CHALLENGES)) as broker:
            async with client_of(broker, authenticator=answer) as client:
                await client.publish("a", "b", qos=1)
            assert asked == [b"why?", b"how?"]

    run(main)


def test_a_coroutine_that_raises_ends_the_connection_and_is_reported(run: LoopRunner) -> None:
    reported: list[BaseException] = []

    async def answer(data: bytes) -> bytes:
        await asyncio.sleep(0)
        raise KeyError(data)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context["exception"])
        )
        async with TestBroker(listen=False, authentication=("QUIZ", CHALLENGES)) as broker:
            with pytest.raises(MqttError, match=r"`authenticator` raised KeyError$"):
                await client_of(broker, authenticator=answer).__aenter__()
        assert [type(error) for error in reported] == [KeyError]

    run(main)


def test_a_coroutine_that_answers_something_else_than_bytes_is_reported(run: LoopRunner) -> None:
    async def answer(data: bytes) -> bytes:
        return data.decode()  # type: ignore[return-value]

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        async with TestBroker(listen=False, authentication=("QUIZ", CHALLENGES)) as broker:
            with pytest.raises(MqttError, match=r"`authenticator` raised TypeError$"):
                await client_of(broker, authenticator=answer).__aenter__()

    run(main)


@pytest.mark.parametrize("end", ["cancelled", "timed out", "server is gone"])
def test_a_coroutine_is_cancelled_with_its_connection(run: LoopRunner, end: str) -> None:
    async def main() -> None:
        asked, stopped = asyncio.Event(), asyncio.Event()

        async def answer(_: bytes) -> bytes:
            asked.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                stopped.set()
            raise AssertionError

        async with TestBroker(listen=False, authentication=("QUIZ", CHALLENGES)) as broker:
            timeout = 0.05 if end == "timed out" else LIMIT
            client = client_of(broker, authenticator=answer, timeout=timeout)
            entering = asyncio.ensure_future(client.__aenter__())
            await asked.wait()
            if end == "cancelled":
                entering.cancel()
            elif end == "server is gone":
                await broker.stop()
            await asyncio.wait([entering])
            assert entering.cancelled() or isinstance(entering.exception(), MqttError)
            await asyncio.wait_for(stopped.wait(), LIMIT)

    run(main)


def test_an_answer_that_comes_after_the_connection_has_ended_goes_nowhere(run: LoopRunner) -> None:
    """A coroutine that takes no notice of its cancellation answers no later connection."""

    async def main() -> None:
        asked = 0
        was_asked, release, old = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def answer(data: bytes) -> bytes:
            nonlocal asked
            asked += 1
            was_asked.set()
            if asked > 1:
                release.set()
                await old.wait()
                return dict(CHALLENGES)[data]
            while not release.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await release.wait()
            old.set()
            return b"of the connection before"

        async with TestBroker(listen=False, authentication=("QUIZ", CHALLENGES)) as broker:
            client = client_of(broker, authenticator=answer, timeout=LIMIT)
            entering = asyncio.ensure_future(client.__aenter__())
            async with asyncio.timeout(LIMIT):
                await was_asked.wait()
                entering.cancel()
                await asyncio.wait([entering])
                async with client:
                    await client.publish("a", "b", qos=1)
        assert asked == 3

    run(main)
