"""Wrong options of a client."""

import ssl

from ferromqtt import Client, ProxySettings, TLSParameters
from ferromqtt.options import ProxyType
from support.provocations.registry import OPTIONS, Given, World, provokes


def options(part: str, *args: Given, **given: Given) -> None:
    """Wrong options, which entering a client refuses."""

    @provokes(OPTIONS, part)
    async def refuse(world: World) -> None:
        made = {name: it(world) if callable(it) else it for name, it in given.items()}
        await Client(*(args or ("localhost",)), **made).__aenter__()


options("Invalid host.", "")
options("Invalid port number.", "localhost", 0)
options("the host is a URL", "mqtt://broker:1883")
options("the host has a port", "broker:1883")
options("the host has brackets", "[::1]")
options("the host is no valid name", "broker\0.example")
options("the host name is too long", "a" * 64)
options("tls_server_hostname {", tls_params=TLSParameters(), tls_server_hostname="a..b")
options("tls_server_hostname needs TLS", tls_server_hostname="a")
options("TLS over a Unix socket", "/run/x", transport="unix", tls_params=TLSParameters())
options("proxy_addr: ", proxy=lambda _: ProxySettings(proxy_type=ProxyType.HTTP, proxy_addr="a..b"))


def environment(part: str, value: str) -> None:
    @provokes(OPTIONS, part)
    async def refuse(world: World) -> None:
        world.monkeypatch.setenv("mqtt_proxy", value)
        world.monkeypatch.delenv("no_proxy", raising=False)
        await Client("localhost").__aenter__()


environment("the URL has no scheme", "gate:8080")
environment("the URL begins with", "https://gate:8080")
environment("is not percent-encoded", "http://user:secret%zz@gate")
environment("the port is not a number", "http://user:secret@gate:80x")
environment("the URL has a path", "http://user:secret/x@gate:8080")
environment("the URL has no valid host", "http://:8080")


def files(part: str, **names: str) -> None:
    """Files that TLSParameters name; those beginning with ! are passed as they are."""

    @provokes(OPTIONS, part)
    async def refuse(world: World) -> None:
        given = {
            name: it.removeprefix("!") if it.startswith("!") else world.file(it)
            for name, it in names.items()
        }
        await Client("localhost", tls_params=TLSParameters(**given)).__aenter__()


files("no such file", ca_certs="missing.pem")
files("is a directory", ca_certs="")
files("holds no certificate", ca_certs="nonsense.pem")
files("holds no private key", certfile="client.pem", keyfile="nonsense.pem")
files("is encrypted", certfile="client.pem", keyfile="client-encrypted.key")
files(
    "does not open",
    certfile="client.pem",
    keyfile="client-encrypted.key",
    keyfile_password="!another",
)
files("does not belong", certfile="client.pem", keyfile="server.key")
files("ciphers: ", ciphers="!NO-SUCH-CIPHER")


class Overriding(ssl.SSLContext):
    def wrap_socket(self, *_: Given, **__: Given) -> ssl.SSLSocket:
        raise NotImplementedError


options("tls_context overrides", tls_context=lambda _: Overriding(ssl.PROTOCOL_TLS_CLIENT))
options(
    "SSL/TLS has already",
    tls_context=lambda _: ssl.create_default_context(),
    tls_params=TLSParameters(),
)
options("Must configure SSL", tls_insecure=True)
options("the WebSocket {part}", transport="websockets", websocket_path="/a b")
options(
    "WebSocket headers must",
    transport="websockets",
    websocket_path="/mqtt",
    websocket_headers={"X": 1},
)
