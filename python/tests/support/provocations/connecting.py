"""Attempts to connect that fail."""

import asyncio
import contextlib
import errno
import socket
import ssl

import ferromqtt
from ferromqtt import Client, ProtocolVersion, ProxySettings, TLSParameters
from ferromqtt.options import ProxyType
from ferromqtt.testing import TestBroker
from support import packets
from support.clients import LIMIT
from support.provocations.registry import CONNECTING, Given, World, provokes
from support.scripted import Connection, Script, ScriptedServer, over_tls, serve_311
from support.websocket_server import WebSocketPeer

V5 = ProtocolVersion.V5
NOBODY = 1
"""A port that nothing listens on."""


def connecting(part: str, *args: Given, **given: Given) -> None:
    """Nobody is there."""

    @provokes(CONNECTING, part)
    async def fail(_: World) -> None:
        await Client(*args, **given).__aenter__()


def resolving(part: str, number: int, reason: str) -> None:
    """A resolver that answers so: what a real one says depends on the network."""

    @provokes(CONNECTING, part)
    async def fail(world: World) -> None:
        def resolve(*_: object, **__: object) -> None:
            raise socket.gaierror(number, reason)

        world.monkeypatch.setattr(socket, "getaddrinfo", resolve)
        await Client("broker.example").__aenter__()


resolving("name resolution failed (check the spelling", socket.EAI_NONAME, "Name not known")
resolving("name resolution failed (check this machine", socket.EAI_AGAIN, "No answer")
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
answering(
    "Cannot connect to {address}: TLS handshake failed (does the port speak TLS? 8883",
    tls_params=TLSParameters(),
)
answering(
    "[SSL: {code}] {reason}: cannot connect to {address}: TLS", HTTP_400, tls_params=TLSParameters()
)
answering("WebSocket handshake error: [Errno", reset=True, transport="websockets")
answering(
    "[Errno {number}] {reason}: cannot connect to {address}: TLS",
    reset=True,
    tls_params=TLSParameters(),
)
answering(
    "Cannot connect to {address}: TLS handshake failed (does the port speak TLS? 443",
    transport="websockets",
    tls_params=TLSParameters(),
)
answering("[code:{code}] {reason}", b"\x20\x02\x00\x05")
answering("{address} refused the connection", b"\x20\x02\x00\x05")
answering("Return Code {code}, which this version", b"\x20\x02\x00\x06")


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


@provokes(CONNECTING, "`authenticator` cannot be sent: {reason}")
async def _(_: World) -> None:
    properties = ferromqtt.Properties(ferromqtt.PacketTypes.CONNECT)
    properties.AuthenticationMethod = "steps"
    method = b"\x08\x15" + packets.string("steps")
    limit = b"\x0d\x27\x00\x00\x00\x0a" + method[1:]  # Maximum Packet Size: 10 bytes
    accepted = asyncio.Event()

    async def answer(_: bytes) -> bytes:
        await accepted.wait()
        return b"late"

    def ask(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        connection.send(packets.encode(0xF0, b"\x18" + method))
        connection.send(packets.encode(0x20, b"\0\0" + limit))
        connection.read_to_end()

    with ScriptedServer(ask) as server:
        client = ferromqtt.Client(
            server.host,
            server.port,
            protocol=V5,
            properties=properties,
            authenticator=answer,
            timeout=LIMIT,
        )
        async with client:
            accepted.set()
            await anext(client.messages)


@provokes(CONNECTING, "bind_address must be")
async def _(_: World) -> None:
    await enter(serve_311, bind_address="192.0.2.1")


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
authenticating("authentication_data of AUTH is", authenticator=lambda _: bytes(65536))


@provokes(CONNECTING, "reusable, but not reentrant")
async def _(_: World) -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.__aenter__()


def failing_by(part: str, function: str, error: OSError, *args: Given, **given: Given) -> None:
    """A call of the operating system that fails as it cannot be made to here."""

    @provokes(CONNECTING, part)
    async def fail(world: World) -> None:
        def refuse(*_: object) -> None:
            raise error

        world.monkeypatch.setattr(function, refuse)
        await Client(*args, **given).__aenter__()


failing_by(
    "TCP: {failures} (check the address",
    "ferromqtt._transport._connect_socket",
    OSError(errno.EHOSTUNREACH, "No route to host"),
    "192.0.2.1",
)
failing_by(
    "this user may not connect to the socket",
    "ferromqtt._transport._connect_socket",
    PermissionError(errno.EACCES, "Permission denied"),
    "/run/mqtt",
    transport="unix",
)
failing_by(
    "this user may not use the local port",
    "socket.socket.bind",
    PermissionError(errno.EACCES, "Permission denied"),
    "127.0.0.1",
    bind_port=80,
)
connecting("not a host name (bind_address={address}", "127.0.0.1", bind_address="a" * 64 + "ä")


@provokes(CONNECTING, "[Errno {number}] {reason}: cannot connect to {address}: TCP: {failures}")
async def _(_: World) -> None:
    await enter(serve_311, socket_options=[(socket.IPPROTO_TCP, 9999, 1)])


@provokes(
    CONNECTING, "{address}: TLS handshake failed (client and server have no TLS version or cipher"
)
async def _(world: World) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.folder / "server.pem", world.folder / "server.key")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    old = ssl.create_default_context(cafile=world.file("ca.pem"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    await enter(over_tls(context, serve_311), "localhost", tls_context=old)


def through(part: str, host: str, kind: ProxyType) -> None:
    """A proxy that cannot be asked for the host."""

    @provokes(CONNECTING, part)
    async def fail(_: World) -> None:
        with ScriptedServer(Connection.read_to_end) as server:
            proxy = ProxySettings(proxy_type=kind, proxy_addr=server.host, proxy_port=server.port)
            await Client(host, proxy=proxy).__aenter__()


through("proxy cannot be asked", "2001:db8::1", ProxyType.SOCKS4)
through("names an interface", "fe80::1%lo", ProxyType.HTTP)


@provokes(CONNECTING, "The proxy ended the connection")
async def _(_: World) -> None:
    with ScriptedServer(replying(reset=True)) as server:
        proxy = ProxySettings(
            proxy_type=ProxyType.HTTP, proxy_addr=server.host, proxy_port=server.port
        )
        await Client("broker.example", proxy=proxy).__aenter__()


def choosing(part: str, chosen: str, offered: str = "mqtt") -> None:
    """A WebSocket server that chooses this subprotocol."""

    def script(connection: Connection) -> None:
        WebSocketPeer(connection).accept(Sec_WebSocket_Protocol=chosen)
        connection.read_to_end()

    def headers(usual: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in usual.items() if "Protocol" not in name}
        return kept | ({"Sec-WebSocket-Protocol": offered} if offered else {})

    @provokes(CONNECTING, part)
    async def fail(_: World) -> None:
        await enter(
            script, transport="websockets", websocket_path="/mqtt", websocket_headers=headers
        )


choosing("instead of {offered}", "chat")
choosing("and none was offered", "mqtt", "")


@provokes(CONNECTING, "none of the subprotocols")
async def _(_: World) -> None:
    def script(connection: Connection) -> None:
        peer = WebSocketPeer(connection)
        connection_send = connection.send
        answer = bytearray()
        peer.send = answer.extend  # type: ignore[method-assign, assignment]
        peer.accept()
        connection_send(bytes(answer).replace(b"Sec-WebSocket-Protocol: mqtt\r\n", b""))
        connection.read_to_end()

    await enter(script, transport="websockets")
