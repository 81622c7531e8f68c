"""Receipts, and what becomes of accepted messages at the end, in virtual time."""

import asyncio
import copy
import gc
import pickle
from typing import Any

import pytest

from ferromqtt import (
    Client,
    MqttCodeError,
    MqttError,
    OutgoingQueue,
    ProtocolVersion,
    Published,
    Reconnect,
    Topic,
    blocking,
)
from support.loops import LoopRunner
from support.mosquitto import Mosquitto
from support.outgoing import client_of, listening, offline
from support.virtual import memory_broker, play, stop

V5, V311 = ProtocolVersion.V5, ProtocolVersion.V311


# Receipts


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("protocol", [V311, V5], ids=lambda it: it.name)
def test_a_receipt_tells_what_became_of_a_message(qos: int, protocol: ProtocolVersion) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, protocol=protocol, reconnect=False) as client:
            receipt = await client.enqueue("a", "b", qos)
            assert not receipt.done()
            assert repr(receipt) == "<Receipt pending>"
            published = await receipt
            assert isinstance(published, Published)
            # 5.0 says that nobody has subscribed.
            assert published.reason_code.value == (0x10 if qos and protocol is V5 else 0)
            assert published.reason_string is None
            assert receipt.done()
            assert await receipt is published
            assert repr(receipt) == "<Receipt done>"
            assert await client.publish("a", "b", qos) is None  # type: ignore[func-returns-value]

    play(main)


def test_a_receipt_raises_what_publish_would_raise() -> None:
    async def main() -> None:
        broker = memory_broker(deny_publish=["secret"])
        async with client_of(broker) as client:
            receipt = await client.enqueue("secret", "b", 1)
            with pytest.raises(MqttCodeError) as raised:
                await receipt
            assert raised.value.rc.value == 0x87  # type: ignore[union-attr]
            assert raised.value.delivery == "refused"
            assert repr(receipt) == "<Receipt failed>"
            with pytest.raises(MqttCodeError):
                await receipt

    play(main)


def test_a_dropped_receipt_changes_nothing_and_reports_nothing() -> None:
    async def main() -> None:
        broker = memory_broker(deny_publish=["secret"])
        async with listening(broker) as received, client_of(broker) as client:
            for topic in ("a", "secret"):
                receipt = await client.enqueue(topic, "b", 1)
                del receipt
            failed = client.publish_nowait("secret", "b", 1)
            await asyncio.sleep(1)
            assert failed.done()
            del failed
            gc.collect()
        assert received == [("a", b"b")]

    play(main)  # which fails on errors that the loop reports


def test_cancelling_the_wait_withdraws_nothing() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received, client_of(broker) as client:
            await offline(broker, client)
            receipt = await client.enqueue("a", "b", 1)
            waiting = [asyncio.ensure_future(receipt) for _ in range(2)]
            await asyncio.sleep(1)
            waiting[0].cancel()
            await broker.start()
            published = await waiting[1]
            assert await receipt is published
            with pytest.raises(asyncio.CancelledError):
                await waiting[0]
        assert received == [("a", b"b")]

    play(main)


def test_publish_nowait_never_suspends_and_keeps_the_order() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received, client_of(broker) as client:
            receipts = [client.publish_nowait(Topic("a"), number, 1) for number in range(1_000)]
            assert not any(receipt.done() for receipt in receipts)
            for receipt in receipts:
                assert isinstance(await receipt, Published)
        assert [payload for _, payload in received] == [b"%d" % it for it in range(1_000)]

    play(main)


def test_a_loop_of_enqueue_lets_others_run() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, outgoing_queue=OutgoingQueue(maxsize=None)) as client:
            ran = asyncio.Event()
            asyncio.get_running_loop().call_soon(ran.set)
            for _ in range(10_000):
                await client.enqueue("a", "b")
                if ran.is_set():
                    return
            raise AssertionError("nobody else ran")

    play(main)


def test_wrong_arguments_are_refused_before_anything_is_sent() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received, client_of(broker) as client:
            wrong: list[tuple[type[Exception], dict[str, Any]]] = [
                (ValueError, {"topic": "a/#"}),
                (ValueError, {"topic": ""}),
                (ValueError, {"topic": "", "properties": {"TopicAlias": 1}}),
                (TypeError, {"topic": "a", "payload": {}}),
                (ValueError, {"topic": "a", "qos": 3}),
                (ValueError, {"topic": "a", "expires_in": 0}),
                (ValueError, {"topic": "a", "expires_in": float("nan")}),
                (TypeError, {"topic": "a", "expires_in": "soon"}),
                (ValueError, {"topic": "a", "keep": "last"}),
                (ValueError, {"topic": "a", "keep": 1}),
            ]
            for error, arguments in wrong:
                with pytest.raises(error):
                    await client.enqueue(**arguments)
                with pytest.raises(error):
                    client.publish_nowait(**arguments)
        assert received == []

    play(main)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"maxsize": 0}, ValueError),
        ({"maxbytes": -1}, ValueError),
        ({"maxsize": 1.5}, TypeError),
        ({"maxbytes": True}, TypeError),
        ({"overflow": "latest"}, ValueError),
        ({"overflow": None}, TypeError),
    ],
)
def test_wrong_bounds_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="OutgoingQueue: "):
        OutgoingQueue(**arguments)


def test_an_option_that_is_no_queue_is_refused() -> None:
    with pytest.raises(TypeError, match="outgoing_queue must be an OutgoingQueue, not int"):
        Client("localhost", outgoing_queue=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("delivery", "options", "call"),
    [
        ("refused", {}, {"topic": "secret", "qos": 1}),
        ("not_sent", {}, {"topic": "a", "qos": 2}),
        ("not_sent", {"max_queued_outgoing_messages": 1}, {"topic": "a", "qos": 1}),
        ("not_sent", {}, {"topic": "a", "qos": 1, "timeout": 3}),
        ("not_sent", {}, {"topic": "a", "qos": 0, "timeout": 3}),
    ],
    ids=["refused", "a limit", "the queue is full", "no time at QoS 1", "no time at QoS 0"],
)
def test_each_publish_that_fails_says_whether_it_was_sent(
    delivery: str, options: dict[str, Any], call: dict[str, Any]
) -> None:
    async def main() -> None:
        broker = memory_broker(deny_publish=["secret"], maximum_qos=1)
        async with client_of(broker, **options) as client:
            if "timeout" in call or options:
                await offline(broker, client)
            first = asyncio.create_task(client.publish("a", 1, 1, timeout=100)) if options else None
            await asyncio.sleep(0)
            with pytest.raises(MqttError) as raised:
                await client.publish(**call)
            assert raised.value.delivery == delivery
            await broker.start()
            if first is not None:
                await first

    play(main)


# Leaving and entering


def test_leaving_sends_what_the_queue_holds() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with listening(broker) as received:
            async with client_of(broker, reconnect=False) as client:
                receipts = [client.publish_nowait("a", number, 1) for number in range(2_000)]
            for receipt in receipts:
                assert isinstance(await receipt, Published)
        assert len(received) == 2_000

    play(main)


def test_leaving_without_a_connection_fails_what_waits() -> None:
    async def main() -> None:
        broker = memory_broker()
        client = client_of(broker)
        async with client:
            await offline(broker, client)
            receipt = await client.enqueue("a", "b", 1)
        with pytest.raises(MqttError) as raised:
            await receipt
        assert raised.value.delivery == "not_sent"
        with pytest.raises(MqttCodeError) as refused:
            await client.enqueue("a", "b", 1)
        assert refused.value.rc == 4
        assert refused.value.delivery == "not_sent"
        with pytest.raises(MqttCodeError):
            client.publish_nowait("a", "b", 1)
        await broker.start()
        async with client:
            assert isinstance(await client.publish_nowait("a", "again", 1), Published)

    play(main)


def test_without_reconnect_the_end_of_the_connection_ends_each_message() -> None:
    async def main() -> None:
        broker = memory_broker()
        client = client_of(broker, reconnect=False, max_inflight_messages=1)
        async with client:
            receipts = [client.publish_nowait("a", number, 1) for number in range(3)]
            await asyncio.sleep(0)  # they are written
            await stop(broker)
            deliveries = []
            for receipt in receipts:
                try:
                    await receipt
                except MqttError as error:
                    deliveries.append(error.delivery)
            assert deliveries
            assert deliveries[-1] == "not_sent"
            with pytest.raises(MqttCodeError):
                await client.enqueue("a", "b", 1)
        await broker.start()

    play(main)


def test_a_client_that_was_never_entered_accepts_nothing() -> None:
    async def main() -> None:
        client = client_of(memory_broker())
        with pytest.raises(MqttCodeError) as raised:
            await client.enqueue("a", "b")
        assert raised.value.rc == 4
        with pytest.raises(MqttCodeError):
            client.publish_nowait("a", "b")
        with pytest.raises(MqttCodeError):
            await client.publish_many([("a", "b")])

    play(main)


def test_a_call_that_is_cancelled_as_its_wait_for_capacity_fails_reports_nothing() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reported: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, it: reported.append(it))
        broker = memory_broker()
        queue = OutgoingQueue(maxsize=1)
        async with Client(
            broker, reconnect=Reconnect(min=100, max=100), timeout=1, outgoing_queue=queue
        ) as client:
            await offline(broker, client)
            first = await client.enqueue("a", 1, 1)
            for early in (0, 1e-9):
                call = asyncio.create_task(client.enqueue("a", 2, 1, timeout=0.05))
                await asyncio.sleep(0)
                loop.call_later(0.05 - early, call.cancel)
                await asyncio.wait([call])
                del call
            del first
        gc.collect()
        assert reported == []

    play(main)


def test_a_receipt_cannot_be_copied() -> None:
    async def main() -> None:
        async with Client(memory_broker()) as client:
            receipt = await client.enqueue("a", 1, 1)
            for make in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError):
                    make(receipt)
            assert (await receipt).reason_code == 0

    play(main)


def test_what_is_accepted_for_5_0_ends_well_or_as_an_error_on_a_server_of_3_1_1() -> None:
    """A message that expires had become one with a property, and the error was a ValueError."""

    async def main() -> None:
        broker = memory_broker(refused_versions=[5])
        client = Client(broker, protocol="auto", reconnect=Reconnect(initial=True))
        entering = asyncio.create_task(client.__aenter__())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert client.state().value == "connecting"
        expires = await client.enqueue("a", 1, 1, expires_in=60)
        has_property = await client.enqueue("a", 1, 1, content_type="text/plain")
        await entering
        assert client.protocol() == ProtocolVersion.V311
        assert (await expires).reason_code == 0
        with pytest.raises(MqttError, match=r"5\.0 only") as caught:
            await has_property
        assert caught.value.delivery == "not_sent"
        await client.__aexit__(None, None, None)

    play(main)


# A real server


@pytest.mark.parametrize("protocol", [V311, V5], ids=lambda it: it.name)
def test_receipts_and_many_messages_on_mosquitto(
    run: LoopRunner, mosquitto: Mosquitto, protocol: ProtocolVersion
) -> None:
    topic = f"outcomes/{protocol.name}"

    async def main() -> None:
        options: dict[str, Any] = {"protocol": protocol, "reconnect": True}
        async with Client(mosquitto.host, mosquitto.port, **options) as client:
            await client.subscribe(topic, qos=2)
            receipts = [client.publish_nowait(topic, number, number % 3) for number in range(30)]
            receipts.append(await client.enqueue(topic, 30, 1, expires_in=60, keep="latest"))
            for receipt in receipts:
                assert isinstance(await receipt, Published)
            results = await client.publish_many([(topic, number) for number in range(31, 50)], 1)
            assert {type(result) for result in results} == {Published}
            received: set[int] = set()
            async for message in client.messages:
                received.add(int(message.payload))
                if len(received) == 50:
                    break

    run(main)


def test_receipts_in_threads(mosquitto: Mosquitto) -> None:
    client = blocking.Client(mosquitto.host, mosquitto.port, protocol=V5)
    with pytest.raises(MqttCodeError):
        client.enqueue("outcomes/a", 1)
    with pytest.raises(MqttCodeError):
        client.publish_nowait("outcomes/a", 1)
    with client:
        receipts = [client.enqueue("outcomes/a", 1, 1), client.publish_nowait("outcomes/a", 2, 2)]
        for receipt in receipts:
            assert isinstance(receipt.wait(), Published)
            assert receipt.done()
            assert repr(receipt) == "<Receipt done>"
        last = client.publish_nowait("outcomes/a", 3, 1)
    assert isinstance(last.wait(), Published)
