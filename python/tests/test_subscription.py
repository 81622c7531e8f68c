"""Subscriptions with a queue of their own: filters, arguments, ends, several readers."""

import asyncio
import logging
from typing import Any

import pytest

from conftest import Broker
from ferromqtt import (
    Client,
    Message,
    MqttCodeError,
    MqttError,
    MqttReentrantError,
    MqttTimeoutError,
    ProtocolVersion,
    SubscribeOptions,
    Topic,
    events,
)
from support.clients import PROTOCOLS, unique
from support.loops import LoopRunner, settle
from support.subscriptions import take
from support.virtual import memory_broker, play

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda it: it.name)
def test_a_subscription_gets_its_messages_and_the_client_the_others(
    protocol: ProtocolVersion,
) -> None:
    async def main() -> None:
        async with memory_broker().client(protocol=protocol) as client:
            await client.subscribe("other", qos=1)
            async with client.subscription("room/+/temp", qos=1) as messages:
                await client.publish("room/1/temp", b"1", qos=1)
                await client.publish("other", b"2", qos=1)
                await client.publish("room/2/temp", b"3", qos=1)
                assert len(messages) == 2
                assert await take(messages, 2) == [b"1", b"3"]
                assert (await anext(client.messages)).payload == b"2"
                assert (len(messages), len(client.messages)) == (0, 0)
                assert messages.granted_qos() == 1
                assert [(topic, code.value) for topic, code in messages.results()] == [
                    ("room/+/temp", 1)
                ]
                assert messages.not_subscribed() == []
                assert messages.take_lost() == 0

    play(main)


def test_filters_come_in_every_form_with_options_of_their_own() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with broker.client("c", protocol=V5) as client:
            own = SubscribeOptions(qos=1, noLocal=True)
            async with client.subscription(
                "a", Topic("b"), ("c", 0), ["d", ("e", own)], qos=2, retain_as_published=True
            ) as messages:
                assert [(topic, code.value) for topic, code in messages.results()] == [
                    ("a", 2),
                    ("b", 2),
                    ("c", 0),
                    ("d", 2),
                    ("e", 1),
                ]
                assert messages.granted_qos() == 2
                await client.publish("e", b"own", qos=1)  # No Local
                for topic in "abcd":
                    await client.publish(topic, topic, qos=2, retain=True)
                received = [await anext(messages) for _ in range(4)]
                assert [it.payload for it in received] == [b"a", b"b", b"c", b"d"]
                assert [it.qos for it in received] == [2, 2, 0, 2]
                assert all(it.retain for it in received)

    play(main)


def test_retain_handling_and_no_local_are_sent() -> None:
    async def main() -> None:
        async with memory_broker().client(protocol=V5) as client:
            await client.publish("kept", b"old", qos=1, retain=True)
            async with client.subscription("kept", retain_handling=2, no_local=True) as messages:
                await client.publish("kept", b"own", qos=1)
                await client.publish("x", qos=1)
                assert len(messages) == 0
            async with client.subscription("kept") as messages:
                assert await take(messages, 1) == [b"own"] or len(messages) == 0

    play(main)


def test_leaving_unsubscribes_and_drops_what_was_not_taken() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with broker.client("c") as client:
            async with client.subscription("a", qos=1) as messages:
                await client.publish("a", b"left", qos=1)
                assert len(messages) == 1
            session = broker.session("c")
            await client.publish("a", b"late", qos=1)
            session = broker.session("c")
            assert session is not None
            assert session.subscriptions == 0
            assert session.in_flight == 0, "what was left behind is acknowledged"
            assert (len(messages), len(client.messages)) == (0, 0)
            assert [message async for message in messages] == []

    play(main)


def test_a_subscription_can_be_entered_again_but_not_twice_at_once() -> None:
    async def main() -> None:
        async with memory_broker().client() as client:
            subscription = client.subscription("a", qos=1)
            for number in (b"1", b"2"):
                async with subscription as messages:
                    with pytest.raises(MqttReentrantError, match="open already"):
                        await subscription.__aenter__()
                    await client.publish("a", number, qos=1)
                    assert await take(messages, 1) == [number]

    play(main)


def test_unsubscribing_waits_for_the_server_and_ends_iterators() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with broker.client("c") as client, client.subscription("a", "b") as messages:
            waiting = asyncio.create_task(anext(aiter(messages), None))
            await settle()
            await messages.unsubscribe()
            session = broker.session("c")
            assert session is not None
            assert session.subscriptions == 0
            assert await waiting is None
            await messages.unsubscribe()  # there is nothing to do

    play(main)


def test_the_client_s_unsubscribe_ends_a_subscription_too() -> None:
    async def main() -> None:
        async with (
            memory_broker().client() as client,
            client.subscription("a", "b", qos=1) as messages,
        ):
            await client.publish("a", b"1", qos=1)
            await client.unsubscribe("a")
            await client.publish("b", b"2", qos=1)
            assert await take(messages, 2) == [b"1", b"2"]
            await client.unsubscribe("b")
            assert [message async for message in messages] == []

    play(main)


def test_several_tasks_share_the_messages_first_come_first_served() -> None:
    async def main() -> None:
        async with memory_broker().client() as client:
            async with client.subscription("a", qos=1) as messages:
                taken: dict[int, list[bytes]] = {0: [], 1: [], 2: []}

                async def read(reader: int) -> None:
                    async for message in messages:
                        taken[reader].append(message.payload)

                tasks = [asyncio.create_task(read(reader)) for reader in taken]
                await settle()
                for number in range(6):
                    await client.publish("a", str(number), qos=1)
                    await settle()
            await asyncio.gather(*tasks)  # leaving the block ends them
            assert list(taken.values()) == [[b"0", b"3"], [b"1", b"4"], [b"2", b"5"]]

    play(main)


def test_a_cancelled_step_loses_nothing() -> None:
    async def main() -> None:
        async with (
            memory_broker().client() as client,
            client.subscription("a", qos=1) as messages,
        ):
            first = asyncio.ensure_future(anext(messages))
            second = asyncio.ensure_future(anext(messages))
            await settle()
            publishing = asyncio.create_task(client.publish("a", b"1", qos=1))
            while not len(messages):  # noqa: ASYNC110 - only the length tells
                await asyncio.sleep(0)
            first.cancel()  # it was woken for the message, and has not taken it
            await publishing
            assert (await second).payload == b"1"
            assert first.cancelled()
            await client.publish("a", b"2", qos=1)
            received = messages.try_next()
            assert received is not None
            assert received.payload == b"2"
            assert messages.try_next() is None

    play(main)


def test_subscriptions_that_share_a_filter_each_get_every_message() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("c", protocol=V5) as client,
            client.subscription("a/#", qos=1) as wide,
        ):
            async with client.subscription("a/b", "a/#", qos=1) as narrow:
                await client.publish("a/b", b"1", qos=1)
                assert await take(wide, 1) == [b"1"]
                assert await take(narrow, 1) == [b"1"]
                assert (len(wide), len(narrow), len(client.messages)) == (0, 0, 0)
            await client.publish("a/b", b"2", qos=1)
            assert await take(wide, 1) == [b"2"]  # the filter that is still wanted stays
            assert len(wide) == 0

    play(main)


@pytest.mark.parametrize("protocol", [V311, V5], ids=lambda it: it.name)
def test_a_refused_filter_raises_with_its_reason_and_the_others_are_taken_back(
    protocol: ProtocolVersion,
) -> None:
    async def main() -> None:
        broker = memory_broker(deny_subscribe=["secret/#"])
        async with broker.client("c", protocol=protocol) as client:
            with pytest.raises(MqttCodeError) as caught:
                await client.subscription("open", "secret/#", qos=1).__aenter__()
            code = 0x87 if protocol == V5 else 0x80
            assert getattr(caught.value.rc, "value", None) == code
            reason = "Not authorized" if protocol == V5 else "Unspecified error"
            assert caught.value.__notes__ == [
                f"The server refused the subscription to 'secret/#': {reason} (0x{code:02X})"
            ]
            await client.publish("open", b"1", qos=1)
            session = broker.session("c")
            assert session is not None
            assert session.subscriptions == 0
            assert len(client.messages) == 0

    play(main)


def test_a_limit_of_the_server_raises_before_anything_is_sent() -> None:
    async def main() -> None:
        broker = memory_broker(wildcard_subscription_available=False)
        async with broker.client("c", protocol=V5) as client:
            with pytest.raises(MqttCodeError) as caught:
                await client.subscription("a/#").__aenter__()
            assert getattr(caught.value.rc, "value", None) == 0xA2
            assert caught.value.delivery == "not_sent"

    play(main)


WRONG: list[tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ((), {}, ValueError, "at least one filter"),
    (([],), {}, ValueError, "at least one filter"),
    (("",), {}, ValueError, "must not be empty"),
    (("a/#/b",), {}, ValueError, "Invalid"),
    ((b"a",), {}, ValueError, "not bytes"),
    ((("a", "b"),), {}, ValueError, "A tuple is one filter"),
    ((("a", 3),), {}, ValueError, "qos must be 0, 1 or 2"),
    (("a",), {"qos": 3}, ValueError, "qos must be 0, 1 or 2"),
    (("a",), {"no_local": True}, ValueError, "no_local needs MQTT 5.0"),
    (("a",), {"retain_as_published": 1}, TypeError, "must be bool"),
    (("a",), {"retain_handling": 3}, ValueError, "must be 0, 1 or 2"),
    (("a",), {"retain_handling": "1"}, TypeError, "must be 0, 1 or 2"),
    (("a",), {"maxsize": 0}, ValueError, "maxsize must be in the range"),
    (("a",), {"maxbytes": -1}, ValueError, "maxbytes must be in the range"),
    (("a",), {"maxsize": 1.5}, TypeError, "maxsize must be int or None"),
    (("a",), {"maxsize": 0}, ValueError, "or None for no bound but maxbytes, not 0"),
    (("a",), {"maxbytes": 0}, ValueError, "or None for no bound but maxsize, not 0"),
    (("a",), {"maxsize": None, "maxbytes": None}, ValueError, "both None, and .* has a bound"),
    (("a",), {"maxsize": 1 << 63}, ValueError, "maxsize must be in the range"),
    (("a",), {"overflow": "block"}, ValueError, "'wait', 'drop_oldest', 'drop_newest' or 'fail'"),
    (("a",), {"overflow": None}, TypeError, "overflow must be"),
    (("a",), {"ack": "no"}, ValueError, "ack must be 'auto' or 'manual'"),
    (("a",), {"timeout": -1}, ValueError, "timeout must be 0 or more"),
    (("a",), {"timeout": "1"}, TypeError, "timeout must be"),
]


@pytest.mark.parametrize(("topics", "options", "kind", "text"), WRONG)
def test_wrong_arguments_are_refused_at_the_call(
    topics: tuple[Any, ...], options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        memory_broker().client().subscription(*topics, **options)


def test_no_local_of_a_shared_subscription_is_refused_at_the_call() -> None:
    client = memory_broker().client(protocol=V5)
    with pytest.raises(ValueError, match="shared subscription"):
        client.subscription("$share/g/a", no_local=True)


def test_time_runs_out_and_nothing_stays_subscribed() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with broker.client("c", reconnect=True) as client:
            await broker.stop()
            await settle()
            with pytest.raises(MqttTimeoutError):
                await client.subscription("a", timeout=5).__aenter__()
            opening = asyncio.ensure_future(client.subscription("b").__aenter__())
            await settle()
            opening.cancel()
            await asyncio.wait([opening])
            assert opening.cancelled()
            await broker.start()
            await client.wait_connected()
            await client.publish("a", qos=1)
            session = broker.session("c")
            assert session is not None
            assert session.subscriptions == 0

    play(main)


def test_after_the_connection_has_ended_a_subscription_is_refused() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with broker.client() as client, client.subscription("a") as messages:
            await broker.stop()
            with pytest.raises(MqttError, match="Disconnected during message iteration"):
                await anext(messages)
            with pytest.raises(MqttCodeError, match="code:4"):
                await client.subscription("b").__aenter__()
            with pytest.raises(MqttCodeError, match="code:4"):
                await messages.unsubscribe()

    play(main)


def test_a_subscription_of_a_client_with_a_queue_class_has_the_core_s_queue() -> None:
    async def main() -> None:
        async with (
            memory_broker().client(queue_type=asyncio.LifoQueue) as client,
            client.subscription("a", qos=1) as messages,
        ):
            for number in (b"1", b"2"):
                await client.publish("a", number, qos=1)
            assert await take(messages, 2) == [b"1", b"2"]
            assert len(client.messages) == 0

    play(main)


def test_slots_of_calls_are_for_subscriptions_too() -> None:
    async def main() -> None:
        async with (
            memory_broker().client(max_concurrent_outgoing_calls=1) as client,
            client.subscription("a") as first,
            client.subscription("b") as second,
        ):
            await client.publish("b", b"1", qos=1)
            assert await take(second, 1) == [b"1"]
            assert len(first) == 0

    play(main)


def test_reprs_name_the_filters() -> None:
    async def main() -> None:
        async with memory_broker().client() as client:
            subscription = client.subscription("a/#", ("b", 1))
            assert repr(subscription) == "<Subscription to 'a/#', 'b'>"
            async with subscription as messages:
                await client.publish("b", qos=1)
                assert repr(messages) == "<messages of 'a/#', 'b', 1 queued>"
                assert repr(aiter(messages)) == "<messages of a subscription, 1 queued>"

    play(main)


def test_over_a_socket(run: LoopRunner, broker: Broker) -> None:
    topic = unique("own")

    async def main() -> None:
        async with Client(*broker.where) as client:
            received: list[Message] = []
            async with client.subscription(f"{topic}/#", qos=2, maxsize=10) as messages:
                publishing = asyncio.create_task(publish(client))
                async for message in messages:
                    received.append(message)
                    if len(received) == 100:
                        break
                await publishing
            assert [int(it.payload) for it in received] == list(range(100))
            async with client.subscription(topic) as messages:
                await client.publish(topic, b"again", qos=1)
                assert await take(messages, 1) == [b"again"]

    async def publish(client: Client) -> None:
        for number in range(100):
            await client.publish(f"{topic}/{number % 3}", str(number), qos=2)

    run(main)


def test_losses_of_the_default_queue_are_still_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with memory_broker().client(max_queued_incoming_messages=1) as client:
            await client.subscribe("a", qos=1)
            reported = client.events()
            for _ in range(3):
                await client.publish("a", qos=1)
            async for event in reported:
                if isinstance(event, events.Lagged):
                    assert event.filters == ()
                    break

    with caplog.at_level(logging.WARNING, "ferromqtt"):
        play(main)
    assert "Message queue is full. Discarding message." in caplog.messages
