"""Subscriptions with a queue of their own whose reader is slower than the server."""

import asyncio
import logging
from typing import Any, Literal

import pytest

from conftest import TcpBroker
from ferromqtt import (
    Client,
    MqttError,
    MqttOverflowError,
    ProtocolVersion,
    SubscriptionMessages,
    events,
)
from ferromqtt._internals import internals_of
from ferromqtt.testing import TestBroker
from support.clients import LIMIT, PROTOCOLS, unique
from support.loops import LoopRunner, settle
from support.virtual import memory_broker, play

V5 = ProtocolVersion.V5


async def take_all(messages: SubscriptionMessages) -> list[int]:
    """Take what is there, without waiting."""
    return [int((await anext(messages)).payload) for _ in range(len(messages))]


async def publish(client: Client, numbers: range, qos: int) -> None:
    for number in numbers:
        await client.publish("a", str(number), qos=qos)


def in_flight(broker: TestBroker) -> int:
    session = broker.session("c")
    assert session is not None
    return session.in_flight


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda it: it.name)
@pytest.mark.parametrize("qos", [1, 2])
def test_wait_withholds_acknowledgements_and_loses_nothing(
    protocol: ProtocolVersion, qos: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c", protocol=protocol) as client,
            broker.client("other") as other,
            client.subscription("a", qos=qos, maxsize=3) as messages,
        ):
            reported = client.events()
            await publish(other, range(10), qos)
            assert in_flight(broker) == 7, "three are acknowledged"
            await asyncio.sleep(6)  # no reader for more than 5 seconds
            received = [int((await anext(messages)).payload) for _ in range(10)]
            assert received == list(range(10))
            await settle()
            assert in_flight(broker) == 0
            assert messages.take_lost() == 0
            kinds = [event async for event in take_events(reported)]
            assert events.Stalled(filters=("a",)) in kinds

    with caplog.at_level(logging.WARNING, "ferromqtt"):
        play(main)
    assert [it for it in caplog.messages if "has withheld acknowledgements for 5 s" in it]


async def take_events(reader: events.Events) -> Any:  # noqa: ANN401 - an async generator
    """Yield the events that are there."""
    while True:
        try:
            async with asyncio.timeout(0.001):
                yield await anext(reader)
        except TimeoutError:
            return


def test_wait_lets_the_server_wait_with_qos_0_and_loses_none_while_it_is_read() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c") as client,
            broker.client("other") as other,
            client.subscription("a", maxsize=5) as messages,
        ):
            received: list[int] = []

            async def read() -> None:
                async for message in messages:
                    received.append(int(message.payload))
                    await asyncio.sleep(0.5)

            reading = asyncio.create_task(read())
            await publish(other, range(40), 0)
            await asyncio.sleep(1)
            assert len(messages) <= 5
            assert internals_of(client).core.stats()["pauses"] > 0
            await asyncio.sleep(30)
            assert received == list(range(40))
            assert messages.take_lost() == 0
            reading.cancel()

    play(main)


def test_a_reader_that_is_forgotten_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c") as client,
            broker.client("other") as other,
            client.subscription("a", maxsize=2) as forgotten,
            client.subscription("b") as messages,
        ):
            await publish(other, range(10), 0)
            await other.publish("b", b"behind", qos=0)
            await settle()
            assert len(messages) == 0, "it is held back with all that is behind it"
            began = asyncio.get_running_loop().time()
            assert (await anext(messages)).payload == b"behind"
            assert 5 <= asyncio.get_running_loop().time() - began <= 7
            assert len(forgotten) == 2
            assert forgotten.take_lost() == 8
            assert await take_all(forgotten) == [0, 1]
            await publish(other, range(10, 12), 0)
            await asyncio.sleep(1)
            assert await take_all(forgotten) == [10, 11], "it is read again"

    with caplog.at_level(logging.WARNING, "ferromqtt"):
        play(main)
    assert [it for it in caplog.messages if "nobody has read it for 5 s" in it]


def test_calls_get_their_answers_while_the_server_waits() -> None:
    """A consumer that publishes in its loop does not wait for itself."""

    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c", timeout=5.0) as client,
            broker.client("other") as other,
            client.subscription("a", maxsize=4) as messages,
        ):
            await publish(other, range(8), 0)
            await settle()
            for _ in range(8):
                message = await anext(messages)
                await client.publish("done", message.payload, qos=1)
            assert messages.take_lost() == 0

    play(main)


def test_keep_alive_goes_on_while_the_server_waits() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c", keepalive=10) as client,
            broker.client("other") as other,
            client.subscription("a", maxsize=2) as messages,
        ):
            await publish(other, range(30), 0)
            for expected in range(30):
                assert int((await anext(messages)).payload) == expected
                await asyncio.sleep(3)
            assert messages.take_lost() == 0
            assert client.stats().connections == 1

    play(main)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize(
    ("overflow", "kept"), [("drop_oldest", [7, 8, 9]), ("drop_newest", [0, 1, 2])]
)
def test_drop_policies_keep_the_bound_and_count_and_report_losses(
    overflow: Literal["drop_oldest", "drop_newest"],
    kept: list[int],
    qos: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c") as client,
            broker.client("other") as other,
            client.subscription("a", qos=qos, maxsize=3, overflow=overflow) as messages,
        ):
            reported = client.events()
            await publish(other, range(10), qos)
            await settle()
            assert in_flight(broker) == 0, "what is lost is acknowledged"
            assert await take_all(messages) == kept
            assert messages.take_lost() == 7
            assert messages.take_lost() == 0
            lagged = [it async for it in take_events(reported) if isinstance(it, events.Lagged)]
            assert [it.filters for it in lagged] == [("a",)]

    with caplog.at_level(logging.WARNING, "ferromqtt"):
        play(main)
    lines = [it for it in caplog.messages if "received messages are lost" in it]
    assert lines
    assert "the queue was full" in lines[0]
    assert 'filters: "a"' in lines[0]


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        ({"maxsize": None, "maxbytes": 1000}, 3),
        ({"maxsize": 5, "maxbytes": None}, 5),
    ],
    ids=["maxbytes", "maxsize"],
)
def test_one_bound_is_enough(bounds: dict[str, int | None], kept: int) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c") as client,
            broker.client("other") as other,
            client.subscription("a", qos=1, overflow="drop_newest", **bounds) as messages,
        ):
            for number in range(10):
                await other.publish("a", f"{number}".encode() * 150, qos=1)
            await settle()
            assert len(messages) == kept
            assert messages.take_lost() == 10 - kept

    play(main)


def test_lagged_comes_for_the_first_loss_until_the_reader_asks_for_the_number() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c") as client,
            broker.client("other") as other,
            client.subscription("a", qos=1, maxsize=3, overflow="drop_oldest") as messages,
        ):
            reported = client.events()

            async def lagged() -> list[int]:
                await settle()
                return [
                    it.lost async for it in take_events(reported) if isinstance(it, events.Lagged)
                ]

            await publish(other, range(4), 1)
            assert await lagged() == [1]
            await publish(other, range(4), 1)
            assert await lagged() == []  # nobody has asked for the first number
            assert client.stats().lost == 5
            assert messages.take_lost() == 5
            await publish(other, range(2), 1)
            assert await lagged() == [1]
            assert messages.take_lost() == 2
            assert client.stats().lost == 7

    play(main)


def test_fail_raises_behind_what_was_kept_and_goes_on_behind_the_gap() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c") as client,
            broker.client("other") as other,
            client.subscription("a", qos=1, maxsize=3, overflow="fail") as messages,
        ):
            await publish(other, range(10), 1)
            received: list[int] = []

            async def read() -> None:
                async for message in messages:
                    received.append(int(message.payload))  # noqa: PERF401 - it raises

            for _ in range(2):  # again and again until it is taken note of
                with pytest.raises(MqttOverflowError, match="7 messages are lost") as caught:
                    await read()
                assert caught.value.lost == 7
            assert received == [0, 1, 2]
            assert messages.take_lost() == 7
            reading = asyncio.create_task(read())
            await publish(other, range(10, 12), 1)
            await settle()
            assert received == [0, 1, 2, 10, 11]
            reading.cancel()

    play(main)


def test_bytes_bound_a_queue_too() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c") as client,
            broker.client("other") as other,
            client.subscription("a", qos=1, maxbytes=4_000, overflow="drop_oldest") as messages,
        ):
            for number in range(10):
                await other.publish("a", bytes([number]) * 1_000, qos=1)
            await settle()
            assert len(messages) == 3
            assert messages.take_lost() == 7
            assert [(await anext(messages)).payload[0] for _ in range(3)] == [7, 8, 9]
            await other.publish("a", bytes(10_000), qos=1)  # larger than all
            assert len((await anext(messages)).payload) == 10_000

    play(main)


def test_manual_acknowledgement_leaves_each_message_to_the_program() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c") as client,
            broker.client("other") as other,
            client.subscription("a", qos=1, ack="manual") as manual,
            client.subscription("b", qos=1) as automatic,
        ):
            await other.publish("b", b"1", qos=1)
            await settle()
            assert in_flight(broker) == 0
            await other.publish("a", b"2", qos=1)
            await settle()
            assert in_flight(broker) == 1
            assert (await anext(automatic)).payload == b"1"
            message = await anext(manual)
            assert internals_of(client).core.acknowledge(message.mid, message.qos)
            await settle()
            assert in_flight(broker) == 0

    play(main)


def test_what_was_taken_can_be_acknowledged_after_the_block_and_the_rest_is_lost() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with broker.client("c") as client, broker.client("other") as other:
            async with client.subscription("a", qos=1, ack="manual") as messages:
                await publish(other, range(5), 1)
                taken = [await anext(messages), await anext(messages)]
            await settle()
            assert in_flight(broker) == 5, "acknowledgements leave in order"
            assert client.unacknowledged().messages == 2
            assert client.unacknowledged().held_back == 3
            await taken[1].ack()
            await settle()
            assert in_flight(broker) == 5
            await taken[0].ack()
            await settle()
            assert in_flight(broker) == 0
            assert client.unacknowledged().messages == 0
            assert len(client.messages) == 0

    play(main)


def test_what_the_server_had_kept_back_comes_to_the_client_s_messages() -> None:
    """Section 3.10.4: it may send what it has stored for a filter that is unsubscribed."""

    async def main() -> None:
        broker = memory_broker()
        options: dict[str, Any] = {"protocol": V5, "receive_maximum": 2}
        async with broker.client("c", **options) as client, broker.client("other") as other:
            async with client.subscription("a", qos=1, ack="manual") as messages:
                await publish(other, range(5), 1)
                await settle()
                assert len(messages) == 2, "the window"
            received = [int((await anext(client.messages)).payload) for _ in range(3)]
            assert received == [2, 3, 4]
            await settle()
            assert in_flight(broker) == 0

    play(main)


def test_wait_holds_what_the_window_has_beyond_its_bound() -> None:
    async def main() -> None:
        broker = memory_broker()
        options: dict[str, Any] = {"protocol": V5, "receive_maximum": 4}
        async with (
            broker.client("c", **options) as client,
            broker.client("other") as other,
            client.subscription("a", qos=1, maxsize=5) as messages,
        ):
            await publish(other, range(20), 1)
            await settle()
            assert len(messages) == 9, "maxsize, and the window"
            received = [int((await anext(messages)).payload) for _ in range(20)]
            assert received == list(range(20))

    play(main)


@pytest.mark.parametrize("client_acks_by_hand", [False, True])
def test_a_subscription_follows_the_client_s_manual_ack_unless_told(
    client_acks_by_hand: bool,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        by_hand: dict[Literal["auto", "manual"] | None, bool] = {
            None: client_acks_by_hand,
            "auto": False,
            "manual": True,
        }
        async with (
            broker.client("c", manual_ack=client_acks_by_hand) as client,
            broker.client("other") as other,
        ):
            for ack, manual in by_hand.items():
                async with client.subscription("a", qos=1, ack=ack) as messages:
                    await other.publish("a", "1", qos=1)
                    message = await anext(messages)
                    assert in_flight(broker) == manual
                    if manual:
                        await message.ack()
                        await settle()
                        assert in_flight(broker) == 0
                    else:
                        with pytest.raises(RuntimeError, match='its subscription ack="manual"'):
                            message.ack()

    play(main)


def test_leaving_with_messages_that_are_not_acknowledged_reports_them_as_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with broker.client("c") as client, broker.client("other") as other:
            reported = client.events()
            async with client.subscription("a", qos=1, ack="manual"):
                await publish(other, range(3), 1)
                await settle()
                assert in_flight(broker) == 3
            await settle()
            assert in_flight(broker) == 0
            lagged = [it async for it in take_events(reported) if isinstance(it, events.Lagged)]
            assert lagged == [events.Lagged(filters=("a",), lost=3)]

    with caplog.at_level(logging.WARNING, "ferromqtt"):
        play(main)
    [line] = caplog.messages
    assert "their subscription was left before the program had taken them" in line
    assert 'filters: "a", messages: 3' in line


def test_leaving_lets_the_server_go_on() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c") as client,
            broker.client("other") as other,
            client.subscription("b") as messages,
        ):
            async with client.subscription("a", maxsize=1):
                await publish(other, range(10), 0)
                await other.publish("b", b"behind")
                await settle()
                assert len(messages) == 0
            began = asyncio.get_running_loop().time()
            assert (await anext(messages)).payload == b"behind"
            assert asyncio.get_running_loop().time() - began < 1

    play(main)


def test_the_end_of_the_connection_lets_what_was_held_back_be_taken() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c") as client,
            broker.client("other") as other,
            client.subscription("a", maxsize=2) as messages,
        ):
            await publish(other, range(4), 0)
            await settle()
            await broker.stop()
            received: list[int] = []

            async def read() -> None:
                async for message in messages:
                    received.append(int(message.payload))  # noqa: PERF401 - it raises

            with pytest.raises(MqttError, match="Disconnected during message iteration"):
                await read()
            assert received == [0, 1, 2, 3][: len(received)]
            assert len(received) >= 2
            assert len(received) + messages.take_lost() == 4

    play(main)


def test_a_flood_over_a_socket_waits_for_the_reader(run: LoopRunner, builtin: TcpBroker) -> None:
    topic = unique("flood")

    async def main() -> None:
        async with (
            Client(builtin.host, builtin.port) as client,
            Client(builtin.host, builtin.port) as other,
            client.subscription(topic, maxsize=50) as messages,
        ):
            sending = asyncio.create_task(flood(other))
            async with asyncio.timeout(LIMIT):
                for expected in range(3_000):
                    message = await anext(messages)
                    assert int(message.payload[:8]) == expected
            await sending
            assert messages.take_lost() == 0
            assert internals_of(client).core.stats()["pauses"] > 0

    async def flood(client: Client) -> None:
        for number in range(3_000):
            await client.publish(topic, b"%08d" % number + bytes(1_000))

    run(main)
