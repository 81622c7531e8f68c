"""Wrong options of a client."""

import socket
import ssl
from typing import Any

from ferromqtt import Client, ProtocolVersion, ProxySettings, TLSParameters, Will
from ferromqtt.options import ProxyType
from support.provocations.registry import OPTIONS, Given, World, provokes

V5 = ProtocolVersion.V5


def options(part: str, *args: Given, **given: Given) -> None:
    """Wrong options, which entering a client refuses."""

    @provokes(OPTIONS, part)
    async def refuse(world: World) -> None:
        made = {name: it(world) if callable(it) else it for name, it in given.items()}
        await Client(*(args or ("localhost",)), **made).__aenter__()


options("{option} must be {type}", port="1883")
options("socket_options must be", socket_options=5)
options("queue_size should be an int", max_queued_outgoing_messages="5")
options("must be str or a path", tls_params=lambda _: TLSParameters(ca_certs=5))  # type: ignore[arg-type]
options("what it holds", tls_params=lambda _: TLSParameters(ca_certs="-----BEGIN CERTIFICATE"))
options("keyfile needs certfile", tls_params=lambda _: TLSParameters(keyfile="key.pem"))
options("{option} must be {values}", tls_params=lambda _: TLSParameters(tls_version=3))
options("queue_type must be", queue_type=lambda _: list)
options("protocol must be", protocol=7)
options("transport must be", transport="tls")
options("Clean session is not used", protocol=V5, clean_session=True)
options("A client id must be provided", clean_session=False)
options("Clean start only applies", clean_start=True)
options("topic_aliases only apply", topic_aliases=True)
options("topic_aliases must be", protocol=V5, topic_aliases=-1)
options("no effect", protocol="auto", properties={"AuthenticationMethod": "QUIZ"})
options("Properties only apply", properties={"SessionExpiryInterval": 1})
options("Invalid bind port number", bind_port=-1)
options("Keepalive must be >=0. keepalive must be in", keepalive=-1)
options("keepalive must be in", keepalive=65536)
options("Invalid inflight", max_inflight_messages=-1)
options("Invalid queue size", max_queued_outgoing_messages=-1)
options("Semaphore initial value", max_concurrent_outgoing_calls=-1)
options("timeout must be 0 or more", timeout=-1)
options("maximum_non_publish_size must be", maximum_non_publish_size=0)
options("password must have", username="a", password=b"." * 65536)
options("bytes of UTF-8", identifier="a" * 65536)
options("{option} must be valid", username="\ud800")
options("password must be valid", username="a", password="\ud800")
options("username must not contain", username="\0")
options("U+0000: {given}", identifier="\0")
options("proxy_type must be", proxy=ProxySettings(proxy_type=7, proxy_addr="h"))
options("proxy_addr must not", proxy=ProxySettings(proxy_type=1, proxy_addr=""))
options("will topic must not be empty", will=Will(""))
options("will topic must not contain", will=Will("a/#"))
options("will payload", will=Will("a", b"." * 65536))
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
files("cannot read", ca_certs="ca.pem/x")
files("ca_certs: cannot use", ca_certs="garbage.pem")
files("together", certfile="garbage.pem")
files("must not be empty: give the path", ca_certs="!")
files('must not contain U+0000: "', keyfile="!a\0b", certfile="client.pem")
files('must be valid Unicode text: "{path}" has', certfile="!a\ud800")


@provokes(OPTIONS, "pending_calls_threshold must be")
async def _(_: World) -> None:
    Client("localhost").pending_calls_threshold = -1


@provokes(OPTIONS, "may not read")
async def _(world: World) -> None:
    def refuse(_: object) -> None:
        raise PermissionError  # by hand, since root may read everything

    world.monkeypatch.setattr("ferromqtt._transport.files._content", refuse)
    given = TLSParameters(ca_certs=world.file("missing.pem"))
    await Client("localhost", tls_params=given).__aenter__()


@provokes(OPTIONS, '"unix" transport not supported')
async def _(world: World) -> None:
    world.monkeypatch.delattr(socket, "AF_UNIX")
    Client("/run/mqtt", transport="unix")


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


def heading(part: str, headers: Given) -> None:
    """Headers that no request of a WebSocket can have."""
    given = {"transport": "websockets", "websocket_path": "/mqtt"}
    options(part, **given, websocket_headers=lambda _: headers)


heading("str to str: {header} is", {"X": 1})
heading("one name is", {1: "x"})
heading("must be one line of Latin-1", {"X": "a\r\nb: c"})
heading("must return a dict", lambda _: None)


def from_url(part: str, url: Any, **given: Given) -> None:  # noqa: ANN401 - what it does not take
    """A URL that no client can be made of."""

    @provokes(OPTIONS, part)
    async def refuse(_: World) -> None:
        Client.from_url(url, **given)


from_url("is given, and the URL gives it too", "mqtt://a@h", username="b")
from_url("is one without TLS", "mqtt://h", tls_params=TLSParameters())
from_url("from_url: the profile {profile} needs TLS", "mqtt://h", profile="aws-iot")
from_url("from_url: the URL begins with", "ssl://h")
from_url("from_url: the query of the URL may hold", "mqtt://h?user=a")
from_url("from_url: {key} in the query", "mqtt://h?protocol=6")
from_url("from_url: {problem}", "mqtt://h:0")
from_url("from_url: url must be str", None)
from_url("servers: the URL of one of several", "mqtt://h", servers=["mqtt://a@i"])
from_url("servers: a URL begins with", "mqtt://h", servers=["mqtts://i"])
from_url("servers: a URL has another path", "ws://h", servers=["ws://i/x"])
from_url("servers: {problem}", "mqtt://h", servers=["mqtt://i:0"])
options("session_expiry_at_disconnect only applies", session_expiry_at_disconnect=1)
options("session_expiry_at_disconnect must be", protocol=5, session_expiry_at_disconnect=-1)
options("session_expiry_at_disconnect cannot", protocol=5, session_expiry_at_disconnect=1)
options("there is no server profile", profile="aws")
options("needs TLS: connect with it", "/run/x", profile="aws-iot", transport="unix")
options("in TLS (SNI)", "10.0.0.1", profile="aws-iot")
options("does not speak MQTT", profile="nats", protocol=5)
options("the will cannot be published", profile="aws-iot", will=Will("a", qos=2))
options("needs a Client Identifier", profile="azure-iot-hub")
options("the Client Identifier of", profile="aws-iot", identifier="a" * 129)
options("a Keep Alive of {seconds}", profile="aws-iot", keepalive=0)
