"""Draining: a connection that ends when all that was accepted has its outcome."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
from typing import TYPE_CHECKING

from ferromqtt._turn import TURN
from ferromqtt.exceptions import MqttError

if TYPE_CHECKING:
    from ferromqtt._driver import Protocol

_NOT_HERE = "The client was entered on another event loop: drain it there"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drained:
    """What was left undone when a client was drained: from `Client.drain`."""

    not_sent: int
    """Calls that were accepted, and never sent. They have raised with the delivery "not_sent"."""
    unknown: int
    """Calls that were on the wire, and whose outcome is unknown. They have raised."""
    unflushed: int
    """QoS 0 messages whose publish had returned, and that no connection has written."""
    error: MqttError | None
    """Why the connection ended, or DISCONNECT was not written; None where all went well."""

    @property
    def is_complete(self) -> bool:
        """Whether every call has come to an end of its own, and DISCONNECT was written."""
        return not (self.not_sent or self.unknown or self.unflushed) and self.error is None


async def drain(core: Protocol, timeout: float) -> Drained:
    """Drain a client that is entered, within `timeout` seconds."""
    if core.loop is not asyncio.get_running_loop():
        raise RuntimeError(_NOT_HERE)
    await TURN  # tasks that are about to make calls make them before
    core.drain(None if timeout == math.inf else timeout)
    try:
        await core.until_ended()
    except BaseException:
        # Cancelled: DISCONNECT goes out now, and leaving the block waits until it is written.
        with contextlib.suppress(RuntimeError):  # its loop is closed
            core.disconnect()
        raise
    not_sent, unknown, unflushed = core.undone
    return Drained(
        not_sent=not_sent,
        unknown=unknown,
        unflushed=unflushed,
        error=_end_of(core),
    )


def _end_of(core: Protocol) -> MqttError | None:
    """Return why the connection did not end by a DISCONNECT that was written."""
    if core.end_cause is not None or core.all_written:
        return core.end_cause
    error = MqttError(f"The connection to {core.address} was lost before everything was written")
    error.address = core.address
    return error
