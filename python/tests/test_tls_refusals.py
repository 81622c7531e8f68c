"""Certificates that must not pass, in either direction (contract 1.2, 1.4)."""

import asyncio
import ssl
from pathlib import Path

import pytest

from ferromqtt import Client, MqttError, MqttReentrantError, ProtocolVersion, TLSParameters
from support import certificates
from support.clients import LIMIT, receive, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto
from support.scripted import Connection, ScriptedServer, over_tls, serve_311

HOST = "localhost"
VERIFY = r"^\[SSL: CERTIFICATE_VERIFY_FAILED\] certificate verify failed: "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of certificates, good and bad."""
    made = tmp_path_factory.mktemp("certificates")
    certificates.make(made)
    localhost = "subjectAltName=DNS:localhost,IP:127.0.0.1\n"
    for_client = "extendedKeyUsage=clientAuth\n"
    certificates.issue(made, "expired", localhost, expired=True)
    certificates.issue(made, "elsewhere", "subjectAltName=DNS:broker.example\n")
    certificates.issue(made, "by-address", "subjectAltName=IP:127.0.0.1\n")
    certificates.issue(made, "for-clients", localhost + for_client)
    certificates.issue(made, "unknown", localhost, authority="other-ca")
    certificates.issue(made, "client-unknown", for_client, authority="other-ca")
    certificates.issue(made, "client-expired", for_client, expired=True)
    return made


def server_context(folder: Path, name: str, *, ask: bool = False) -> ssl.SSLContext:
    """Return the context of a server with this certificate, which may ask for the client's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    if ask:
        context.load_verify_locations(folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


REFUSED: dict[str, tuple[str, str, str]] = {
    "expired": ("expired", HOST, "certificate has expired"),
    "another name": ("elsewhere", HOST, "Hostname mismatch, certificate is not valid for"),
    "a name where an address is asked for": ("server", "127.0.0.1", "IP address mismatch"),
    "an address where a name is asked for": ("by-address", HOST, "Hostname mismatch"),
    "of an unknown authority": ("unknown", HOST, "unable to get local issuer certificate"),
    "for clients only": ("for-clients", HOST, "unsuitable certificate purpose"),
}


@pytest.mark.parametrize("form", ["context", "parameters"])
@pytest.mark.parametrize("name", REFUSED)
def test_server_certificate_is_refused_1_2(
    run: LoopRunner, folder: Path, name: str, form: str
) -> None:
    """The text says which; the client sends nothing, and can be entered again."""
    certificate, host, text = REFUSED[name]
    ca_file = folder / "ca.pem"

    async def main(server: ScriptedServer) -> None:
        if form == "context":
            context = ssl.create_default_context(cafile=ca_file)
            client = Client(host, server.port, tls_context=context)
        else:
            client = Client(host, server.port, tls_params=TLSParameters(ca_certs=str(ca_file)))
        for _ in range(2):
            with pytest.raises(MqttError, match=VERIFY + text) as caught:
                await client.__aenter__()
            assert not isinstance(caught.value, MqttReentrantError)
            assert isinstance(caught.value.__cause__, ssl.SSLError)

    heard: list[Connection] = []

    def listen(connection: Connection) -> None:
        heard.append(connection)
        connection.read_to_end()

    with ScriptedServer(over_tls(server_context(folder, certificate), listen)) as server:
        run(main, server)
        server.join()
        assert len(server.connections) == 2
    # in TLS 1.3 a server may think itself accepted until the alert comes
    assert all(connection.received == b"" for connection in heard)


@pytest.mark.parametrize("name", ["another name", "a name where an address is asked for"])
def test_insecure_passes_over_the_name_alone_1_2(run: LoopRunner, folder: Path, name: str) -> None:
    certificate, host, _ = REFUSED[name]
    trusting, other = (TLSParameters(str(folder / f"{it}.pem")) for it in ("ca", "other-ca"))

    async def main(server: ScriptedServer) -> None:
        async with Client(host, server.port, tls_params=trusting, tls_insecure=True) as client:
            await client.publish("a", qos=1)
        with pytest.raises(MqttError, match=VERIFY + "unable to get local issuer"):
            await Client(host, server.port, tls_params=other, tls_insecure=True).__aenter__()

    with ScriptedServer(over_tls(server_context(folder, certificate), serve_311)) as server:
        run(main, server)


@pytest.mark.parametrize("insecure", [True, False])
def test_insecure_changes_the_user_s_own_context_1_2(
    run: LoopRunner, folder: Path, *, insecure: bool
) -> None:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.check_hostname = insecure

    async def main(server: ScriptedServer) -> None:
        client = Client(HOST, server.port, tls_context=context, tls_insecure=insecure)
        async with client:
            await client.publish("a", qos=1)

    with ScriptedServer(over_tls(server_context(folder, "server"), serve_311)) as server:
        run(main, server)
    assert context.check_hostname is not insecure


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", [None, "client-unknown", "client-expired"])
def test_client_certificate_that_is_missing_or_wrong_1_2(
    run: LoopRunner, folder: Path, name: str | None, version: ssl.TLSVersion
) -> None:
    """Told at once and with what the server says, though in TLS 1.3 it says so later."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.minimum_version = context.maximum_version = version
    if name is not None:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")

    async def main(server: ScriptedServer) -> None:
        client = Client(HOST, server.port, tls_context=context)
        for _ in range(2):
            async with asyncio.timeout(LIMIT):
                with pytest.raises(MqttError) as caught:
                    await client.__aenter__()
            assert not isinstance(caught.value, MqttReentrantError)
            assert str(caught.value) != "Operation timed out"

    asking = server_context(folder, "server", ask=True)
    with ScriptedServer(over_tls(asking, serve_311)) as server:
        run(main, server)


@pytest.mark.parametrize("protocol", ProtocolVersion)
def test_right_client_certificate_on_a_broker_that_asks_1_2(
    run: LoopRunner, mosquitto: Mosquitto, protocol: ProtocolVersion
) -> None:
    parameters = TLSParameters(
        ca_certs=str(mosquitto.ca_file),
        certfile=str(mosquitto.client_certificate),
        keyfile=str(mosquitto.client_key),
    )
    topic = unique("certificate")

    async def main() -> None:
        client = Client(HOST, mosquitto.mutual_tls_port, protocol=protocol, tls_params=parameters)
        for _ in range(2):
            async with client:
                await client.subscribe(topic, qos=1)
                await client.publish(topic, b"x", qos=1)
                assert (await receive(client)).payload == b"x"

    run(main)


@pytest.mark.parametrize("form", ["none", "other"])
def test_client_certificate_that_a_broker_refuses_1_2(
    run: LoopRunner, mosquitto: Mosquitto, folder: Path, form: str
) -> None:
    files = (
        () if form == "none" else tuple(folder / f"client-unknown.{it}" for it in ("pem", "key"))
    )
    parameters = TLSParameters(str(mosquitto.ca_file), *(str(it) for it in files))

    async def main() -> None:
        client = Client(HOST, mosquitto.mutual_tls_port, tls_params=parameters)
        for _ in range(2):
            async with asyncio.timeout(LIMIT):
                with pytest.raises(MqttError) as caught:
                    await client.__aenter__()
            assert str(caught.value) != "Operation timed out"

    run(main)


def test_the_host_s_name_is_sent_to_the_server_1_2(run: LoopRunner, folder: Path) -> None:
    """The server's name indication is the hostname; none is sent for an address."""
    asked: list[str | None] = []
    context = server_context(folder, "server")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    trusting = TLSParameters(str(folder / "ca.pem"))

    async def main(server: ScriptedServer) -> None:
        for host in (HOST, "127.0.0.1"):
            client = Client(host, server.port, tls_params=trusting, tls_insecure=True)
            async with client:
                await client.publish("a", qos=1)

    with ScriptedServer(over_tls(context, serve_311)) as server:
        run(main, server)
    assert asked == [HOST, None]
