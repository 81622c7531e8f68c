"""Where the seed of a client comes from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

_numbers: ContextVar[Random | None] = ContextVar("ferromqtt_seed", default=None)


def client_seed() -> int:
    """Return a seed for what one client draws: pauses, and identifiers of requests."""
    numbers = _numbers.get()
    return int.from_bytes(os.urandom(8)) if numbers is None else numbers.getrandbits(64)


@contextlib.contextmanager
def seeded(numbers: Random) -> Iterator[None]:
    """Let the clients that are made in this context take their seeds from these numbers."""
    token = _numbers.set(numbers)
    try:
        yield
    finally:
        _numbers.reset(token)
