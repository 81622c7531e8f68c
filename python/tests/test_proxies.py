"""SOCKS and HTTP proxies, against those of the package tiny-proxy (contract 1.2)."""

import base64

import pytest

from conftest import TcpBroker
from ferromqtt import Client, MqttError, ProxySettings, TLSParameters
from ferromqtt._transport import addresses
from ferromqtt.options import ProxyType
from support.clients import receive, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto, free_port
from support.real_proxies import RealProxy
from support.scripted import Connection, ScriptedServer, serve_311

KINDS = tuple(ProxyType)


def settings(proxy: RealProxy, **more: object) -> ProxySettings:
    return ProxySettings(
        proxy_type=proxy.kind,
        proxy_addr=proxy.host,
        proxy_port=proxy.port,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_connects_through_a_proxy_1_2(
    run: LoopRunner, tcp_broker: TcpBroker, kind: ProxyType
) -> None:
    async def main(proxy: RealProxy) -> None:
        topic = unique("proxy")
        async with Client(tcp_broker.host, tcp_broker.port, proxy=settings(proxy)) as client:
            await client.subscribe(topic)
            await client.publish(topic, b"." * 100_000, qos=1)
            assert (await receive(client)).payload == b"." * 100_000
        assert proxy.connections == 1

    with RealProxy(kind) as proxy:
        run(main, proxy)


@pytest.mark.parametrize("remote_names", [True, False])
@pytest.mark.parametrize("kind", [ProxyType.SOCKS5, ProxyType.HTTP])
def test_proxy_rdns_tells_who_resolves_the_name_1_2(
    run: LoopRunner,
    mosquitto: Mosquitto,
    kind: ProxyType,
    remote_names: bool,
) -> None:
    async def main(proxy: RealProxy) -> None:
        # At this name the broker listens on 127.0.0.1 only: whoever asks for ::1 first fails.
        through = settings(proxy, proxy_rdns=remote_names)
        name = "localhost" if remote_names else "127.0.0.1"
        async with Client(name, mosquitto.port, proxy=through) as client:
            await client.publish("a", qos=1)

    with RealProxy(kind) as proxy:
        run(main, proxy)


@pytest.mark.parametrize("kind", [ProxyType.SOCKS5, ProxyType.HTTP])
def test_the_proxy_is_told_name_and_password_1_2(
    run: LoopRunner, mosquitto: Mosquitto, kind: ProxyType
) -> None:
    async def main(proxy: RealProxy) -> None:
        right = settings(proxy, proxy_username="alice", proxy_password="wonderland")
        async with Client(mosquitto.host, mosquitto.port, proxy=right) as client:
            await client.publish("a", qos=1)
        wrong = settings(proxy, proxy_username="alice", proxy_password="hunter2")
        with pytest.raises(MqttError) as refused:
            await Client(mosquitto.host, mosquitto.port, proxy=wrong).__aenter__()
        assert "proxy" in str(refused.value)
        assert "hunter2" not in repr(refused.value)
        with pytest.raises(MqttError, match="proxy"):
            await Client(mosquitto.host, mosquitto.port, proxy=settings(proxy)).__aenter__()

    with RealProxy(kind, username="alice", password="wonderland") as proxy:
        run(main, proxy)


@pytest.mark.parametrize("kind", KINDS)
def test_a_destination_that_cannot_be_reached_1_2(run: LoopRunner, kind: ProxyType) -> None:
    async def main(proxy: RealProxy) -> None:
        client = Client("127.0.0.1", free_port(), proxy=settings(proxy))
        with pytest.raises(MqttError, match="proxy"):
            await client.__aenter__()
        with pytest.raises(MqttError, match="proxy"):
            await client.__aenter__()  # and not "not reentrant"

    with RealProxy(kind) as proxy:
        run(main, proxy)


@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_that_is_down_1_2(run: LoopRunner, kind: ProxyType) -> None:
    async def main() -> None:
        down = ProxySettings(proxy_type=kind, proxy_addr="127.0.0.1", proxy_port=free_port())
        with pytest.raises(MqttError, match="Connection refused"):
            await Client("localhost", proxy=down).__aenter__()

    run(main)


def test_a_server_that_is_no_proxy_1_2(run: LoopRunner, mosquitto: Mosquitto) -> None:
    async def main() -> None:
        for kind in KINDS:
            wrong = ProxySettings(
                proxy_type=kind, proxy_addr=mosquitto.host, proxy_port=mosquitto.port
            )
            with pytest.raises(MqttError, match="proxy"):
                await Client("127.0.0.1", proxy=wrong).__aenter__()

    run(main)


def test_socks4_cannot_name_an_ipv6_address_1_2(run: LoopRunner) -> None:
    async def main(proxy: RealProxy) -> None:
        with pytest.raises(MqttError, match=r"SOCKS4.*IPv6"):
            await Client("::1", proxy=settings(proxy)).__aenter__()

    with RealProxy(ProxyType.SOCKS4) as proxy:
        run(main, proxy)


@pytest.mark.parametrize("kind", KINDS)
def test_tls_through_a_proxy_1_2(run: LoopRunner, mosquitto: Mosquitto, kind: ProxyType) -> None:
    async def main(proxy: RealProxy) -> None:
        tls = TLSParameters(ca_certs=str(mosquitto.ca_file))
        async with Client(
            "localhost", mosquitto.tls_port, proxy=settings(proxy), tls_params=tls
        ) as client:
            await client.publish("a", qos=1)
        assert proxy.connections == 1

    with RealProxy(kind) as proxy:
        run(main, proxy)


def test_the_environment_may_name_a_proxy_1_2(
    run: LoopRunner, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect() -> None:
        async with Client(mosquitto.host, mosquitto.port) as client:
            await client.publish("a", qos=1)

    with RealProxy(ProxyType.HTTP) as proxy:
        monkeypatch.setenv("mqtt_proxy", f"http://{proxy.host}:{proxy.port}")
        monkeypatch.setenv("no_proxy", "example.org")
        run(connect)
        assert proxy.connections == 1
        monkeypatch.setenv("no_proxy", mosquitto.host)
        run(connect)
        assert proxy.connections == 1


def test_user_name_and_password_in_the_environment_s_url_are_percent_decoded_1_2(
    run: LoopRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins: list[bytes] = []

    def proxy(connection: Connection) -> None:
        login = connection.take_head().partition(b"Proxy-Authorization: Basic ")[2].split()[0]
        logins.append(base64.b64decode(login))
        connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        serve_311(connection)

    async def connect() -> None:
        async with Client("broker.example") as client:
            await client.publish("a", qos=1)

    async def refuse() -> None:
        with pytest.raises(ValueError, match=r"mqtt_proxy: the (user name|password) is not"):
            await Client("broker.example").__aenter__()

    with ScriptedServer(proxy) as server:
        for login in ("al%40ice:p%3Ass%2F%FF", "plain:100%25pure"):
            monkeypatch.setenv("mqtt_proxy", f"http://{login}@{server.host}:{server.port}")
            run(connect)
        for login in ("%FF:a", "plain:100%pure"):
            monkeypatch.setenv("mqtt_proxy", f"http://{login}@{server.host}:{server.port}")
            run(refuse)
        assert len(server.connections) == 2
    assert logins == [b"al@ice:p:ss/\xff", b"plain:100%pure"]


@pytest.mark.parametrize("listed", ["bücher.example", "xn--bcher-kva.example"])
def test_no_proxy_names_a_host_in_either_spelling_1_2(
    run: LoopRunner, monkeypatch: pytest.MonkeyPatch, listed: str
) -> None:
    asked: list[str] = []

    async def resolve(_loop: object, host: str, _port: int) -> list[addresses.Address]:
        asked.append(host)
        raise OSError("not resolved here")

    monkeypatch.setattr(addresses, "resolve", resolve)
    monkeypatch.setenv("mqtt_proxy", "http://gate.example")
    monkeypatch.setenv("no_proxy", listed)

    async def main() -> None:
        for host in ("bücher.example", "bücher.example."):
            with pytest.raises(MqttError, match="not resolved here"):
                await Client(host).__aenter__()

    run(main)
    direct = ["xn--bcher-kva.example", "xn--bcher-kva.example."]
    # With its final dot it is not what `no_proxy` says in Unicode, but it is in A-labels.
    assert asked == (direct if listed == direct[0] else [direct[0], "gate.example"])
