"""`Client.request` and `Client.respond` (5.0, section 4.10)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from ferromqtt import (
    Client,
    Message,
    MqttCodeError,
    MqttError,
    MqttTimeoutError,
    PacketTypes,
    Properties,
    blocking,
)
from ferromqtt.connection import Reconnect
from ferromqtt.testing import TestBroker, VirtualLoop
from support.clients import LIMIT, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto

Reply = Callable[[Client, Message], Awaitable[None]]


def virtually(main: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def asker_of(*where: Any, **options: Any) -> Client:  # noqa: ANN401 - as of `Client`
    return Client(*where, protocol=5, **options)


async def square(client: Client, request: Message) -> None:
    await client.respond(request, int(request.payload) ** 2)


@contextlib.asynccontextmanager
async def responding(
    *where: Any,  # noqa: ANN401 - as of `Client`
    topic: str = "sq",
    reply: Reply = square,
) -> AsyncIterator[None]:
    """Have another client answer each request on its own task."""

    async def respond(client: Client) -> None:
        async with asyncio.TaskGroup() as replies:
            async for request in client.messages:
                replies.create_task(reply(client, request))

    async with asker_of(*where) as client:
        await client.subscribe(topic, qos=2)
        task = asyncio.create_task(respond(client))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def many_requests(*where: Any) -> None:  # noqa: ANN401 - as of `Client`
    topic = unique("sq")
    async with responding(*where, topic=topic), asker_of(*where) as asker:
        asker.pending_calls_threshold = 100
        for qos in (0, 1, 2):
            responses = await asyncio.gather(
                *(asker.request(topic, number, qos) for number in range(50))
            )
            assert [int(it.payload) for it in responses] == [number**2 for number in range(50)]
            assert {it.qos for it in responses} <= {0, 1}
        assert len(asker.messages) == 0


def test_each_of_many_requests_gets_its_response() -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            await many_requests(broker)

    virtually(main)


def test_each_of_many_requests_gets_its_response_from_mosquitto(
    run: LoopRunner, mosquitto: Mosquitto
) -> None:
    run(many_requests, *mosquitto.where)


def test_properties_go_both_ways() -> None:
    async def reply(client: Client, request: Message) -> None:
        assert request.properties is not None
        content = request.properties.ContentType
        await client.respond(request, "x", qos=2, properties={"ContentType": content.upper()})

    async def main() -> None:
        async with (
            TestBroker(listen=False) as broker,
            responding(broker, reply=reply),
            asker_of(broker) as asker,
        ):
            response = await asker.request("sq", "x", properties={"ContentType": "text"})
            assert response.properties is not None
            assert response.properties.ContentType == "TEXT"

    virtually(main)


@pytest.mark.parametrize("qos", [1, 2])
def test_that_nobody_is_there_to_respond_is_told_as_such(qos: int) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker, asker_of(broker) as asker:
            with pytest.raises(MqttCodeError, match="No matching subscribers") as caught:
                await asker.request("nobody/here", "x", qos)
            assert caught.value.rc == 0x10
            assert "Nobody is there to respond" in caught.value.__notes__[0]
            assert caught.value.delivery == "refused"

    virtually(main)


def test_a_response_that_does_not_come_is_told_in_time_with_what_was_awaited() -> None:
    async def reply(client: Client, request: Message) -> None:
        await asyncio.sleep(7)
        await client.respond(request, "late")

    async def main() -> None:
        async with (
            TestBroker(listen=False) as broker,
            responding(broker, reply=reply),
            asker_of(broker) as asker,
        ):
            start = asyncio.get_running_loop().time()
            with pytest.raises(MqttTimeoutError, match=r"no response from .* within 5 s") as it:
                await asker.request("sq", "x", timeout=5)
            assert asyncio.get_running_loop().time() - start == pytest.approx(5, abs=0.1)
            assert it.value.delivery == "unknown"
            # It comes too late, and harms nothing.
            assert (await asker.request("sq", "x", timeout=10)).payload == b"late"
            assert len(asker.messages) == 0

    virtually(main)


def test_a_cancelled_request_leaves_the_others_alone() -> None:
    async def reply(client: Client, request: Message) -> None:
        await asyncio.sleep(1)
        await square(client, request)

    async def main() -> None:
        async with (
            TestBroker(listen=False) as broker,
            responding(broker, reply=reply),
            asker_of(broker) as asker,
        ):
            tasks = [asyncio.create_task(asker.request("sq", it)) for it in range(6)]
            await asyncio.sleep(0.5)
            for task in tasks[::2]:
                task.cancel()
            responses = await asyncio.gather(*tasks, return_exceptions=True)
            cancelled = [isinstance(it, asyncio.CancelledError) for it in responses]
            assert cancelled == [True, False] * 3
            payloads = [it.payload for it in responses if isinstance(it, Message)]
            assert payloads == [b"1", b"9", b"25"]

    virtually(main)


def test_a_request_waits_through_a_lost_connection() -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            policy = Reconnect(min=1, max=1)
            client = asker_of(broker, identifier="asker", reconnect=policy)
            asked = asyncio.Event()
            again = asyncio.Event()

            async def reply(responder: Client, request: Message) -> None:
                asked.set()
                await again.wait()
                await square(responder, request)

            async with responding(broker, reply=reply), client as asker:
                request = asyncio.create_task(asker.request("sq", 6, timeout=60))
                await asked.wait()
                async with asker_of(broker, identifier="other"):
                    broker.disconnect_client("asker", 0x8B)
                    await asyncio.sleep(0.1)
                    assert not request.done()
                    await asker.wait_connected()
                    again.set()
                    assert (await request).payload == b"36"

    virtually(main)


def test_a_request_ends_with_the_connection_when_none_follows() -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def silent(client: Client, request: Message) -> None:
            del client, request
            asked.set()

        async with (
            TestBroker(listen=False) as broker,
            responding(broker, reply=silent),
            asker_of(broker, identifier="asker") as asker,
        ):
            request = asyncio.create_task(asker.request("sq", "x", timeout=60))
            await asked.wait()
            broker.disconnect_client("asker", 0x8B)
            with pytest.raises(MqttError, match="Server shutting down") as caught:
                await request
            assert caught.value.delivery == "unknown"

    virtually(main)


@pytest.mark.parametrize("protocol", [3, 4, "auto"])
def test_before_5_0_a_request_is_refused_with_what_to_give(protocol: Any) -> None:  # noqa: ANN401
    async def main() -> None:
        async with (
            TestBroker(listen=False, refused_versions=[5]) as broker,
            Client(broker, protocol=protocol) as client,
        ):
            with pytest.raises(ValueError, match="give the client protocol=5"):
                await client.request("sq", 1)
            with pytest.raises(ValueError, match="it asks for no response"):
                await client.respond(Message("t", b"", 0, False, 0, None), "x")

    virtually(main)


def test_a_message_that_asks_for_no_response_gets_none() -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker, asker_of(broker) as client:
            for properties in (None, Properties(PacketTypes.PUBLISH)):
                plain = Message("t", b"", 0, False, 0, properties)
                with pytest.raises(ValueError, match="it asks for no response"):
                    await client.respond(plain, "x")

    virtually(main)


def test_that_responses_cannot_be_subscribed_to_is_told() -> None:
    async def main() -> None:
        denied = [("responses/#", 0x87)]
        async with (
            TestBroker(listen=False, deny_subscribe=denied) as broker,
            responding(broker),
            asker_of(broker) as asker,
        ):
            with pytest.raises(MqttCodeError, match="Not authorized") as caught:
                await asker.request("sq", 1)
            assert "receive no response" in caught.value.__notes__[0]

    virtually(main)


def test_wrong_arguments_are_refused_before_anything_is_sent() -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker, asker_of(broker) as asker:
            for topic, qos, problem in (
                ("a/+", 1, "cannot contain wildcards"),
                ("", 1, "must not be empty"),
                ("a", 3, "Invalid QoS level"),
            ):
                with pytest.raises(ValueError, match=problem):
                    await asker.request(topic, "x", qos)
            with pytest.raises(TypeError):
                await asker.request("a", object())  # type: ignore[arg-type]
        with pytest.raises(MqttError, match="not currently connected"):
            await asker.request("a", "x")

    virtually(main)


def test_a_response_to_no_message_is_refused() -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker, asker_of(broker) as asker:
            with pytest.raises(TypeError, match=r"^request must be the Message .*, not int$"):
                await asker.respond(1, 2)  # type: ignore[arg-type]

    virtually(main)


def test_threads_ask_and_respond(builtin: Any) -> None:  # noqa: ANN401 - the fixture's broker
    where = builtin.where
    with (
        blocking.Client(*where, protocol=5, timeout=LIMIT) as responder,
        blocking.Client(*where, protocol=5, timeout=LIMIT) as asker,
    ):
        responder.subscribe("clock")

        import threading  # noqa: PLC0415 - for this test alone

        def respond() -> None:
            for request in responder.messages(timeout=LIMIT):
                responder.respond(request, b"half past nine")
                return

        thread = threading.Thread(target=respond)
        thread.start()
        assert asker.request("clock", "?").payload == b"half past nine"
        thread.join()
        assert asker.protocol() == 5
