"""Calls that wait: time limits, lost connection, cancellation, limits (contract 1.6)."""

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from conftest import Broker
from ferromqtt import Client, MqttCodeError, MqttError, ProtocolVersion
from support import packets
from support.clients import LIMIT, receive_many, unique
from support.loops import LoopRunner, settle
from support.scripted import Connection, ScriptedServer, answer, serve_5, serve_311

Call = Callable[[Client], Coroutine[Any, Any, object]]
WAITING_CALLS: dict[str, Call] = {
    "publish at QoS 1": lambda client: client.publish("a", b"x", qos=1),
    "publish at QoS 2": lambda client: client.publish("a", b"x", qos=2),
    "subscribe": lambda client: client.subscribe("a"),
    "unsubscribe": lambda client: client.unsubscribe("a"),
}
TIMED_CALLS: dict[str, Callable[[Client, float], Coroutine[Any, Any, object]]] = {
    "publish at QoS 1": lambda client, timeout: client.publish("a", qos=1, timeout=timeout),
    "publish at QoS 2": lambda client, timeout: client.publish("a", qos=2, timeout=timeout),
    "subscribe": lambda client, timeout: client.subscribe("a", timeout=timeout),
    "unsubscribe": lambda client, timeout: client.unsubscribe("a", timeout=timeout),
}
CALLS_NOT_CONNECTED: dict[str, tuple[Call, str]] = {
    "publish at QoS 0": (lambda client: client.publish("a"), "Could not publish message"),
    "publish at QoS 1": (lambda client: client.publish("a", qos=1), "Could not publish message"),
    "subscribe": (lambda client: client.subscribe("a"), "Could not subscribe to topic"),
    "unsubscribe": (lambda client: client.unsubscribe("a"), "Could not unsubscribe from topic"),
}


def mute(connection: Connection) -> None:
    """Accept, then answer nothing."""
    connection.accept()
    connection.read_to_end()


def close_at_first_packet(connection: Connection) -> None:
    connection.accept()
    connection.read_packet()
    connection.close()


@pytest.mark.parametrize("name", CALLS_NOT_CONNECTED)
def test_call_when_not_connected_1_6(run: LoopRunner, broker: Broker, name: str) -> None:
    """Code 4, before the first enter and after an exit."""
    call, text = CALLS_NOT_CONNECTED[name]

    async def main() -> None:
        client = Client(*broker.where)

        async def check() -> None:
            with pytest.raises(MqttCodeError) as caught:
                await call(client)
            assert caught.value.rc == 4
            assert str(caught.value) == "[code:4] The client is not currently connected."
            assert caught.value.args == (text,)

        await check()
        async with client:
            pass
        await check()

    run(main)


@pytest.mark.parametrize("name", CALLS_NOT_CONNECTED)
def test_call_after_the_connection_was_lost_1_6(run: LoopRunner, name: str) -> None:
    call, text = CALLS_NOT_CONNECTED[name]

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            await client.publish("go")
            with pytest.raises(MqttError):
                await asyncio.wait_for(anext(client.messages), LIMIT)
            with pytest.raises(MqttCodeError) as caught:
                await call(client)
            assert caught.value.rc == 4
            assert caught.value.args == (text,)
            if text == "Could not publish message":
                assert str(caught.value.__cause__) == "[code:128] Unspecified error"

    with ScriptedServer(close_at_first_packet) as server:
        run(main, server)


@pytest.mark.parametrize("name", CALLS_NOT_CONNECTED)
def test_call_while_the_connection_is_being_made_1_6(run: LoopRunner, name: str) -> None:
    """Not connected yet: code 4, at once, and nothing of it is sent later."""
    call, text = CALLS_NOT_CONNECTED[name]
    asked, refused = threading.Event(), threading.Event()

    def accept_late(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        asked.set()
        assert refused.wait(LIMIT)
        connection.send(packets.CONNACK_311)
        assert connection.expect(packets.DISCONNECT) == (0xE0, b"")
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        entering = asyncio.create_task(client.__aenter__())
        try:
            assert await asyncio.to_thread(asked.wait, LIMIT)
            with pytest.raises(MqttCodeError) as caught:
                await call(client)
            assert caught.value.rc == 4
            assert caught.value.args == (text,)
        finally:
            refused.set()
            await entering
        await client.__aexit__(None, None, None)

    with ScriptedServer(accept_late) as server:
        run(main, server)
        server.join()


@pytest.mark.parametrize("name", WAITING_CALLS)
def test_lost_connection_fails_a_waiting_call_at_once_1_6(run: LoopRunner, name: str) -> None:
    """What was on the wire may have arrived: `.delivery` says "unknown"."""

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, timeout=math.inf)
        async with client:
            async with asyncio.timeout(LIMIT):
                with pytest.raises(MqttError) as caught:
                    await WAITING_CALLS[name](client)
            assert str(caught.value) != "Operation timed out"
            if name.startswith("publish"):
                assert caught.value.delivery == "unknown"

    with ScriptedServer(close_at_first_packet) as server:
        run(main, server)


def test_lost_connection_fails_every_waiting_publish_1_6(run: LoopRunner) -> None:
    """50 of QoS 1 with 20 in flight: 20 may have arrived, 30 were never sent."""

    def script(connection: Connection) -> None:
        connection.accept()
        for _ in range(20):
            connection.expect(packets.PUBLISH)
        connection.close()

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, timeout=math.inf) as client:
            client.pending_calls_threshold = 50
            async with asyncio.timeout(LIMIT):
                results = await asyncio.gather(
                    *(client.publish("a", number, qos=1) for number in range(50)),
                    return_exceptions=True,
                )
            assert all(isinstance(result, MqttError) for result in results)
            assert [result.delivery for result in results] == ["unknown"] * 20 + ["not_sent"] * 30

    with ScriptedServer(script) as server:
        run(main, server)


@pytest.mark.parametrize("timeout", [0, 0.2])
@pytest.mark.parametrize("name", TIMED_CALLS)
def test_time_limit_of_a_call_1_6(run: LoopRunner, name: str, timeout: float) -> None:
    """The argument, then the client's attribute; the connection stays."""

    async def main(server: ScriptedServer) -> None:
        loop = asyncio.get_running_loop()
        async with Client(server.host, server.port) as client:
            started = loop.time()
            async with asyncio.timeout(LIMIT):
                with pytest.raises(MqttError, match=r"^Operation timed out: ") as caught:
                    await TIMED_CALLS[name](client, timeout)
            assert loop.time() - started >= timeout * 0.9
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__ or caught.value.__context__ is None
            client.timeout = timeout
            with pytest.raises(MqttError, match=r"^Operation timed out: "):
                await WAITING_CALLS[name](client)
            client.timeout = LIMIT
            await client.publish("a", b"still connected")

    with ScriptedServer(mute) as server:
        run(main, server)
        server.join()
        assert server.received.endswith(packets.publish("a", b"still connected") + b"\xe0\x00")


@pytest.mark.parametrize("name", TIMED_CALLS)
def test_infinite_time_limit_waits_for_the_answer_1_6(run: LoopRunner, name: str) -> None:
    """`math.inf` overrides a client timeout of a tenth of a second."""
    asked, go_on = threading.Event(), threading.Event()

    def late(connection: Connection) -> None:
        connection.accept()
        first, body = connection.read_packet()
        asked.set()
        assert go_on.wait(LIMIT)
        answer(connection, first, body)
        while (packet := connection.read_packet())[0] >> 4 != packets.DISCONNECT:
            answer(connection, *packet)

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port)
        async with client:
            client.timeout = 0.1
            call = asyncio.ensure_future(TIMED_CALLS[name](client, math.inf))
            assert await asyncio.to_thread(asked.wait, LIMIT)
            # a call with the client's own limit, made later, ends first
            with pytest.raises(MqttError, match=r"^Operation timed out: "):
                await client.subscribe("b")
            assert not call.done()
            go_on.set()
            await asyncio.wait_for(call, LIMIT)
            client.timeout = LIMIT

    with ScriptedServer(late) as server:
        run(main, server)


@pytest.mark.parametrize("name", WAITING_CALLS)
def test_late_answer_to_a_cancelled_call_harms_nobody_1_6(
    run: LoopRunner, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its answer must not complete another call, log an error, or end the connection."""
    cancelled, asked = threading.Event(), threading.Event()

    def late(connection: Connection) -> None:
        connection.accept()
        packet = connection.read_packet()
        asked.set()
        assert cancelled.wait(LIMIT)
        answer(connection, *packet)
        while packet[0] >> 4 != packets.DISCONNECT:
            packet = connection.read_packet()
            answer(connection, *packet)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            call = asyncio.ensure_future(WAITING_CALLS[name](client))
            assert await asyncio.to_thread(asked.wait, LIMIT)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            cancelled.set()
            for _ in range(3):
                assert [code.value for code in await client.subscribe("b", qos=1)] == [1]
                await client.publish("b", b"x", qos=2)

    with caplog.at_level(logging.WARNING), ScriptedServer(late) as server:
        run(main, server)
    assert caplog.records == []


def test_abandoned_publishes_do_not_block_later_ones_1_6(run: LoopRunner) -> None:
    """25 calls time out unanswered; once the server answers, later calls complete."""
    timed_out = threading.Event()

    def slow(connection: Connection) -> None:
        connection.accept()
        held = [connection.expect(packets.PUBLISH) for _ in range(20)]
        assert timed_out.wait(LIMIT)
        for packet in held:
            answer(connection, *packet)
        while True:
            packet = connection.read_packet()
            if packet[0] >> 4 == packets.DISCONNECT:
                return
            answer(connection, *packet)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:
            client.pending_calls_threshold = 100
            results = await asyncio.gather(
                *(client.publish("a", qos=1, timeout=0.3) for _ in range(25)),
                return_exceptions=True,
            )
            peer = f"{server.host}:{server.port} within 0.3 s"
            assert [str(result) for result in results] == [
                *[f"Operation timed out: no PUBACK from {peer}"] * 20,
                *[f"Operation timed out: nothing could be sent to {peer}"] * 5,
            ]
            assert [it.delivery for it in results] == ["unknown"] * 20 + ["not_sent"] * 5
            timed_out.set()
            await asyncio.gather(*(client.publish("b", qos=1) for _ in range(50)))

    with ScriptedServer(slow) as server:
        run(main, server)


def in_flight_limit(run: LoopRunner, client_options: dict[str, Any], connack: bytes) -> int:
    """Return how many of 50 QoS 1 publishes a silent server sees before it acknowledges."""
    v5 = len(connack) > len(packets.CONNACK_311)
    seen = 0

    def script(connection: Connection) -> None:
        nonlocal seen
        connection.accept(connack)
        held = []
        # PINGREQ comes after keepalive=1: whatever was to be sent has been sent by then
        while (packet := connection.read_packet())[0] >> 4 == packets.PUBLISH:
            held.append(packet)
        seen = len(held)
        assert packet[0] >> 4 == packets.PINGREQ
        for waiting in [packet, *held]:
            answer(connection, *waiting, v5=v5)
        while (packet := connection.read_packet())[0] >> 4 != packets.DISCONNECT:
            answer(connection, *packet, v5=v5)

    async def main(server: ScriptedServer) -> None:
        options = {"keepalive": 1, "timeout": LIMIT, **client_options}
        async with Client(server.host, server.port, **options) as client:
            client.pending_calls_threshold = 50
            await asyncio.gather(*(client.publish("a", qos=1) for _ in range(50)))

    with ScriptedServer(script) as server:
        run(main, server)
    return seen


def test_20_messages_are_in_flight_by_default_1_2(run: LoopRunner) -> None:
    assert in_flight_limit(run, {}, packets.CONNACK_311) == 20


@pytest.mark.parametrize(("given", "expected"), [(1, 1), (7, 7), (0, 50), (100_000, 50)])
def test_max_inflight_messages_1_2(run: LoopRunner, given: int, expected: int) -> None:
    options = {"max_inflight_messages": given}
    assert in_flight_limit(run, options, packets.CONNACK_311) == expected


def test_receive_maximum_of_the_server_1_2(run: LoopRunner) -> None:
    """MQTT-3.3.4-9 (5.0): never more unacknowledged than the server's Receive Maximum."""
    connack = b"\x20\x06\x00\x00\x03\x21\x00\x05"
    assert in_flight_limit(run, {"protocol": ProtocolVersion.V5}, connack) == 5


def test_max_concurrent_outgoing_calls_1_2(run: LoopRunner) -> None:
    options = {"max_concurrent_outgoing_calls": 3}
    assert in_flight_limit(run, options, packets.CONNACK_311) == 3


def test_full_outgoing_queue_1_2(run: LoopRunner) -> None:
    """Contract 1.2: over max_queued_outgoing_messages publish raises code 15."""

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, max_queued_outgoing_messages=5)
        async with client:
            waiting = [asyncio.ensure_future(client.publish("a", qos=1)) for _ in range(5)]
            await settle()
            with pytest.raises(MqttCodeError) as caught:
                await client.publish("a", qos=1)
            assert caught.value.rc == 15
            assert str(caught.value) == "[code:15] Message queue full."
            for call in waiting:
                call.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    with ScriptedServer(mute) as server:
        run(main, server)


@pytest.mark.parametrize(
    ("calls", "threshold", "warnings"),
    [(10, 10, []), (11, 10, [11]), (90, 10, [11, 22, 44, 88]), (9, 3, [4, 8]), (4, 0, [1, 2, 4])],
)
@pytest.mark.parametrize("qos", [0, 1])
def test_warning_about_pending_calls_1_6(
    run: LoopRunner,
    broker: Broker,
    caplog: pytest.LogCaptureFixture,
    calls: int,
    threshold: int,
    warnings: list[int],
    qos: int,
) -> None:
    """The first call over the threshold and each doubling, also at QoS 0, and no other warning."""

    async def main() -> None:
        async with Client(*broker.where) as client:
            assert client.pending_calls_threshold == 10
            client.pending_calls_threshold = threshold
            await asyncio.gather(*(client.publish("a", qos=qos) for _ in range(calls)))

    with caplog.at_level(logging.WARNING, logger="ferromqtt"):
        run(main)
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "ferromqtt",
            "WARNING",
            f"{number} calls wait for the server (pending_calls_threshold={threshold}).",
        )
        for number in warnings
    ]


@pytest.mark.parametrize("qos", [0, 1])
def test_warnings_about_pending_calls_start_again_once_their_number_has_fallen_1_6(
    run: LoopRunner, broker: Broker, caplog: pytest.LogCaptureFixture, qos: int
) -> None:
    async def main() -> None:
        async with Client(*broker.where) as client:
            for _ in range(3):
                await asyncio.gather(*(client.publish("a", qos=qos) for _ in range(25)))

    with caplog.at_level(logging.WARNING, logger="ferromqtt"):
        run(main)
    assert [record.args for record in caplog.records] == [(11, 10), (22, 10)] * 3


def test_custom_logger_1_2(
    run: LoopRunner, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Contract 1.2: used instead of "ferromqtt"; its level is left alone."""
    logger = logging.getLogger("test.custom")
    logger.setLevel(logging.INFO)

    async def main() -> None:
        async with Client(*broker.where, logger=logger) as client:
            client.pending_calls_threshold = 0
            await client.publish("a")

    run(main)
    assert [
        (it.name, it.getMessage()) for it in caplog.records if it.levelno >= logging.WARNING
    ] == [("test.custom", "1 calls wait for the server (pending_calls_threshold=0).")]
    assert logger.level == logging.INFO


def test_cancelled_publishes_leave_the_client_usable_1_6(run: LoopRunner, broker: Broker) -> None:
    """Calls cancelled after 0 to 4 turns of the loop; the others all arrive, once, in order."""
    topic, count = unique("cancelled"), 200

    async def main() -> None:
        async with (
            Client(*broker.where) as publisher,
            Client(*broker.where) as subscriber,
        ):
            publisher.pending_calls_threshold = count
            await subscriber.subscribe(topic, qos=2)
            kept, cancelled = [], []
            for number in range(count):
                call = asyncio.ensure_future(publisher.publish(topic, number, qos=number % 3))
                if number % 4 == 3:
                    for _ in range(number // 4 % 5):
                        await asyncio.sleep(0)
                    call.cancel()
                    cancelled.append(call)
                else:
                    kept.append(call)
            await asyncio.gather(*kept)
            await asyncio.gather(*cancelled, return_exceptions=True)
            await publisher.publish(topic, -1, qos=2)
            numbers: list[int] = []
            async with asyncio.timeout(LIMIT):
                while not numbers or numbers[-1] != -1:
                    numbers += [int(it.payload) for it in await receive_many(subscriber, 1)]
            # a broker passes QoS 2 on at PUBREL, so order is promised within one QoS only
            for qos in range(3):
                of_qos = [number for number in numbers[:-1] if number % 3 == qos]
                assert of_qos == sorted(set(of_qos))
            assert {number for number in range(count) if number % 4 != 3} <= set(numbers)

    run(main)


def test_well_behaved_servers_of_this_suite_answer_every_call(run: LoopRunner) -> None:
    """The scripted servers are tools of the tests above: shows that they are right."""

    async def main(server: ScriptedServer, version: ProtocolVersion) -> None:
        async with Client(server.host, server.port, protocol=version) as client:
            for call in WAITING_CALLS.values():
                await call(client)

    for script, version in ((serve_311, ProtocolVersion.V311), (serve_5, ProtocolVersion.V5)):
        with ScriptedServer(script) as server:
            run(main, server, version)
