"""The connector: opens a transport whenever the engine asks for one."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import math
from typing import TYPE_CHECKING

import ferromqtt  # for what is imported when somebody asks for it
from ferromqtt import _checks, _transport
from ferromqtt._authentication import begin_connection
from ferromqtt._transport import websocket
from ferromqtt._transport.attempt import Attempt, address_of
from ferromqtt._transport.ending import until_ended
from ferromqtt.exceptions import MqttError

if TYPE_CHECKING:
    from ferromqtt._client_options import ClientOptions
    from ferromqtt._driver import Protocol
    from ferromqtt._link import Link
    from ferromqtt._transport.tls import TLSContext
    from ferromqtt.connection import Credentials, CredentialsSource


class Connector:
    """Makes the attempts to connect of one client, each in a task of its own.

    There is a task only while an attempt is under way: between attempts, and while there is a
    connection, the loop's timer wakes the engine, which asks for the next attempt.

    Attributes:
        limit: Seconds that an attempt may take.
    """

    def __init__(
        self,
        options: ClientOptions,
        tls: TLSContext,
        core: Protocol,
        credentials: CredentialsSource | None,
    ) -> None:
        self.limit = math.inf
        self._options = options
        self._tls = tls
        self._core = core
        self._credentials = credentials
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None] | None] = set()
        """Those that wait for the transport of an attempt that failed to be closed."""

    @property
    def first_address(self) -> str:
        """Where the first attempt leads to, for people."""
        options = self._options
        named = options.broker is not None or options.hostname is not None
        return address_of(options) if named else "the server"

    def open(self, link: Link, place: int, number: int) -> None:
        """Begin an attempt to connect to the server at this place of the list."""
        options = self._options_of(place)
        attempt = Attempt(options)
        attempt.is_known = self._core.has_accepted(attempt.address)
        self._core.begin_attempt(attempt.address)
        coroutine = self._run(link, options, attempt, number)
        task = asyncio.get_running_loop().create_task(coroutine, name="ferromqtt connector")
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)

    def cancel(self) -> None:
        """End the attempt that is under way, if there is one."""
        for task in self._tasks - self._ending:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                task.cancel()

    async def ended(self) -> None:
        """Wait for the tasks of attempts that were cancelled, or that failed."""
        loop = asyncio.get_running_loop()
        self._tasks = {task for task in self._tasks if task.get_loop() is loop}  # else it is closed
        await until_ended(self._tasks)

    async def _run(self, link: Link, options: ClientOptions, attempt: Attempt, number: int) -> None:
        """Open a transport and wait for CONNACK, all within the time limit."""
        scope = asyncio.timeout(None if self.limit == math.inf else self.limit)
        try:
            async with scope:
                if self._credentials is not None:
                    options = await self._renew(self._credentials, options, attempt, number)
                await begin_connection(self._core, attempt.address)
                await _transport.open_transport(options, self._tls, link, attempt)
                await self._core.answered()
        except BaseException as error:
            failure = error
            if isinstance(error, TimeoutError) and scope.expired():
                failure = attempt.overdue(self.limit)
                failure.__cause__ = None  # which suppresses the context too
                if attempt.awaits_credentials:
                    self._core.fail_credentials("the time limit was over before they came")
            elif isinstance(error, OSError | UnicodeError):
                failure = attempt.error(error)
            task = asyncio.current_task()
            self._ending.add(task)
            try:
                await self._core.give_up(link, failure)
            finally:
                self._ending.discard(task)
            if not isinstance(error, Exception):
                raise

    async def _renew(
        self, source: CredentialsSource, options: ClientOptions, attempt: Attempt, number: int
    ) -> ClientOptions:
        """Get the credentials of an attempt; return the options with those that WebSocket needs."""
        from ferromqtt._servers import first_server  # noqa: PLC0415 - for those who have a source

        attempt.awaits_credentials = True
        why = None
        try:
            answer = source(first_server(options), number)
            given = await answer if inspect.isawaitable(answer) else answer
            try:
                credentials = _checked(given)
            except TypeError as error:
                why = f"the client's {error}"
                raise
            username, password = credentials.username, credentials.password
            if username is None:
                username = options.username
            if password is None:
                password = options.password
            self._core.set_credentials(username, password)
        except Exception as error:
            if why is None:
                # Not the error's own text, which may show what is secret.
                why = f"the client's `credentials` raised {type(error).__name__}"
            self._core.report("`credentials` raised", error)
            self._core.fail_credentials(why)
            failure = MqttError(f"{why[:1].upper()}{why[1:]}")
            failure.address = attempt.address
            raise failure from error
        attempt.awaits_credentials = False
        return _with_websocket(options, credentials)

    def _options_of(self, place: int) -> ClientOptions:
        """Return the options with the server at this place of the list as the only one."""
        if place == 0:
            return self._options
        options = copy.copy(self._options)
        options.use_server(place)
        return options


def _checked(given: object) -> Credentials:
    """Return the credentials that a function of the user's has returned.

    Raises:
        TypeError: They are none.
    """
    if given is None:
        credentials = ferromqtt.Credentials()
    elif isinstance(given, tuple) and len(given) == 2:  # noqa: PLR2004 - a pair
        credentials = ferromqtt.Credentials(*given)
    elif isinstance(given, ferromqtt.Credentials):
        credentials = given
    else:
        name = type(given).__name__
        raise TypeError(f"`credentials` must return Credentials, a pair or None, not {name}")
    if not isinstance(credentials.username, str | None):
        raise _checks.wrong_type("`credentials`: username", "str", credentials.username)
    if not isinstance(credentials.password, str | bytes | bytearray | None):
        raise _checks.wrong_type("`credentials`: password", "str or bytes", credentials.password)
    return credentials


def _with_websocket(options: ClientOptions, credentials: Credentials) -> ClientOptions:
    """Return the options with what the credentials have for the WebSocket request."""
    headers, path = credentials.websocket_headers, credentials.websocket_path
    if headers is None and path is None:
        return options
    usual = options.websocket_headers if options.websocket_path else None  # as in aiomqtt

    def with_credentials(defaults: dict[str, str]) -> dict[str, str]:
        own = usual(defaults) if callable(usual) else defaults | (usual or {})
        return own | dict(headers or {})

    options = copy.copy(options)
    options.websocket_path = path or options.websocket_path or websocket.DEFAULT_PATH
    options.websocket_headers = with_credentials
    return options
