"""Every Python text of docs/errors.md is provoked, and reads as the page says."""

import asyncio
import contextlib
import re
import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import ferromqtt
from ferromqtt import Client, MqttError, ProtocolVersion, ProxySettings, TLSParameters
from ferromqtt.options import ProxyType
from ferromqtt.testing import TestBroker
from support import certificates, packets
from support.clients import LIMIT
from support.scripted import Connection, Script, ScriptedServer, answer, over_tls, serve_311

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from errors import Row, rows

V5 = ProtocolVersion.V5
Given = Any
"""Arguments that are handed on."""

ROWS = [row for row in rows() if row.section.startswith("Python")]
KEY_PASSWORD = "opens the key"
NOBODY = 1
"""A port that nothing listens on."""


class World:
    """What provocations need: certificates, the environment, and the log."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.caplog = caplog

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def trusting(self, **more: Given) -> TLSParameters:
        return TLSParameters(ca_certs=self.file("ca.pem"), **more)

    def tls_server(self, name: str, *, ask: bool = False) -> Script:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        if ask:
            context.load_verify_locations(self.folder / "ca.pem")
            context.verify_mode = ssl.CERT_REQUIRED
        return over_tls(context, lambda connection: connection.read_to_end())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    certificates.make(made)
    certificates.encrypt_key(made, "client", KEY_PASSWORD)
    certificates.issue(made, "expired", "subjectAltName=DNS:localhost\n", expired=True)
    certificates.issue(made, "elsewhere", "subjectAltName=DNS:broker.example\n")
    (made / "nonsense.pem").write_text("nothing of use\n")
    return made


Provocation = Callable[[World], Awaitable[None]]
"""Raises the row's error, or writes its log line."""

PROVOCATIONS: dict[str, tuple[str, Provocation]] = {}
"""By a part of the text that no other row of its section has: the section, and what provokes it."""


def provokes(section: str, part: str) -> Callable[[Provocation], Provocation]:
    def add(provocation: Provocation) -> Provocation:
        assert f"{section}: {part}" not in PROVOCATIONS
        PROVOCATIONS[f"{section}: {part}"] = (part, provocation)
        return provocation

    return add


OPTIONS = "Python: wrong options"
CONNECTING = "Python: connecting"
CALLS = "Python: calls and lost connections"
LOG = "Python: log lines"


def options(part: str, *args: Given, **given: Given) -> None:
    """Wrong options, which entering a client refuses."""

    @provokes(OPTIONS, part)
    async def refuse(world: World) -> None:
        made = {name: it(world) if callable(it) else it for name, it in given.items()}
        await Client(*(args or ("localhost",)), **made).__aenter__()


options("Invalid host.", "")
options("Invalid port number.", "localhost", 0)
options("the host is a URL", "mqtt://broker:1883")
options("the host has a port", "broker:1883")
options("the host has brackets", "[::1]")
options("the host is no valid name", "broker\0.example")
options("the host name is too long", "a" * 64)
options("tls_server_hostname {", tls_params=TLSParameters(), tls_server_hostname="a..b")
options("tls_server_hostname needs TLS", tls_server_hostname="a")
options("TLS over a Unix socket", "/run/x", transport="unix", tls_params=TLSParameters())
options("proxy_addr: ", proxy=lambda _: ProxySettings(proxy_type=ProxyType.HTTP, proxy_addr="a..b"))


def environment(part: str, value: str) -> None:
    @provokes(OPTIONS, part)
    async def refuse(world: World) -> None:
        world.monkeypatch.setenv("mqtt_proxy", value)
        world.monkeypatch.delenv("no_proxy", raising=False)
        await Client("localhost").__aenter__()


environment("the URL has no scheme", "gate:8080")
environment("the URL begins with", "https://gate:8080")
environment("is not percent-encoded", "http://user:secret%zz@gate")
environment("the port is not a number", "http://user:secret@gate:80x")
environment("the URL has a path", "http://user:secret/x@gate:8080")
environment("the URL has no valid host", "http://:8080")


def files(part: str, **names: str) -> None:
    """Files that TLSParameters name; those beginning with ! are passed as they are."""

    @provokes(OPTIONS, part)
    async def refuse(world: World) -> None:
        given = {
            name: it.removeprefix("!") if it.startswith("!") else world.file(it)
            for name, it in names.items()
        }
        await Client("localhost", tls_params=TLSParameters(**given)).__aenter__()


files("no such file", ca_certs="missing.pem")
files("is a directory", ca_certs="")
files("holds no certificate", ca_certs="nonsense.pem")
files("holds no private key", certfile="client.pem", keyfile="nonsense.pem")
files("is encrypted", certfile="client.pem", keyfile="client-encrypted.key")
files(
    "does not open",
    certfile="client.pem",
    keyfile="client-encrypted.key",
    keyfile_password="!another",
)
files("does not belong", certfile="client.pem", keyfile="server.key")
files("ciphers: ", ciphers="!NO-SUCH-CIPHER")


def connecting(part: str, *args: Given, **given: Given) -> None:
    """Nobody is there."""

    @provokes(CONNECTING, part)
    async def fail(_: World) -> None:
        await Client(*args, **given).__aenter__()


connecting("name resolution failed", "no-such-host.invalid")
connecting("is this its port?", "127.0.0.1", NOBODY)
connecting("the path of its socket?", "/nope/socket", transport="unix")
connecting(
    "through the proxy {proxy}: TCP",
    "broker.example",
    proxy=ProxySettings(proxy_type=ProxyType.HTTP, proxy_addr="127.0.0.1", proxy_port=NOBODY),
)


async def enter(script: Script, host: str | None = None, **given: Given) -> None:
    """Enter a client of a server that plays a script."""
    with ScriptedServer(script) as server:
        given = {"timeout": LIMIT} | given
        await Client(host or server.host, server.port, **given).__aenter__()


def replying(reply: bytes = b"", *, reset: bool = False) -> Script:
    """Return a script that answers the first bytes, and closes."""

    def script(connection: Connection) -> None:
        connection.peek()
        connection.send(reply)
        if reset:
            connection.reset()

    return script


def answering(part: str, reply: bytes = b"", *, reset: bool = False, **given: Given) -> None:
    """A server that answers the first bytes with this, and closes."""

    @provokes(CONNECTING, part)
    async def fail(_: World) -> None:
        await enter(replying(reply, reset=reset), **given)


HTTP_400 = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x46"

answering("before it was accepted: the server closed the connection")
answering("CONNECT failed (does the port", reset=True)
answering("the answer to CONNECT is HTTP", HTTP_400)
answering("the answer to CONNECT is TLS", TLS_ALERT)
answering("the server broke the protocol: {what}", b"\x00\x00")
answering("WebSocket handshake error: the server answered", HTTP_400, transport="websockets")
answering("WebSocket handshake error: the server's answer", TLS_ALERT, transport="websockets")
answering("WebSocket handshake error: the server closed", transport="websockets")
answering("Cannot connect to {address}: TLS", tls_params=TLSParameters())
answering(
    "[SSL: {code}] {reason}: cannot connect to {address}: TLS", HTTP_400, tls_params=TLSParameters()
)
answering("[code:{code}] {reason}", b"\x20\x02\x00\x05")
answering("{address} refused the connection", b"\x20\x02\x00\x05")


def proxied(part: str, reply: bytes = b"") -> None:
    """A proxy that answers the first bytes with this, and closes."""

    @provokes(CONNECTING, part)
    async def fail(_: World) -> None:
        with ScriptedServer(replying(reply)) as server:
            proxy = ProxySettings(
                proxy_type=ProxyType.HTTP, proxy_addr=server.host, proxy_port=server.port
            )
            await Client("broker.example", proxy=proxy).__aenter__()


proxied("proxy refused", b"HTTP/1.1 403 Forbidden\r\n\r\n")
proxied("proxy closed the connection")
proxied("proxy answered something else", b"SSH-2.0-x\r\n")


def certified(part: str, certificate: str, authority: str = "ca") -> None:
    @provokes(CONNECTING, part)
    async def fail(world: World) -> None:
        trusting = TLSParameters(ca_certs=world.file(f"{authority}.pem"))
        await enter(world.tls_server(certificate), "localhost", tls_params=trusting)


certified("connect to a name that the certificate holds", "elsewhere")
certified("give the certificate of the authority", "server", "other-ca")
certified("renew the server's certificate", "expired")


@provokes(CONNECTING, "give a client certificate")
async def _(world: World) -> None:
    script = world.tls_server("server", ask=True)
    with ScriptedServer(script) as server, contextlib.suppress(ssl.SSLError):
        client = Client("localhost", server.port, tls_params=world.trusting(), timeout=LIMIT)
        await client.__aenter__()


@provokes(CONNECTING, "the local port is in use")
async def _(_: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        await enter(serve_311, bind_address="127.0.0.1", bind_port=port)


@provokes(CONNECTING, "bind_address must be")
async def _(_: World) -> None:
    await enter(serve_311, bind_address="192.0.2.1")


@provokes(CONNECTING, "no CONNACK")
async def _(_: World) -> None:
    await enter(lambda connection: connection.read_to_end(), timeout=0.05)


def authenticating(part: str, **given: Given) -> None:
    @provokes(CONNECTING, part)
    async def fail(_: World) -> None:
        properties = ferromqtt.Properties(ferromqtt.PacketTypes.CONNECT)
        properties.AuthenticationMethod = "steps"
        auth = packets.encode(0xF0, b"\x18\x08\x15" + packets.string("steps"))
        await enter(replying(auth), protocol=V5, properties=properties, **given)


def unable(_: bytes) -> bytes:
    raise RuntimeError


authenticating("asked to continue the authentication")
authenticating("`authenticator` raised", authenticator=unable)


@provokes(CONNECTING, "reusable, but not reentrant")
async def _(_: World) -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.__aenter__()


def losing(part: str, data: bytes = b"", *, reset: bool = False, **given: Given) -> None:
    """A server that accepts, sends this at the first publish, and ends the connection."""

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5 if "protocol" in given else packets.CONNACK_311)
        connection.expect(packets.PUBLISH)
        connection.send(data)
        if reset:
            connection.reset()

    @provokes(CALLS, part)
    async def lose(_: World) -> None:
        with ScriptedServer(script) as server:
            async with Client(server.host, server.port, **given) as client:
                await client.publish("a")
                await anext(client.messages)


ITERATION = "iteration: "
losing(f"{ITERATION}the server closed")
losing(f"{ITERATION}the server disconnected", b"\xe0\x01\x8e", protocol=V5)
losing(f"{ITERATION}the server broke the protocol", packets.CONNACK_311)
losing(f"{ITERATION}{{reason}}", reset=True)


@provokes(CALLS, "[code:{code}] {reason}")
async def _(world: World) -> None:
    with pytest.raises(MqttError) as caught:
        await PROVOCATIONS[f"{CALLS}: {ITERATION}the server closed"][1](world)
    assert caught.value.__cause__ is not None
    raise caught.value.__cause__


@provokes(CALLS, f"{ITERATION}nothing came")
async def _(_: World) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.read_to_end()

    with ScriptedServer(script) as server:
        async with Client(server.host, server.port, keepalive=1) as client:
            await anext(client.messages)


@provokes(CALLS, f"{ITERATION}the client disconnected")
async def _(_: World) -> None:
    async with TestBroker() as broker:
        async with Client(broker.host, broker.port) as client:
            pass
        await anext(client.messages)


@provokes(CALLS, "ended before the answer came")
async def _(_: World) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.PUBLISH)

    with ScriptedServer(script) as server:
        async with Client(server.host, server.port) as client:
            await client.publish("a", qos=1)


@provokes(CALLS, "not currently connected")
async def _(_: World) -> None:
    await Client("localhost").publish("a")


def mute(connection: Connection) -> None:
    connection.accept()
    while connection.read_packet()[0] >> 4 != packets.DISCONNECT:
        pass


def crowded(part: str, **given: Given) -> None:
    """A second publish beside one that is not acknowledged."""

    @provokes(CALLS, part)
    async def fail(_: World) -> None:
        with ScriptedServer(mute) as server:
            async with Client(server.host, server.port, timeout=0.3, **given) as client:
                first = asyncio.ensure_future(client.publish("a", qos=1, timeout=LIMIT))
                await asyncio.sleep(0)
                try:
                    await client.publish("a", qos=1, timeout=0.05)
                finally:
                    first.cancel()
                    await asyncio.wait([first])


crowded("[code:15]", max_queued_outgoing_messages=1)
crowded("the outgoing queue is full", max_queued_outgoing_messages=1)
crowded("no {packet} from")
crowded("nothing could be sent", max_inflight_messages=1)


def limited(part: str, limit: bytes, *args: Given, **given: Given) -> None:
    """A publish beyond what CONNACK says."""

    def script(connection: Connection) -> None:
        connection.accept(packets.encode(0x20, b"\0\0" + bytes([len(limit)]) + limit))
        connection.read_to_end()

    @provokes(CALLS, part)
    async def fail(_: World) -> None:
        with ScriptedServer(script) as server:
            async with Client(server.host, server.port, protocol=V5) as client:
                await client.publish("a", *args, **given)


limited("[code:149]", b"\x27\0\0\0\x64", b"." * 200)
limited("is larger than", b"\x27\0\0\0\x64", b"." * 200)
limited("QoS {maximum}", b"\x24\0", qos=1)
limited("retained messages", b"\x25\0", retain=True)


@provokes(CALLS, "The server refused the message")
async def _(_: World) -> None:
    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        number = packets.packet_id_of(*connection.expect(packets.PUBLISH))
        connection.send(packets.ack(packets.PUBACK, number, b"\x87"))
        connection.read_to_end()

    with ScriptedServer(script) as server:
        async with Client(server.host, server.port, protocol=V5) as client:
            await client.publish("a", qos=1)


async def leave_beside_a_large_message(end: Callable[[Connection], None], limit: float) -> None:
    """Leave a client whose message the server does not read; then have the server end it."""
    left = threading.Event()

    def script(connection: Connection) -> None:
        connection.accept()
        left.wait(LIMIT)
        end(connection)

    with ScriptedServer(script) as server:
        client = Client(server.host, server.port, timeout=LIMIT)
        await client.__aenter__()
        large = asyncio.ensure_future(client.publish("a", b"." * 30_000_000))
        await asyncio.sleep(0)
        client.timeout = limit
        leaving = asyncio.ensure_future(client.__aexit__(ValueError, None, None))
        await asyncio.sleep(0)
        if limit == LIMIT:
            left.set()
        await asyncio.wait([leaving, large])
        left.set()
        large.exception()
        await leaving


@provokes(CALLS, "was lost before everything")
async def _(_: World) -> None:
    await leave_beside_a_large_message(Connection.reset, LIMIT)


@provokes(CALLS, "not everything could be written")
async def _(_: World) -> None:
    await leave_beside_a_large_message(lambda _: None, 0.1)


async def on_another_loop(action: Callable[[Client], Awaitable[object]]) -> None:
    with ScriptedServer(serve_311) as server:
        async with Client(server.host, server.port) as client:

            async def act() -> None:
                await action(client)

            await asyncio.to_thread(asyncio.run, act())


@provokes(CALLS, "on another event loop: leave it there")
async def _(_: World) -> None:
    await on_another_loop(lambda client: client.__aexit__(None, None, None))


@provokes(CALLS, "on another event loop: use it there")
async def _(_: World) -> None:
    await on_another_loop(lambda client: client.publish("a"))


class Overriding(ssl.SSLContext):
    def wrap_socket(self, *_: Given, **__: Given) -> ssl.SSLSocket:
        raise NotImplementedError


options("tls_context overrides", tls_context=lambda _: Overriding(ssl.PROTOCOL_TLS_CLIENT))
options(
    "SSL/TLS has already",
    tls_context=lambda _: ssl.create_default_context(),
    tls_params=TLSParameters(),
)
options("Must configure SSL", tls_insecure=True)
options("the WebSocket {part}", transport="websockets", websocket_path="/a b")
options(
    "WebSocket headers must",
    transport="websockets",
    websocket_path="/mqtt",
    websocket_headers={"X": 1},
)


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
                    client._core.backlog_thresholds = thresholds
                await client.publish("go")
                await client.publish("then", qos=1)


flooding("Message queue is full", 2, None, max_queued_incoming_messages=1)
flooding("received messages wait to be taken", 3, (2, 1 << 30))


@provokes(LOG, "pending publish calls")
async def _(_: World) -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
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


refusing_a_message("They are sent again", ProtocolVersion.V311)
refusing_a_message("They are sent one at a time", V5)
refusing_a_message("it is given up", V5)


@provokes(LOG, "Could not gracefully disconnect")
async def _(_: World) -> None:
    await Client("localhost").__aexit__(None, None, None)


def pattern(text: str) -> re.Pattern[str]:
    """Return what a row's text stands for: anything in place of its placeholders."""
    parts = re.split(r"\{[a-z]+\}", text)
    return re.compile(".*".join(re.escape(part) for part in parts), re.DOTALL)


def key_of(row: Row) -> str | None:
    """Return the provocation of a row: the one whose part is the longest in it."""
    keys = [
        (len(part), key)
        for key, (part, _) in PROVOCATIONS.items()
        if key.startswith(f"{row.section}: ") and part in row.text
    ]
    return max(keys)[1] if keys else None


def test_every_row_has_its_own_provocation_and_every_provocation_a_row() -> None:
    keys = [key_of(row) for row in ROWS]
    assert [row.text for row, key in zip(ROWS, keys, strict=True) if key is None] == []
    assert sorted(key for key in keys if key) == sorted(PROVOCATIONS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.text)
def test_a_text_reads_as_the_page_says(
    row: Row, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(row)
    assert key is not None
    world = World(folder, monkeypatch, caplog)
    if row.section == LOG:
        asyncio.run(as_coroutine(PROVOCATIONS[key][1], world))
        told = {(record.levelname, record.getMessage()) for record in caplog.records}
        assert any(
            level == row.raised_as and pattern(row.text).fullmatch(text) for level, text in told
        ), told
        return
    with pytest.raises(Exception) as caught:  # noqa: PT011  the row says which
        asyncio.run(as_coroutine(PROVOCATIONS[key][1], world))
    error = caught.value
    kind = row.raised_as.removeprefix("note of ")
    assert type(error).__name__ == kind, "".join(traceback.format_exception(error))
    texts = [str(error)]
    if kind != row.raised_as:
        texts = getattr(error, "__notes__", [])
    assert any(pattern(row.text).fullmatch(text) for text in texts), texts
    assert "secret" not in "".join(traceback.format_exception_only(error))


async def as_coroutine(provocation: Provocation, world: World) -> None:
    async with asyncio.timeout(LIMIT):
        await provocation(world)
