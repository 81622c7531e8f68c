"""The arguments of a client that stand in a URL: `Client.from_url`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ferromqtt import _checks
from ferromqtt._native import profile_table, server_of_url
from ferromqtt.options import TLSParameters

if TYPE_CHECKING:
    from ferromqtt._client_options import ClientOptions

_FROM_URL = "from_url"
_WHERE = ("hostname", "port", "transport")
"""What a URL always says, if only by its scheme."""


def arguments_of(url: str, options: Mapping[str, object]) -> tuple[str, dict[str, Any]]:
    """Return the `hostname` and the other arguments of a client: those of a URL, and `options`.

    Raises:
        ValueError: The URL cannot be read, or says what one of the options says too. The text shows
            nothing of the URL but its scheme, and no value of an option.
        TypeError: The URL is no str.
    """
    given_url: object = url
    if not isinstance(given_url, str):
        raise _checks.wrong_type(f"{_FROM_URL}: url", "str", given_url)
    try:
        found, is_tls = server_of_url(url)
    except ValueError as error:
        raise ValueError(f"{_FROM_URL}: {error}") from None
    given = {name for name, value in options.items() if value is not None}
    for name in sorted(given & {*found, *_WHERE}):
        raise ValueError(
            f"{_FROM_URL}: the argument {name} is given, and the URL gives it too: leave the "
            "argument out, or write it into the URL alone."
        )
    own_tls = sorted(given & {"tls_context", "tls_params"})
    if own_tls and not is_tls:
        raise ValueError(
            f"{_FROM_URL}: {own_tls[0]} is given, and the scheme of the URL is one without TLS: "
            "write mqtts:// or wss://."
        )
    profile = options.get("profile")
    if profile is not None and not is_tls and _needs_tls(profile):
        raise ValueError(
            f"{_FROM_URL}: the profile {profile} needs TLS, and the scheme of the URL is one "
            "without TLS: write mqtts:// or wss://."
        )
    if is_tls and not own_tls:
        found["tls_params"] = TLSParameters()
    return found.pop("hostname"), {**options, **found}


def _needs_tls(profile: object) -> bool:
    return any(figures["needs_tls"] for figures, _ in profile_table() if figures["name"] == profile)


def server_at(url: str, options: ClientOptions) -> tuple[str, int | None]:
    """Return host and port, or the path of a Unix socket, of the URL of one of several servers.

    Raises:
        ValueError: The URL cannot be read, says something of the client, or leads to the server in
            another way than the client connects.
    """
    try:
        found, is_tls = server_of_url(url, alone=True)
    except ValueError as error:
        raise ValueError(f"servers: {error}") from None
    has_tls = options.tls_context is not None or options.tls_params is not None
    transport = found.get("transport", "tcp")
    if (transport, is_tls) != (options.transport, has_tls):
        own = _scheme(options.transport, has_tls)
        raise ValueError(
            f"servers: a URL begins with {_scheme(transport, is_tls)}:// where the client connects "
            f"as by {own}://: all servers are reached in the same way."
        )
    # That of a URL without one is the default.
    path = options.websocket_path or server_of_url("ws://host")[0]["websocket_path"]
    if found.get("websocket_path", path) != path:
        raise ValueError(
            "servers: a URL has another path than websocket_path, or than the URL of the client: "
            "all servers have the same one."
        )
    return found["hostname"], found.get("port")


def _scheme(transport: str, is_tls: bool) -> str:
    match transport:
        case "unix":
            return "mqtt+unix with TLS" if is_tls else "mqtt+unix"
        case "websockets":
            return "wss" if is_tls else "ws"
        case _:
            return "mqtts" if is_tls else "mqtt"
