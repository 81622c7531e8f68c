"""Many messages at once, each with a result of its own, in virtual time."""

import asyncio
import gc
from typing import Any

import pytest

from ferromqtt import (
    Client,
    MqttCodeError,
    MqttTimeoutError,
    ProtocolVersion,
    Published,
    Reconnect,
    blocking,
)
from support.mosquitto import Mosquitto
from support.outgoing import client_of, listening, offline
from support.virtual import memory_broker, play

V5, V311 = ProtocolVersion.V5, ProtocolVersion.V311


def test_each_of_many_messages_has_a_result_of_its_own() -> None:
    async def main() -> None:
        broker = memory_broker(deny_publish=["secret"])
        async with listening(broker) as received, client_of(broker) as client:
            results = await client.publish_many(
                [
                    ("a", 1),
                    ("secret", 2),
                    ("b", 3, 2),
                    {"topic": "c", "payload": 4, "qos": 0},
                    ("d", 5, 1, True, {"ContentType": "text/plain"}),
                ],
                qos=1,
            )
            kinds = [type(result) for result in results]
            assert kinds == [Published, MqttCodeError, Published, Published, Published]
            assert [getattr(result, "delivery", None) for result in results][1] == "refused"
            assert await client.publish_many([]) == []
        assert received == [("a", b"1"), ("b", b"3"), ("c", b"4"), ("d", b"5")]

    play(main)


def test_what_the_server_does_not_allow_is_one_of_the_results() -> None:
    async def main() -> None:
        broker = memory_broker(maximum_qos=1)
        async with client_of(broker) as client:
            results = await client.publish_many([("a", 1, 1), ("a", 2, 2), ("a", 3, 1)])
            assert isinstance(results[0], Published)
            assert isinstance(results[1], MqttCodeError)
            assert results[1].delivery == "not_sent"
            assert isinstance(results[2], Published)

    play(main)


def test_a_message_that_cannot_be_one_is_refused_with_all_others() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received, client_of(broker) as client:
            wrong: list[tuple[type[Exception], Any]] = [
                (ValueError, ("b/#", 2)),
                (TypeError, ("b", {})),
                (ValueError, ("b", 2, 3)),
                (ValueError, ("b",)),
                (ValueError, ("b", 2, 1, False, None, 6)),
                (ValueError, {"topic": "b", "data": 1}),
                (ValueError, {"payload": 1}),
                (TypeError, "b"),
            ]
            for error, message in wrong:
                with pytest.raises(error):
                    await client.publish_many([("a", 1), message, ("c", 3)], qos=1)
        assert received == []

    play(main)


def test_many_messages_keep_their_order_and_the_window() -> None:
    async def main() -> None:
        broker = memory_broker(receive_maximum=3)
        async with listening(broker) as received, client_of(broker) as client:
            results = await client.publish_many([("a", number, 2) for number in range(500)])
            assert all(isinstance(result, Published) for result in results)
        assert [payload for _, payload in received] == [b"%d" % it for it in range(500)]

    play(main)


def test_cancelling_many_messages_drops_what_is_not_on_the_wire() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received, client_of(broker) as client:
            await offline(broker, client)
            many = asyncio.create_task(client.publish_many([("a", 1), ("a", 2)], qos=1))
            await asyncio.sleep(1)
            many.cancel()
            with pytest.raises(asyncio.CancelledError):
                await many
            assert client.stats().outgoing == 0
            await broker.start()
            await client.wait_connected()
        assert received == []

    play(main)


def test_cancelling_many_messages_in_any_turn_drops_them_without_a_report() -> None:
    async def main() -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, it: reported.append(it))
        broker = memory_broker()
        async with Client(broker, reconnect=Reconnect(min=100, max=100), timeout=1) as client:
            await offline(broker, client)
            for turns in range(5):
                call = asyncio.create_task(client.publish_many([("a", 1, 1), ("a", 2, 1)]))
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait([call])
                assert call.cancelled()
                assert client.stats().outgoing == 0, f"cancelled after {turns} turns"
        del call
        gc.collect()
        assert reported == []

    play(main)


def test_many_messages_time_out_one_by_one() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            await offline(broker, client)
            results = await client.publish_many([("a", 1), ("a", 2)], qos=1, timeout=3)
            for result in results:
                assert isinstance(result, MqttTimeoutError)
                assert result.delivery == "not_sent"
            await broker.start()

    play(main)


def test_many_messages_from_a_thread(mosquitto: Mosquitto) -> None:
    with blocking.Client(mosquitto.host, mosquitto.port, protocol=V5) as client:
        results = client.publish_many([("outcomes/a", 1), ("outcomes/b", 2, 2)], qos=1)
        assert [type(result) for result in results] == [Published, Published]
        with pytest.raises(ValueError, match="wildcards"):
            client.publish_many([("outcomes/#", 1)])
