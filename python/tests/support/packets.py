"""MQTT packets a scripted server sends, encoded by hand.

Deliberately not the codec under test: a mistake there must not cancel itself out here.
"""

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14
AUTH = 15

CONNACK_311 = b"\x20\x02\x00\x00"
CONNACK_5 = b"\x20\x03\x00\x00\x00"
PINGRESP_PACKET = b"\xd0\x00"
DISCONNECT_PACKET = b"\xe0\x00"


def encode(first_byte: int, body: bytes) -> bytes:
    """Return a whole packet: first byte, Remaining Length, body."""
    remaining, length = len(body), b""
    while True:
        remaining, low = divmod(remaining, 128)
        length += bytes([low | 0x80 if remaining else low])
        if not remaining:
            return bytes([first_byte]) + length + body


def string(text: str) -> bytes:
    """Return a UTF-8 string with its two length bytes."""
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def publish(topic: str, payload: bytes, *, qos: int = 0, packet_id: int = 0) -> bytes:
    """Return a PUBLISH of 3.1.1."""
    body = string(topic)
    if qos:
        body += packet_id.to_bytes(2, "big")
    return encode(0x30 | qos << 1, body + payload)


def ack(packet_type: int, packet_id: int, rest: bytes = b"") -> bytes:
    """Return PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK or UNSUBACK."""
    flags = 2 if packet_type == PUBREL else 0
    return encode(packet_type << 4 | flags, packet_id.to_bytes(2, "big") + rest)


def packet_id_of(first_byte: int, body: bytes) -> int:
    """Return the Packet Identifier of a packet that a client sent (0 in a QoS 0 PUBLISH)."""
    if first_byte >> 4 != PUBLISH:
        return int.from_bytes(body[:2], "big")
    if not first_byte & 0x06:
        return 0
    end = 2 + int.from_bytes(body[:2], "big")
    return int.from_bytes(body[end : end + 2], "big")
