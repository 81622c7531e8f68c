"""What the tests of `ferromqtt.blocking` share: threads with outcomes, and nothing left behind."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar
from unittest import mock

from ferromqtt import Message
from ferromqtt._loop_thread import Parker
from ferromqtt.blocking import Client
from support import packets
from support.clients import LIMIT
from support.scripted import Connection

T = TypeVar("T")


class Outcome(Generic[T]):
    """A call in a thread of its own, and what came of it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001  handed to the test
            self._error = error

    def get(self) -> T:
        """Wait for the call; return what it returned, raise what it raised."""
        self._thread.join(LIMIT)
        assert not self._thread.is_alive(), "the call has no outcome"
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def error(self) -> BaseException:
        """Wait for the call, which must fail; return its exception."""
        return self.of(self.get)

    @staticmethod
    def of(call: Callable[[], object]) -> BaseException:
        """Make a call in this thread, which must fail; return its exception."""
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  wanted
            return error
        message = f"it returned {result!r}"
        raise AssertionError(message)


class Waits:
    """Which threads have begun to wait for a client."""

    def __init__(self) -> None:
        self._begun = threading.Semaphore(0)

    def note(self) -> None:
        self._begun.release()

    def expect(self, count: int = 1) -> None:
        """Return when so many more calls have begun to wait."""
        for _ in range(count):
            assert self._begun.acquire(timeout=LIMIT), "no call waits"


@contextmanager
def watched_waits() -> Iterator[Waits]:
    """Watch calls begin to wait, as they are about to acquire their lock."""
    waits = Waits()
    original = Parker.wait

    def wait(self: Parker, limit: float) -> bool:
        waits.note()
        return original(self, limit)

    with mock.patch.object(Parker, "wait", wait):
        yield waits


def loop_threads() -> list[str]:
    """Return the names of threads that run clients."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("ferromqtt")]


def mute(connection: Connection) -> None:
    """Accept, then answer nothing until the client leaves."""
    connection.accept()
    connection.read_to_end()


def left_in_order(connection: Connection) -> bool:
    """Whether the last that the client sent was DISCONNECT."""
    return connection.received.endswith(packets.DISCONNECT_PACKET)


def take(client: Client, count: int) -> list[Message]:
    """Return the next `count` messages."""
    messages = client.messages(timeout=LIMIT)
    return [next(messages) for _ in range(count)]
