"""`TestBroker.listen`: sockets of each kind, beside memory and beside each other."""

import asyncio
import errno
import gc
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ferromqtt import Client, MqttConnectError, MqttError
from ferromqtt.testing import Listening, TestBroker
from support.clients import LIMIT, receive
from support.loops import LoopRunner
from support.virtual import play

LARGE = bytes(3_000_000)
"""More than the buffers on the way hold, so that both sides wait for each other."""

KINDS: dict[str, dict[str, Any]] = {
    "mqtt": {},
    "mqtts": {"tls": True},
    "ws": {"websocket": True},
    "wss": {"tls": True, "websocket": True},
}


def client(broker: TestBroker, listening: Listening) -> Client:
    """Return a client that goes by the URL."""
    context = None
    if listening.url.startswith(("mqtts:", "wss:")):
        context = ssl.create_default_context(cadata=broker.ca)
    return Client.from_url(listening.url, tls_context=context)


async def exchange(one: Client, other: Client, topic: str) -> None:
    """Send a small and a large message each way."""
    await one.subscribe(topic, qos=2)
    for payload in (b"small", LARGE):
        await other.publish(topic, payload, qos=2)
        assert (await receive(one)).payload == payload
        await one.publish(topic, payload, qos=2)
        assert (await receive(one)).payload == payload


def test_all_kinds_lead_to_one_broker_and_end_with_it_mqtt_6_0_0_2(
    run: LoopRunner, tmp_path: Path
) -> None:
    path = tmp_path / "a socket"

    async def main() -> None:
        broker = TestBroker(listen=False)
        listening = {scheme: await broker.listen(**kind) for scheme, kind in KINDS.items()}
        listening["mqtt+unix"] = await broker.listen(unix=path)
        async with broker.client() as in_memory:
            for scheme, where in listening.items():
                assert where.url.startswith(f"{scheme}://")
                async with client(broker, where) as one:
                    await exchange(one, in_memory, scheme.replace("+", "-"))
            assert broker.stats().sessions == 1
        held = [await client(broker, where).__aenter__() for where in listening.values()]
        await broker.stop()
        for one in held:
            with pytest.raises(MqttError):
                await receive(one)
            await one.__aexit__(None, None, None)
        assert not path.exists()
        for where in listening.values():
            with pytest.raises(MqttError):
                await client(broker, where).__aenter__()

    run(main)


def test_listening_goes_with_a_start_in_any_order(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker()
        first = await broker.listen()
        async with broker:
            second = await broker.listen(host="localhost")
            third = await broker.listen(websocket=True)
            ports = {broker.port, first.port, second.port, third.port}
            assert len(ports) == 4
            for url in (broker.url, first.url, second.url, third.url):
                async with Client.from_url(url) as one:
                    await one.publish("t", b"", qos=1)
        with pytest.raises(MqttError):
            await Client.from_url(first.url).__aenter__()
        async with broker:  # begins afresh: with the address of its own alone
            again = await broker.listen()
            async with Client.from_url(again.url):
                pass

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_another_library_is_served_mqtt_6_0_0_4(run: LoopRunner, kind: str) -> None:
    def talk(host: str, port: int, certificate: str) -> bytes:
        other = paho.Client(
            CallbackAPIVersion.VERSION2,
            transport="websockets" if "websocket" in KINDS[kind] else "tcp",
        )
        received, subscribed = threading.Event(), threading.Event()
        payloads = []
        other.on_subscribe = lambda *_: subscribed.set()
        other.on_message = lambda *_: (payloads.append(_[2].payload), received.set())
        if "tls" in KINDS[kind]:
            other.tls_set_context(ssl.create_default_context(cadata=certificate))
        other.connect(host, port)
        other.loop_start()
        try:
            other.subscribe("t", 1)
            assert subscribed.wait(LIMIT)
            other.publish("t", LARGE, 1).wait_for_publish(LIMIT)
            assert received.wait(LIMIT)
            return bytes(payloads[0])
        finally:
            other.disconnect()
            other.loop_stop()

    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            where = await broker.listen(**KINDS[kind])
            assert await asyncio.to_thread(talk, where.host, where.port, broker.ca) == LARGE

    run(main)


def test_sockets_of_each_kind_work_in_virtual_time() -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            for kind in ({}, {"tls": True, "websocket": True}):
                where = await broker.listen(**kind)
                async with client(broker, where) as one:
                    await asyncio.sleep(3600)
                    await one.publish("t", b"", qos=2)

    play(main)


def test_another_authority_is_not_trusted(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker, TestBroker(listen=False) as other:
            assert broker.ca == broker.ca != other.ca
            where = await broker.listen(tls=True)
            with pytest.raises(MqttError, match="certificate"):
                await client(other, where).__aenter__()
            async with client(broker, where):
                pass

    run(main)


def test_the_certificate_is_for_the_host_too(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            where = await broker.listen("127.0.0.2", tls=True)
            assert where.url == f"mqtts://127.0.0.2:{where.port}"
            async with client(broker, where):
                pass

    run(main)


def test_no_file_is_left_of_a_certificate(
    run: LoopRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            await broker.listen(tls=True)

    run(main)
    assert [*tmp_path.iterdir()] == []


def test_a_unix_socket_replaces_no_file(run: LoopRunner, tmp_path: Path) -> None:
    path = tmp_path / "broker"

    async def main() -> None:
        async with TestBroker(listen=False) as broker, TestBroker(listen=False) as other:
            await broker.listen(unix=path)
            with pytest.raises(OSError, match="in use") as refused:
                await other.listen(unix=str(path))
            assert refused.value.errno == errno.EADDRINUSE
            await other.stop()
            async with Client.from_url(f"mqtt+unix://{path}"):
                pass
        assert not path.exists()
        path.write_text("somebody's")
        with pytest.raises(OSError, match="in use"):
            await TestBroker().listen(unix=path)
        assert path.read_text() == "somebody's"

    run(main)


async def raw(where: Listening, sent: bytes) -> bytes:
    """Send bytes, and return what comes until the broker ends the connection."""
    reader, writer = await asyncio.open_connection(where.host, where.port)
    try:
        writer.write(sent)
        async with asyncio.timeout(LIMIT):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)
NO_MASK = b"\0\0\0\0"


def test_what_is_no_mqtt_over_websocket_is_ended_mqtt_6_0_0_1(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            where = await broker.listen(websocket=True)
            answer = await raw(where, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a")
            assert answer.startswith(b"HTTP/1.1 400 ")
            text = await raw(where, REQUEST + b"\x81\x81" + NO_MASK + b"x")
            assert text.endswith(b"\x88\x02\x03\xeb")  # 1003: data that it does not accept
            closed = await raw(where, REQUEST + b"\x88\x82" + NO_MASK + b"\x03\xe8")
            assert closed.endswith(b"\x88\x02\x03\xe8")
            assert broker.stats().connections == 0

    run(main)


def test_a_client_that_is_sent_away_over_websocket_gets_a_close_frame(run: LoopRunner) -> None:
    connect = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a"

    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            where = await broker.listen(websocket=True)
            reader, writer = await asyncio.open_connection(where.host, where.port)
            writer.write(REQUEST + b"\x82\x90" + NO_MASK + connect)
            async with asyncio.timeout(LIMIT):
                await reader.readuntil(b"\r\n\r\n")
                assert await reader.readexactly(7) == b"\x82\x05\x20\x03\x00\x00\x00"
                assert broker.disconnect_client("a", 0x8B)
                assert await reader.read() == b"\x82\x03\xe0\x01\x8b\x88\x02\x03\xe8"
            writer.close()
            await writer.wait_closed()

    run(main)


def test_a_client_that_is_refused_over_tls_can_read_why(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False, deny_connect=["*"]) as broker:
            for kind in KINDS.values():
                where = await broker.listen(**kind)
                with pytest.raises(MqttConnectError, match="Not authorized"):
                    await client(broker, where).__aenter__()

    run(main)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"host": 5}, TypeError, "host must be str, not int"),
        ({"port": -1}, ValueError, "port must be in the range 0-65535, not -1"),
        ({"tls": 1}, TypeError, "tls must be bool, not int"),
        ({"websocket": "ws"}, TypeError, "websocket must be bool, not str"),
        ({"unix": 5}, TypeError, "unix must be str, os.PathLike or None, not int"),
        ({"unix": "/a", "tls": True}, ValueError, "unix names a socket that carries MQTT alone"),
        ({"unix": "/a", "port": 1883}, ValueError, "leave out the other arguments"),
        ({"host": "b\u00fccher", "tls": True}, ValueError, "cannot make a certificate"),
    ],
)
def test_wrong_arguments_are_named(
    run: LoopRunner, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    async def main() -> None:
        with pytest.raises(error) as raised:
            await TestBroker(listen=False).listen(**arguments)
        assert text in str(raised.value)

    run(main)


def test_an_address_that_cannot_be_had_is_an_error(run: LoopRunner) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            async with TestBroker(listen=False) as broker:
                with pytest.raises(OSError, match="in use"):
                    await broker.listen(port=taken.getsockname()[1])

    run(main)


def test_a_stopped_broker_does_not_listen(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        await broker.stop()
        with pytest.raises(RuntimeError, match="is stopped"):
            await broker.listen()

    run(main)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the socket that nobody closed
def test_a_broker_whose_loop_has_ended_leaves_no_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "broker"
    broker = TestBroker(listen=False)

    async def listen() -> None:
        await broker.listen(unix=path)

    async def use() -> None:
        async with broker.client():
            pass

    asyncio.run(listen())
    assert path.exists()
    asyncio.run(use())
    assert not path.exists()
    gc.collect()
