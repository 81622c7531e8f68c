"""Attempts to connect that get no answer.

Time does not pass: the loop's clock is set forward once the attempt has come to where it waits.
"""

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable

from ferromqtt import Client, ProxySettings, TLSParameters
from ferromqtt.options import ProxyType
from support.clients import LIMIT
from support.provocations.registry import CONNECTING, Given, World, provokes
from support.scripted import Connection, Script, ScriptedServer

PATIENCE = LIMIT / 4
"""Seconds until a client gives up. The test itself has `LIMIT`."""


def settable_clock() -> Callable[[], None]:
    """Return what sets the running loop's clock forward by enough, from any thread."""
    loop = asyncio.get_running_loop()
    time, added = loop.time, [0.0]
    loop.time = lambda: time() + added[0]  # type: ignore[method-assign]

    def advance(turns: int = 20) -> None:
        # What has been sent may have been noticed before the tasks of the client went on.
        if turns:
            loop.call_soon(advance, turns - 1)
        else:
            added[0] = 2 * PATIENCE

    return lambda: loop.call_soon_threadsafe(advance)


def silent(advance: Callable[[], None]) -> Script:
    """Return a script that reads what the client sends first, and says nothing."""

    def script(connection: Connection) -> None:
        connection.peek()
        advance()
        connection.read_to_end()

    return script


def unanswered(part: str, **given: Given) -> None:
    @provokes(CONNECTING, part)
    async def fail(_: World) -> None:
        with ScriptedServer(silent(settable_clock())) as server:
            await Client(server.host, server.port, timeout=PATIENCE, **given).__aenter__()


unanswered("no CONNACK")
unanswered("no TLS handshake", tls_context=ssl.create_default_context())
unanswered("no WebSocket handshake", transport="websockets")


@provokes(CONNECTING, "no answer of the proxy")
async def _(_: World) -> None:
    with ScriptedServer(silent(settable_clock())) as server:
        proxy = ProxySettings(
            proxy_type=ProxyType.HTTP, proxy_addr=server.host, proxy_port=server.port
        )
        await Client("broker.example", timeout=PATIENCE, proxy=proxy).__aenter__()


def unconnected(part: str, *args: Given, **given: Given) -> None:
    """A socket that does not connect."""

    @provokes(CONNECTING, part)
    async def fail(world: World) -> None:
        advance = settable_clock()

        async def wait(*_: object) -> None:
            advance()
            await asyncio.get_running_loop().create_future()

        world.monkeypatch.setattr("ferromqtt._transport._connect_socket", wait)
        await Client(*args, timeout=PATIENCE, **given).__aenter__()


unconnected("no TCP connection", "127.0.0.1")
unconnected("no connection to the socket", "/run/mqtt", transport="unix")


@provokes(CONNECTING, "were not found within")
async def _(world: World) -> None:
    advance, given_up = settable_clock(), threading.Event()

    def resolve(*_: object, flags: int = 0, **__: object) -> None:
        if not flags:  # and is not asked whether it is an address
            advance()
            given_up.wait(LIMIT)
        raise socket.gaierror(socket.EAI_NONAME, "Name not known")

    world.monkeypatch.setattr(socket, "getaddrinfo", resolve)
    try:
        await Client("broker.example", timeout=PATIENCE).__aenter__()
    finally:
        given_up.set()


@provokes(CONNECTING, "could not be read within")
async def _(world: World) -> None:
    pipe, advance, given_up = world.file("pipe.pem"), settable_clock(), threading.Event()
    os.mkfifo(pipe)

    def write_nothing() -> None:
        file = os.open(pipe, os.O_WRONLY)  # waits until it is read
        advance()
        given_up.wait(LIMIT)
        os.close(file)

    writer = threading.Thread(target=write_nothing)
    writer.start()
    try:
        trusting = TLSParameters(ca_certs=pipe)
        await Client("localhost", timeout=PATIENCE, tls_params=trusting).__aenter__()
    finally:
        given_up.set()
        writer.join()
