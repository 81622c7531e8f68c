"""Lines of the log."""

import asyncio
import contextlib
import logging
import threading

import ferromqtt
from conftest import shim_of
from ferromqtt import Client, MqttError, ProtocolVersion, SubscribeOptions
from ferromqtt._internals import internals_of
from ferromqtt.testing import TestBroker
from support import packets
from support.clients import LIMIT
from support.provocations.registry import LOG, Given, World, provokes
from support.provocations.reports import receive_by_a_raising_queue
from support.scripted import Connection, Script, ScriptedServer, answer, serve_311

V5 = ProtocolVersion.V5


def flooding(part: str, count: int, thresholds: tuple[int, int] | None, **given: Given) -> None:
    """A server that sends more messages than are taken."""

    def script(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.PUBLISH)
        connection.send(b"".join(packets.publish("t", b"x") for _ in range(count)))
        answer(connection, *connection.read_packet())
        connection.read_to_end()

    @provokes(LOG, part)
    async def flood(_: World) -> None:
        with ScriptedServer(script) as server:
            async with Client(server.host, server.port, **given) as client:
                if thresholds is not None:
                    internals_of(client).core.backlog_thresholds = thresholds
                await client.publish("go")
                await client.publish("then", qos=1)


flooding("Message queue is full", 2, None, max_queued_incoming_messages=1)
flooding("received messages wait to be taken", 3, (2, 1 << 30))


@provokes(LOG, "calls wait for the server")
async def _(_: World) -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await asyncio.gather(*(client.publish("a", qos=1) for _ in range(11)))


@provokes(LOG, "pending publish calls")
async def _(world: World) -> None:
    client_class = shim_of(world.monkeypatch).Client
    async with TestBroker() as broker, client_class(broker.host, broker.port) as client:
        await asyncio.gather(*(client.publish("a", qos=1) for _ in range(11)))


@provokes(LOG, "which is tolerated")
async def _(_: World) -> None:
    def script(connection: Connection) -> None:
        connection.accept(b"\x20\x02\x01\x00")  # Session Present after a clean session
        connection.read_to_end()

    with ScriptedServer(script) as server:
        async with Client(server.host, server.port):
            pass


def refusing_a_message(part: str, version: ProtocolVersion) -> None:
    """A server that ends the connection at the first message, each time."""
    v5 = version is V5
    properties = ferromqtt.Properties(ferromqtt.PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    keeping = {"clean_start": False, "properties": properties} if v5 else {"clean_session": False}

    def script(present: int) -> Script:
        def refuse(connection: Connection) -> None:
            connection.accept(packets.encode(0x20, bytes([present, 0]) + (b"\0" if v5 else b"")))
            with contextlib.suppress(EOFError):
                connection.expect(packets.PUBLISH)
                connection.send(packets.encode(0xE0, b"\x95\0") if v5 else b"")
                if v5:
                    connection.read_to_end()

        return refuse

    @provokes(LOG, part)
    async def refuse(_: World) -> None:
        with ScriptedServer(script(0), script(1)) as server:
            client = Client(
                server.host, server.port, protocol=version, identifier="it", timeout=2, **keeping
            )
            for _ in range(4):
                with contextlib.suppress(MqttError):
                    async with client:
                        await client.publish("t", b"bad", qos=1)


refusing_a_message("they are sent again", ProtocolVersion.V311)
refusing_a_message("they are sent one at a time", V5)
refusing_a_message("it is given up", V5)


@provokes(LOG, "Could not gracefully disconnect")
async def _(_: World) -> None:
    await Client("localhost").__aexit__(None, None, None)


@provokes(LOG, "A task waits for messages")
async def _(_: World) -> None:
    waiting = asyncio.ensure_future(anext(Client("localhost").messages))
    await asyncio.sleep(0)
    waiting.cancel()


@provokes(LOG, "are not acknowledged")
async def _(world: World) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        for number in range(1, 11):
            connection.send(packets.publish("t", b"x", qos=1, packet_id=number))
        connection.read_to_end()

    with ScriptedServer(script) as server:
        client = Client(server.host, server.port)
        internals_of(client).core.manual_ack = True
        async with client:
            for _ in range(10):
                await anext(client.messages)
            while not world.caplog.records:  # noqa: ASYNC110  the core tells it after 5 s
                await asyncio.sleep(0.01)


@provokes(LOG, "Properties are not sent")
async def _(_: World) -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.publish("a", properties={"ContentType": "text/plain"})


@provokes(LOG, "Subscribe options are not sent")
async def _(_: World) -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.subscribe("a", options=SubscribeOptions(qos=1))


@provokes(LOG, "options other than the QoS")
async def _(_: World) -> None:
    broker = TestBroker(listen=False, refused_versions=[5])
    async with broker, Client(broker, protocol="auto") as client:
        await client.subscribe("a", options=SubscribeOptions(qos=1, noLocal=True))


@provokes(LOG, "websocket_headers are not sent")
async def _(_: World) -> None:
    client = Client("127.0.0.1", 1, transport="websockets", websocket_headers={"X": "y"})
    with contextlib.suppress(MqttError):
        await client.__aenter__()


@provokes(LOG, "put_nowait raised")
async def _(_: World) -> None:
    await receive_by_a_raising_queue()


@provokes(LOG, "the server refused a message")
async def _(_: World) -> None:
    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        refused, other = (
            packets.packet_id_of(*connection.expect(packets.PUBLISH)) for _ in range(2)
        )
        connection.send(packets.ack(packets.PUBACK, refused, b"\x87"))
        connection.send(packets.ack(packets.PUBACK, other))
        connection.read_to_end()

    with ScriptedServer(script) as server:
        async with Client(server.host, server.port, protocol=V5) as client:
            with contextlib.suppress(MqttError):
                await client.publish("a", qos=1, timeout=0.05)
            await client.publish("b", qos=1)


@provokes(LOG, "QoS 0 messages were not written")
async def _(_: World) -> None:
    full = threading.Event()

    def script(connection: Connection) -> None:
        connection.accept()
        full.wait(LIMIT)
        connection.reset()

    with ScriptedServer(script) as server:
        async with Client(server.host, server.port) as client:
            with contextlib.suppress(MqttError):
                while True:
                    await client.publish("a", b"." * 100_000, timeout=0.1)
            full.set()
            with contextlib.suppress(MqttError):
                await anext(client.messages)


def contested(part: str, connack: bytes, last: bytes, times: int, **given: Given) -> None:
    """A server that cuts the client off each time."""

    def script(connection: Connection) -> None:
        connection.accept(connack)
        connection.send(last)

    @provokes(LOG, part)
    async def fight(_: World) -> None:
        with ScriptedServer(script) as server:
            client = Client(server.host, server.port, identifier="me", **given)
            for _ in range(times):
                with contextlib.suppress(MqttError):
                    async with client:
                        await anext(client.messages)


contested("the server accepted {count}", packets.CONNACK_311, b"", 3)
contested("another client has connected", packets.CONNACK_5, b"\xe0\x01\x8e", 1, protocol=V5)


def tracing(part: str, script: Script) -> None:
    """A connection, while the logger is at DEBUG."""

    @provokes(LOG, part)
    async def connect(world: World) -> None:
        with (
            world.caplog.at_level(logging.DEBUG, logger="ferromqtt"),
            ScriptedServer(script) as server,
            contextlib.suppress(MqttError),
        ):
            async with Client(server.host, server.port, identifier="it") as client:
                await client.publish("a", qos=1)


tracing("connecting to {address}", serve_311)
tracing("{client}: connected", serve_311)
tracing("sent {packet}", serve_311)
tracing("received {packet}", serve_311)
tracing("{client}: disconnected", serve_311)
tracing("connection lost: ", Connection.accept)
tracing("cannot connect: ", lambda connection: connection.close())


@provokes(LOG, "the recording has ended")
async def _(_: World) -> None:
    async with TestBroker(listen=False).client(record="/dev/full"):
        pass
