"""What the operating system says about the TCP connection below a transport."""

from __future__ import annotations

import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

PROGRESS = "ferromqtt_progress"
"""The extra information of a link in memory that stands for what TCP says."""

# In `struct tcp_info` of Linux, from version 4.2 on.
_BYTES_ACKED = struct.Struct("=120xQ")

_HIDDEN_SIZE = 144 * 1024
"""The most that asyncio's TLS holds below what its transport tells: a limit of 64 KiB, which one
write of 80 KiB may exceed."""

_HIDES_FROM = 4096
"""It holds something only while the system's buffer is full, and none is smaller than this."""


def tcp_progress(transport: asyncio.BaseTransport | None) -> tuple[int, int] | None:
    """Return how many bytes the peer's TCP has acknowledged, and how many it has not.

    None when there is no TCP connection below, or the system does not tell: only Linux does. A link
    in memory is taken for a TCP connection.
    """
    if sys.platform != "linux" or transport is None:
        return None
    from fcntl import ioctl  # noqa: PLC0415 - not on every system
    from termios import TIOCOUTQ  # noqa: PLC0415

    connection = transport.get_extra_info("socket")
    if connection is None:
        progress: tuple[int, int] | None = transport.get_extra_info(PROGRESS)
        return progress
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
        queued = ioctl(connection.fileno(), TIOCOUTQ, bytes(4))
        (acknowledged,) = _BYTES_ACKED.unpack(info)
    except (OSError, ValueError, struct.error):  # the socket is closed, or the system is older
        return None
    unacknowledged = int.from_bytes(queued, sys.byteorder)
    if unacknowledged >= _HIDES_FROM and transport.get_extra_info("ssl_object") is not None:
        unacknowledged += _HIDDEN_SIZE
    return acknowledged, unacknowledged
