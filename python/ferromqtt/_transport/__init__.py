"""Opening a transport for the core: TCP, Unix sockets, proxies, TLS, WebSocket, memory."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from typing import TYPE_CHECKING

from ferromqtt import _shown
from ferromqtt._native import Hint, Host, Phase
from ferromqtt._transport import addresses, websocket
from ferromqtt._transport.attempt import bind_hint
from ferromqtt._transport.ending import until_ended

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from ferromqtt._client_options import ClientOptions
    from ferromqtt._transport.attempt import Attempt
    from ferromqtt._transport.tls import TLSContext
    from ferromqtt.types import SocketOption

_REUSES_ADDRESSES = os.name == "posix" and sys.platform != "cygwin"
"""Whether SO_REUSEADDR frees ports of ended connections. On Windows it takes ports from others."""


async def open_transport(
    options: ClientOptions,
    tls: TLSContext,
    protocol: asyncio.BufferedProtocol,
    attempt: Attempt,
) -> None:
    """Connect `protocol` to the options; note in `attempt` how far it has come.

    Raises OSError, whose text names what the operating system, the resolver, the proxy, TLS or the
    web server said, ValueError for options that cannot be used, and RuntimeError for a test broker
    that serves another event loop.
    """
    if options.broker is not None:
        attempt.phase = Phase.CONNECT
        options.broker._ferromqtt_link(protocol)  # noqa: SLF001 - it is there for this
        return
    context = await tls.get()
    if options.transport == "unix":
        attempt.phase = Phase.UNIX
        connection = await _connect_unix(options.hostname)
        await _attach(connection, protocol, context, tls.server_name, attempt)
        attempt.phase = Phase.CONNECT
        return
    host = Host(options.hostname)
    server_name = tls.server_name or host.name
    if options.transport != "websockets":
        connection = await _connect(options, host, attempt)
        await _attach(connection, protocol, context, server_name, attempt)
        attempt.phase = Phase.CONNECT
        return
    layer = websocket.WebSocketLayer(
        protocol,
        options.websocket_path or websocket.DEFAULT_PATH,
        websocket.request_headers(
            host,
            options.port,
            secure=context is not None,
            # As in aiomqtt, they count with a path only.
            headers=options.websocket_headers if options.websocket_path else None,
        ),
    )
    try:
        connection = await _connect(options, host, attempt)
        await _attach(connection, layer, context, server_name, attempt)
        attempt.phase = Phase.WEBSOCKET
        await layer.opened
        attempt.phase = Phase.CONNECT
    except BaseException:
        layer.abort()
        raise


async def _connect(options: ClientOptions, host: Host, attempt: Attempt) -> socket.socket:
    """Return a socket that is connected to the server, if need be through a proxy."""
    from ferromqtt._transport import proxy  # noqa: PLC0415 - not for other transports

    loop = asyncio.get_running_loop()

    async def connect(address: addresses.Address) -> socket.socket:
        try:
            return await _connect_tcp(loop, options, address, attempt)
        except OSError as error:
            attempt.failed_at(address.address[0], error)
            raise

    through = proxy.choose(options.proxy, options.hostname, host)
    if through is None:
        attempt.phase = Phase.RESOLVE
        where = await addresses.resolve(loop, host.resolver_name, options.port)
        attempt.phase = Phase.TCP
        return await addresses.connect_first(where, connect)
    attempt.through(through.host, through.port)
    resolver_name = through.resolver_name
    attempt.phase = Phase.RESOLVE
    where = await addresses.resolve(loop, resolver_name, through.port)
    attempt.phase = Phase.TCP
    connection = await addresses.connect_first(where, connect)
    attempt.phase = Phase.PROXY
    attempt.forget_addresses()
    try:
        await through.introduce(loop, connection, host, options.port)
    except BaseException:
        connection.close()
        raise
    return connection


async def _connect_tcp(
    loop: asyncio.AbstractEventLoop,
    options: ClientOptions,
    where: addresses.Address,
    attempt: Attempt,
) -> socket.socket:
    connection = socket.socket(where.family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        # Small packets must not wait for the acknowledgement of earlier ones.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if options.bind_port and _REUSES_ADDRESSES:
            # Connections that have just ended must not keep the port from the next one.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # As in aiomqtt, not with WebSocket.
        user_options = (options.socket_options or ()) if options.transport == "tcp" else ()
        # Before binding and connecting, which some of them are about.
        refused = _set_options(connection, user_options)
        if options.bind_address or options.bind_port:
            _bind(connection, options, attempt)
        await _connect_socket(loop, connection, where.address)
        for option in refused:
            connection.setsockopt(*option)
    except BaseException:
        connection.close()
        raise
    return connection


def _bind(connection: socket.socket, options: ClientOptions, attempt: Attempt) -> None:
    where = f"bind_address={_shown.host(options.bind_address)!r}, bind_port={options.bind_port}"
    try:
        connection.bind((options.bind_address, options.bind_port))
    except OSError as error:
        attempt.hint = bind_hint(error)
        raise OSError(error.errno, f"{error.strerror} ({where})") from error
    except TypeError:  # its text is about an encoding of Python's own
        attempt.hint = Hint.LOCAL_ADDRESS
        raise OSError(f"not a host name ({where})") from None


def _set_options(connection: socket.socket, options: Iterable[SocketOption]) -> list[SocketOption]:
    """Set options; return those that the system has only for a connected socket."""
    refused = []
    for option in options:
        try:
            connection.setsockopt(*option)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            refused.append(option)
    return refused


async def _connect_unix(path: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await _connect_socket(loop, connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


async def _connect_socket(
    loop: asyncio.AbstractEventLoop, connection: socket.socket, address: tuple[object, ...] | str
) -> None:
    try:
        await loop.sock_connect(connection, address)
    except OSError as error:
        if error.errno is None:
            raise
        # The loop's own text names an address only: say what the operating system said.
        raise OSError(error.errno, os.strerror(error.errno)) from None


async def _attach(
    connection: socket.socket,
    protocol: asyncio.BaseProtocol,
    context: ssl.SSLContext | None,
    server_name: str,
    attempt: Attempt,
) -> None:
    """Make a transport of a connected socket, with TLS on it if there is a context."""
    loop = asyncio.get_running_loop()
    attempt.forget_addresses()
    attempt.hint = None
    if context is not None:
        attempt.phase = Phase.TLS
    taken = False

    def take() -> asyncio.BaseProtocol:
        nonlocal taken
        taken = True
        return protocol

    opening = loop.create_task(
        loop.create_connection(
            take,
            sock=connection,
            ssl=context,
            server_hostname=server_name if context is not None else None,
        )
    )
    try:
        await asyncio.shield(opening)
    except asyncio.CancelledError:
        # A transport must not be left behind half made: without TLS it is complete in a moment,
        # and the protocol closes it then.
        if context is not None:
            opening.cancel()
        await until_ended([opening])
        raise
    finally:
        if not taken:  # it was cancelled before it began
            connection.close()
        elif opening.done():
            _settle_ownership(loop, connection, opening)


def _settle_ownership(
    loop: asyncio.AbstractEventLoop,
    connection: socket.socket,
    opening: asyncio.Task[tuple[asyncio.BaseTransport, asyncio.BaseProtocol]],
) -> None:
    """See to it that a connection that ended while it was being opened is closed once only.

    uvloop takes a socket over after its transport has started. If that has ended by then, its
    descriptor is closed, and the socket does not know: it would later close whichever connection
    has got the same number.
    """
    ended = (
        opening.cancelled() or opening.exception() is not None or opening.result()[0].is_closing()
    )
    if ended and type(loop).__module__.partition(".")[0] == "uvloop":
        connection.detach()
