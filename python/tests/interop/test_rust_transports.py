"""The tokio client over WebSocket at every server, and over TLS and proxies at mosquitto."""

import pytest

from ferromqtt.options import ProxyType
from interop.conftest import Here
from interop.gaps import Feature
from interop.rust_client import play, play_here
from support.mosquitto import Mosquitto
from support.real_proxies import RealProxy

RIGHT = {"received": [1]}
PROXIES = (
    (ProxyType.SOCKS4, "socks4"),
    (ProxyType.SOCKS5, "socks5"),
    (ProxyType.SOCKS5, "socks5h"),
    (ProxyType.HTTP, "http"),
)


def websocket(here: Here, port: int) -> str:
    return f"ws://{here.server.host}:{port}{here.server.websocket_path}"


def test_messages_come_back_over_websocket(here: Here) -> None:
    way = websocket(here, here.server.websocket_port)
    report = play_here(here, "round_trip", url=way, qos=1, count=100)
    assert report["received"] == list(range(100))


@pytest.mark.needs(Feature.LARGE_OVER_WEBSOCKET)
def test_payload_of_a_megabyte_over_websocket(here: Here) -> None:
    way = websocket(here, here.server.websocket_port)
    assert play_here(here, "large", url=way, count=1_000_000) == {"same": True}


def test_websocket_where_there_is_none_is_told_at_once(here: Here) -> None:
    error = play_here(here, "connect", url=websocket(here, here.server.port))["error"]
    assert error["kind"] == "Transport"


@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
def test_tls(mosquitto: Mosquitto, scheme: str) -> None:
    port = {"mqtts": mosquitto.tls_port, "wss": mosquitto.secure_websocket_port}[scheme]
    way = {"url": f"{scheme}://localhost:{port}", "ca_file": str(mosquitto.ca_file)}
    for version in ("V311", "V5"):
        report = play("round_trip", version=version, qos=2, count=100, **way)
        assert report["received"] == list(range(100))


def test_tls_with_a_certificate_of_the_client(mosquitto: Mosquitto) -> None:
    way = {
        "url": f"mqtts://localhost:{mosquitto.mutual_tls_port}",
        "ca_file": str(mosquitto.ca_file),
        "version": "V5",
    }
    own = {
        "client_certificate": str(mosquitto.client_certificate),
        "client_key": str(mosquitto.client_key),
    }
    assert play("connect", **way, **own) == RIGHT
    assert play("connect", **way)["error"]["kind"] == "Certificate"


@pytest.mark.parametrize(
    ("host", "authority"), [("localhost", "other-ca.pem"), ("127.0.0.1", "ca.pem")]
)
def test_a_certificate_of_another_authority_or_host_is_refused(
    mosquitto: Mosquitto, host: str, authority: str
) -> None:
    way = f"mqtts://{host}:{mosquitto.tls_port}"
    file = mosquitto.ca_file.with_name(authority)
    report = play("connect", url=way, ca_file=str(file), version="V5")
    assert report["error"]["kind"] == "Certificate"


def test_a_unix_socket(mosquitto: Mosquitto) -> None:
    assert play("connect", url=f"mqtt+unix://{mosquitto.unix_path}", version="V5") == RIGHT


@pytest.mark.parametrize(("kind", "scheme"), PROXIES)
def test_a_proxy(mosquitto: Mosquitto, kind: ProxyType, scheme: str) -> None:
    with RealProxy(kind) as proxy:
        report = play(
            "large",
            url=f"mqtt://{mosquitto.host}:{mosquitto.port}",
            proxy=f"{scheme}://{proxy.host}:{proxy.port}",
            version="V5",
            count=100_000,
        )
        assert report == {"same": True}
        assert proxy.connections == 1


@pytest.mark.parametrize("kind", [ProxyType.SOCKS5, ProxyType.HTTP])
def test_the_proxy_is_told_name_and_password(mosquitto: Mosquitto, kind: ProxyType) -> None:
    scheme = {ProxyType.SOCKS5: "socks5", ProxyType.HTTP: "http"}[kind]
    server = f"mqtt://{mosquitto.host}:{mosquitto.port}"
    with RealProxy(kind, username="alice", password="wonder land") as proxy:
        for password, right in (("wonder%20land", True), ("hunter2", False)):
            way = f"{scheme}://alice:{password}@{proxy.host}:{proxy.port}"
            report = play("connect", url=server, proxy=way, version="V5")
            if right:
                assert report == RIGHT
            else:
                assert report["error"]["kind"] == "Transport"
                assert password not in report["error"]["text"]


def test_tls_through_a_proxy(mosquitto: Mosquitto) -> None:
    with RealProxy(ProxyType.SOCKS5) as proxy:
        report = play(
            "connect",
            url=f"mqtts://localhost:{mosquitto.tls_port}",
            ca_file=str(mosquitto.ca_file),
            proxy=f"socks5h://{proxy.host}:{proxy.port}",
            version="V5",
        )
        assert report == RIGHT
        assert proxy.connections == 1
