"""Opening a transport for the core: addresses, TCP, TLS."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ferromqtt.options import TLSParameters


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect to, and how."""

    hostname: str
    port: int
    bind_address: str = ""
    bind_port: int = 0
    socket_options: tuple[tuple[object, ...], ...] = ()
    tls_context: ssl.SSLContext | None = None
    tls_params: TLSParameters | None = None
    tls_insecure: bool | None = None


async def open_transport(target: Target, protocol: asyncio.BaseProtocol) -> None:
    """Connect `protocol` to the target.

    Raises OSError, whose text names what the operating system, the resolver or TLS said.
    """
    loop = asyncio.get_running_loop()
    context = await _tls_context(target)
    connection = await _connect(loop, target)
    opening = loop.create_task(
        loop.create_connection(
            lambda: protocol,
            sock=connection,
            ssl=context,
            server_hostname=target.hostname if context is not None else None,
        )
    )
    try:
        await asyncio.shield(opening)
    except asyncio.CancelledError:
        # A transport must not be left behind half made: without TLS it is complete in a moment,
        # and the protocol closes it then.
        if context is not None:
            opening.cancel()
        await asyncio.wait([opening])
        raise
    finally:
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


async def _tls_context(target: Target) -> ssl.SSLContext | None:
    context = target.tls_context
    if context is None and target.tls_params is not None:
        # Reading certificate files blocks: not on the loop.
        context = await asyncio.to_thread(_make_context, target.tls_params)
    if context is not None and target.tls_insecure is not None:
        context.check_hostname = not target.tls_insecure
    return context


def _make_context(params: TLSParameters) -> ssl.SSLContext:
    context = ssl.SSLContext(params.tls_version or ssl.PROTOCOL_TLS_CLIENT)
    if params.certfile is not None:
        context.load_cert_chain(params.certfile, params.keyfile, params.keyfile_password)
    if params.cert_reqs == ssl.CERT_NONE:
        context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if params.cert_reqs is None else params.cert_reqs
    if params.ca_certs is not None:
        context.load_verify_locations(params.ca_certs)
    else:
        context.load_default_certs()
    if params.ciphers is not None:
        context.set_ciphers(params.ciphers)
    return context


async def _connect(loop: asyncio.AbstractEventLoop, target: Target) -> socket.socket:
    """Try the addresses of the host in turn; raise what the last one said."""
    infos = await loop.getaddrinfo(target.hostname, target.port, type=socket.SOCK_STREAM)
    failure: OSError | None = None
    for family, kind, number, _, address in infos:
        try:
            return await _connect_one(loop, target, (family, kind, number), address)
        except OSError as error:
            failure = error
    raise failure or OSError(f"no address found for {target.hostname!r}")


async def _connect_one(
    loop: asyncio.AbstractEventLoop,
    target: Target,
    how: tuple[int, int, int],
    address: tuple[object, ...],
) -> socket.socket:
    connection = socket.socket(*how)
    try:
        connection.setblocking(False)
        # Small packets must not wait for the acknowledgement of earlier ones.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.bind_address or target.bind_port:
            connection.bind((target.bind_address, target.bind_port))
        try:
            await loop.sock_connect(connection, address)
        except OSError as error:
            if error.errno is None:
                raise
            # The loop's own text names an address only: say what the operating system said.
            raise OSError(error.errno, os.strerror(error.errno)) from None
        _apply(connection, target.socket_options)
    except BaseException:
        connection.close()
        raise
    return connection


def _apply(connection: socket.socket, options: Iterable[tuple[object, ...]]) -> None:
    for option in options:
        connection.setsockopt(*option)  # type: ignore[call-overload]
