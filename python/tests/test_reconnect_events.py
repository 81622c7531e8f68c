"""`Client.events` and `Client.state`: what happens to a connection."""

import asyncio
from typing import Any

import pytest

from ferromqtt import (
    Client,
    ClientState,
    MqttConnectError,
    MqttError,
    ProtocolVersion,
    ReasonCode,
    Reconnect,
    events,
)
from ferromqtt.testing import TestBroker
from support.virtual import memory_broker, play, restart, stop

V5 = ProtocolVersion.V5


def client_of(broker: TestBroker, **options: Any) -> Client:  # noqa: ANN401 - the client's
    given: dict[str, Any] = {"identifier": "c", "protocol": V5, "reconnect": True}
    return Client(broker, **given | options)


async def collect(client: Client) -> list[events.ConnectionEvent]:
    return [event async for event in client.events()]


def test_events_of_a_connection_that_is_lost_and_comes_back() -> None:
    async def main() -> None:
        broker = memory_broker()
        client = client_of(broker)
        collecting = asyncio.create_task(collect(client))  # before the client is entered
        await asyncio.sleep(1)
        async with client:
            await restart(broker, 0.2)
            await client.wait_connected()
        match await collecting:
            case [
                events.Connected(session_present=False, properties=properties),
                events.Disconnected(cause=MqttError(), retry_in=float(), unflushed=0),
                events.Connected(),
                events.Disconnected(cause=None, retry_in=None),
            ]:
                assert properties.names
            case other:
                raise AssertionError(other)

    play(main)


def test_an_iterator_begins_with_how_the_connection_stands() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            assert isinstance(await anext(client.events()), events.Connected)
            await stop(broker)
            event = await anext(client.events())
            assert isinstance(event, events.Disconnected)
            assert event.retry_in is not None
            assert 0.5 <= event.retry_in <= 1
            await asyncio.sleep(event.retry_in / 2)
            later = await anext(client.events())
            assert isinstance(later, events.Disconnected)
            assert later.retry_in == pytest.approx(event.retry_in / 2)
        reader = client.events()
        assert isinstance(await anext(reader), events.Disconnected)
        with pytest.raises(StopAsyncIteration):
            await anext(reader)
        await broker.start()
        reader = client.events()
        async with client:  # what was before says nothing about this block
            assert isinstance(await anext(reader), events.Disconnected)
            assert isinstance(await anext(reader), events.Connected)
            assert isinstance(await anext(client.events()), events.Connected)

    play(main)


def test_an_iterator_shows_whose_events_it_has() -> None:
    async def main() -> None:
        client = client_of(memory_broker())
        reader = client.events()
        assert repr(reader) == "<Events of the test broker>"
        async with client:
            assert repr(reader) == "<Events of the test broker>"
        assert repr(reader) == "<Events of the test broker, ended>"

    play(main)


def test_a_cancelled_step_loses_no_event() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            reader = client.events()
            await anext(reader)
            step = asyncio.ensure_future(anext(reader))
            await asyncio.sleep(0)
            await broker.stop()
            step.cancel()
            await asyncio.wait([step])
            assert isinstance(await anext(reader), events.Disconnected)

    play(main)


def test_a_reader_that_is_behind_is_told_how_many_it_missed() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, reconnect=Reconnect(min=1, max=1, jitter=0)) as client:
            reader = client.events()
            await stop(broker)
            await asyncio.sleep(100)
            assert isinstance(await anext(reader), events.Connected)
            missed = await anext(reader)
            assert isinstance(missed, events.Missed)
            assert missed.events > 30
            assert isinstance(await anext(reader), events.Disconnected)

    play(main)


def test_a_subscription_that_cannot_be_made_again_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            reader = client.events()
            await client.subscribe([("a", 0), ("b", 0)])
            await broker.stop()
            # Another one takes its place, which knows no session and refuses one filter.
            other = memory_broker(deny_subscribe=["b"])
            client._FerromqttInternalsHolder__internals.options.broker = other
            await client.wait_connected()
            async for event in reader:
                if isinstance(event, events.NotResubscribed):
                    assert (event.filter, event.reason) == ("b", 0x87)
                    assert isinstance(event.reason, ReasonCode)
                    break
            await client.publish("a", "x", qos=1)
            assert (await anext(client.messages)).payload == b"x"

    play(main)
    text = "a subscription that the server had lost was not renewed"
    details = '(filter: "b", reason: Not authorized (0x87), the test broker)'
    assert f"{text} {details}" in caplog.text


def test_the_event_of_a_refusal_has_its_reason() -> None:
    async def main() -> None:
        broker = memory_broker(deny_connect=["c"])
        client = client_of(broker)
        collecting = asyncio.create_task(collect(client))
        await asyncio.sleep(0)
        with pytest.raises(MqttConnectError):
            await client.__aenter__()
        (event,) = await collecting
        assert isinstance(event, events.Disconnected)
        assert isinstance(event.cause, MqttConnectError)
        assert event.cause.rc == 0x87

    play(main)


def test_the_state_follows_the_connection() -> None:
    async def main() -> None:
        broker = memory_broker()
        await broker.stop()
        client = client_of(broker, reconnect=Reconnect(initial=True))
        assert client.state() is ClientState.DISCONNECTED
        entering = asyncio.ensure_future(client.__aenter__())
        await asyncio.sleep(5)
        assert client.state() is ClientState.CONNECTING
        await broker.start()
        await entering
        assert client.state() is ClientState.CONNECTED
        await stop(broker)
        assert client.state() is ClientState.RECONNECTING
        await client.__aexit__(None, None, None)
        assert client.state() is ClientState.DISCONNECTED
        assert [state.name for state in ClientState] == [
            "DISCONNECTED",
            "CONNECTING",
            "CONNECTED",
            "RECONNECTING",
        ]

    play(main)
