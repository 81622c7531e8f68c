"""`Router`: which messages it acknowledges."""

import asyncio

import pytest

from ferromqtt import Message, MqttError, Router
from support.virtual import memory_broker, play


def test_the_router_acknowledges_what_its_handler_has_returned_from() -> None:
    async def main() -> None:
        broker = memory_broker()
        seen: list[str] = []
        router = Router(on_error=lambda error, _: seen.append(str(error)))

        @router.on("a", qos=1, ack="manual")
        async def handle(message: Message) -> None:
            if message.payload == b"rejected":
                await message.reject(0x83)
                raise ValueError("rejected")
            if message.payload == b"failed":
                raise ValueError("failed")

        async with broker.client("c", protocol=5) as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            for payload in ("done", "rejected", "done"):
                await client.publish("a", payload, qos=1)
            await asyncio.sleep(1)
            assert client.unacknowledged().messages == 0
            session = broker.session("c")
            assert session is not None
            assert session.in_flight == 0
            await client.publish("a", "failed", qos=1)
            await client.publish("a", "done", qos=1)
            await asyncio.sleep(1)
            assert client.unacknowledged().messages == 1
            assert client.unacknowledged().held_back == 1
            assert seen == ["rejected", "failed"]
            task.cancel()

    play(main)


def test_the_line_of_an_error_says_whether_the_message_holds_up_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        router = Router()

        @router.on("a", qos=1, ack="manual")
        async def handle(message: Message) -> None:
            if message.payload == b"acknowledged":
                await message.ack()
            raise ValueError

        async with broker.client("c") as client:
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(1)
            await client.publish("a", "acknowledged", qos=1)
            await client.publish("a", "not", qos=1)
            await asyncio.sleep(1)
            task.cancel()

    play(main)
    lines = [record.getMessage() for record in caplog.records]
    assert ["holds up those behind it" in line for line in lines] == [False, True]


def test_a_failed_message_comes_again_with_the_session() -> None:
    async def main() -> None:
        broker = memory_broker()
        seen: list[tuple[bool, bytes]] = []
        router = Router(on_error=lambda _, message: seen.append((message.dup, message.payload)))
        fails = True

        @router.on("a", qos=1)
        async def handle(message: Message) -> None:
            if fails:
                raise ValueError
            seen.append((message.dup, message.payload))

        client = broker.client("c", clean_session=False, manual_ack=True)
        for fails in (True, False):
            task = asyncio.create_task(router.run(client))
            await asyncio.sleep(0)
            async with client:
                if fails:
                    await client.publish("a", "work", qos=1)
                await asyncio.sleep(1)
                assert client.unacknowledged().messages == int(fails)
            with pytest.raises(MqttError):
                await task
        assert seen == [(False, b"work"), (True, b"work")]

    play(main)
