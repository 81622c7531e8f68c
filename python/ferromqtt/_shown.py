"""What a `repr` shows: of a message's payload the beginning, of others the length, no secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ferromqtt._native import TypedMessage

if TYPE_CHECKING:
    from ferromqtt._internals import Internals
    from ferromqtt._native import Message

_MOST = 32
"""How many bytes, or characters, of a message's payload are shown."""

_LONGEST = 500
"""How many characters of a path or the like are shown in an error."""

_MOST_QUOTED = 100
"""How many characters of a topic or the like are shown in an error."""

_LARGE = 1 << 128
"""Numbers beyond this are not written out, which would take long or be refused."""


_ADDRESS = r"\[?[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*(%[\w.-]+)?(\](:\d*)?)?"
"""An IPv6 address, with or without brackets and a port."""


def message(message: Message) -> str:
    """Return the `repr` of a message, which is made for people."""
    topic = getattr(message.topic, "value", message.topic)
    retain = ", retain=True" if message.retain else ""
    payload = _beginning(message.payload)
    params = ""
    if isinstance(message, TypedMessage) and message.params:
        params = f", params={message.params!r}"
    name = type(message).__name__
    return f"{name}({topic!r}, {payload}, qos={message.qos!r}{retain}{params})"


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
    if options.broker is not None:
        return _client(name, [repr(options.broker)], internals)
    name_given: object = options.hostname  # entering refuses None
    if isinstance(name_given, str):
        name_given = host(name_given, path=options.transport == "unix")
    arguments = [repr(name_given)]
    if options.transport != "unix":
        arguments.append(repr(options.port))
    if options.transport != "tcp":
        arguments.append(f"transport={options.transport!r}")
    return _client(name, arguments, internals)


def _client(name: str, arguments: list[str], internals: Internals) -> str:
    if internals.options.identifier:
        arguments.append(f"identifier={internals.options.identifier!r}")
    state = "connected" if internals.core.connected else "not connected"
    return f"{name}({', '.join(arguments)}) {state}"


def host(given: str, *, path: bool = False) -> str:
    """Return a host as errors and logs show it: without what a URL, given by mistake, keeps secret.

    That is what stands before an @, and behind a colon what is no port. With `path` it is that of
    a Unix socket, where both may be part of a name.
    """
    if path and given.startswith(("/", ".", "\0")) and not given.startswith("//"):
        return given
    if "@" in given:
        return f"***@{given.rpartition('@')[2]}"
    scheme, mark, rest = given.rpartition("://")
    if re.fullmatch(_ADDRESS, rest):
        return given
    name, colon, port = rest.partition(":")
    if not colon or port.isdigit():
        return given
    return f"{scheme}{mark}{name}:***"


def text(given: str) -> str:
    """Return a text of the user's or of the peer's as one line of at most about 500 characters."""
    return escaped(given if len(given) <= _LONGEST else f"{given[:_LONGEST]}...")


def escaped(given: str) -> str:
    """Return a text with escapes, as `repr` has them, for what does not print.

    Control characters and lone surrogates do not, and would change a terminal or break a log.
    """
    if given.isprintable():
        return given
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in given)


def quoted(given: str) -> str:
    """Return a topic or the like as an error shows it: in quotes, its beginning if it is long."""
    more = "..." if len(given) > _MOST_QUOTED else ""
    return f'"{escaped(given[:_MOST_QUOTED])}"{more}'


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
