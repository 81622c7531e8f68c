"""A server in a process of its own that sends a flood; run it as a program.

It accepts one client, starts the flood at its SUBSCRIBE, answers everything the client sends, and
closes the connection like a broker when the client is silent for 1.5 times its Keep Alive. The
first line on stdout is the port; a report as JSON follows when the connection has ended.
"""

import argparse
import json
import select
import socket
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import packets

TOPIC = "flood"
UPLOAD = packets.publish("upload", b"." * 64)
"""The one QoS 0 PUBLISH a test sends in its endless loop: skipped here without parsing."""
FLOODED = packets.publish(TOPIC, b"." * 64)
"""The flood is made of this, but for a QoS 1 message now and then."""


class Flood:
    """The server's side of one connection."""

    def __init__(self, sock: socket.socket, options: argparse.Namespace) -> None:
        self.sock = sock
        self.messages: int = options.messages
        self.qos1_every: int = options.qos1_every
        self.last_after_answer: bool = options.last_after_answer
        self.replies: deque[bytes] = deque()
        self.wake = threading.Event()
        self.subscribed = self.ended = False
        self.patience = 60.0
        self.report: dict[str, Any] = dict.fromkeys(
            ("pings", "pubacks", "publishes", "publishes_during_flood", "sent", "uploads"), 0
        )
        self.report["keepalive_expired"] = False

    def read(self) -> None:
        """Take what the client sends until it leaves (the reading thread)."""
        carry = b""
        while True:
            # not the socket's own time limit: that would end a send that the client makes wait, too
            readable, _, _ = select.select([self.sock], [], [], self.patience)
            if not readable:
                self.report["keepalive_expired"] = True
                self.sock.shutdown(socket.SHUT_RDWR)
                break
            try:
                data = self.sock.recv(1 << 18)
            except ConnectionError:
                break
            if not data:
                break
            carry = self.take(carry + data)
            self.wake.set()
        self.ended = True
        self.wake.set()

    def take(self, data: bytes) -> bytes:
        """Handle the whole packets in front, return the rest."""
        uploads = data.count(UPLOAD)
        if uploads:
            self.report["uploads"] += uploads
            data = data.replace(UPLOAD, b"")
        while len(data) >= 2:
            length, position, shift = 0, 1, 0
            while True:
                if position == len(data):
                    return data
                byte = data[position]
                length |= (byte & 0x7F) << shift
                position, shift = position + 1, shift + 7
                if byte < 0x80:
                    break
            if len(data) < position + length:
                return data
            self.handle(data[0], data[position : position + length])
            data = data[position + length :]
        return data

    def handle(self, first: int, body: bytes) -> None:
        """Count one packet and queue its answer."""
        kind, packet_id = first >> 4, packets.packet_id_of(first, body)
        if kind == packets.CONNECT:
            keepalive = int.from_bytes(body[8:10], "big")
            self.patience = keepalive * 1.5 if keepalive else 60
            self.replies.append(packets.CONNACK_311)
        elif kind == packets.SUBSCRIBE:
            self.replies.append(packets.ack(packets.SUBACK, packet_id, b"\x01"))
            self.subscribed = True
        elif kind == packets.PINGREQ:
            self.report["pings"] += 1
            self.replies.append(packets.PINGRESP_PACKET)
        elif kind == packets.PUBACK:
            self.report["pubacks"] += 1
        elif kind == packets.PUBLISH:
            self.report["publishes"] += 1
            if self.report["sent"] < self.messages:
                self.report["publishes_during_flood"] += 1
            if packet_id:
                self.replies.append(packets.ack(packets.PUBACK, packet_id))

    def may_send(self) -> bool:
        """Return whether there is a part of the flood to be sent now."""
        left = self.messages - self.report["sent"]
        held = self.last_after_answer and left <= 1000 and not self.report["publishes"]
        return self.subscribed and left > 0 and not held

    def write(self) -> None:
        """Send answers, and the flood between them, until the client has left."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)
        packet_id = 0
        try:
            while not self.ended:
                while self.replies:
                    self.sock.sendall(self.replies.popleft())
                if self.may_send():
                    count = min(1000, self.messages - self.report["sent"])
                    chunk = FLOODED * count
                    if self.qos1_every and self.report["sent"] % self.qos1_every == 0:
                        packet_id += 1
                        last = packets.publish(TOPIC, b"." * 64, qos=1, packet_id=packet_id)
                        chunk = FLOODED * (count - 1) + last
                    self.sock.sendall(chunk)
                    self.report["sent"] += count
                else:
                    self.wake.wait(1)
                    self.wake.clear()
        except ConnectionError:
            pass


def main() -> None:
    """Serve one connection."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=0)
    parser.add_argument("--qos1-every", type=int, default=0, help="a multiple of 1000")
    parser.add_argument(
        "--last-after-answer",
        action="store_true",
        help="send the last 1000 only after the client has published something",
    )
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        listener.settimeout(60)
        sock, _ = listener.accept()
    with sock:
        flood = Flood(sock, options)
        reader = threading.Thread(target=flood.read)
        reader.start()
        flood.write()
        reader.join(10)
    print(json.dumps(flood.report), flush=True)


class FloodProcess:
    """Starts this file as a program; `report()` waits for the end of the connection."""

    def __init__(
        self, messages: int = 0, qos1_every: int = 0, *, last_after_answer: bool = False
    ) -> None:
        self._arguments = [f"--messages={messages}", f"--qos1-every={qos1_every}"]
        if last_after_answer:
            self._arguments.append("--last-after-answer")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def report(self) -> dict[str, Any]:
        """Return what the server counted."""
        output, _ = self._process.communicate(timeout=60)
        report: dict[str, Any] = json.loads(output)
        return report

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=20)


if __name__ == "__main__":
    main()
