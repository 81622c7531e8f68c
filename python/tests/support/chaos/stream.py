"""Packets in a stream of bytes, decoded by hand: not by the codec under test."""

from collections.abc import Iterator

V31, V5 = 3, 5


class Packets:
    """Cuts a stream into packets, however it was divided."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the first byte and the body of each packet that is complete now."""
        self._rest += data
        while True:
            length, shift, start = 0, 0, 1
            while True:
                if start >= len(self._rest):
                    return
                byte = self._rest[start]
                length |= (byte & 0x7F) << shift
                shift, start = shift + 7, start + 1
                if byte < 0x80:
                    break
            if len(self._rest) < start + length:
                return
            first, body = self._rest[0], bytes(self._rest[start : start + length])
            del self._rest[: start + length]
            yield first, body


def number(body: bytes, start: int = 0) -> int:
    """Return the two-byte integer at this place, such as a Packet Identifier."""
    return int.from_bytes(body[start : start + 2], "big")


def behind_properties(body: bytes, start: int, version: int) -> int:
    """Return where the properties at this place end; before 5.0 there are none."""
    if version < V5:
        return start
    length, shift = 0, 0
    while True:
        byte = body[start]
        length |= (byte & 0x7F) << shift
        shift, start = shift + 7, start + 1
        if byte < 0x80:
            return start + length


def publish(first: int, body: bytes, version: int) -> tuple[int, bytes]:
    """Return the Packet Identifier and the payload of a PUBLISH."""
    start = 2 + number(body)
    packet_id = 0
    if first & 0x06:
        packet_id, start = number(body, start), start + 2
    return packet_id, body[behind_properties(body, start, version) :]


def filters(body: bytes, version: int, *, options: bool) -> list[str]:
    """Return the Topic Filters of a SUBSCRIBE, whose filters have options, or an UNSUBSCRIBE."""
    start = behind_properties(body, 2, version)
    found = []
    while start < len(body):
        end = start + 2 + number(body, start)
        found.append(body[start + 2 : end].decode())
        start = end + options
    return found


def codes(body: bytes, version: int) -> bytes:
    """Return the codes of a SUBACK."""
    return body[behind_properties(body, 2, version) :]


def connect(body: bytes, version: int) -> tuple[bool, int]:
    """Return Clean Start of a CONNECT, and its Session Expiry Interval, which 3.x implies."""
    start = 3 + number(body)
    is_clean = bool(body[start] & 0x02)
    if version < V5:
        return is_clean, 0 if is_clean else _FOREVER
    return is_clean, _expiry(body, start + 3) or 0


def disconnect_expiry(body: bytes, version: int) -> int | None:
    """Return the Session Expiry Interval of a client's DISCONNECT, if it has one."""
    return _expiry(body, 1) if version >= V5 and len(body) > 1 else None


_FOREVER = 0xFFFF_FFFF
_SESSION_EXPIRY_INTERVAL = 0x11
_SIZES = {0x11: 4, 0x17: 1, 0x19: 1, 0x21: 2, 0x22: 2, 0x27: 4}
"""Bytes of the properties that clients of these worlds have in CONNECT and DISCONNECT."""


def _expiry(body: bytes, start: int) -> int | None:
    end = behind_properties(body, start, V5)
    start += 1  # they are short, and so is their length
    while start < end:
        size = _SIZES[body[start]]
        if body[start] == _SESSION_EXPIRY_INTERVAL:
            return int.from_bytes(body[start + 1 : start + 1 + size], "big")
        start += 1 + size
    return None
