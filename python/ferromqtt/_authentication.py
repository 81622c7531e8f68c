"""The beginning of an enhanced authentication (5.0, section 4.12), and authenticating again."""

from __future__ import annotations

import asyncio
import inspect
import math
from typing import TYPE_CHECKING

from ferromqtt._checks import check_timeout
from ferromqtt._errors import not_connected
from ferromqtt._turn import TURN_BEFORE_ERROR
from ferromqtt.exceptions import MqttError, MqttTimeoutError

if TYPE_CHECKING:
    from ferromqtt._driver import Protocol


async def begin_connection(core: Protocol, address: str) -> None:
    """Get the Authentication Data of the next CONNECT, if the authenticator begins exchanges.

    Raises:
        MqttError: It has none to give, or none that can be sent. The attempt has ended.
    """
    if not hasattr(core.authenticator, "begin"):
        return
    cause: Exception | None = None
    data: bytes | None = None
    why: str | None = None
    try:
        data = await _first_data(core)
    except Exception as error:  # noqa: BLE001 - whatever it raises
        # Not the error's own text, which may show what is secret.
        why = f"the client's `authenticator` raised {type(error).__name__}"
        cause = error
        core.report("an `authenticator` raised", error)
    if core.begin_authentication(data, why):
        return
    why = why or "what the client's `authenticator` begins with cannot be sent"
    failure = MqttError(f"{why[:1].upper()}{why[1:]}")
    failure.address = address
    raise failure from cause


async def re_authenticate(core: Protocol, timeout: float) -> None:
    """Authenticate again, and wait until the server has accepted it."""
    async with TURN_BEFORE_ERROR:
        check_timeout(timeout)
        if core.authenticator is None:
            raise ValueError("There is no `authenticator` to authenticate again with: give one")
        if not core.connected:
            raise not_connected("Could not authenticate again")
        connection = core.check_re_authenticate()
    try:
        async with asyncio.timeout(None if timeout == math.inf else timeout) as scope:
            try:
                data = await _first_data(core)
            except Exception as error:
                text = f"The client's `authenticator` raised {type(error).__name__}"
                raise MqttError(text) from error
            async with TURN_BEFORE_ERROR:
                waiter = core.re_authenticate(connection, data)
            await waiter
    except TimeoutError:
        if not scope.expired():
            raise
        raise MqttTimeoutError(
            f"Operation timed out: {core.address} has not accepted the authentication within "
            f"{timeout:g} s"
        ) from None


async def _first_data(core: Protocol) -> bytes | None:
    """Return what an exchange begins with, before the server has said anything."""
    begin = getattr(core.authenticator, "begin", None)
    if begin is None:
        return None
    result = begin()
    if inspect.isawaitable(result):
        result = await result
    return None if result is None else bytes(memoryview(result))
