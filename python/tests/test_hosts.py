"""The host as the resolver, TLS, WebSocket and a proxy each need it, and TLS names of one's own."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest

from ferromqtt import Client, MqttError, ProxySettings, TLSParameters
from ferromqtt._transport import addresses
from ferromqtt._transport.addresses import Address
from ferromqtt.options import ProxyType
from support import certificates, packets
from support.loops import LoopRunner
from support.scripted import LIMIT, Connection, Script, ScriptedServer, answer, over_tls
from support.websocket_server import BINARY, WebSocketPeer, frame

UNICODE, A_LABELS = "bücher.example", "xn--bcher-kva.example"
ABSOLUTE, PLAIN = "broker.example.", "broker.example"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a certificate, server.pem, for the names and addresses of this file."""
    made = tmp_path_factory.mktemp("certificates")
    certificates.make(made)
    names = f"DNS:localhost,DNS:{A_LABELS},DNS:{PLAIN},IP:127.0.0.1,IP:::1"
    certificates.issue(made, "server", f"subjectAltName={names}\n")
    return made


@pytest.fixture
def trusting(folder: Path) -> TLSParameters:
    return TLSParameters(ca_certs=str(folder / "ca.pem"))


def serve(connection: Connection) -> None:
    """Behave, and close first: over TLS a client waits a second for that."""
    with contextlib.suppress(EOFError):  # the client may not trust the server
        connection.accept()
        while (packet := connection.read_packet())[0] >> 4 != packets.DISCONNECT:
            answer(connection, *packet)


class Seen:
    """A script of a server with TLS that notes the names it is asked for (SNI)."""

    def __init__(self, folder: Path, script: Script = serve) -> None:
        self.names: list[str | None] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self._context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self.script = over_tls(self._context, script)


def behind_proxy(targets: list[str], script: Script) -> Script:
    """Return a script of an HTTP proxy that plays `script` instead of connecting on."""

    def proxy(connection: Connection) -> None:
        try:
            head = connection.take_head()
        except EOFError:
            return
        targets.append(head.split(b" ")[1].decode("ascii"))
        connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        script(connection)

    return proxy


def through(server: ScriptedServer, *, proxy_rdns: bool = True) -> ProxySettings:
    return ProxySettings(
        proxy_type=ProxyType.HTTP,
        proxy_addr=server.host,
        proxy_port=server.port,
        proxy_rdns=proxy_rdns,
    )


def note_resolving(monkeypatch: pytest.MonkeyPatch, server: ScriptedServer) -> list[str]:
    """Have every name lead to the server; return the list of what was resolved."""
    asked: list[str] = []

    async def resolve(_loop: object, host: str, _port: int) -> list[Address]:
        asked.append(host)
        return [Address(socket.AF_INET, (server.host, server.port))]

    monkeypatch.setattr(addresses, "resolve", resolve)
    return asked


@pytest.mark.parametrize(
    ("host", "resolved", "named"),
    [
        (UNICODE, A_LABELS, A_LABELS),
        ("BÜCHER.example.", f"{A_LABELS}.", A_LABELS),
        (ABSOLUTE, ABSOLUTE, PLAIN),
        ("::1%1", "::1%1", None),
        ("127.0.0.1", "127.0.0.1", None),
        ("127.1", "127.0.0.1", None),
    ],
)
def test_a_host_is_resolved_in_full_and_verified_without_dot_and_interface(
    run: LoopRunner,
    folder: Path,
    trusting: TLSParameters,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    resolved: str,
    named: str | None,
) -> None:
    seen = Seen(folder)

    async def main(server: ScriptedServer) -> None:
        async with Client(host, server.port, tls_params=trusting) as client:
            await client.publish("a", qos=1)

    with ScriptedServer(seen.script) as server:
        asked = note_resolving(monkeypatch, server)
        run(main, server)
    assert asked == [resolved]
    assert seen.names == [named]


@pytest.mark.parametrize(
    ("host", "resolved", "named"),
    [
        (UNICODE, A_LABELS, A_LABELS),
        (ABSOLUTE, ABSOLUTE, PLAIN),
        ("::1%1", "::1%1", "[::1]"),
    ],
)
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_a_websocket_request_names_the_host_of_the_certificate(
    run: LoopRunner,
    folder: Path,
    trusting: TLSParameters,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    resolved: str,
    named: str,
    secure: bool,
) -> None:
    requests: list[WebSocketPeer] = []

    def script(connection: Connection) -> None:
        peer = WebSocketPeer(connection).accept()
        requests.append(peer)
        peer.receive()
        peer.send(frame(BINARY, packets.CONNACK_311))
        peer.receive()

    async def main(server: ScriptedServer) -> None:
        tls = trusting if secure else None
        async with Client(host, server.port, transport="websockets", tls_params=tls):
            pass

    seen = Seen(folder, script)
    with ScriptedServer(seen.script if secure else script) as server:
        asked = note_resolving(monkeypatch, server)
        run(main, server)
    assert asked == [resolved]
    scheme, authority = "https" if secure else "http", f"{named}:{server.port}"
    headers = requests[0].headers
    assert (headers["host"], headers["origin"]) == (authority, f"{scheme}://{authority}")
    sni = None if named.startswith("[") else named
    assert seen.names == ([sni] if secure else [])


@pytest.mark.parametrize(
    ("host", "asked_for", "named"),
    [
        (UNICODE, A_LABELS, A_LABELS),
        # The proxy is the resolver.
        (ABSOLUTE, ABSOLUTE, PLAIN),
        ("::1", "[::1]", None),
    ],
)
def test_a_proxy_is_asked_for_the_name_to_resolve(
    run: LoopRunner,
    folder: Path,
    trusting: TLSParameters,
    host: str,
    asked_for: str,
    named: str | None,
) -> None:
    targets: list[str] = []
    seen = Seen(folder)

    async def main(server: ScriptedServer) -> None:
        async with Client(host, tls_params=trusting, proxy=through(server)) as client:
            await client.publish("a", qos=1)

    with ScriptedServer(behind_proxy(targets, seen.script)) as server:
        run(main, server)
    assert targets == [f"{asked_for}:1883"]
    assert seen.names == [named]


def test_a_proxy_is_not_asked_for_an_interface_of_this_machine(run: LoopRunner) -> None:
    targets: list[str] = []

    async def main(server: ScriptedServer) -> None:
        for remote_names in (True, False):
            client = Client("::1%1", proxy=through(server, proxy_rdns=remote_names))
            with pytest.raises(MqttError, match="interface of this machine"):
                await client.__aenter__()

    with ScriptedServer(behind_proxy(targets, serve)) as server:
        run(main, server)
    assert targets == []


def test_a_proxy_s_own_name_may_have_letters_beyond_ascii(
    run: LoopRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets: list[str] = []

    async def main() -> None:
        proxy = ProxySettings(proxy_type=ProxyType.HTTP, proxy_addr=UNICODE)
        async with Client("a", proxy=proxy):
            pass

    with ScriptedServer(behind_proxy(targets, serve)) as server:
        asked = note_resolving(monkeypatch, server)
        run(main)
    assert (asked, targets) == ([A_LABELS], ["a:1883"])


@pytest.mark.parametrize("host", ["ü b", "a..b", "ü/x", "."])
def test_a_host_that_is_no_name_is_told_before_anything_is_resolved(
    run: LoopRunner, host: str
) -> None:
    async def main() -> None:
        client = Client(host)
        for _ in range(2):
            with pytest.raises(ValueError, match=r"^hostname .*: the host is no valid name"):
                await client.__aenter__()

    run(main)


def test_a_url_in_place_of_a_host_is_not_repeated_where_it_may_hold_a_password(
    run: LoopRunner,
) -> None:
    async def main() -> None:
        with pytest.raises(
            ValueError, match=r"^hostname '\*\*\*@broker': the host is a URL"
        ) as caught:
            await Client("mqtt://user:secret@broker").__aenter__()
        assert "secret" not in repr(caught.value)

    run(main)


@pytest.mark.parametrize(
    ("name", "sent"), [("localhost", "localhost"), (UNICODE, A_LABELS), (ABSOLUTE, PLAIN)]
)
def test_tls_server_hostname_is_asked_for_and_verified_in_place_of_the_host(
    run: LoopRunner,
    folder: Path,
    trusting: TLSParameters,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    sent: str,
) -> None:
    seen = Seen(folder)

    def client(server: ScriptedServer, tls_server_hostname: str | None) -> Client:
        return Client(
            "stranger.example",
            server.port,
            tls_params=trusting,
            tls_server_hostname=tls_server_hostname,
        )

    async def main(server: ScriptedServer) -> None:
        async with client(server, name) as entered:
            await entered.publish("a", qos=1)
        for wrong in (None, "other.example"):
            with pytest.raises(MqttError, match="CERTIFICATE_VERIFY_FAILED"):
                await client(server, wrong).__aenter__()

    with ScriptedServer(seen.script) as server:
        asked = note_resolving(monkeypatch, server)
        run(main, server)
    assert asked == ["stranger.example"] * 3
    assert seen.names == [sent, "stranger.example", "other.example"]


def test_tls_server_hostname_may_be_an_address_which_is_verified_and_not_sent(
    run: LoopRunner, folder: Path, trusting: TLSParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(folder)

    async def main(server: ScriptedServer) -> None:
        for name in ("::1", "fe80::1"):
            client = Client(
                "stranger.example", server.port, tls_params=trusting, tls_server_hostname=name
            )
            if name == "::1":
                async with client:
                    await client.publish("a", qos=1)
            else:
                with pytest.raises(MqttError, match="IP address mismatch"):
                    await client.__aenter__()

    with ScriptedServer(seen.script) as server:
        note_resolving(monkeypatch, server)
        run(main, server)
    assert seen.names == [None, None]


@pytest.mark.parametrize("name", ["", "ü b", "a..b"])
def test_a_tls_server_hostname_that_is_no_name_is_refused_on_enter(
    run: LoopRunner, trusting: TLSParameters, name: str
) -> None:
    async def main() -> None:
        client = Client("localhost", tls_params=trusting, tls_server_hostname=name)
        with pytest.raises(ValueError, match=r"^tls_server_hostname "):
            await client.__aenter__()

    run(main)


def test_tls_server_hostname_needs_tls(run: LoopRunner) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=r"^tls_server_hostname needs TLS"):
            await Client("localhost", tls_server_hostname="a").__aenter__()

    run(main)


def test_tls_over_a_unix_socket_needs_a_name_to_verify(
    run: LoopRunner, folder: Path, trusting: TLSParameters, tmp_path: Path
) -> None:
    seen = Seen(folder)
    path = str(tmp_path / "socket")

    def listen(listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                seen.script(Connection(sock))

    async def main() -> None:
        with pytest.raises(ValueError, match="give tls_server_hostname"):
            await Client(path, transport="unix", tls_params=trusting).__aenter__()
        named = {"tls_params": trusting, "tls_server_hostname": PLAIN}
        unverified = {"tls_params": trusting, "tls_insecure": True}
        for options in (named, unverified):
            async with Client(path, transport="unix", **options) as client:
                await client.publish("a", qos=1)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        server = threading.Thread(target=listen, args=(listener,), daemon=True)
        server.start()
        run(main)
        listener.shutdown(socket.SHUT_RDWR)
        server.join(LIMIT)
    assert seen.names == [PLAIN, None]
