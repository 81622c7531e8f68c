"""What each option does on the wire or to the client (contract 1.2)."""

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from conftest import Broker
from ferromqtt import Client, Message, MqttError, ProtocolVersion, TLSParameters, Will
from ferromqtt._internals import internals_of
from support import packets
from support.clients import LIMIT, receive_many, unique, wait_for_queued
from support.loops import LoopRunner, settle
from support.mosquitto import free_port
from support.scripted import Connection, ScriptedServer, answer, serve_5, serve_311

V31, V311, V5 = ProtocolVersion.V31, ProtocolVersion.V311, ProtocolVersion.V5
CLEAN = 0x02
PING = b"\xc0\x00"


def connect_flags(run: LoopRunner, **options: Any) -> int:  # noqa: ANN401
    """Enter and leave a client of 5.0; return the Connect Flags that the server saw."""

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=V5, **options):
            pass

    with ScriptedServer(serve_5) as server:
        run(main, server)
        server.join()
        return server.received[9]


@pytest.mark.parametrize(
    ("clean_start", "clean"),
    [(True, True), (3, True), (False, False), (0, False), (1, False), (2, False)],
)
def test_clean_start_values_1_2(run: LoopRunner, *, clean_start: Any, clean: bool) -> None:  # noqa: ANN401
    """Only True itself and 3 set the flag: 1 and 2 behave as False."""
    assert bool(connect_flags(run, clean_start=clean_start) & CLEAN) is clean


@pytest.mark.parametrize("protocol", [None, V31, V311])
@pytest.mark.parametrize("clean_start", [True, False, 0, 1, 2])
def test_clean_start_is_refused_before_version_5_1_2(
    run: LoopRunner,
    protocol: ProtocolVersion | None,
    clean_start: Any,  # noqa: ANN401
) -> None:
    async def main() -> None:
        client = Client("localhost", protocol=protocol, clean_start=clean_start)
        with pytest.raises(ValueError, match=r"^Clean start only applies to MQTT V5"):
            await client.__aenter__()

    run(main)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"will": Will("")}, "Invalid topic."),
        ({"will": Will("a", qos=3)}, "Invalid QoS level."),
        ({"will": Will("a", qos=-1)}, "Invalid QoS level."),
        ({"protocol": V5, "clean_session": True}, "Clean session is not used for MQTT 5.0"),
        (
            {"clean_session": False},
            "A client id must be provided if clean session is False.",
        ),
        ({"max_inflight_messages": -1}, "Invalid inflight."),
        ({"max_queued_outgoing_messages": -1}, "Invalid queue size."),
    ],
)
def test_texts_of_the_constructor_s_refusals_1_2(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        Client("localhost", **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"hostname": ""}, "Invalid host."),
        ({"port": 0}, "Invalid port number."),
        ({"keepalive": -1}, "Keepalive must be >=0."),
        ({"bind_port": -1}, "Invalid bind port number."),
        ({"properties": object()}, "Properties only apply to MQTT V5"),
        (
            {"tls_context": ssl.create_default_context(), "tls_params": TLSParameters()},
            "SSL/TLS has already been configured.",
        ),
        (
            {"tls_insecure": False},
            "Must configure SSL context before using tls_insecure_set.",
        ),
    ],
)
def test_texts_of_the_refusals_on_enter_1_2(
    run: LoopRunner, options: dict[str, Any], text: str
) -> None:
    async def main() -> None:
        client = Client(**({"hostname": "localhost"} | options))
        with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
            await client.__aenter__()

    run(main)


@pytest.mark.parametrize("protocol", [V31, V311])
def test_clean_session_is_set_when_none_is_given_1_2(
    run: LoopRunner, protocol: ProtocolVersion
) -> None:
    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=protocol, clean_session=None):
            pass

    with ScriptedServer(serve_311) as server:
        run(main, server)
        server.join()
        header = b"MQIsdp\x03" if protocol is V31 else b"MQTT\x04"
        assert header + bytes([CLEAN]) in server.received


def test_keep_alive_on_the_wire_1_2_and_1_6(run: LoopRunner) -> None:
    """0 never pings, 1 does, and a Server Keep Alive replaces both 0 and 60 (MQTT-3.2.2-21)."""
    told_by_server = b"\x20\x06\x00\x00\x03\x13\x00\x01"
    cases: list[tuple[bytes, dict[str, Any], bool]] = [
        (packets.CONNACK_311, {"keepalive": 0}, False),
        (packets.CONNACK_311, {"keepalive": 60}, False),
        (packets.CONNACK_311, {"keepalive": 1}, True),
        (told_by_server, {"protocol": V5, "keepalive": 0}, True),
        (told_by_server, {"protocol": V5, "keepalive": 60}, True),
    ]

    def clock(connection: Connection) -> None:
        """Close at the second PINGREQ: whoever pings every second has done so by then."""
        connection.accept()
        for _ in range(2):
            connection.expect(packets.PINGREQ)
            connection.send(packets.PINGRESP_PACKET)
        connection.close()

    def watched(connack: bytes) -> Callable[[Connection], None]:
        def script(connection: Connection) -> None:
            connection.accept(connack)
            while (packet := connection.read_packet())[0] >> 4 != packets.DISCONNECT:
                answer(connection, *packet)

        return script

    async def main(servers: list[ScriptedServer], ticking: ScriptedServer) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for server, (_, options, _) in zip(servers, cases, strict=True):
                await stack.enter_async_context(Client(server.host, server.port, **options))
            client = Client(ticking.host, ticking.port, keepalive=1)
            await stack.enter_async_context(client)
            with pytest.raises(MqttError, match=r"^Disconnected during"):
                await asyncio.wait_for(anext(client.messages), LIMIT)

    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(ScriptedServer(watched(case[0]))) for case in cases]
        run(main, servers, stack.enter_context(ScriptedServer(clock)))
        for server, (_, _, expected) in zip(servers, cases, strict=True):
            server.join()
            after_connect = server.received[2 + server.received[1] :]
            assert after_connect.startswith(PING) is expected
            assert after_connect.endswith(packets.DISCONNECT_PACKET)


def test_bind_address_and_port_1_2(run: LoopRunner) -> None:
    port = free_port("127.0.0.2")
    peers: list[tuple[str, int]] = []

    def script(connection: Connection) -> None:
        peers.append(connection.sock.getpeername())
        serve_311(connection)

    async def main(server: ScriptedServer) -> None:
        async with Client(
            server.host, server.port, bind_address="127.0.0.2", bind_port=port
        ) as client:
            await client.publish("a", qos=1)

    with ScriptedServer(script) as server:
        run(main, server)
    assert peers == [("127.0.0.2", port)]


def test_bind_address_that_is_not_the_machine_s_1_2(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, bind_address="192.0.2.1")
        for _ in range(2):
            with pytest.raises(MqttError, match=r"^\[Errno 99\] "):
                await client.__aenter__()

    with ScriptedServer(serve_311) as server:
        run(main, server)


@pytest.mark.parametrize("form", [list, tuple, iter])
def test_socket_options_are_applied_1_2(run: LoopRunner, form: Callable[[Any], Any]) -> None:
    """Any iterable; on every enter."""
    options = form(
        [
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, (77).to_bytes(4, "little")),
        ]
    )

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, socket_options=options)
        for _ in range(2):
            async with client:
                transport = internals_of(client).core.transport
                assert transport is not None
                sock = transport.get_extra_info("socket")
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77

    with ScriptedServer(serve_311) as server:
        run(main, server)


def test_a_socket_option_that_the_system_refuses_1_2(run: LoopRunner) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, socket_options=[(12345, 1, 1)])
        for _ in range(2):
            with pytest.raises(MqttError, match=r"^\[Errno \d+\] "):
                await client.__aenter__()

    with ScriptedServer(lambda connection: connection.read_to_end()) as server:
        run(main, server)


@pytest.mark.parametrize("limit", [None, 0, -1])
def test_incoming_queue_without_a_limit_1_2(
    run: LoopRunner, broker: Broker, caplog: pytest.LogCaptureFixture, limit: int | None
) -> None:
    topic, count = unique("unlimited"), 500

    async def main() -> None:
        async with Client(*broker.where, max_queued_incoming_messages=limit) as client:
            client.pending_calls_threshold = count
            await client.subscribe(topic, qos=1)
            await asyncio.gather(*(client.publish(topic, number, qos=1) for number in range(count)))
            await wait_for_queued(client, count)
            received = await receive_many(client, count)
            assert [int(it.payload) for it in received] == list(range(count))

    run(main)
    assert [it for it in caplog.records if it.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
def test_full_incoming_queue_acknowledges_and_drops_every_qos_1_2(
    run: LoopRunner,
    caplog: pytest.LogCaptureFixture,
    queue_type: type[asyncio.Queue[Message]] | None,
) -> None:
    """The new message goes, and is told; a place that is free again is used."""

    def script(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.PUBLISH)
        connection.send(
            packets.publish("a", b"kept")
            + packets.publish("a", b"dropped 0")
            + packets.publish("a", b"dropped 1", qos=1, packet_id=1)
            + packets.publish("a", b"dropped 2", qos=2, packet_id=2)
        )
        assert connection.expect(packets.PUBACK) == (0x40, b"\x00\x01")
        assert connection.expect(packets.PUBREC) == (0x50, b"\x00\x02")
        connection.send(packets.ack(packets.PUBREL, 2))
        # in either order: the test goes on once the message was dropped, maybe before PUBREL came
        kinds = {connection.read_packet()[0] >> 4 for _ in range(2)}
        assert kinds == {packets.PUBCOMP, packets.PUBLISH}
        connection.send(packets.publish("a", b"later"))
        connection.expect(packets.DISCONNECT)

    async def main(server: ScriptedServer) -> None:
        async with Client(
            server.host, server.port, max_queued_incoming_messages=1, queue_type=queue_type
        ) as client:
            await client.publish("go")
            await wait_for_queued(client, 1)
            async with asyncio.timeout(LIMIT):
                while len(caplog.records) < 2:  # noqa: ASYNC110  only the log tells
                    await asyncio.sleep(0.005)
            assert [it.payload for it in await receive_many(client, 1)] == [b"kept"]
            await client.publish("go on")
            assert [it.payload for it in await receive_many(client, 1)] == [b"later"]

    with caplog.at_level(logging.WARNING, logger="ferromqtt"), ScriptedServer(script) as server:
        run(main, server)
    text = "Message queue is full. Discarding message."
    reported = [(it.levelname, it.getMessage()) for it in caplog.records]
    # How often in between depends on how many messages each read has brought.
    assert reported[0] == ("WARNING", text)
    assert reported[-1][1] in (f"{text} (3 times so far)", f"{text} (3 times in all)")
    assert all(level == "WARNING" and line.startswith(text) for level, line in reported)


@pytest.mark.parametrize("limit", [None, 0])
def test_outgoing_queue_without_a_limit_1_2(run: LoopRunner, limit: int | None) -> None:
    """A thousand wait behind 20 in flight, none is refused."""

    def script(connection: Connection) -> None:
        connection.accept()
        while (packet := connection.read_packet())[0] >> 4 != packets.DISCONNECT:
            answer(connection, *packet)

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, max_queued_outgoing_messages=limit) as client:
            client.pending_calls_threshold = 1000
            await asyncio.gather(*(client.publish("a", qos=1) for _ in range(1000)))

    with ScriptedServer(script) as server:
        run(main, server)


def test_waiting_for_a_turn_is_outside_the_time_limit_1_2(run: LoopRunner) -> None:
    """One call at a time: the others wait longer than their own limit, and still succeed."""

    def script(connection: Connection) -> None:
        connection.accept()
        first = connection.read_packet()
        # a ping comes after the Keep Alive; by then the others' limit would have been over
        connection.expect(packets.PINGREQ)
        connection.send(packets.PINGRESP_PACKET)
        answer(connection, *first)
        while (packet := connection.read_packet())[0] >> 4 != packets.DISCONNECT:
            answer(connection, *packet)

    async def main(server: ScriptedServer) -> None:
        async with Client(
            server.host, server.port, keepalive=3, max_concurrent_outgoing_calls=1
        ) as client:
            first = asyncio.ensure_future(client.publish("a", qos=1))
            await settle()
            await asyncio.gather(
                client.publish("b", qos=1, timeout=2),
                client.subscribe("b", timeout=2),
                client.unsubscribe("b", timeout=2),
            )
            assert first.done()
            await first

    with ScriptedServer(script) as server:
        run(main, server)


def records_of_limited_publishes(
    run: LoopRunner, broker: Broker, caplog: pytest.LogCaptureFixture, limit: int, qos: int
) -> list[logging.LogRecord]:
    """Return what is logged at WARNING and above while 24 publishes take turns."""

    async def main() -> None:
        async with Client(*broker.where, max_concurrent_outgoing_calls=limit) as client:
            await asyncio.gather(*(client.publish("a", qos=qos) for _ in range(24)))

    run(main)
    return [it for it in caplog.records if it.levelno >= logging.WARNING]


@pytest.mark.parametrize("limit", [1, 10])
@pytest.mark.parametrize("qos", [1, 2])
def test_limited_calls_log_no_pending_calls_1_2(
    run: LoopRunner, broker: Broker, caplog: pytest.LogCaptureFixture, limit: int, qos: int
) -> None:
    assert records_of_limited_publishes(run, broker, caplog, limit, qos) == []


@pytest.mark.parametrize("limit", [1, 10])
def test_limited_publishes_of_qos_0_log_no_pending_calls_1_2(
    run: LoopRunner, broker: Broker, caplog: pytest.LogCaptureFixture, limit: int
) -> None:
    assert records_of_limited_publishes(run, broker, caplog, limit, 0) == []


def test_a_cancelled_wait_for_a_turn_gives_it_to_the_next_1_2(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        seen = []
        while (packet := connection.read_packet())[0] >> 4 != packets.DISCONNECT:
            seen.append(packet[1][:3])
            answer(connection, *packet)
        assert seen == [b"\x00\x01a", b"\x00\x01c"]

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, max_concurrent_outgoing_calls=1) as client:
            calls = [asyncio.ensure_future(client.publish(it, qos=1)) for it in "abc"]
            await asyncio.sleep(0)
            calls[1].cancel()
            await asyncio.gather(calls[0], calls[2])
            assert calls[1].cancelled()

    with ScriptedServer(script) as server:
        run(main, server)


def test_queue_type_is_used_through_its_public_methods_1_2(run: LoopRunner, broker: Broker) -> None:
    topic, used = unique("methods"), []

    class Watched(asyncio.Queue[Message]):
        def put_nowait(self, item: Message) -> None:
            assert isinstance(item, Message)
            used.append("put_nowait")
            super().put_nowait(item)

        async def get(self) -> Message:
            used.append("get")
            return await super().get()

    async def main() -> None:
        async with Client(*broker.where, queue_type=Watched) as client:
            await client.subscribe(topic)
            for number in range(3):
                await client.publish(topic, number)
            assert [int(it.payload) for it in await receive_many(client, 3)] == [0, 1, 2]
            assert isinstance(client.messages, type(aiter(client.messages)))

    run(main)
    assert used.count("put_nowait") == used.count("get") == 3


def test_a_logger_of_one_s_own_keeps_its_level_1_2() -> None:
    logger = logging.getLogger("test.level")
    logger.setLevel(logging.DEBUG)
    Client("localhost", logger=logger)
    assert logger.level == logging.DEBUG


def test_the_logger_of_the_original_keeps_its_level_1_2(shim: ModuleType) -> None:
    assert shim.Client("localhost")._logger is logging.getLogger("mqtt")
    assert logging.getLogger("mqtt").level == logging.NOTSET


def test_nothing_is_logged_when_nothing_is_wrong_1_2(
    run: LoopRunner, broker: Broker, protocol: ProtocolVersion, caplog: pytest.LogCaptureFixture
) -> None:
    topic = unique("quiet")

    async def main() -> None:
        client = Client(*broker.where, protocol=protocol)
        for _ in range(2):
            async with client:
                await client.subscribe(topic, qos=2)
                for qos in range(3):
                    await client.publish(topic, qos, qos=qos)
                await receive_many(client, 3)
                await client.unsubscribe(topic)

    with caplog.at_level(logging.INFO):
        run(main)
    assert [it for it in caplog.records if it.levelno >= logging.INFO] == []


@pytest.mark.parametrize("protocol", [None, V31, V311, V5])
def test_version_is_3_1_1_unless_told_1_2(
    run: LoopRunner, protocol: ProtocolVersion | None
) -> None:
    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port, protocol=protocol):
            pass

    with ScriptedServer(serve_5 if protocol is V5 else serve_311) as server:
        run(main, server)
        server.join()
        expected = {V31: b"\x00\x06MQIsdp\x03", V5: b"\x00\x04MQTT\x05"}
        header = expected.get(protocol or V311, b"\x00\x04MQTT\x04")
        assert server.received[2:].startswith(header)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_host_is_a_name_or_an_address_1_2(run: LoopRunner, host: str) -> None:
    async def main(server: ScriptedServer) -> None:
        async with Client(host, server.port) as client:
            await client.publish("a", qos=1)

    with ScriptedServer(serve_311) as server:
        run(main, server)
