"""How the methods of `ferromqtt.blocking.Client` are made of those of `ferromqtt.Client`."""

from __future__ import annotations

import asyncio
import functools
import operator
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ferromqtt import _checks
from ferromqtt.client import Client as AsyncClient
from ferromqtt.exceptions import MqttTimeoutError
from ferromqtt.outcomes import Published
from ferromqtt.outcomes import Receipt as AsyncReceipt

if TYPE_CHECKING:
    from ferromqtt.blocking import _State

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")
_Method = Callable[Concatenate["Holder", _P], _R]
Call = Callable[[], Coroutine[Any, Any, _R]]
"""What makes the coroutine of a call."""

make = operator.call
"""For `for coroutine in map(make, (call,))`, which makes a coroutine in this thread.

CPython runs signal handlers behind calls, and not between the step of a `for` loop and its body:
`coroutine = call()` could be interrupted before it is assigned, and the coroutine dropped with the
warning that it was never awaited.
"""


class Holder:
    """Base of `ferromqtt.blocking.Client`."""

    if TYPE_CHECKING:
        _ferromqtt_blocking: _State
        """The only private attribute, so that a subclass may use any name."""


def constructs(
    origin: Callable[_P, AsyncClient],
) -> Callable[[Callable[[Any, AsyncClient], None]], _Method[_P, None]]:
    """Make a constructor that takes the parameters of a class, and is given an instance of it."""

    def decorate(function: Callable[[Any, AsyncClient], None]) -> _Method[_P, None]:
        def method(self: Holder, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
            function(self, origin(*args, **kwargs))

        return _with_signature(method, function, AsyncClient.__init__)

    return decorate


def calls(
    origin: Callable[Concatenate[AsyncClient, _P], _T],
) -> Callable[[Callable[[Any, Callable[[], _T]], _R]], _Method[_P, _R]]:
    """Make a method that takes the parameters of one of the asyncio client.

    The decorated method is given the call of that in their place, which returns a coroutine. Type
    checkers and `help` find the parameters, with their documentation.
    """

    def decorate(function: Callable[[Any, Callable[[], _T]], _R]) -> _Method[_P, _R]:
        def method(self: Holder, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            client = self._ferromqtt_blocking.client
            return function(self, functools.partial(origin, client, *args, **kwargs))

        return _with_signature(method, function, origin)

    return decorate


def calls_overloaded(
    origin: Any,  # noqa: ANN401 - no ParamSpec holds overloads
) -> Callable[[Callable[[Any, Any], Any]], Callable[..., Any]]:
    """As `calls`, for an implementation whose overloads say what it takes."""
    decorate: Callable[[Callable[[Any, Any], Any]], Callable[..., Any]] = calls(origin)
    return decorate


def _with_signature(
    method: Callable[_P, _R],
    named_as: Callable[..., object],
    origin: Callable[..., object],
) -> Callable[_P, _R]:
    method = functools.update_wrapper(method, named_as, updated=())
    _, found, arguments = (origin.__doc__ or "").partition("\n        Args:\n")
    if method.__doc__ is not None and found:
        method.__doc__ = f"{method.__doc__.rstrip()}\n{found}{arguments}"
    # Also where `inspect.signature` and `typing.get_type_hints` look for parameters.
    return functools.update_wrapper(method, origin, ("__annotations__",), ())


class Receipt:
    """A `ferromqtt.Receipt` for threads: from `Client.enqueue` and `Client.publish_nowait`.

    It may be dropped: the message goes its way all the same.
    """

    __slots__ = ("_receipt", "_state")

    def __init__(self, state: _State, receipt: AsyncReceipt) -> None:
        self._state = state
        self._receipt = receipt

    def done(self) -> bool:
        """Whether the message has ended, so that `wait` does not wait."""
        return self._receipt.done()

    def wait(self, timeout: float | None = None) -> Published:
        """Wait for the end of the message. Neither an interruption nor the limit withdraws it.

        Args:
            timeout: Seconds to wait; None for no limit.

        Raises:
            MqttTimeoutError: The message has not ended in time. It goes on, and may be waited for
                again.
            MqttError: What `ferromqtt.Receipt` raises.
            ValueError: `timeout` is negative or NaN.
            TypeError: `timeout` is no number.
        """
        end = functools.partial(self._end, _checks.time_limit(timeout))
        return self._state.call_outside(end) if self.done() else self._state.call_inside(end)

    def stored(self, timeout: float | None = None) -> None:
        """Wait until the message is stored in the client's `Outbox`, as its `sync` says.

        Args:
            timeout: Seconds to wait; None for no limit.

        Raises:
            MqttTimeoutError: It is not stored in time. The message goes on.
            MqttError: The outbox has failed first, or was closed without it.
            RuntimeError: The client has no outbox, or is not entered.
            ValueError: `timeout` is negative or NaN.
            TypeError: `timeout` is no number.
        """
        self._state.call_inside(functools.partial(self._stored, _checks.time_limit(timeout)))

    async def _stored(self, limit: float | None) -> None:
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                await self._receipt.stored()
        except TimeoutError as error:
            if not scope.expired():
                raise
            text = f"Operation timed out: the message is not stored within {limit:g} s"
            raise MqttTimeoutError(text) from error

    async def _end(self, limit: float | None) -> Published:
        if self.done():
            return await self._receipt
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                return await self._receipt
        except TimeoutError as error:
            if not scope.expired():
                raise
            text = f"Operation timed out: the message has not ended within {limit:g} s, and goes on"
            raise MqttTimeoutError(text) from error

    def __repr__(self) -> str:
        return repr(self._receipt)
