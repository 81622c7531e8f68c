"""Connecting a socket to a host that may have several addresses."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from typing import TYPE_CHECKING, NamedTuple

from ferromqtt._native import Race
from ferromqtt._transport.ending import until_ended

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


_LONGEST_LABEL = 63  # RFC 1035, section 2.3.4


class Address(NamedTuple):
    """Where a socket can be connected to."""

    family: int
    address: tuple[object, ...]


async def resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[Address]:
    """Return the addresses of a host, the preferred first. Raises OSError when it has none."""
    found = None
    with contextlib.suppress(socket.gaierror):
        # A literal address is told without a thread.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    if found is None:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise OSError("the host has no address")
    return [Address(family, address) for family, _, _, _, address in found]


async def connect_first(
    addresses: list[Address],
    connect: Callable[[Address], Coroutine[None, None, socket.socket]],
) -> socket.socket:
    """Return the first connection that comes about (RFC 8305). The others are given up.

    An address gets a head start before the next is tried too. Raises the last failure when all
    have failed.
    """
    loop = asyncio.get_running_loop()
    race = Race([address.family for address in addresses])
    start = loop.time()
    attempts: dict[asyncio.Task[socket.socket], int] = {}
    failure: OSError | None = None
    winner: socket.socket | None = None
    try:
        while True:
            for index in race.start(loop.time() - start):
                attempts[loop.create_task(connect(addresses[index]))] = index
            pause = race.wait(loop.time() - start)
            if pause is None:
                raise failure or OSError("the host has no address")
            timeout = None if pause == math.inf else pause
            done, _ = await asyncio.wait(
                attempts, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in done:
                index = attempts.pop(attempt)
                error = attempt.exception()
                if error is None:
                    winner = attempt.result()
                    return winner
                if not isinstance(error, OSError):
                    raise error
                failure = error
                race.failed(index, loop.time() - start)
    finally:
        try:
            await _give_up(attempts)
        except asyncio.CancelledError:
            if winner is not None:
                winner.close()
            raise


async def _give_up(attempts: dict[asyncio.Task[socket.socket], int]) -> None:
    for attempt in attempts:
        attempt.cancel()
    try:
        await until_ended(attempts)
    finally:
        for attempt in attempts:
            if attempt.done() and not attempt.cancelled() and attempt.exception() is None:
                attempt.result().close()
