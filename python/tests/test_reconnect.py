"""Reconnecting inside the block, in virtual time: what survives a lost connection."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ferromqtt import (
    Client,
    ClientState,
    Message,
    MqttCodeError,
    MqttConnectError,
    MqttError,
    MqttTimeoutError,
    ProtocolVersion,
    Reconnect,
    events,
)
from ferromqtt._internals import internals_of
from ferromqtt.testing import TestBroker
from support.virtual import memory_broker, play, restart, stop

V5 = ProtocolVersion.V5


async def until(client: Client, last: bytes) -> AsyncIterator[Message]:
    """Yield the messages before the one with this payload."""
    async for message in client.messages:
        if message.payload == last:
            break
        yield message


def client_of(broker: TestBroker, **options: Any) -> Client:  # noqa: ANN401 - the client's
    given: dict[str, Any] = {"identifier": "c", "protocol": V5, "reconnect": True}
    return Client(broker, **given | options)


@pytest.mark.parametrize("protocol", list(ProtocolVersion), ids=lambda it: it.name)
def test_iterators_go_on_and_subscriptions_come_back_after_a_loss(
    protocol: ProtocolVersion,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, protocol=protocol, timeout=100.0) as client:
            await client.subscribe("a", qos=1)
            received: list[bytes] = []

            async def listen() -> None:
                async for message in client.messages:
                    received.append(message.payload)
                    if message.payload == b"last":
                        break

            listening = asyncio.create_task(listen())
            await client.publish("a", "first", qos=1)
            for number in range(3):
                await restart(broker)
                await client.publish("a", str(number), qos=1)
            await client.publish("a", "last", qos=1)
            await listening
            assert received == [b"first", b"0", b"1", b"2", b"last"]

    play(main)


@pytest.mark.parametrize("queue_type", [asyncio.Queue, asyncio.LifoQueue, None])
def test_messages_that_nobody_took_before_a_loss_are_there_afterwards(
    queue_type: type[asyncio.Queue[Message]] | None,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, queue_type=queue_type) as client:
            await client.subscribe("a")
            await client.publish("a", "before", qos=1)
            assert len(client.messages) == 1
            await stop(broker)
            assert (await anext(client.messages)).payload == b"before"
            waiting = asyncio.ensure_future(anext(client.messages))
            await asyncio.sleep(1)
            await broker.start()
            await client.publish("a", "after", qos=1)
            assert (await waiting).payload == b"after"

    play(main)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_publish_without_a_connection_waits_for_the_next_one(qos: int) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            await client.subscribe("a", qos=2)
            await stop(broker)
            publishing = asyncio.create_task(client.publish("a", "x", qos=qos))
            await asyncio.sleep(3)
            assert not publishing.done()
            assert client.state() is ClientState.RECONNECTING
            await broker.start()
            await publishing
            assert (await anext(client.messages)).payload == b"x"

    play(main)


def test_publishes_in_flight_survive_a_cut() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client, broker.client("other") as other:
            await other.subscribe("a", qos=2)
            for qos in (1, 2):
                publishing = asyncio.create_task(client.publish("a", str(qos), qos=qos))
                await asyncio.sleep(0)
                internals_of(client).core.cut()  # before the acknowledgement was read
                await publishing
            await client.publish("a", "last", qos=1)
            payloads = [message.payload async for message in until(other, b"last")]
            assert payloads in ([b"1", b"2"], [b"1", b"1", b"2"])

    play(main)


def test_calls_without_a_connection_have_their_time_limit() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, timeout=7.0) as client:
            await stop(broker)
            loop = asyncio.get_running_loop()
            calls: tuple[Callable[[], Any], ...] = (
                lambda: client.publish("a", "x"),
                lambda: client.publish("a", "x", qos=1),
                lambda: client.subscribe("a"),
                lambda: client.unsubscribe("a"),
            )
            for call in calls:
                start = loop.time()
                with pytest.raises(MqttTimeoutError, match="nothing could be sent") as caught:
                    await call()
                assert caught.value.delivery == "not_sent"
                assert loop.time() - start == pytest.approx(7, abs=0.01)
            await broker.start()
            await client.wait_connected()
            await client.publish("a", qos=1)

    play(main)


def test_the_limit_of_unfinished_publishes_holds_without_a_connection() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, max_queued_outgoing_messages=2) as client:
            await stop(broker)
            waiting = [asyncio.create_task(client.publish("a", qos=1)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(MqttCodeError, match=r"^\[code:15\]"):
                await client.publish("a", qos=1)
            await broker.start()
            await asyncio.gather(*waiting)

    play(main)


def test_a_session_that_the_server_has_kept_is_resumed(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client, broker.client("other") as other:
            reader = client.events()
            await client.subscribe("a", qos=1)
            internals_of(client).core.cut()
            await other.publish("a", "meanwhile", qos=1)
            assert (await anext(client.messages)).payload == b"meanwhile"
            present = [
                event.session_present
                async for event in take(reader, 3)
                if isinstance(event, events.Connected)
            ]
            assert present == [False, True]
        assert broker.session("c") is None  # leaving ends what only reconnecting needed

    with caplog.at_level(logging.INFO):
        play(main)
    assert "connected to the test broker (session present)" in caplog.messages


async def take(reader: events.Events, count: int) -> AsyncIterator[events.ConnectionEvent]:
    for _ in range(count):
        yield await anext(reader)


def test_slots_of_calls_come_back_after_losses() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, max_concurrent_outgoing_calls=2) as client:
            await stop(broker)
            failing = [client.publish("a", qos=1, timeout=1) for _ in range(4)]
            outcomes = await asyncio.gather(*failing, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {MqttTimeoutError}
            waiting = [asyncio.create_task(client.publish("a", qos=1)) for _ in range(4)]
            cancelled = asyncio.create_task(client.publish("a", qos=1))
            await asyncio.sleep(0)
            cancelled.cancel()
            await broker.start()
            await asyncio.gather(*waiting)
            await client.publish("a", qos=1)

    play(main)


def test_a_client_that_does_not_reconnect_is_as_before() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with Client(broker) as client:
            assert client.state() is ClientState.CONNECTED
            await stop(broker)
            with pytest.raises(MqttError, match=r"^Disconnected during message iteration"):
                await anext(client.messages)
            with pytest.raises(MqttCodeError, match=r"^\[code:4\]"):
                await client.publish("a")
            assert client.state() is ClientState.DISCONNECTED
            with pytest.raises(MqttCodeError, match=r"^\[code:4\]"):
                await client.wait_connected()

    play(main)


def test_the_first_attempt_that_fails_raises() -> None:
    async def main() -> None:
        broker = memory_broker()
        await stop(broker)
        client = client_of(broker)
        with pytest.raises(MqttError, match="cannot connect to the test broker"):
            await client.__aenter__()
        assert client.state() is ClientState.DISCONNECTED
        await broker.start()
        async with client:
            await client.publish("a", qos=1)

    play(main)


def test_with_initial_entering_waits_for_a_server() -> None:
    async def main() -> None:
        broker = memory_broker()
        await stop(broker)
        client = client_of(broker, reconnect=Reconnect(initial=True))
        entering = asyncio.create_task(client.__aenter__())
        await asyncio.sleep(100)
        assert not entering.done()
        assert client.state() is ClientState.CONNECTING
        publishing = asyncio.create_task(client.publish("a", "early", qos=1, timeout=100))
        await asyncio.sleep(0)
        await broker.start()
        await entering
        await publishing
        await client.__aexit__(None, None, None)

    play(main)


def test_cancelling_an_enter_that_waits_for_a_server_leaves_nothing() -> None:
    async def main() -> None:
        broker = memory_broker()
        await stop(broker)
        client = client_of(broker, reconnect=Reconnect(initial=True))
        for pause in (0.0, 0.1, 30.0):
            entering = asyncio.create_task(client.__aenter__())
            await asyncio.sleep(pause)
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await entering
            assert client.state() is ClientState.DISCONNECTED
        await broker.start()
        async with client:
            await client.publish("a", qos=1)

    play(main)


def test_a_refusal_that_trying_again_cannot_mend_is_final() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            iterating = asyncio.ensure_future(anext(client.messages))
            await stop(broker)
            # A broker in its place that refuses this client: the options of one stay.
            refusing = memory_broker(deny_connect=["c"])
            internals_of(client).options.broker = refusing
            publishing = asyncio.ensure_future(client.publish("a", qos=1))
            with pytest.raises(
                MqttError, match=r"^Disconnected during message iteration"
            ) as caught:
                await iterating
            assert isinstance(caught.value.__cause__, MqttConnectError)
            assert caught.value.__cause__.rc == 0x87
            with pytest.raises(MqttError, match="ended before the packet was sent: ") as caught:
                await publishing
            assert caught.value.delivery == "not_sent"
            assert isinstance(caught.value.__cause__, MqttConnectError)
            assert client.state() is ClientState.DISCONNECTED
            calls: tuple[Callable[[], Any], ...] = (
                lambda: client.publish("a"),
                lambda: client.subscribe("a"),
                lambda: client.unsubscribe("a"),
                client.wait_connected,
            )
            for call in calls:
                with pytest.raises(MqttCodeError, match=r"^\[code:4\]") as refused:
                    await call()
                assert isinstance(refused.value.__cause__, MqttConnectError)

    play(main)


def test_after_so_many_attempts_it_gives_up() -> None:
    async def main() -> None:
        broker = memory_broker()
        policy = Reconnect(min=1, max=1, jitter=0, attempts=3)
        async with client_of(broker, reconnect=policy) as client:
            await stop(broker)
            start = asyncio.get_running_loop().time()
            with pytest.raises(MqttError, match="Connection refused") as caught:
                await anext(client.messages)
            assert asyncio.get_running_loop().time() - start == pytest.approx(3, abs=0.1)
            assert "it is stopped" in str(caught.value.__cause__)

    play(main)


def test_waits_grow_up_to_the_longest() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, reconnect=Reconnect(min=1, max=5, jitter=0)) as client:
            loop = asyncio.get_running_loop()
            times: list[float] = []
            connector = internals_of(client).core.connector
            assert connector is not None
            original = connector.open

            def note(*arguments: Any) -> None:  # noqa: ANN401 - the connector's
                times.append(loop.time())
                original(*arguments)

            connector.open = note  # type: ignore[method-assign]
            await stop(broker)
            start = loop.time()
            await asyncio.sleep(20)
            waits = [b - a for a, b in zip([start, *times], times, strict=False)]
            assert waits == pytest.approx([1, 2, 4, 5, 5], abs=0.01)

    play(main)


def test_a_second_block_connects_again() -> None:
    async def main() -> None:
        broker = memory_broker()
        client = client_of(broker)
        for _ in range(3):
            async with client:
                await client.subscribe("a")
                await restart(broker)
                await client.publish("a", "x", qos=1)
                assert (await anext(client.messages)).payload == b"x"
            assert client.state() is ClientState.DISCONNECTED

    play(main)


def test_lines_of_the_log_say_what_happened(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            await restart(broker, 0.1)
            await client.wait_connected()

    with caplog.at_level(logging.INFO):
        play(main)
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert lines[1][0] == "WARNING"
    assert lines[1][1].startswith("connection lost: ")
    assert lines[1][1].endswith(" (the test broker)")
    up, down = (
        ("INFO", "connected to the test broker"),
        ("INFO", "disconnected from the test broker"),
    )
    assert [lines[0], *lines[2:]] == [up, up, down]


def test_attempts_that_fail_again_and_again_have_few_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, reconnect=Reconnect(min=1, max=1)):
            await stop(broker)
            await asyncio.sleep(1000)

    with caplog.at_level(logging.INFO):
        play(main)
    failed = [it for it in caplog.messages if it.startswith("cannot connect: ")]
    assert 2 < len(failed) < 15
    assert failed[0].endswith("it is stopped (start it again, or make another)")


def test_lines_left_out_are_told_of_when_it_is_connected_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not at the next loss, as if an attempt had failed then."""

    async def main() -> None:
        broker = memory_broker()
        policy = Reconnect(min=1, max=1, jitter=0)
        async with client_of(broker, reconnect=policy) as client:
            for _ in range(2):
                await stop(broker)
                await asyncio.sleep(3.5)
                await broker.start()
                await client.wait_connected()
                await asyncio.sleep(100)

    with caplog.at_level(logging.INFO):
        play(main)
    kinds = [
        re.sub(r"^(\w+ \w+).*?(\(\d+ times .*\))?$", r"\1 \2", line).strip()
        for line in caplog.messages
    ]
    assert kinds == [
        "connected to",
        "connection lost",
        "cannot connect",
        "cannot connect (2 times so far)",
        "cannot connect (3 times in all)",
        "connected to",
        "connection lost (2 times so far)",
        "cannot connect (4 times so far)",
        "cannot connect (5 times so far)",
        "cannot connect (6 times in all)",
        "connected to",
        "disconnected from",
    ]


def test_what_no_line_has_told_is_told_when_the_client_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, reconnect=Reconnect(min=1, max=1, jitter=0)):
            await stop(broker)
            await asyncio.sleep(3.5)

    with caplog.at_level(logging.INFO):
        play(main)
    assert caplog.messages[-2].endswith("(3 times in all)")
    assert caplog.messages[-1] == "disconnected from the test broker"


def test_giving_up_has_a_line_that_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        broker = memory_broker()
        policy = Reconnect(min=1, max=1, attempts=3)
        async with client_of(broker, reconnect=policy) as client:
            await stop(broker)
            with pytest.raises(MqttError):
                await anext(client.messages)
            await broker.start()
        async with client_of(broker) as client:
            internals_of(client).options.broker = memory_broker(deny_connect=["c"])
            await stop(broker)
            with pytest.raises(MqttError):
                await anext(client.messages)

    play(main)
    final = [it for it in caplog.records if "connects no more" in it.getMessage()]
    beginning = "cannot connect, and the client connects no more: "
    assert [it.levelname for it in final] == ["WARNING"] * 2
    assert all(it.getMessage().startswith(beginning) for it in final)
    assert final[0].getMessage().endswith("it is stopped (start it again, or make another)")
    assert final[1].getMessage() == (
        f"{beginning}the server refused the connection: Not authorized (0x87) (the test broker)"
    )


def test_another_client_that_takes_over_has_a_line_that_says_it_is_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client, client_of(broker):
            with pytest.raises(MqttError):
                await anext(client.messages)

    play(main)
    text = "connection lost, and the client connects no more: "
    assert [it for it in caplog.messages if it.startswith(text) and "0x8E" in it], caplog.messages


def test_waiting_for_a_connection() -> None:
    async def main() -> None:
        broker = memory_broker()
        client = client_of(broker)
        before = asyncio.ensure_future(client.wait_connected())
        await asyncio.sleep(1)
        assert not before.done()
        async with client:
            await before
            await client.wait_connected(0)
            await stop(broker)
            with pytest.raises(MqttTimeoutError, match="no connection to the test broker within 2"):
                await client.wait_connected(2)
            waiting = asyncio.ensure_future(client.wait_connected(100))
            await broker.start()
            await waiting
            await stop(broker)
            waiting = asyncio.ensure_future(client.wait_connected())
            await asyncio.sleep(0)
        with pytest.raises(MqttCodeError, match=r"^\[code:4\]"):
            await waiting
        with pytest.raises(ValueError, match="timeout must be 0 or more"):
            await client.wait_connected(-1)

    play(main)
