"""MQTT over WebSocket (contract 1.2, section 6 of MQTT 5.0 and 3.1.1)."""

import asyncio
import threading

import pytest

from ferromqtt import Client, MqttError, ProtocolVersion, TLSParameters
from support import packets
from support.clients import LIMIT, receive, receive_many, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto
from support.scripted import Connection, ScriptedServer
from support.websocket_server import BINARY, CLOSE, PING, PONG, TEXT, WebSocketPeer, frame


def over_websocket(host: str, port: int, **options: object) -> Client:
    return Client(host, port, transport="websockets", **options)  # type: ignore[arg-type]


def accept_mqtt(connection: Connection) -> WebSocketPeer:
    """Accept the WebSocket and the MQTT connection on it."""
    peer = WebSocketPeer(connection).accept()
    kind, packet = peer.receive()
    assert (kind, packet[0] >> 4) == (BINARY, packets.CONNECT)
    peer.send(frame(BINARY, packets.CONNACK_311))
    return peer


def leave(peer: WebSocketPeer) -> None:
    """Read up to the end that a client makes when it is left."""
    assert peer.receive() == (BINARY, packets.DISCONNECT_PACKET)
    assert peer.receive()[0] == CLOSE


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_messages_go_both_ways_1_2(
    run: LoopRunner, mosquitto: Mosquitto, protocol: ProtocolVersion, secure: bool
) -> None:
    async def main() -> None:
        topic = unique("websocket")
        port = mosquitto.secure_websocket_port if secure else mosquitto.websocket_port
        tls = TLSParameters(ca_certs=str(mosquitto.ca_file)) if secure else None
        async with over_websocket("localhost", port, protocol=protocol, tls_params=tls) as client:
            await client.subscribe(topic, qos=2)
            for qos in (0, 1, 2):
                await client.publish(topic, bytes([qos]) * 5_000, qos=qos)
                message = await receive(client)
                assert message.payload == bytes([qos]) * 5_000

    run(main)


def test_many_messages_keep_their_order_1_2(run: LoopRunner, mosquitto: Mosquitto) -> None:
    async def main() -> None:
        topic = unique("websocket")
        async with over_websocket(mosquitto.host, mosquitto.websocket_port) as client:
            await client.subscribe(topic, qos=1)
            await asyncio.gather(*(client.publish(topic, number, qos=1) for number in range(2000)))
            received = await receive_many(client, 2000)
            assert [int(message.payload) for message in received] == list(range(2000))

    run(main)


def test_a_client_can_be_entered_again_1_4(run: LoopRunner, mosquitto: Mosquitto) -> None:
    async def main() -> None:
        client = over_websocket(mosquitto.host, mosquitto.websocket_port)
        for _ in range(3):
            async with client:
                await client.publish("a", qos=1)

    run(main)


def test_the_opening_request_mqtt_6_0_0_3(run: LoopRunner) -> None:
    requests: list[WebSocketPeer] = []

    def script(connection: Connection) -> None:
        peer = accept_mqtt(connection)
        requests.append(peer)
        leave(peer)

    async def main(server: ScriptedServer) -> None:
        async with over_websocket(server.host, server.port):
            pass
        async with over_websocket(
            server.host, server.port, websocket_path="/a?b=c", websocket_headers={"X-Token": "t"}
        ):
            pass
        async with over_websocket(
            server.host,
            server.port,
            websocket_path="/mqtt",
            websocket_headers=lambda usual: usual | {"Host": "example.org", "Origin": "null"},
        ):
            pass
        # without a path they are not used
        async with over_websocket(server.host, server.port, websocket_headers={"X-Token": "t"}):
            pass

    with ScriptedServer(script) as server:
        run(main, server)
        usual, given, made, unused = requests
        assert usual.request == "GET /mqtt HTTP/1.1"
        assert usual.headers["host"] == f"127.0.0.1:{server.port}"
        assert usual.headers["upgrade"].lower() == "websocket"
        assert usual.headers["connection"].lower() == "upgrade"
        assert usual.headers["sec-websocket-version"] == "13"
        assert usual.headers["sec-websocket-protocol"] == "mqtt"
        assert given.request == "GET /a?b=c HTTP/1.1"
        assert given.headers["x-token"] == "t"
        assert given.headers["sec-websocket-protocol"] == "mqtt"
        assert (made.headers["host"], made.headers["origin"]) == ("example.org", "null")
        assert "x-token" not in unused.headers
        assert usual.headers["sec-websocket-key"] != given.headers["sec-websocket-key"]


def test_a_packet_may_span_frames_and_a_frame_hold_several_mqtt_6_0_0_2(run: LoopRunner) -> None:
    first, second, third = (packets.publish("a", payload) for payload in (b"1", b"2", b"3"))

    def script(connection: Connection) -> None:
        peer = accept_mqtt(connection)
        peer.send(frame(BINARY, first + second[:3]))
        peer.send(frame(BINARY, second[3:4], final=False) + frame(0, second[4:]))
        peer.send(frame(BINARY, b"") + frame(BINARY, third))
        leave(peer)

    async def main(server: ScriptedServer) -> None:
        async with over_websocket(server.host, server.port) as client:
            received = await receive_many(client, 3)
            assert [message.payload for message in received] == [b"1", b"2", b"3"]

    with ScriptedServer(script) as server:
        run(main, server)


def test_a_large_payload_goes_both_ways_1_2(run: LoopRunner) -> None:
    sent = packets.publish("a", b"." * 300_000)

    def script(connection: Connection) -> None:
        peer = accept_mqtt(connection)
        received = b""
        while len(received) < len(sent):
            kind, payload = peer.receive()
            assert kind == BINARY
            received += payload
        assert received == sent
        for start in range(0, len(sent), 50_000):
            peer.send(frame(BINARY, sent[start : start + 50_000]))
        leave(peer)

    async def main(server: ScriptedServer) -> None:
        async with over_websocket(server.host, server.port) as client:
            await client.publish("a", b"." * 300_000)
            assert (await receive(client)).payload == b"." * 300_000

    with ScriptedServer(script) as server:
        run(main, server)


def test_a_text_frame_ends_the_connection_mqtt_6_0_0_1(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        peer = accept_mqtt(connection)
        peer.send(frame(TEXT, packets.publish("a", b"1")))
        assert peer.receive()[0] == CLOSE

    async def main(server: ScriptedServer) -> None:
        async with over_websocket(server.host, server.port) as client, asyncio.timeout(LIMIT):
            with pytest.raises(MqttError, match="Disconnected"):
                await anext(client.messages)

    with ScriptedServer(script) as server:
        run(main, server)


def test_a_ping_is_answered(run: LoopRunner) -> None:
    answered = threading.Event()

    def script(connection: Connection) -> None:
        peer = accept_mqtt(connection)
        peer.send(frame(PING, b"there?"))
        assert peer.receive() == (PONG, b"there?")
        answered.set()
        leave(peer)

    async def main(server: ScriptedServer) -> None:
        async with over_websocket(server.host, server.port):
            assert await asyncio.to_thread(answered.wait, LIMIT)

    with ScriptedServer(script) as server:
        run(main, server)


def test_a_close_frame_ends_the_connection_1_5(run: LoopRunner) -> None:
    def script(connection: Connection) -> None:
        peer = accept_mqtt(connection)
        peer.send(frame(CLOSE, (1001).to_bytes(2, "big") + b"bye"))
        assert peer.receive()[0] == CLOSE

    async def main(server: ScriptedServer) -> None:
        async with over_websocket(server.host, server.port) as client, asyncio.timeout(LIMIT):
            with pytest.raises(MqttError, match="Disconnected"):
                await anext(client.messages)

    with ScriptedServer(script) as server:
        run(main, server)


def refuse(connection: Connection) -> None:
    WebSocketPeer(connection).refuse("403 Forbidden")


def redirect(connection: Connection) -> None:
    WebSocketPeer(connection).refuse("301 Moved Permanently")


def wrong_key(connection: Connection) -> None:
    WebSocketPeer(connection).accept(Sec_WebSocket_Accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA=")


def other_protocol(connection: Connection) -> None:
    WebSocketPeer(connection).accept(Sec_WebSocket_Protocol="amqp")


def no_http(connection: Connection) -> None:
    WebSocketPeer(connection).send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


def hang_up(connection: Connection) -> None:
    WebSocketPeer(connection)


@pytest.mark.parametrize(
    ("script", "reported"),
    [
        (refuse, "403"),
        (redirect, "301"),
        (wrong_key, ""),
        (other_protocol, "[Pp]rotocol"),
        (no_http, ""),
        (hang_up, ""),
    ],
)
def test_a_server_that_does_not_accept_1_4(
    run: LoopRunner, script: "type[WebSocketPeer]", reported: str
) -> None:
    async def main(server: ScriptedServer) -> None:
        client = over_websocket(server.host, server.port)
        for _ in "ab":  # and not "not reentrant"
            with pytest.raises(MqttError, match=f"^WebSocket handshake error.*{reported}"):
                await client.__aenter__()

    with ScriptedServer(script) as server:
        run(main, server)


def test_a_silent_server_1_4(run: LoopRunner) -> None:
    asked = threading.Semaphore(0)

    def script(connection: Connection) -> None:
        WebSocketPeer(connection)
        asked.release()
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        client = over_websocket(server.host, server.port, timeout=1)
        with pytest.raises(MqttError, match="Operation timed out"):
            await client.__aenter__()
        assert await asyncio.to_thread(asked.acquire, timeout=LIMIT)
        client.timeout = LIMIT
        entering = asyncio.ensure_future(client.__aenter__())
        assert await asyncio.to_thread(asked.acquire, timeout=LIMIT)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    with ScriptedServer(script) as server:
        run(main, server)


@pytest.mark.parametrize("path", [None, "", "/mqtt"])
def test_headers_without_a_path_are_not_sent_with_one_warning_1_2(
    run: LoopRunner, caplog: pytest.LogCaptureFixture, path: str | None
) -> None:
    headers = {"Authorization": "Bearer s3cret"}

    async def main(server: ScriptedServer) -> None:
        client = over_websocket(
            server.host, server.port, websocket_path=path, websocket_headers=headers
        )
        for _ in range(2):
            async with client:
                pass

    with ScriptedServer(lambda connection: leave(accept_mqtt(connection))) as server:
        run(main, server)
    reported = [it.getMessage() for it in caplog.records if it.levelname == "WARNING"]
    assert reported == [] if path else len(reported) == 1
    for text in reported:
        assert text.startswith("websocket_headers are not sent: ")
        assert "websocket_path" in text
        assert "s3cret" not in text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"websocket_path": "/a b"}, "path"),
        ({"websocket_headers": {"X-Bad": "a\r\nb: c"}}, "websocket_headers: the value of 'X-Bad'"),
        ({"websocket_headers": {"X-Bad": "\u2603"}}, "websocket_headers: the value of 'X-Bad'"),
        ({"websocket_headers": {"X-Bad": None}}, "websocket_headers must map .* 'X-Bad' is None"),
        ({"websocket_headers": {5: "a"}}, "websocket_headers must map .* one name is int"),
        ({"websocket_headers": lambda _: None}, "websocket_headers must return a dict, not None"),
        ({"websocket_path": "/a", "websocket_headers": {"X Bad": "a"}}, "begins with X "),
    ],
)
def test_what_no_request_can_hold_is_refused_before_connecting_1_2(
    run: LoopRunner, options: dict[str, object], text: str
) -> None:
    async def main() -> None:
        with pytest.raises((TypeError, ValueError), match=text):
            await over_websocket("localhost", 1, **({"websocket_path": "/"} | options)).__aenter__()

    run(main)
