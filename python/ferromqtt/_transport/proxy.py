"""Connecting through a proxy: which one, and the exchange with it on a connected socket."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ferromqtt._native import Host, ProxyHandshake, proxy_of_url
from ferromqtt._transport import addresses

if TYPE_CHECKING:
    import asyncio
    import socket

    from ferromqtt.options import ProxySettings

_USUAL_PORTS = {1: 1080, 2: 1080, 3: 8080}
"""By the numbers of `ferromqtt.options.ProxyType`."""
_READ_SIZE = 4096
_VARIABLE = "The environment variable mqtt_proxy"


@dataclass(repr=False, eq=False)
class Proxy:
    """A proxy to connect through."""

    kind: int
    host: str
    port: int
    remote_names: bool = True
    username: str | None = None
    password: str | bytes | None = None
    option: str = "proxy_addr"
    """Where the user has given the host."""

    @property
    def resolver_name(self) -> str:
        """What the resolver is asked for. Raises ValueError when the host cannot be one."""
        try:
            return Host(self.host).resolver_name
        except ValueError as error:
            raise ValueError(f"{self.option}: {error}") from None

    async def introduce(
        self, loop: asyncio.AbstractEventLoop, connection: socket.socket, host: Host, port: int
    ) -> None:
        """Have the proxy, to which `connection` is connected, connect it on to the destination.

        Raises OSError when the proxy refuses, cannot reach the destination, or is none.
        """
        # An address behind an interface of this machine is refused below.
        if not self.remote_names and "%" not in host.resolver_name:
            found = await addresses.resolve(loop, host.resolver_name, port)
            host = Host(str(found[0].address[0]))
        handshake = ProxyHandshake(
            self.kind,
            host,
            port,
            remote_names=self.remote_names,
            username=self.username,
            password=self.password,
        )
        done = False
        while not done:
            await loop.sock_sendall(connection, handshake.to_transmit())
            done = handshake.receive(await self._answer(loop, connection))

    @staticmethod
    async def _answer(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes:
        try:
            return await loop.sock_recv(connection, _READ_SIZE)
        except OSError as error:
            raise OSError(
                error.errno, f"The proxy ended the connection: {error.strerror}"
            ) from None


def choose(settings: ProxySettings | None, hostname: str, host: Host) -> Proxy | None:
    """Return the proxy that was asked for, or that the environment names in `mqtt_proxy`.

    Raises ValueError when `mqtt_proxy` is not a URL of a proxy.
    """
    if settings is None:
        return _from_environment(hostname, host)
    arguments = settings.proxy_args
    kind = int(arguments["proxy_type"])
    return Proxy(
        kind=kind,
        host=arguments["proxy_addr"],
        port=arguments["proxy_port"] or _USUAL_PORTS[kind],
        remote_names=bool(arguments["proxy_rdns"]),
        username=arguments["proxy_username"],
        password=arguments["proxy_password"],
    )


def _from_environment(hostname: str, host: Host) -> Proxy | None:
    # Looked at before urllib.request is imported, which takes longer than connecting.
    if not any(name.lower() == "mqtt_proxy" for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415

    url = getproxies().get("mqtt", "")
    # `no_proxy` may name the host in either way.
    if not url or proxy_bypass(hostname) or proxy_bypass(host.name):
        return None
    try:
        kind, name, port, remote_names, username, password = proxy_of_url(url)
    except ValueError as error:
        # The text shows nothing of the URL, which may hold a password.
        raise ValueError(f"{_VARIABLE}: {error}") from None
    return Proxy(kind, name, port, remote_names, username, password, option=_VARIABLE)
