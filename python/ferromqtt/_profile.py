"""What a server profile settles for a client: `Client(profile=...)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ferromqtt._native import settle_profile
from ferromqtt._option_values import ProtocolVersion
from ferromqtt.options import TLSParameters

if TYPE_CHECKING:
    from ferromqtt._client_options import ClientOptions

_MAX_PORT = 65535


def settle(options: ClientOptions) -> None:
    """Take what the profile says of transport and version, where no argument says it.

    Raises:
        ValueError: There is no such profile, or its server is not reached in this way.
    """
    is_usual = options.port == type(options).port
    has_tls, port, options.alpn, has_v5, options.usual_in_flight = settle_profile(
        cast("str", options.profile),
        options.hostname,
        options.port if not is_usual and 0 < options.port <= _MAX_PORT else None,
        # In memory nothing of a network is looked at: that is as with the profile's own TLS.
        "tcp" if options.broker is not None else options.transport,
        tls=options.tls_context is not None or options.tls_params is not None,
        names_server=options.tls_server_hostname is not None,
    )
    if options.falls_back and not has_v5:
        options.falls_back = False
        options.protocol = ProtocolVersion.V311
    if options.broker is not None:
        return
    if is_usual and port is not None and options.transport != "unix":
        options.port = port
    if has_tls and options.tls_context is None and options.tls_params is None:
        options.tls_params = TLSParameters()
