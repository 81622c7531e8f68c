"""When calls return, what they return, and how they wait (contract 1.3, 1.6)."""

import asyncio
import contextlib
import inspect
import logging
import math
import threading
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

import pytest

from conftest import Broker
from ferromqtt import (
    Client,
    MqttCodeError,
    MqttError,
    MqttTimeoutError,
    PacketTypes,
    ProtocolVersion,
    ReasonCode,
    SubscribeOptions,
)
from support import packets
from support.clients import LIMIT, receive_many, unique
from support.loops import LoopRunner, settle
from support.scripted import Connection, ScriptedServer, answer, serve_5, serve_311

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5
Call = Callable[[Client], Coroutine[Any, Any, object]]
CALLS: dict[str, Call] = {
    "publish": lambda client: client.publish("a", qos=1),
    "subscribe": lambda client: client.subscribe("a"),
    "unsubscribe": lambda client: client.unsubscribe("a"),
}
HEAVY = b"." * 200_000


def mute(connection: Connection) -> None:
    connection.accept()
    connection.read_to_end()


class Steps:
    """Lets a test decide when a server's script goes on."""

    def __init__(self) -> None:
        self._semaphore = threading.Semaphore(0)

    def allow(self) -> None:
        self._semaphore.release()

    def wait(self) -> None:
        assert self._semaphore.acquire(timeout=LIMIT)


@pytest.mark.parametrize("protocol", [V311, V5])
@pytest.mark.parametrize("qos", [1, 2])
def test_publish_returns_at_its_last_acknowledgement_1_3(
    run: LoopRunner, protocol: ProtocolVersion, qos: int
) -> None:
    """QoS 1 at PUBACK, QoS 2 at PUBCOMP and not at PUBREC."""
    steps = Steps()

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5 if protocol is V5 else packets.CONNACK_311)
        packet_id = packets.packet_id_of(*connection.expect(packets.PUBLISH))
        if qos == 2:
            connection.send(packets.ack(packets.PUBREC, packet_id))
        # the second call's answer shows that the client has read all before it
        for _ in range(qos):
            first, body = connection.read_packet()
            if first >> 4 == packets.PUBREL:
                assert packets.packet_id_of(first, body) == packet_id
                continue
            assert first >> 4 == packets.SUBSCRIBE
            other = packets.packet_id_of(first, body)
        rest = b"\x00\x00" if protocol is V5 else b"\x00"
        connection.send(packets.ack(packets.SUBACK, other, rest))
        steps.wait()
        last = packets.PUBACK if qos == 1 else packets.PUBCOMP
        connection.send(packets.ack(last, packet_id))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=protocol) as client:
            call = asyncio.ensure_future(client.publish("a", b"x", qos=qos))
            await settle()
            await client.subscribe("b")
            assert not call.done()
            steps.allow()
            assert await asyncio.wait_for(call, LIMIT) is None

    with ScriptedServer(script) as server:
        run(main, server)


def test_qos_0_publishes_wait_for_a_server_that_takes_nothing_1_3(run: LoopRunner) -> None:
    """Natural back-pressure: a loop of publishes fills the buffers, then waits; then all arrive."""
    steps, all_read = Steps(), Steps()
    count = 60

    def script(connection: Connection) -> None:
        connection.accept()
        steps.wait()
        for number in range(count):
            _, body = connection.expect(packets.PUBLISH)
            assert body[3:7] == b"%04d" % number
        all_read.allow()
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        written: list[int] = []

        async def publish_all(client: Client) -> None:
            for number in range(count):
                await client.publish("a", b"%04d" % number + HEAVY, timeout=math.inf)
                written.append(number)

        async with Client(server.host, server.port) as client:
            publishing = asyncio.ensure_future(publish_all(client))
            await asyncio.wait([publishing], timeout=0.5)
            assert not publishing.done()
            assert len(written) < count
            steps.allow()
            await asyncio.wait_for(publishing, LIMIT)
            assert written == list(range(count))
            await asyncio.to_thread(all_read.wait)

    with ScriptedServer(script) as server:
        run(main, server)


def test_a_qos_0_publish_that_waits_has_its_time_limit_1_3(run: LoopRunner) -> None:
    steps = Steps()

    def script(connection: Connection) -> None:
        connection.accept()
        steps.wait()
        connection.reset()

    async def main(server: ScriptedServer) -> None:
        client = await Client(server.host, server.port).__aenter__()

        async def publish_all() -> None:
            for _ in range(100):
                await client.publish("a", HEAVY, timeout=0.2)

        with pytest.raises(MqttError, match=r"^Operation timed out: "):
            await publish_all()
        steps.allow()
        # what the transport still holds is lost with the reset
        with contextlib.suppress(MqttError):
            await client.__aexit__(None, None, None)

    with ScriptedServer(script) as server:
        run(main, server)


@pytest.mark.parametrize("protocol", ProtocolVersion)
def test_subscribe_returns_a_list_of_reason_codes_1_3(
    run: LoopRunner, broker: Broker, protocol: ProtocolVersion
) -> None:
    async def main() -> None:
        async with Client(*broker.where, protocol=protocol) as client:
            one = await client.subscribe("a/b", 1)
            more = await client.subscribe([("a", 0), ("b", 1), ("c", 2)])
            for codes, expected in ((one, [1]), (more, [0, 1, 2])):
                assert type(codes) is list
                assert codes == expected
                for code, value in zip(codes, expected, strict=True):
                    assert isinstance(code, ReasonCode)
                    assert code.packetType == PacketTypes.SUBACK
                    assert (code.value, code.is_failure) == (value, False)
                    assert code == f"Granted QoS {value}" == str(code) == code.getName()
                    assert code < 128

    run(main)


def test_texts_of_what_subscribe_refuses_1_3(run: LoopRunner) -> None:
    """They begin with the original's; connected or not makes no difference."""
    no_topic = "No topic specified, or incorrect topic type."
    cases: list[tuple[ProtocolVersion, Any, dict[str, Any], str]] = [
        (V311, "", {}, "Invalid topic."),
        (V311, "a#", {}, "Invalid subscription filter."),
        (V311, [], {}, "Empty topic list"),
        (V311, None, {}, no_topic),
        (V311, 1, {}, no_topic),
        (V311, "a", {"qos": 3}, "Invalid QoS level."),
        (V5, None, {}, no_topic),
        (V5, [], {}, "Empty topic list"),
        (V5, "a#", {}, "Invalid subscription filter."),
        (
            V5,
            "a",
            {"qos": 1, "options": SubscribeOptions(1)},
            "Subscribe options and qos parameters cannot be combined.",
        ),
        (V5, ("a", 1), {}, "Subscribe options must be instance of SubscribeOptions class."),
    ]

    async def main() -> None:
        for protocol, topic, options, text in cases:
            client = Client("localhost", protocol=protocol)
            with pytest.raises(ValueError) as caught:  # noqa: PT011  compared below
                await client.subscribe(topic, **options)
            assert str(caught.value).startswith(text)

    run(main)


def test_texts_of_what_publish_refuses_1_3(run: LoopRunner) -> None:
    cases: list[tuple[tuple[Any, ...], type[Exception], str]] = [
        (("",), ValueError, "Invalid topic."),
        ((None,), ValueError, "Invalid topic."),
        (("a/+",), ValueError, "Publish topic cannot contain wildcards."),
        (("#",), ValueError, "Publish topic cannot contain wildcards."),
        (("a" * 65536,), ValueError, "Publish topic is too long."),
        (("a", b"", 3), ValueError, "Invalid QoS level."),
        (("a", b"", -1), ValueError, "Invalid QoS level."),
        (
            ("a", {}),
            TypeError,
            "payload must be a string, bytearray, int, float or None.",
        ),
    ]

    async def main() -> None:
        client = Client("localhost")
        for arguments, kind, text in cases:
            with pytest.raises(kind) as caught:
                await client.publish(*arguments)
            assert str(caught.value).startswith(text)

    run(main)


def test_a_single_and_several_filters_leave_in_one_packet_1_3(run: LoopRunner) -> None:
    """Filters and QoS on the wire, SUBSCRIBE and UNSUBSCRIBE."""

    def script(connection: Connection) -> None:
        connection.accept()
        first, body = connection.expect(packets.SUBSCRIBE)
        assert (first, body[2:]) == (0x82, packets.string("a") + b"\x01")
        connection.send(packets.ack(packets.SUBACK, packets.packet_id_of(first, body), b"\x01"))
        first, body = connection.expect(packets.SUBSCRIBE)
        two = packets.string("b/+") + b"\x00" + packets.string("#") + b"\x02"
        assert (first, body[2:]) == (0x82, two)
        connection.send(packets.ack(packets.SUBACK, packets.packet_id_of(first, body), b"\0\x02"))
        first, body = connection.expect(packets.UNSUBSCRIBE)
        assert (first, body[2:]) == (0xA2, packets.string("b/+") + packets.string("#"))
        answer(connection, first, body)
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            await client.subscribe(("a", 1))
            await client.subscribe([("b/+", 0), ("#", 2)])
            await client.unsubscribe(["b/+", "#"])

    with ScriptedServer(script) as server:
        run(main, server)


@pytest.mark.parametrize("name", CALLS)
def test_a_waiting_task_waits_for_a_real_future_1_8(run: LoopRunner, name: str) -> None:
    """anyio's wait_all_tasks_blocked looks at what a task waits for."""

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            tasks = [asyncio.ensure_future(CALLS[name](client))]
            tasks.append(asyncio.ensure_future(anext(client.messages)))
            await settle()
            for task in tasks:
                waits_for: Any = getattr(task, "_fut_waiter")  # noqa: B009  a private slot of C
                assert isinstance(waits_for, asyncio.Future)
                assert not waits_for.done()
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert all(task.cancelled() for task in tasks)

    with ScriptedServer(mute) as server:
        run(main, server)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_when_not_connected_and_its_cause_1_6(run: LoopRunner, name: str) -> None:
    """publish alone says why the connection ended; nothing did before the first enter."""

    def close_at_ping(connection: Connection) -> None:
        connection.accept()
        connection.close()

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        with pytest.raises(MqttCodeError) as caught:
            await CALLS[name](client)
        assert caught.value.__cause__ is None
        async with client:
            with pytest.raises(MqttError) as lost:
                await asyncio.wait_for(anext(client.messages), LIMIT)
            with pytest.raises(MqttCodeError) as caught:
                await CALLS[name](client)
            assert caught.value.delivery == "not_sent"
            if name == "publish":
                assert caught.value.__cause__ is lost.value.__cause__
            else:
                assert caught.value.__cause__ is None

    with ScriptedServer(close_at_ping) as server:
        run(main, server)


@pytest.mark.parametrize("name", CALLS)
def test_the_error_of_a_time_limit_1_6(run: LoopRunner, name: str) -> None:
    """It has no cause, prints none, and is a TimeoutError as well."""

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            client.timeout = 0.05
            with pytest.raises(MqttError) as caught:
                await CALLS[name](client)
            packet = {"publish": "PUBACK", "subscribe": "SUBACK", "unsubscribe": "UNSUBACK"}[name]
            peer = f"{server.host}:{server.port}"
            text = f"Operation timed out: no {packet} from {peer} within 0.05 s"
            assert caught.value.args == (text,)
            assert type(caught.value) is MqttTimeoutError
            assert isinstance(caught.value, TimeoutError)
            assert not isinstance(caught.value, MqttCodeError)
            assert caught.value.__cause__ is None
            assert caught.value.__context__ is None or caught.value.__suppress_context__
            client.timeout = LIMIT

    with ScriptedServer(mute) as server:
        run(main, server)


def test_eleven_publishes_of_qos_0_log_one_record_1_6(
    shim: ModuleType, run: LoopRunner, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Under the original's name of logger; nothing else at WARNING or above."""

    async def main() -> None:
        async with shim.Client(*broker.where) as client, asyncio.TaskGroup() as group:
            for _ in range(client.pending_calls_threshold + 1):
                group.create_task(client.publish("a"))

    run(main)
    assert [
        (it.name, it.levelname, it.getMessage())
        for it in caplog.records
        if it.levelno >= logging.WARNING
    ] == [("mqtt", "WARNING", "There are 11 pending publish calls.")]


def test_ten_publishes_of_qos_0_log_nothing_1_6(
    shim: ModuleType, run: LoopRunner, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with shim.Client(*broker.where) as client:
            for _ in range(3):
                await asyncio.gather(*(client.publish("a") for _ in range(10)))

    run(main)
    assert [it for it in caplog.records if it.levelno >= logging.WARNING] == []


def pending_calls_logged(
    run: LoopRunner,
    caplog: pytest.LogCaptureFixture,
    calls: list[Call],
    threshold: int,
    kind: type[Client] = Client,
) -> list[str]:
    """Return what is logged while all these calls wait."""

    async def main(server: ScriptedServer) -> None:
        async with kind(server.host, server.port) as client:
            client.pending_calls_threshold = threshold
            tasks = [asyncio.ensure_future(call(client)) for call in calls]
            await settle()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with caplog.at_level(logging.WARNING), ScriptedServer(mute) as server:
        run(main, server)
    return [record.getMessage() for record in caplog.records]


def test_waiting_calls_of_every_kind_are_counted_together_1_6(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    calls = [CALLS["publish"], CALLS["subscribe"], CALLS["unsubscribe"], CALLS["publish"]]
    assert pending_calls_logged(run, caplog, calls, 3) == [
        "4 calls wait for the server (pending_calls_threshold=3)."
    ]


@pytest.mark.parametrize("name", ["subscribe", "unsubscribe"])
def test_the_record_says_publish_whatever_waits_1_6(
    shim: ModuleType, run: LoopRunner, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """As in the original, whose text programs filter by."""
    logged = pending_calls_logged(run, caplog, [CALLS[name]], 0, shim.Client)
    assert logged == ["There are 1 pending publish calls."]


def test_packet_identifiers_wrap_around_one_in_use_1_6(run: LoopRunner) -> None:
    """65,536 publishes while the first is unanswered: its identifier is passed over."""
    count = 65_536

    def script(connection: Connection) -> None:
        connection.accept()
        held = packets.packet_id_of(*connection.expect(packets.PUBLISH))
        for _ in range(count):
            packet_id = packets.packet_id_of(*connection.expect(packets.PUBLISH))
            assert packet_id not in (0, held)
            connection.send(packets.ack(packets.PUBACK, packet_id))
        connection.send(packets.ack(packets.PUBACK, held))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, max_inflight_messages=0) as client:
            client.pending_calls_threshold = count
            first = asyncio.ensure_future(client.publish("a", qos=1, timeout=math.inf))
            await settle()
            for _ in range(count // 512):
                await asyncio.gather(*(client.publish("a", qos=1) for _ in range(512)))
            assert await asyncio.wait_for(first, LIMIT) is None

    with ScriptedServer(script) as server:
        run(main, server)


def test_connecting_to_an_address_starts_no_thread_1_6(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        before = {it.name for it in threading.enumerate()}
        async with Client(server.host, server.port) as client:
            await client.publish("a", qos=1)
            after = {it.name for it in threading.enumerate()}
            assert not {it for it in after - before if "_play" not in it}

    with ScriptedServer(serve_311) as server:
        run(main, server)


def test_calls_are_coroutines_and_can_be_gathered_1_3(run: LoopRunner, broker: Broker) -> None:
    """Nothing happens before a call is awaited."""
    topic = unique("coroutine")

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic, qos=1)
            never = client.publish(topic, b"never")
            assert inspect.iscoroutine(never)
            never.close()
            results = await asyncio.gather(
                client.publish(topic, b"x", qos=1),
                client.publish("a/#", qos=1),
                client.subscribe("b"),
                return_exceptions=True,
            )
            assert results[0] is None
            assert isinstance(results[1], ValueError)
            assert results[2] == [0]
            assert [it.payload for it in await receive_many(client, 1)] == [b"x"]

    run(main)


def test_a_qos_0_publish_may_end_without_suspending_1_3(run: LoopRunner, broker: Broker) -> None:
    """It is with the transport then, and arrives without another call."""
    topic = unique("at-once")

    async def main() -> None:
        async with Client(*broker.where) as client:
            await client.subscribe(topic)
            call = client.publish(topic, b"x")
            with pytest.raises(StopIteration):
                call.send(None)
            assert [it.payload for it in await receive_many(client, 1)] == [b"x"]

    run(main)


def test_a_topic_may_be_empty_beside_a_topic_alias_only_1_3(run: LoopRunner) -> None:

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=V5) as client:
            with pytest.raises(ValueError, match=r"^Invalid topic\. topic must not be empty\.$"):
                await client.publish("", b"x")
            with pytest.raises(ValueError, match=r"^Invalid subscription filter\."):
                await client.subscribe("")

    with ScriptedServer(serve_5) as server:
        run(main, server)


@pytest.mark.parametrize("version", [ProtocolVersion.V31, ProtocolVersion.V311])
def test_before_5_subscribe_options_are_not_sent_with_one_warning_1_3(
    run: LoopRunner, caplog: pytest.LogCaptureFixture, version: ProtocolVersion
) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, protocol=version, identifier="a")
        async with client:
            await client.subscribe("t")
            assert not caplog.records
            for _ in range(3):
                await client.subscribe("t", options=SubscribeOptions(qos=1))

    with caplog.at_level(logging.WARNING), ScriptedServer(serve_311) as server:
        run(main, server)
    name = "3.1" if version == ProtocolVersion.V31 else "3.1.1"
    (record,) = caplog.records
    assert record.getMessage().startswith(f"Subscribe options are not sent: MQTT {name} has none, ")
