"""Messages that the program acknowledges: `Client(manual_ack=True)`, `message.ack` and `reject`."""

import asyncio
import copy
import gc
import logging
import pickle
import re
import threading
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Broker
from ferromqtt import (
    Client,
    Message,
    MqttError,
    PacketTypes,
    ProtocolVersion,
    ReasonCode,
    Reconnect,
    Unacknowledged,
    blocking,
)
from ferromqtt._internals import internals_of
from ferromqtt.testing import TestBroker
from support.clients import LIMIT, receive, receive_many, receive_until, unique
from support.loops import LoopRunner
from support.virtual import memory_broker, play

V5 = ProtocolVersion.V5
KEPT: dict[ProtocolVersion, dict[str, Any]] = {
    ProtocolVersion.V31: {"clean_session": False},
    ProtocolVersion.V311: {"clean_session": False},
    V5: {"clean_start": False, "properties": {"SessionExpiryInterval": 300}},
}
"""How a client asks for a session that the server keeps."""


def client_of(broker: TestBroker, **options: Any) -> Client:  # noqa: ANN401 - the client's
    given: dict[str, Any] = {"identifier": "c", "protocol": V5, "manual_ack": True}
    return Client(broker, **given | options)


def cut(client: Client) -> None:
    """Lose the connection."""
    internals_of(client).core.cut()


async def publish(broker: TestBroker, *payloads: str, qos: int = 1) -> None:
    """Publish as another client does."""
    async with broker.client("publisher") as publisher:
        for payload in payloads:
            await publisher.publish("a", payload, qos=qos)


@pytest.fixture
def sent(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what tells the acknowledgements that clients with this logger have sent so far."""
    caplog.set_level(logging.DEBUG, "ferromqtt")
    wanted = re.compile(r"sent (PUBACK|PUBREC) \(\d+ bytes, id (\d+)(?:, 0x(\w\w).*)?\)")

    def acknowledgements() -> list[str]:
        found = (wanted.search(record.getMessage()) for record in caplog.records)
        return [" ".join(filter(None, it.groups())) for it in found if it]

    return acknowledgements


def test_each_message_is_acknowledged_when_the_program_says_so(
    sent: Callable[[], list[str]],
) -> None:
    """Awaited or not, once or twice; at QoS 2 to the end."""

    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            await client.subscribe("a", qos=2)
            await client.publish("a", "one", qos=1)
            await client.publish("a", "two", qos=2)
            one, two = await receive_many(client, 2)
            await asyncio.sleep(60)
            assert sent() == []
            assert await one.ack() is None  # type: ignore[func-returns-value]
            await asyncio.sleep(0)
            assert sent() == ["PUBACK 1 00"]
            two.ack()
            two.ack()
            await two.ack()
            await asyncio.sleep(0.1)
            assert sent() == ["PUBACK 1 00", "PUBREC 2 00"]
            state = broker.session("c")
            assert state is not None
            assert state.in_flight == 0

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        play(main)


@pytest.mark.parametrize("qos", [1, 2])
def test_acknowledgements_leave_in_the_order_of_arrival_mqtt_4_6_0_2_and_4_6_0_3(
    sent: Callable[[], list[str]], qos: int
) -> None:
    kind = {1: "PUBACK", 2: "PUBREC"}[qos]

    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            await client.subscribe("a", qos=2)
            for number in range(4):
                await client.publish("a", number, qos=qos)
            messages = await receive_many(client, 4)
            for number in (3, 1, 2):
                messages[number].ack()
                await asyncio.sleep(1)
            assert sent() == []
            counted = client.unacknowledged()
            assert counted == Unacknowledged(messages=1, oldest=3.0, held_back=3)
            messages[0].ack()
            await asyncio.sleep(0)
            assert sent() == [f"{kind} {packet_id} 00" for packet_id in (1, 2, 3, 4)]
            counted = client.unacknowledged()
            assert counted == Unacknowledged(messages=0, oldest=None, held_back=0)

    play(main)


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("protocol", list(ProtocolVersion), ids=lambda it: it.name)
def test_what_is_not_acknowledged_comes_again_and_what_is_does_not(
    protocol: ProtocolVersion, qos: int
) -> None:
    """The server sends all three again: the last one's acknowledgement had to wait."""

    async def main() -> None:
        broker = memory_broker()
        options = KEPT[protocol] | {"protocol": protocol, "reconnect": True}
        async with client_of(broker, **options) as client:
            await client.subscribe("a", qos=qos)
            await publish(broker, "done", "lost", "done too", qos=qos)
            done, lost, done_too = await receive_many(client, 3)
            done.ack()
            done_too.ack()
            await asyncio.sleep(1)
            cut(client)
            again = await receive(client)
            assert again.payload == b"lost"
            lost.ack()  # of the earlier connection
            await asyncio.sleep(1)
            state = broker.session("c")
            assert state is not None
            assert state.in_flight == 2  # with what waits behind it
            again.ack()
            await publish(broker, "last", qos=0)
            assert await receive_until(client, b"last") == []
            state = broker.session("c")
            assert state is not None
            assert (state.in_flight, state.queued) == (0, 0)

    play(main)


@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
def test_a_message_that_was_not_taken_before_a_loss_can_be_acknowledged_after_it(
    queue_type: type[asyncio.Queue[Message]] | None,
) -> None:
    async def main() -> None:
        broker = memory_broker()
        options = {"reconnect": True, "queue_type": queue_type}
        async with client_of(broker, **options) as client:
            await client.subscribe("a", qos=1)
            await publish(broker, "x")
            async with asyncio.timeout(LIMIT):
                while not len(client.messages):  # noqa: ASYNC110  only the length tells
                    await asyncio.sleep(0.01)
            cut(client)
            await client.wait_connected()
            await asyncio.sleep(5)
            # In the core's queue it stays one message; a queue of the program's has two copies.
            copies = 1 if queue_type is None else 2
            messages = await receive_many(client, copies)
            for message in messages:
                assert message.payload == b"x"
                message.ack()
            await publish(broker, "last", qos=0)
            assert await receive_until(client, b"last") == []
            state = broker.session("c")
            assert state is not None
            assert state.in_flight == 0

    play(main)


def test_a_message_that_is_taken_without_a_connection_comes_again() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, reconnect=Reconnect(min=10.0, jitter=0.0)) as client:
            await client.subscribe("a", qos=1)
            await client.publish("a", "x", qos=1)
            cut(client)
            await asyncio.sleep(1)
            early = await receive(client)
            early.ack()
            assert client.unacknowledged().messages == 0
            again = await receive(client)
            assert again.payload == early.payload
            again.ack()
            await publish(broker, "last", qos=0)
            assert await receive_until(client, b"last") == []

    play(main)


def test_the_server_sends_the_next_message_when_its_window_has_space_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a Receive Maximum of two; and a warning says so once, after five seconds."""

    async def main() -> None:
        broker = memory_broker()
        options = {"properties": {"ReceiveMaximum": 2}}
        async with client_of(broker, **options) as client:
            await client.subscribe("a", qos=1)
            await publish(broker, "0", "1", "2", "3")
            first, second = await receive_many(client, 2)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(4.9):
                    await anext(client.messages)
            assert [record.message for record in caplog.records] == []
            await asyncio.sleep(60)
            (record,) = caplog.records
            assert record.levelno == logging.WARNING
            assert record.message.startswith(
                "received messages are not acknowledged, and for 5 s the server has sent no QoS "
                "1 or 2 message: it may be waiting (acknowledge each message when you have "
                "processed it; the client's `unacknowledged` has the age of the oldest)"
            )
            assert "messages: 2" in record.message
            first.ack()
            assert (await receive(client)).payload == b"2"
            second.ack()
            assert (await receive(client)).payload == b"3"
            assert client.unacknowledged().messages == 2

    play(main)


def test_a_rejected_message_is_refused_with_the_reason_code_and_does_not_come_again(
    sent: Callable[[], list[str]],
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, reconnect=True) as client:
            await client.subscribe("a", qos=2)
            for qos in (1, 2, 1, 1):
                await client.publish("a", "x", qos=qos)
            one, two, three, four = await receive_many(client, 4)
            await one.reject()
            two.reject(ReasonCode(PacketTypes.PUBREC, "Quota exceeded"), reason_string="no space")
            three.reject(0x99)
            three.ack()
            four.ack()
            four.reject()
            await asyncio.sleep(0)
            assert sent() == ["PUBACK 1 80", "PUBREC 2 97", "PUBACK 3 99", "PUBACK 4 00"]
            await asyncio.sleep(1)
            state = broker.session("c")
            assert state is not None
            assert state.in_flight == 0
            cut(client)
            await client.publish("a", "last", qos=1)
            assert await receive_until(client, b"last") == []

    play(main)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((0,), ValueError, r"^reason_code must be one by which .*, not 0\. To ack.* call ack\(\)$"),
        ((0x10,), ValueError, "not 16"),
        ((0x8E,), ValueError, "not 142"),
        ((1000,), ValueError, "not 1000"),
        ((-1,), ValueError, "not -1"),
        (("no",), TypeError, "^reason_code must be int or ReasonCode, not str$"),
        ((1.5,), TypeError, "^reason_code must be int or ReasonCode, not float$"),
    ],
)
def test_a_wrong_reason_code_is_refused_before_anything_is_sent(
    sent: Callable[[], list[str]], arguments: tuple[Any], error: type[Exception], text: str
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            await client.subscribe("a", qos=1)
            await client.publish("a", "x", qos=1)
            message = await receive(client)
            with pytest.raises(error, match=text):
                message.reject(*arguments)
            with pytest.raises(TypeError, match=r"^reason_string must be str, not bytes$"):
                message.reject(128, reason_string=b"x")  # type: ignore[arg-type]
            for reason_string in ("\0", "\ud800", "x" * 65_536):
                with pytest.raises(ValueError, match=r"^reason_string "):
                    message.reject(128, reason_string=reason_string)
            await asyncio.sleep(1)
            assert sent() == []
            assert client.unacknowledged().messages == 1
            message.ack()
            await asyncio.sleep(0)
            assert sent() == ["PUBACK 1 00"]

    play(main)


@pytest.mark.parametrize("protocol", [ProtocolVersion.V31, ProtocolVersion.V311])
def test_before_5_0_no_message_can_be_rejected(
    sent: Callable[[], list[str]], protocol: ProtocolVersion
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, protocol=protocol) as client:
            await client.subscribe("a", qos=1)
            await client.publish("a", "x", qos=1)
            message = await receive(client)
            with pytest.raises(RuntimeError, match=r"^reject\(\) needs MQTT 5\.0.* by ack\(\)$"):
                message.reject(128)
            assert sent() == []
            message.ack()
            await asyncio.sleep(0)
            assert sent() == ["PUBACK 1"]

    play(main)


def test_what_needs_no_acknowledgement_is_harmless_or_says_so() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client, broker.client("auto") as automatic:
            for each in (client, automatic):
                await each.subscribe("a", qos=1)
            await client.publish("a", "x", qos=0)
            for each in (client, automatic):
                message = await receive(each)
                message.ack()
                await message.ack()
                message.reject()
            await client.publish("a", "x", qos=1)
            message = await receive(automatic)
            for call in (message.ack, message.reject):
                with pytest.raises(RuntimeError, match="Give the client manual_ack=True"):
                    call()
            message = await receive(client)
            message.ack()

    play(main)


COPIES: list[Callable[[Message], Message]] = [
    copy.copy,
    copy.deepcopy,
    lambda it: pickle.loads(pickle.dumps(it)),
    lambda it: Message(it.topic, it.payload, it.qos, it.retain, it.mid, it.properties),
]


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_cannot_be_acknowledged_and_says_so(copied: Callable[[Message], Message]) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            await client.subscribe("a", qos=1)
            await client.publish("a", "x", qos=1)
            message = await receive(client)
            other = copied(message)
            for call in (other.ack, other.reject):
                with pytest.raises(RuntimeError, match="made, copied or unpickled it"):
                    call()
            assert client.unacknowledged().messages == 1
            message.ack()
            assert client.unacknowledged().messages == 0

    play(main)


def test_after_the_client_was_left_acknowledging_is_harmless() -> None:
    broker = memory_broker()

    async def first() -> tuple[Client, Message]:
        client = client_of(broker, **KEPT[V5])
        async with client:
            await client.subscribe("a", qos=1)
            await client.publish("a", "x", qos=1)
            message = await receive(client)
        message.ack()
        return client, message

    async def second(client: Client, former: Message) -> None:
        async with client:
            again = await receive(client)
            former.ack()  # of the earlier connection, although the Packet Identifier is the same
            assert (again.mid, again.payload) == (former.mid, former.payload)
            assert client.unacknowledged().messages == 1
            again.ack()
            assert client.unacknowledged().messages == 0

    client, message = play(first)
    message.ack()  # its loop is closed
    message.reject()
    play(lambda: second(client, message))
    message.ack()
    assert client.unacknowledged() == Unacknowledged(messages=0, oldest=None, held_back=0)


def test_a_lost_session_makes_acknowledgements_harmless() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker, reconnect=True) as client:
            await client.subscribe("a", qos=1)
            await client.publish("a", "old", qos=1)
            old = await receive(client)
            await broker.stop()  # which forgets the session
            await broker.start()
            await client.publish("a", "new", qos=1)
            new = await receive(client)
            assert (new.mid, new.payload) == (old.mid, b"new")
            old.ack()
            assert client.unacknowledged().messages == 1
            new.ack()
            assert client.unacknowledged().messages == 0

    play(main)


def test_another_thread_is_refused_and_told_what_to_call() -> None:
    async def main() -> None:
        async with TestBroker() as broker, client_of(broker) as client:
            await client.subscribe("a", qos=1)
            await client.publish("a", "x", qos=1)
            message = await receive(client)
            for call in (message.ack, message.reject):
                with pytest.raises(RuntimeError, match=r"call_soon_threadsafe\(message\.ack\)$"):
                    await asyncio.to_thread(call)
            assert client.unacknowledged().messages == 1
            loop = asyncio.get_running_loop()
            called = asyncio.Event()  # without the GIL asyncio may go on here before

            def acknowledge() -> None:
                message.ack()
                called.set()

            await asyncio.to_thread(loop.call_soon_threadsafe, acknowledge)
            await called.wait()
            assert client.unacknowledged().messages == 0

    asyncio.run(main())


def test_the_threads_of_a_blocking_client_acknowledge() -> None:
    """Any thread, in any order; the server gets all of it."""
    broker = TestBroker(listen=False)
    options = {"identifier": "c", "protocol": V5, "manual_ack": True}
    with blocking.Client(broker, **options) as client:  # type: ignore[arg-type]
        client.subscribe("a", qos=2)
        for number in range(20):
            client.publish("a", number, qos=1 + number % 2)
        messages = [next(client.messages(timeout=LIMIT)) for _ in range(20)]
        counted = client.unacknowledged()
        assert (counted.messages, counted.held_back) == (20, 0)
        threads = [threading.Thread(target=message.ack) for message in reversed(messages)]
        for thread in threads:
            thread.start()
            thread.join()
        messages[0].ack()
        assert client.unacknowledged().messages == 0
        client.publish("a", "last", qos=1)
        last = next(client.messages(timeout=LIMIT))
        assert last.payload == b"last"
        last.reject(151)
        client.publish("nobody", "all is read", qos=1)
        state = broker.session("c")
        assert state is not None
        assert state.in_flight == 0
    last.ack()


def test_a_client_goes_with_its_messages_and_not_before() -> None:
    """A message that is not acknowledged has its client's core; no cycle is left of them."""

    async def main() -> list[Message]:
        broker = memory_broker()
        async with client_of(broker) as client:
            cores.append(weakref.ref(internals_of(client).core))
            await client.subscribe("a", qos=1)
            await client.publish("a", "x", qos=1)
            await client.publish("a", "y", qos=1)
            taken = await receive_many(client, 2)
            client.last = taken[1]  # type: ignore[attr-defined]
            return taken

    cores: list[weakref.ref[object]] = []
    messages = play(main)
    gc.collect()
    (core,) = cores
    assert core() is not None
    messages[0].ack()
    messages.pop()
    gc.collect()
    assert core() is None, "an acknowledged message lets it go"


def test_a_cancelled_step_leaves_its_message_to_be_acknowledged_by_the_next() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            await client.subscribe("a", qos=1)
            waiting = asyncio.create_task(anext(client.messages))
            await asyncio.sleep(0)
            await client.publish("a", "x", qos=1)
            waiting.cancel()
            await asyncio.wait([waiting])
            message = waiting.result() if not waiting.cancelled() else await receive(client)
            message.ack()
            assert client.unacknowledged().messages == 0
            await publish(broker, "last", qos=0)
            assert await receive_until(client, b"last") == []

    play(main)


@pytest.mark.parametrize("qos", [1, 2])
def test_a_server_keeps_what_a_program_has_not_acknowledged(
    run: LoopRunner, broker: Broker, protocol: ProtocolVersion, qos: int
) -> None:
    """On mosquitto and the test broker: a program dies, and its successor gets the rest."""

    async def main() -> None:
        identifier, topic = unique("manual"), unique("jobs")

        def client() -> Client:
            options = KEPT[protocol] | {"protocol": protocol, "identifier": identifier}
            return Client(*broker.where, manual_ack=True, **options)

        async with client() as program:
            await program.subscribe(topic, qos=qos)
            for payload in ("done", "open", "waiting"):
                await program.publish(topic, payload, qos=qos)
            done, _, waiting = await receive_many(program, 3)
            await done.ack()
            await waiting.ack()
            await program.publish(unique("nobody"), qos=1)  # the server has read all before it
            cut(program)
            with pytest.raises(MqttError):
                await receive(program)
        async with client() as successor:
            again = await receive_many(successor, 2)
            assert [message.payload for message in again] == [b"open", b"waiting"]
            for message in reversed(again):
                await message.ack()
            await successor.publish(topic, "last", qos=0)
            assert await receive_until(successor, b"last") == []
        async with client() as successor:
            await successor.publish(topic, "last", qos=0)
            assert await receive_until(successor, b"last") == []
        async with Client(*broker.where, identifier=identifier):
            pass  # the server forgets the session

    run(main)


def test_the_shim_s_mids_and_ack_share_one_state() -> None:
    """`_client.ack` of the shim and `message.ack` may be mixed."""

    async def main() -> None:
        broker = memory_broker()
        async with client_of(broker) as client:
            core = internals_of(client).core
            await client.subscribe("a", qos=1)
            for number in range(2):
                await client.publish("a", number, qos=1)
            one, two = await receive_many(client, 2)
            assert core.acknowledge(one.mid, 1)
            one.ack()
            two.ack()
            assert not core.acknowledge(two.mid, 1)
            assert client.unacknowledged().messages == 0

    play(main)


def test_the_page_lists_what_reject_takes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "acknowledging.md").read_text()
    for code in (128, 131, 135, 144, 145, 151, 153):
        assert f"| {code} | {ReasonCode(PacketTypes.PUBACK, identifier=code)} |" in page
