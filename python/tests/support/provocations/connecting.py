"""Attempts to connect that fail."""

import contextlib
import socket
import ssl

import ferromqtt
from ferromqtt import Client, ProtocolVersion, ProxySettings, TLSParameters
from ferromqtt.options import ProxyType
from ferromqtt.testing import TestBroker
from support import packets
from support.clients import LIMIT
from support.provocations.registry import CONNECTING, Given, World, provokes
from support.scripted import Connection, Script, ScriptedServer, serve_311

V5 = ProtocolVersion.V5
NOBODY = 1
"""A port that nothing listens on."""


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
