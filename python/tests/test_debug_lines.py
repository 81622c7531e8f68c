"""DEBUG logs: a line for each packet, and nothing of what is secret.

What a line says is decided in the core, and tested there.
"""

import asyncio
import logging
from types import ModuleType
from typing import Any

import pytest

from conftest import Broker, TcpBroker
from ferromqtt import Client, MqttError, ProtocolVersion, Will
from ferromqtt.properties import Properties
from ferromqtt.reasons import PacketTypes
from support import packets
from support.clients import LIMIT
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer

SECRET = "s3cret"


def publish_once(connection: Connection) -> None:
    """Acknowledge one publish."""
    connection.accept()
    packet_id = packets.packet_id_of(*connection.expect(packets.PUBLISH))
    connection.send(packets.ack(packets.PUBACK, packet_id))
    connection.expect(packets.DISCONNECT)


def cut_off(connection: Connection) -> None:
    """Accept, and close."""
    connection.accept()


def played(
    run: LoopRunner, caplog: pytest.LogCaptureFixture, module: ModuleType | None, level: int
) -> tuple[list[tuple[str, str, str]], int]:
    """Return logger, level and text of each line while a client publishes once; and the port."""
    kind = Client if module is None else module.Client

    async def main(server: ScriptedServer) -> None:
        client = kind(
            server.host, server.port, identifier="me", username=f"{SECRET} user", password=SECRET
        )
        async with asyncio.timeout(LIMIT), client:
            await client.publish("a/b", SECRET, qos=1)

    with caplog.at_level(level), ScriptedServer(publish_once) as server:
        run(main, server)
    ours = [record for record in caplog.records if record.name in {"ferromqtt", "mqtt"}]
    return [(it.name, it.levelname, it.getMessage()) for it in ours], server.port


def test_at_debug_each_packet_has_a_line(run: LoopRunner, caplog: pytest.LogCaptureFixture) -> None:
    lines, port = played(run, caplog, None, logging.DEBUG)
    assert {(name, level) for name, level, _ in lines} == {("ferromqtt", "DEBUG")}
    assert [line for _, _, line in lines] == [
        f"client 'me': connecting to 127.0.0.1:{port} (attempt 1)",
        "client 'me': sent CONNECT (37 bytes)",
        "client 'me': received CONNACK (4 bytes, 0x00 Success)",
        "client 'me': connected",
        "client 'me': sent PUBLISH (15 bytes, id 1, QoS 1, topic \"a/b\", payload 6 bytes)",
        "client 'me': received PUBACK (4 bytes, id 1)",
        "client 'me': sent DISCONNECT (2 bytes)",
        "client 'me': disconnected",
    ]
    assert SECRET not in caplog.text


def test_the_shim_logs_packets_where_the_original_logs_1_2(
    shim: ModuleType, run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    lines, _ = played(run, caplog, shim, logging.DEBUG)
    assert len(lines) == 8
    assert {(name, level) for name, level, _ in lines} == {("mqtt", "DEBUG")}


def test_above_debug_packets_have_no_lines(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    assert played(run, caplog, None, logging.INFO)[0] == []


def test_whether_packets_have_lines_is_asked_on_each_enter(
    run: LoopRunner, tcp_broker: TcpBroker, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("ferromqtt")

    async def main() -> None:
        client = Client(*tcp_broker.where)
        for level in (logging.INFO, logging.DEBUG, logging.INFO):
            logger.setLevel(level)
            async with client:
                pass

    with caplog.at_level(logging.DEBUG, logger="ferromqtt"):
        run(main)
    connecting = [it for it in caplog.records if ": connecting" in it.getMessage()]
    name = f"client of {tcp_broker.host}:{tcp_broker.port}"
    assert [it.getMessage() for it in connecting] == [
        f"{name}: connecting to {tcp_broker.host}:{tcp_broker.port} (attempt 2)"
    ]


def test_an_end_that_nobody_asked_for_is_told_with_its_cause(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(server: ScriptedServer) -> None:
        async with asyncio.timeout(LIMIT), Client(server.host, server.port) as client:
            with pytest.raises(MqttError):
                await anext(client.messages)

    with caplog.at_level(logging.DEBUG), ScriptedServer(cut_off) as server:
        run(main, server)
    name = f"client of {server.host}:{server.port}"
    assert f"{name}: connection lost: the server closed the connection" in caplog.text


def test_an_attempt_that_fails_is_told_with_address_and_reason(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(server: ScriptedServer) -> None:
        for client in (
            Client("127.0.0.1", 1, identifier="nobody"),
            Client(server.host, server.port, identifier="refused"),
        ):
            with pytest.raises(MqttError):
                await client.__aenter__()

    def refuse(connection: Connection) -> None:
        connection.accept(b"\x20\x02\x00\x05")

    with caplog.at_level(logging.DEBUG), ScriptedServer(refuse) as server:
        run(main, server)
    lines = [it.getMessage() for it in caplog.records if it.name == "ferromqtt"]
    (nobody, refused) = (line for line in lines if ": cannot connect: " in line)
    assert nobody.startswith("client 'nobody': cannot connect: ")
    assert "127.0.0.1:1: TCP: " in nobody
    assert "Connection refused" in nobody
    assert refused.startswith("client 'refused': cannot connect: the server refused the connection")


def authenticate(connection: Connection) -> None:
    """Ask once, accept, send a message, and see one."""
    connection.expect(packets.CONNECT)
    method = b"\x15" + packets.string("M") + b"\x16" + packets.string(f"{SECRET} challenge")
    asked = b"\x18" + bytes([len(method)]) + method
    connection.send(packets.encode(packets.AUTH << 4, asked))
    connection.expect(packets.AUTH)
    properties = b"\x15" + packets.string("M")
    connack = b"\x00\x00" + bytes([len(properties)]) + properties
    connection.send(packets.encode(packets.CONNACK << 4, connack))
    body = packets.string("t") + b"\x00" + f"{SECRET} payload".encode()
    connection.send(packets.encode(0x30, body))
    connection.expect(packets.PUBLISH)
    connection.expect(packets.DISCONNECT)


def test_no_line_shows_a_payload_a_password_or_authentication_data(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    properties = Properties(PacketTypes.CONNECT)
    properties.AuthenticationMethod = "M"
    properties.AuthenticationData = f"{SECRET} beginning".encode()

    async def main(server: ScriptedServer) -> None:
        client = Client(
            server.host,
            server.port,
            protocol=ProtocolVersion.V5,
            username=f"{SECRET} user",
            password=f"{SECRET} password",
            will=Will("gone", f"{SECRET} will"),
            properties=properties,
            authenticator=lambda _: f"{SECRET} answer".encode(),
        )
        async with asyncio.timeout(LIMIT), client:
            assert (await anext(client.messages)).payload == f"{SECRET} payload".encode()
            await client.publish("t", f"{SECRET} payload")

    with caplog.at_level(logging.DEBUG), ScriptedServer(authenticate) as server:
        run(main, server)
    for line in ("sent AUTH", "received AUTH", "sent PUBLISH", "received PUBLISH", "sent CONNECT"):
        assert line in caplog.text
    assert SECRET not in caplog.text


def test_a_logger_that_has_only_warning_is_enough(run: LoopRunner, broker: Broker) -> None:
    class Warns:
        def warning(self, text: str, *args: object) -> None:
            raise AssertionError(text % args)

    reported: list[dict[str, object]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context)
        )
        logger: Any = Warns()
        async with Client(*broker.where, logger=logger) as client:
            await client.publish("a", qos=1)

    run(main)
    assert reported == []


def test_a_logger_that_raises_at_debug_ends_nothing(run: LoopRunner, broker: Broker) -> None:
    logger = logging.Logger("raises", logging.DEBUG)  # noqa: LOG001 - nobody else's
    logger.addFilter(lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
    reported: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context["message"]))
        async with asyncio.timeout(LIMIT), Client(*broker.where, logger=logger) as it:
            await it.publish("a", qos=1)

    run(main)
    assert reported[0].startswith("ferromqtt: logging raised")
