"""The broker of `--mqtt-broker`, with the face of the built-in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Unpack

import pytest

from ferromqtt import Client
from ferromqtt._native import server_of_url
from ferromqtt.testing import Listening, TestBroker

if TYPE_CHECKING:
    from ferromqtt._client_keywords import MemoryClientKeywords


def broker_of_option(url: str) -> RemoteBroker:
    """Return the broker of `--mqtt-broker`.

    Raises:
        pytest.fail.Exception: The URL cannot be read.
    """
    try:
        return RemoteBroker(url)
    except ValueError as error:
        pytest.fail(f"--mqtt-broker: {error}", pytrace=False)


class RemoteBroker:
    """A broker that runs elsewhere. A test that asks it for more than it can do is skipped.

    It is the same for all tests: what one leaves there as a retained message or in a session, the
    next one finds.

    Args:
        url: Where it is, as `Client.from_url` takes it.

    Raises:
        ValueError: The URL cannot be read. Nothing of it but its scheme is shown.
    """

    def __init__(self, url: str) -> None:
        found, _ = server_of_url(url)
        self._url = url
        self._host: str = found["hostname"]
        self._port: int | None = found.get("port")

    @property
    def url(self) -> str:
        """The URL that was given, with a user name and password if it has them."""
        return self._url

    @property
    def host(self) -> str:
        """The host of the URL, or the path of a Unix socket."""
        return self._host

    @property
    def port(self) -> int | None:
        """The port of the URL, or the one that its scheme stands for; None for a Unix socket."""
        return self._port

    def client(
        self, identifier: str | None = None, **options: Unpack[MemoryClientKeywords]
    ) -> Client:
        """Return a client that connects to the broker: to be entered by `async with`.

        Args:
            identifier: Client Identifier, as for `Client`.
            options: The other keyword arguments of `Client.from_url`.

        Raises:
            ValueError: An argument is wrong, or the URL says it too.
            TypeError: There is no such argument, or it has the wrong type.
        """
        return Client.from_url(self._url, identifier=identifier, **options)

    async def listen(self, *args: object, **kwargs: object) -> Listening:
        """Return where the broker is; a test that asks for a socket of some kind is skipped."""
        if args or kwargs:
            _skip("a socket")
        return Listening(self._host, self._port, self._url)

    async def stop(self) -> None:
        """Leave the broker as it is."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - there is none
        if hasattr(TestBroker, name) and not name.startswith("_"):
            _skip(f"`{name}`")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        where = self._host if self._port is None else f"{self._host}:{self._port}"
        return f"<{type(self).__name__} {where}>"  # not the URL, which may hold a password


def _skip(what: str) -> NoReturn:
    pytest.skip(f"needs {what} of the built-in broker, and --mqtt-broker names another")
