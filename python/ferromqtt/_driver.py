"""The asyncio side of a connection: futures around the native core."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import math
from typing import TYPE_CHECKING

from ferromqtt import _errors
from ferromqtt._link import Link
from ferromqtt._log import LoggingCore
from ferromqtt._transport import progress
from ferromqtt._turn import TURN
from ferromqtt.exceptions import MqttError, MqttTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ferromqtt._connector import Connector
    from ferromqtt._native import End
    from ferromqtt._outbox import OutboxWatch


def complete(waiter: asyncio.Future[None]) -> None:
    """Complete a future, unless it is done."""
    if not waiter.done():
        waiter.set_result(None)


def _refuse(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(
            RuntimeError("The client was entered on another event loop: iterate there")
        )


_FOREVER = 10.0
"""Seconds for the same after an exception, where the client's time limit is infinite."""

_HURRY = 1.0
"""Seconds for writing DISCONNECT, and for the server to close, once leaving is cancelled."""

_NO_MESSAGES = (
    "A task waits for messages of a client that is not entered. None will come until it is: "
    "iterate inside `async with client:`, or enter the client in another task."
)

NO_CONNECTION = (
    "A task waits for the connection of a client that is not entered. None will be made until it "
    "is: wait inside `async with client:`, or enter the client in another task."
)


class Protocol(LoggingCore):
    """The asyncio side of a client's core.

    It lives as long as its client, since its session outlives connections; each transport has a
    `Link` of its own. The methods with an underscore are what the core calls.
    """

    on_end: Callable[[], None] | None = None
    """Called when no message will come any more."""
    on_begin: Callable[[asyncio.AbstractEventLoop], list[asyncio.Future[None]]] | None = None
    """Called when a connection begins; returns the futures that wait on another loop."""
    on_accepted: Callable[[], None] | None = None
    """Called when a server has accepted a connection."""
    authenticator: Callable[[bytes], bytes | Awaitable[bytes]] | None = None
    """Answers the server's Authentication Data in an enhanced authentication."""

    on_identifier: Callable[[int, str, int], None] | None = None
    """Called with what has become of the Packet Identifiers that exactly-once handlers keep."""

    connector: Connector | None = None
    """Opens transports."""

    loop: asyncio.AbstractEventLoop
    """Where the client was entered."""
    link: Link | None = None
    """The present or the last transport's."""
    lost_by: Exception | None = None
    """What the system or TLS said when the transport failed."""
    _entering: asyncio.Future[None] | None = None
    """Done when a server has accepted a connection; fails when none will."""
    _answer: asyncio.Future[None] | None = None
    """Done when the server has answered the attempt that is under way, or its connection ended."""
    _failure: Exception | None = None
    """Why the attempt that is under way failed, where the core has only a text."""
    _cause: Exception | None = None
    _end_text: str | None = None
    """Why the last connection ended, in words."""
    _refusal: str | None = None
    _answering: asyncio.Future[bytes] | None = None
    """What the authenticator's coroutine runs as; it is cancelled when the connection ends."""
    outbox: OutboxWatch | None = None
    """The outbox, while the client is entered."""
    _accepted = False
    """A server has accepted a connection since the client was entered."""
    _ended = False
    _had_ended = False
    _warned_of_waiting = False

    def __init__(self, seed: int) -> None:
        del seed  # the core has it
        self._state_waiters: set[asyncio.Future[None]] = set()

    async def start(self, address: str = "the server") -> None:
        """Begin to connect on the running loop; the engine asks for a transport at once."""
        await self.drop()  # one whose end nobody waited for
        self.loop = asyncio.get_running_loop()
        self._entering = self.loop.create_future()
        self._cause = None
        self._end_text = None
        self._accepted = False
        self._had_ended, self._ended = self._ended, False
        self.traces_packets = self.wants_trace()
        self.begin(self.loop, address)
        if self.outbox_descriptor() is not None:
            from ferromqtt._outbox import OutboxWatch  # noqa: PLC0415 - for those who have one

            self.outbox = OutboxWatch(self, self.loop)
        foreign = self.take_foreign_waiters()
        if self.on_begin is not None:
            foreign += self.on_begin(self.loop)
        for waiter in foreign:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                waiter.get_loop().call_soon_threadsafe(_refuse, waiter)

    def _on_open(self, place: int, number: int) -> None:
        """Open a transport to the server at this place of the list."""
        former, self.link = self.link, Link(self)
        if former is not None:
            former.abort()  # the server has ended it, and it still writes
        self.lost_by = None
        self._failure = None
        self._refusal = None
        self._stop_answering()
        self._answer = self.loop.create_future()
        if self.connector is not None:
            self.connector.open(self.link, place, number)

    def begin_attempt(self, address: str) -> None:
        """Note where an attempt to connect leads to, for errors and lines of the log."""
        self.address = address
        if self.traces_packets:
            self.name_lines(self.client_identifier, address)
            attempt = self.stats()["attempts"]
            self._write_line(logging.DEBUG, f"connecting to {address} (attempt {attempt})")

    @property
    def shown_address(self) -> str:
        """Where the last attempt led to, or where the first one will."""
        if self.address or self.connector is None:
            return self.address
        return self.connector.first_address

    async def answered(self) -> None:
        """Wait until the server has answered an attempt, or its connection has ended."""
        if self._answer is not None:
            await self._answer

    def _on_unwanted(self) -> None:
        """Give up the attempt whose transport is being opened: the connection is to end."""
        if self.connector is not None:
            self.connector.cancel()

    def wait_for_no_server(self) -> None:
        """Let the client go on without a connection: an outbox accepts messages all the same."""
        self._entering = None

    async def close_outbox_and_wait(self) -> None:
        """Close the outbox, if there is one, so that another client may open it."""
        if self.outbox is None:
            return
        if self.loop is not asyncio.get_running_loop() and not self.loop.is_closed():
            return  # it is to be left there
        watch, self.outbox = self.outbox, None
        await watch.close()

    async def accepted(self) -> None:
        """Wait until a server has accepted a connection; raise when none will."""
        if self._entering is not None:
            await self._entering

    async def give_up(self, link: Link, reason: BaseException) -> None:
        """End an attempt for a reason that is raised, or that the log tells."""
        if link.is_current and isinstance(reason, Exception):
            self._failure = reason
        # Not what a function or a class of the user's says, which may be secret.
        ours = isinstance(reason, MqttError)
        # Trying again does not mend an option that is wrong.
        is_final = not self._accepted and not ours and isinstance(reason, Exception)
        text = str(reason) if ours else f"{self.address}: {type(reason).__name__}"
        link.give_up(text, is_final)
        await link.until_closed()
        self.forget(link)

    def forget(self, link: Link) -> None:
        """Let go of a link that has ended, which refers to this object."""
        if self.link is link:
            self.link = None

    async def cancel_start(self) -> None:
        """Give up to connect."""
        entering, self._entering = self._entering, None
        if entering is not None and not entering.cancel() and not entering.cancelled():
            entering.exception()  # which the caller has seen, or something worse
        # An attempt that has a transport ends as one that is cut.
        attempted = self._answer is not None and self.transport is None
        try:
            await self.drop(f"{self.address}: CancelledError" if attempted else None)
        finally:
            if self._had_ended:
                self._end()  # iterators of the connection before wait for nothing

    async def stop(self, timeout: float, *, publish_will: bool, wait: bool) -> None:
        """Send DISCONNECT, and wait until it is written and the transport is closed.

        With `wait` that comes when the calls have their outcomes that somebody waits for.
        Cancelling it ends that wait, and leaves a second for the rest; cancelling it without such
        a wait, or again, aborts the transport.

        Raises:
            MqttTimeoutError: Not all was written in time. The transport is closed all the same.
            MqttError: The connection was lost before all was written.
            RuntimeError: The loop that the connection lives on is another one, and open.
        """
        if self.loop is not asyncio.get_running_loop() and not self.loop.is_closed():
            raise RuntimeError("The client was entered on another event loop: leave it there")
        closed = None if self.link is None else self.link.closed
        if self.loop.is_closed() or closed is None or self.transport is None or self._answer:
            await self.drop()  # there is nothing to write
            return
        limit = None if timeout == math.inf and wait else min(timeout, _FOREVER)
        if wait:
            try:
                try:
                    await TURN  # tasks that are about to make calls make them before it leaves
                finally:  # also when this coroutine is closed instead
                    had_ended = not self.connected  # a DISCONNECT that says why may be on its way
                    self.leave(publish_will, wait, limit)
                await asyncio.wait([closed])
            except asyncio.CancelledError:
                self.leave(publish_will, False, min(timeout, _HURRY))
                await self._closed_or_aborted(closed)
                raise
        else:
            had_ended = not self.connected
            self.leave(publish_will, wait, limit)
            await self._closed_or_aborted(closed)
        if had_ended or self.all_written:
            return
        if self.was_aborted:
            raise MqttTimeoutError(
                "Operation timed out: not everything could be written to "
                f"{self.address} within {timeout:g} s"
            )
        raise MqttError(
            f"The connection to {self.address} was lost before everything was written"
        ) from self._cause

    def cut(self) -> None:
        """Abort the transport, if there is one. The server is not the reason of the end then."""
        transport = self.transport
        if transport is not None:
            self.is_cut = True
            transport.abort()

    async def _closed_or_aborted(self, closed: asyncio.Future[None]) -> None:
        try:
            await asyncio.wait([closed])
        except asyncio.CancelledError:
            self.cut()
            raise

    async def drop(self, reason: str | None = None) -> None:
        """End the connection without a DISCONNECT, and attempts to make one, if there are any.

        All of it has begun before this waits, so cancelling it leaves nothing undone.
        """
        link, connector = self.link, self.connector
        if connector is not None:
            connector.cancel()
        with contextlib.suppress(RuntimeError):  # its loop is closed
            if link is not None:
                link.give_up(reason, True)
            if not self.idle:
                self.disconnect()  # it was about to connect again
        if connector is not None:
            await connector.ended()
        if link is not None:
            await link.until_closed()

    async def wait_connected(self, timeout: float | None) -> None:
        """Wait until there is a connection; raise when none will come any more."""
        try:
            async with asyncio.timeout(None if timeout == math.inf else timeout) as scope:
                while not self.connected:
                    if self._ended:
                        await TURN
                        raise self._not_connected()
                    self.warn_if_not_entered(NO_CONNECTION)
                    await self._state_change()
        except TimeoutError:
            if not scope.expired():
                raise
            text = (
                f"Operation timed out: no connection to {self.shown_address} within {timeout:g} s"
            )
            raise MqttTimeoutError(text) from None

    async def until_ended(self) -> None:
        """Wait until the connection has ended, none follows, and its transport is closed."""
        while not self._ended:
            await self._state_change()
        closed = None if self.link is None else self.link.closed
        if closed is not None:
            await asyncio.wait([closed])

    @property
    def end_cause(self) -> MqttError | None:
        """Why the last connection ended; None if that was asked for."""
        cause = self._cause
        return cause if cause is None or isinstance(cause, MqttError) else MqttError(str(cause))

    async def _state_change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._state_waiters.add(waiter)
        try:
            await waiter
        finally:
            self._state_waiters.discard(waiter)

    def _report_state(self) -> None:
        for waiter in self._state_waiters:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                waiter.get_loop().call_soon_threadsafe(complete, waiter)

    def _not_connected(self) -> MqttError:
        error = _errors.not_connected("Could not wait for a connection")
        error.__cause__ = self._cause
        return error

    def iteration_end(self) -> MqttError | None:
        """Return what iterators raise once the queue is empty; None while messages may come."""
        return self._iteration_error() if self._ended else None

    def warn_if_not_entered(self, text: str = _NO_MESSAGES) -> None:
        """Warn, once, when a task begins to wait while nobody enters the client."""
        if self._warned_of_waiting or not self.idle:
            return
        self._warned_of_waiting = True
        self.warn(text)

    def _tcp_progress(self) -> tuple[int, int] | None:
        return progress.tcp_progress(self.transport)

    def _on_connected(self) -> None:
        self._accepted = True
        if self.on_accepted is not None:
            self.on_accepted()
        self._settle_attempt()
        entering, self._entering = self._entering, None
        if entering is not None and not entering.done():
            entering.set_result(None)
        self._report_state()

    def _on_identifier(self, sequence: int, kind: str, identifier: int) -> None:
        if self.on_identifier is not None:
            self.on_identifier(sequence, kind, identifier)

    def _settle_attempt(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            complete(answer)

    def _on_auth(self, data: bytes) -> None:
        """Answer the server's AUTH, at once or when the authenticator's coroutine is done."""
        if self.authenticator is None:
            self._refusal = (
                "The server asked to continue the authentication: "
                "give the client an `authenticator` that answers"
            )
            self.answer_auth(None)
            return
        answer: bytes | None = None
        try:
            result = self.authenticator(data)
            if inspect.isawaitable(result):
                self._answering = asyncio.ensure_future(result, loop=self.loop)
                self._answering.add_done_callback(self._on_answer)
                return
            answer = bytes(memoryview(result))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it raises
            self._refuse_auth(error)
        self._send_answer(answer)

    def _on_answer(self, answering: asyncio.Future[bytes]) -> None:
        """Send what the authenticator's coroutine has returned."""
        if answering is not self._answering:  # the connection that asked has ended
            if not answering.cancelled():
                answering.exception()  # nobody can use it
            return
        self._answering = None
        answer: bytes | None = None
        try:
            answer = bytes(memoryview(answering.result()))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it raises
            self._refuse_auth(error)
        self._send_answer(answer)

    def _send_answer(self, answer: bytes | None) -> None:
        problem = self.answer_auth(answer)
        if problem is not None:
            self._refusal = f"The answer of the client's `authenticator` cannot be sent: {problem}"

    def _stop_answering(self) -> None:
        answering, self._answering = self._answering, None
        if answering is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                answering.cancel()

    def _refuse_auth(self, error: BaseException) -> None:
        # Not the error's own text, which may show what is secret.
        self._refusal = f"The client's `authenticator` raised {type(error).__name__}"
        self.report("an `authenticator` raised", error)

    def _on_disconnected(self, end: End, retries: bool) -> None:
        self._stop_answering()
        failure, self._failure = self._failure, None
        if self._refusal is not None:
            failure = MqttError(self._refusal)
        self._settle_attempt()
        if retries:
            return
        entering = self._entering
        if not self._accepted and entering is not None:
            if not entering.done():
                error = failure or _errors.connect_error(end, self.lost_by)
                entering.set_exception(error)
            return
        if self._accepted:
            self._cause = failure or _errors.end_cause(end, self.lost_by)
        else:
            self._cause = failure or _errors.connect_error(end, self.lost_by)
        self._end_text = self._refusal or end.text
        self._end()

    def _on_version_refused(self) -> None:
        """Get ready for the next attempt at the same server, which is made at once."""
        self._stop_answering()
        self._failure = self._refusal = None
        self._settle_attempt()

    def _share_end(self, end: End) -> _errors.Ended:
        """Return what the exceptions of all calls share that this end fails."""
        return _errors.Ended(end, self.lost_by)

    def _end(self) -> None:
        """Let iterators know that no message will come any more."""
        self._ended = True
        self.end_messages()
        self._report_state()
        if self.on_end is not None:
            self.on_end()

    def _iteration_error(self) -> MqttError:
        text = "Disconnected during message iteration"
        if self._end_text is not None:
            text += f": {self._end_text} ({self.address})"
        error = MqttError(text)
        error.address = self.address
        error.__cause__ = self._cause
        return error

    def _disconnect_cause(self) -> Exception | None:
        return self._cause
