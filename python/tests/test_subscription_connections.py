"""Subscriptions with a queue of their own, over several connections and before the first one."""

import asyncio
import logging
from typing import Any

import pytest

from ferromqtt import (
    Client,
    ClientState,
    MqttCodeError,
    MqttError,
    ProtocolVersion,
    Reconnect,
    events,
)
from support.clients import PROTOCOLS, unique
from support.loops import LoopRunner, settle
from support.mosquitto import Mosquitto
from support.scripted import ScriptedServer
from support.subscriptions import refusing_to_unsubscribe, take
from support.virtual import memory_broker, play, restart, stop

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda it: it.name)
def test_iteration_goes_on_after_a_loss_and_the_subscription_is_made_again(
    protocol: ProtocolVersion,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c", protocol=protocol, reconnect=True, timeout=100.0) as client,
            client.subscription("a/#", qos=1, maxsize=2) as messages,
        ):
            received: list[bytes] = []

            async def read() -> None:
                async for message in messages:
                    received.append(message.payload)  # noqa: PERF401 - looked at meanwhile

            reading = asyncio.create_task(read())
            await client.publish("a/1", b"first", qos=1)
            for number in range(3):
                await restart(broker)  # which forgets the session
                await client.publish("a/2", str(number), qos=1)
            await settle()
            assert received == [b"first", b"0", b"1", b"2"]
            assert messages.not_subscribed() == []
            assert len(client.messages) == 0
            reading.cancel()

    play(main)


def test_what_waited_in_the_queue_is_there_after_a_loss() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c", reconnect=True) as client,
            client.subscription("a", qos=1) as messages,
        ):
            await client.publish("a", b"before", qos=1)
            await restart(broker)
            await client.publish("a", b"after", qos=1)
            assert await take(messages, 2) == [b"before", b"after"]

    play(main)


def test_with_reconnect_opening_waits_for_the_next_connection() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with broker.client("c", reconnect=True) as client:
            await stop(broker)
            opening = asyncio.ensure_future(client.subscription("a", qos=1).__aenter__())
            await asyncio.sleep(3)
            assert not opening.done()
            await broker.start()
            messages = await opening
            await client.publish("a", b"1", qos=1)
            assert await take(messages, 1) == [b"1"]

    play(main)


def test_what_is_not_renewed_after_a_lost_session_ends_the_iteration(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        first, second = memory_broker(), memory_broker(deny_subscribe=["a", "b"])
        fast = Reconnect(min=0.1)
        async with (
            Client(first, identifier="c", protocol=V5, reconnect=fast, servers=[second]) as client,
            client.subscription("a", "b", qos=1) as refused,
            client.subscription("b", "c", qos=1) as partly,
        ):
            await client.publish("a", b"before", qos=1)
            await first.stop()
            await settle()
            await client.wait_connected()
            await client.publish("c", b"after", qos=1)
            assert await take(partly, 1) == [b"after"]
            assert [(it, code.value) for it, code in partly.not_subscribed()] == [("b", 0x87)]
            assert await take(refused, 1) == [b"before"]
            with pytest.raises(MqttCodeError) as caught:
                await anext(refused)
            assert getattr(caught.value.rc, "value", None) == 0x87
            assert "refused the subscription to" in caught.value.__notes__[0]
            assert {it for it, _ in refused.not_subscribed()} == {"a", "b"}

    with caplog.at_level(logging.WARNING, "ferromqtt"):
        play(main)
    lines = [it for it in caplog.messages if "was not renewed" in it]
    assert any('filter: "a"' in it for it in lines)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda it: it.name)
def test_opened_before_the_client_is_entered_it_subscribes_then(protocol: ProtocolVersion) -> None:
    async def main() -> None:
        broker = memory_broker()
        client = broker.client("c", protocol=protocol)
        async with client.subscription("a", qos=1) as messages:
            assert messages.results() == []
            assert messages.granted_qos() == 0
            for number in (b"1", b"2"):  # the client is entered twice
                async with client:
                    await client.publish("a", number, qos=1)
                    assert messages.granted_qos() == 1
                    assert await take(messages, 1) == [number]
                with pytest.raises(MqttError, match="Disconnected during message iteration"):
                    await anext(messages)
        async with client:
            await client.publish("a", b"3", qos=1)
            session = broker.session("c")
            assert session is not None
            assert session.subscriptions == 0

    play(main)


def test_one_block_may_open_both() -> None:
    async def main() -> None:
        client = memory_broker().client()
        async with client.subscription("a", qos=1) as messages, client:
            await client.publish("a", b"1", qos=1)
            assert await take(messages, 1) == [b"1"]

    play(main)


def test_iterators_wait_for_a_client_that_another_task_enters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        client = memory_broker().client()
        async with client.subscription("a", qos=1) as messages:
            reading = asyncio.ensure_future(anext(messages))
            other = asyncio.ensure_future(anext(aiter(messages)))
            await asyncio.sleep(100)
            assert not reading.done()
            async with client:
                await client.publish("a", b"1", qos=1)
                await client.publish("a", b"2", qos=1)
                assert [(await reading).payload, (await other).payload] == [b"1", b"2"]

    with caplog.at_level(logging.WARNING, "ferromqtt"):
        play(main)
    assert len([it for it in caplog.messages if "that is not entered" in it]) == 1


def test_opened_while_another_task_enters_the_client() -> None:
    async def main() -> None:
        broker = memory_broker()
        client = broker.client()
        entering = asyncio.create_task(client.__aenter__())
        await asyncio.sleep(0)
        assert client.state() is ClientState.CONNECTING
        async with client.subscription("a", qos=1) as messages:
            await entering
            await client.publish("a", b"1", qos=1)
            assert await take(messages, 1) == [b"1"]
            await client.__aexit__(None, None, None)

    play(main)


def test_a_failed_attempt_leaves_the_subscription_for_the_next_one() -> None:
    async def main() -> None:
        broker = memory_broker()
        await broker.stop()
        client = broker.client()
        async with client.subscription("a", qos=1) as messages:
            reading = asyncio.ensure_future(anext(messages))
            await settle()
            with pytest.raises(MqttError):
                await client.__aenter__()
            assert not reading.done()
            await broker.start()
            async with client:
                await client.publish("a", b"1", qos=1)
                assert (await reading).payload == b"1"

    play(main)


def test_a_refusal_of_what_was_opened_before_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        broker = memory_broker(deny_subscribe=["secret"])
        client = broker.client("c", protocol=V5)
        reported = client.events()
        async with client.subscription("secret", qos=1) as messages, client:
            with pytest.raises(MqttCodeError) as caught:
                await anext(messages)
            assert getattr(caught.value.rc, "value", None) == 0x87
            assert [it for it, _ in messages.not_subscribed()] == ["secret"]
            async for event in reported:
                if isinstance(event, events.NotSubscribed):
                    assert (event.filter, event.reason.value) == ("secret", 0x87)
                    break

    with caplog.at_level(logging.WARNING, "ferromqtt"):
        play(main)
    assert [
        it for it in caplog.messages if "declared before the connection" in it and '"secret"' in it
    ]


def keeping(protocol: ProtocolVersion) -> dict[str, Any]:
    if protocol == V5:
        return {"clean_start": False, "properties": {"SessionExpiryInterval": 3600}}
    return {"clean_session": False}


@pytest.mark.parametrize("protocol", [V311, V5], ids=lambda it: it.name)
def test_in_a_session_that_outlives_the_program_leaving_keeps_the_subscription(
    protocol: ProtocolVersion,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        options = keeping(protocol)
        async with (
            broker.client("c", protocol=protocol, **options) as client,
            client.subscription("a", qos=1),
        ):
            pass
        async with broker.client("other") as other:
            await other.publish("a", b"meanwhile", qos=1)
        client = broker.client("c", protocol=protocol, **options)
        async with client.subscription("a", qos=1) as messages, client:
            assert await take(messages, 1) == [b"meanwhile"]
            await messages.unsubscribe()
            session = broker.session("c")
            assert session is not None
            assert session.subscriptions == 0

    play(main)


def test_a_cancelled_unsubscribe_goes_on_in_the_background() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with broker.client("c", protocol=V5, reconnect=True) as client:
            messages = await client.subscription("a", qos=1).__aenter__()
            await stop(broker)
            leaving = asyncio.ensure_future(messages.unsubscribe())
            await settle()
            leaving.cancel()
            await asyncio.wait([leaving])
            assert leaving.cancelled()
            await broker.start()
            await client.wait_connected()
            await client.publish("a", b"1", qos=1)
            await asyncio.sleep(1)
            session = broker.session("c")
            assert session is not None
            assert session.subscriptions == 0

    play(main)


def test_unsubscribing_raises_what_the_server_refuses(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(server: ScriptedServer) -> None:
        async with (
            Client(server.host, server.port, protocol=V5) as client,
            client.subscription(["a", "b"], qos=1) as messages,
        ):
            with pytest.raises(MqttCodeError, match="Not authorized") as refused:
                await messages.unsubscribe()
            assert refused.value.rc == 0x87
            note = "The server refused to end the subscription to 'b': Not authorized (0x87)"
            assert refused.value.__notes__ == [note]
            assert messages.is_closed

    with ScriptedServer(refusing_to_unsubscribe(2)) as server:
        run(main, server)
    assert "refused to end" not in caplog.text


def test_leaving_logs_what_the_server_refuses(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=V5) as client:
            happened = client.events()
            assert isinstance(await anext(happened), events.Connected)
            async with client.subscription(["a", "b"], qos=1):
                pass
            refused = await anext(happened)
            assert isinstance(refused, events.NotUnsubscribed)
            assert (refused.filter, refused.reason) == ("b", 0x87)

    with ScriptedServer(refusing_to_unsubscribe(2)) as server:
        run(main, server)
    assert caplog.text.count("the server refused to end a subscription") == 1


def test_on_mosquitto(run: LoopRunner, mosquitto: Mosquitto) -> None:
    topic = unique("own")

    async def main() -> None:
        for protocol in (V311, V5):
            async with (
                Client(*mosquitto.where, protocol=protocol) as client,
                Client(*mosquitto.where) as other,
                client.subscription(f"{topic}/+", qos=2, maxsize=5) as slow,
                client.subscription((f"{topic}/#", 1), overflow="drop_oldest", maxsize=3) as latest,
            ):
                for number in range(30):
                    await other.publish(f"{topic}/a", str(number), qos=2)
                assert await take(slow, 30) == [str(number).encode() for number in range(30)]
                while await take(latest, 1) != [b"29"]:
                    pass  # mosquitto may send its copy behind the other's
                await latest.unsubscribe()
                await other.publish(f"{topic}/b", b"last", qos=1)
                assert await take(slow, 1) == [b"last"]
                assert len(client.messages) == 0

    run(main)
