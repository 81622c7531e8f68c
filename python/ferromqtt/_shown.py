"""What a `repr` shows: of a message's payload the beginning, of others the length, no secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferromqtt._internals import Internals
    from ferromqtt._native import Message

_MOST = 32
"""How many bytes, or characters, of a message's payload are shown."""

_LARGE = 1 << 128
"""Numbers beyond this are not written out, which would take long or be refused."""


def message(message: Message) -> str:
    """Return the `repr` of a message, which is made for people."""
    topic = getattr(message.topic, "value", message.topic)
    retain = ", retain=True" if message.retain else ""
    payload = _beginning(message.payload)
    return f"{type(message).__name__}({topic!r}, {payload}, qos={message.qos!r}{retain})"


def _beginning(payload: object) -> str:
    match payload:
        case bytes() | bytearray() | str() if len(payload) > _MOST:
            unit = "characters" if isinstance(payload, str) else "bytes"
            return f"{payload[:_MOST]!r}... {len(payload)} {unit}"
        case None | bool() | bytes() | bytearray() | str() | float():
            return repr(payload)
        case int() if -_LARGE < payload < _LARGE:
            return repr(payload)
        case _:
            return f"<{type(payload).__name__}>"


def client(name: str, internals: Internals) -> str:
    """Return what the `repr` of a client shows: its server and whether it is connected."""
    options = internals.options
    arguments = [repr(_without_credentials(options.hostname))]
    if options.transport != "unix":
        arguments.append(repr(options.port))
    if options.transport != "tcp":
        arguments.append(f"transport={options.transport!r}")
    if options.identifier:
        arguments.append(f"identifier={options.identifier!r}")
    state = "connected" if internals.core.connected else "not connected"
    return f"{name}({', '.join(arguments)}) {state}"


def _without_credentials(hostname: object) -> object:
    """Leave out what a URL, given by mistake, has before the host."""
    if isinstance(hostname, str) and "@" in hostname:
        return f"***@{hostname.rpartition('@')[2]}"
    return hostname


def length(payload: object) -> str:
    """Return how much of it there is."""
    match payload:
        case None:
            return "None"
        case str():
            return _bytes(len(payload.encode(errors="surrogatepass")))
        case bytes() | bytearray():
            return _bytes(len(payload))
        case memoryview():
            return _bytes(payload.nbytes)
        case _:
            return f"<{type(payload).__name__}>"


def _bytes(count: int) -> str:
    return f"<{count} byte{'' if count == 1 else 's'}>"


_MOST_SHOWN = 100  # characters of a text that is wrong


def text(given: str) -> str:
    """Return a text that is wrong, as an error shows it: in quotes, without control characters."""
    head = given[:_MOST_SHOWN]
    quoted = f'"{head}"' if head.isprintable() else repr(head)
    return quoted if len(given) <= _MOST_SHOWN else f"{quoted}..."
