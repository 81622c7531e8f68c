"""The servers of a client: what `Client(servers=...)` takes, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferromqtt import _checks, _shown
from ferromqtt._native import Host
from ferromqtt._url import server_at
from ferromqtt.connection import Server

if TYPE_CHECKING:
    from ferromqtt._client_options import ClientOptions

_MAX_PORT = 65535
_IN_MEMORY = Server("the test broker")


def first_server(options: ClientOptions) -> Server:
    """Return the server that a client with these options connects to first."""
    if options.broker is not None:
        return _IN_MEMORY
    return Server(options.hostname, None if options.transport == "unix" else options.port)


def server_of(given: object, options: ClientOptions) -> Server:
    """Return one of `servers`: "host", "host:port", a URL, (host, port) or a Server.

    Raises:
        ValueError: The host or port is none, or the URL is not one for this client.
        TypeError: It is of another type.
    """
    must_be = "str, (host, port) or a Server"
    host: object
    port: object = None
    match given:
        case Server():
            host, port = given.host, given.port
        case str() if "://" in given:
            host, port = server_at(given, options)
        case str() if options.transport == "unix":
            host = given
        case str():
            host, port = _host_and_port(given)
        case (host, port):
            pass
        case _:
            raise _checks.wrong_type("each of servers", must_be, given)
    if not isinstance(host, str):
        raise _checks.wrong_type("each of servers", must_be, given)
    if options.transport == "unix":
        return Server(host)
    return Server(_checked_host(host), _checked_port(options.port if port is None else port))


def _checked_host(host: str) -> str:
    try:
        Host(host)
    except ValueError as error:
        raise ValueError(f"servers: the host {_shown.host(host)!r}: {error}") from None
    return host


def _checked_port(port: object) -> int:
    if not isinstance(port, int) or isinstance(port, bool):
        raise _checks.wrong_type("servers: the port", "int", port)
    if not 0 < port <= _MAX_PORT:
        raise ValueError(f"servers: the port must be in the range 1-{_MAX_PORT}, not {port}.")
    return port


def _host_and_port(text: str) -> tuple[str, int | None]:
    """Take "host:port" apart; an IPv6 address with a port stands in brackets."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if bracket and (not rest or rest.startswith(":")):
            return host, _port(rest[1:], text) if rest else None
        raise ValueError(f"servers: {_shown.host(text)!r} is not [address]:port.")
    host, colon, port = text.partition(":")
    if not colon or ":" in port:
        return text, None
    return host, _port(port, text)


def _port(port: str, text: str) -> int:
    if not (port.isascii() and port.isdigit() and len(port) <= len(str(_MAX_PORT))):
        raise ValueError(f"servers: {_shown.host(text)!r} has no port behind its colon.")
    return int(port)
