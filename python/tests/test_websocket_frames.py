"""WebSocket frames between the transport of a socket and the core, without a socket."""

import asyncio
import random
import socket
import tracemalloc
from typing import cast

import pytest

from ferromqtt import MqttError
from ferromqtt._native import Host
from ferromqtt._transport.websocket import WebSocketLayer, request_headers
from support import packets
from support.scripted import Connection
from support.websocket_server import BINARY, CLOSE, PING, PONG, WebSocketPeer, frame
from support.wire import HandTransport, Wire

CONTINUATION = 0
READ_SIZE = 128 * 1024


class KeepingTransport(HandTransport):
    """Keeps what is written as it is."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(data)  # type: ignore[arg-type]


class PeerSocket:
    """The server's socket: what it sends is read by the layer in pieces of random sizes."""

    family = socket.AF_UNIX

    def __init__(
        self, transport: HandTransport, layer: WebSocketLayer, chance: random.Random
    ) -> None:
        self._transport, self._layer, self._chance = transport, layer, chance

    def settimeout(self, seconds: float) -> None:
        """Do nothing: it never waits."""

    def recv(self, size: int) -> bytes:
        del size
        data = b"".join(self._transport.written)
        self._transport.written.clear()
        return data

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            most = self._chance.choice([1, 2, 20, 2_000, READ_SIZE])
            piece = rest[: self._chance.randint(1, most)]
            feed(self._layer, piece)
            rest = rest[len(piece) :]


def feed(layer: WebSocketLayer, piece: memoryview) -> None:
    """Let the layer read this, as a transport would."""
    view = layer.get_buffer(-1)
    view[: len(piece)] = piece
    view.release()
    layer.buffer_updated(len(piece))


async def connect(
    wire: Wire, transport: HandTransport, chance: random.Random
) -> tuple[WebSocketLayer, WebSocketPeer]:
    """Connect the client over WebSocket to a peer that the test speaks for."""
    await wire.core.start()
    headers = request_headers(Host("there"), 80, secure=False, headers=None)
    layer = WebSocketLayer(wire.link, "/mqtt", headers)
    layer.connection_made(transport)
    peer_socket = cast("socket.socket", PeerSocket(transport, layer, chance))
    peer = WebSocketPeer(Connection(peer_socket)).accept()
    await layer.opened
    kind, packet = peer.receive()
    assert (kind, packet[0] >> 4) == (BINARY, packets.CONNECT)
    peer.send(frame(BINARY, packets.CONNACK_311))
    await wire.core.accepted()
    return layer, peer


def test_a_large_message_comes_without_a_python_object_on_its_way() -> None:
    async def main() -> None:
        wire, transport = Wire(), HandTransport()
        layer, _ = await connect(wire, transport, random.Random(1))
        payload = b"." * 300_000
        packet = packets.publish("a", payload)
        frames = b"".join(
            frame(BINARY, packet[at : at + 60_000]) for at in range(0, len(packet), 60_000)
        )
        pieces = [memoryview(frames)[at : at + 100_000] for at in range(0, len(frames), 100_000)]
        tracemalloc.start()
        try:
            for piece in pieces:
                feed(layer, piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(wire.client.messages) == 1
        assert peak < 20_000
        assert (await anext(wire.client.messages)).payload == payload
        layer.connection_lost(None)

    asyncio.run(main())


def test_a_large_message_leaves_without_a_python_object_on_its_way() -> None:
    async def main() -> None:
        wire, transport = Wire(), KeepingTransport()
        layer, peer = await connect(wire, transport, random.Random(1))
        payload = b"." * 300_000
        tracemalloc.start()
        try:
            await wire.client.publish("a", payload)
            wire.core.flush()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 20_000
        received, sent = b"", packets.publish("a", payload)
        while len(received) < len(sent):
            kind, part = peer.receive()
            assert kind == BINARY
            received += part
        assert received == sent
        layer.connection_lost(None)

    asyncio.run(main())


def frames_of(stream: bytes, chance: random.Random) -> tuple[bytes, list[bytes]]:
    """Return the stream in frames, some of them fragments, with control frames between them.

    The second result is what the Pings among them carry.
    """
    output, pings = b"", []
    is_fragment = False
    while stream or is_fragment:
        size = chance.choice([0, 1, 5, 125, 126, 3_000])
        part, stream = stream[:size], stream[size:]
        final = not stream or chance.random() < 0.6
        kind = CONTINUATION if is_fragment else BINARY
        output += frame(kind, part, final=final)
        is_fragment = not final
        if chance.random() < 0.2:
            pings.append(chance.randbytes(chance.choice([0, 1, 125])))
            output += frame(PING, pings[-1])
        if chance.random() < 0.1:
            output += frame(PONG, b"unsolicited")
    return output, pings


@pytest.mark.parametrize("seed", range(20))
def test_any_frames_in_any_pieces_carry_the_same_messages(seed: int) -> None:
    chance = random.Random(seed)
    payloads = [chance.randbytes(chance.choice([0, 10, 200, 20_000])) for _ in range(15)]
    stream = b"".join(
        packets.publish("a", payload, qos=1, packet_id=number)
        for number, payload in enumerate(payloads, 1)
    )
    output, pings = frames_of(stream, chance)

    async def main() -> None:
        wire, transport = Wire(), HandTransport()
        layer, peer = await connect(wire, transport, chance)
        messages = wire.client.messages
        peer.send(output)
        peer.send(frame(CLOSE, (1001).to_bytes(2, "big") + b"bye"))
        assert [(await anext(messages)).payload for _ in payloads] == payloads

        acknowledged, pongs, kind = b"", [], BINARY
        while kind != CLOSE:
            kind, payload = peer.receive()
            if kind == BINARY:
                acknowledged += payload
            elif kind == PONG:
                pongs.append(payload)
        assert acknowledged == b"".join(
            packets.ack(packets.PUBACK, number) for number in range(1, len(payloads) + 1)
        )
        assert payload == (1001).to_bytes(2, "big")
        # Of several Pings that come at once, only the last one is answered.
        rest = iter(pings)
        assert all(pong in rest for pong in pongs)
        assert pongs[-1:] in ([], pings[-1:])

        assert transport.closing
        layer.connection_lost(None)
        with pytest.raises(MqttError, match="Disconnected") as caught:
            await anext(messages)
        assert "1001, going away: bye" in str(caught.value)

    asyncio.run(main())


def test_bytes_behind_a_wrong_frame_are_not_taken_for_messages() -> None:
    async def main() -> None:
        wire, transport = Wire(), HandTransport()
        layer, peer = await connect(wire, transport, random.Random(1))
        good, bad = packets.publish("a", b"good"), packets.publish("a", b"bad")
        masked = bytes([0x82, 0x80 | len(bad)]) + bytes(4) + bad
        feed(layer, memoryview(frame(BINARY, good) + masked + frame(BINARY, bad)))
        assert (await anext(wire.client.messages)).payload == b"good"
        assert peer.receive() == (CLOSE, (1002).to_bytes(2, "big"))
        assert transport.closing
        layer.connection_lost(None)
        with pytest.raises(MqttError, match="Disconnected") as caught:
            await anext(wire.client.messages)
        assert "a masked frame" in str(caught.value)

    asyncio.run(main())
