"""A queue of the user's own class between the core and the iterators (`Client(queue_type=...)`)."""

from __future__ import annotations

import asyncio
import collections
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ferromqtt._native import Message


class MessageQueue:
    """Every message goes through the queue's `put_nowait` and `get`.

    Iterators wait here and not in `get`, so that one that is cancelled has taken nothing. A message
    that one of them was woken for is reserved: whoever comes later does not take it away.
    """

    def __init__(
        self,
        queue: asyncio.Queue[Message],
        end: Callable[[], Exception | None],
        warn: Callable[[str], None],
        report: Callable[[str, Exception], None],
    ) -> None:
        self.queue = queue
        self._end = end
        self._warn = warn
        self._report = report
        # Ordered, so that one that leaves need not be looked for.
        self._waiters: collections.OrderedDict[asyncio.Future[None], None]
        self._waiters = collections.OrderedDict()
        self._woken: set[asyncio.Future[None]] = set()

    def put(self, message: Message) -> None:
        """Take a message from the core; one that the queue refuses is dropped."""
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self._warn("Message queue is full. Discarding message.")
        except Exception as error:  # noqa: BLE001 - whatever the user's class raises
            self._warn("Message queue raised an error. Discarding message.")
            self._report("the queue of a client raised in put_nowait", error)
        self._wake()

    async def get(self) -> Message:
        """Return the next message; raise when none will come any more."""
        while not self._has_message():
            error = self._end()
            if error is not None:
                raise error
            waiter = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = None
            try:
                await waiter
            except BaseException:  # cancelled, closed, or thrown into
                self._leave(waiter)
                raise
            self._woken.discard(waiter)
        return await self.queue.get()

    def wake_all(self) -> None:
        """Let every waiting iterator look again."""
        while self._waiters:
            self._tell(self._first())

    def _has_message(self) -> bool:
        """Whether there is a message that is not reserved."""
        return self.queue.qsize() > len(self._woken)

    def _wake(self) -> None:
        while self._waiters and self._has_message():
            waiter = self._first()
            if self._tell(waiter):
                self._woken.add(waiter)

    def _first(self) -> asyncio.Future[None]:
        waiter, _ = self._waiters.popitem(last=False)
        return waiter

    def _leave(self, waiter: asyncio.Future[None]) -> None:
        """Give back what an iterator holds: its place, or the message that it was woken for."""
        if waiter in self._waiters:
            del self._waiters[waiter]
        elif waiter in self._woken:
            self._woken.remove(waiter)
            self._wake()

    @staticmethod
    def _tell(waiter: asyncio.Future[None]) -> bool:
        """Wake an iterator; False when it is gone, or its loop is closed."""
        if waiter.done():
            return False
        try:
            waiter.set_result(None)
        except RuntimeError:
            return False
        return True


class QueuedMessages:
    """What `client.messages` is for a client with a queue of the user's own class."""

    def __init__(self, messages: MessageQueue) -> None:
        self._messages = messages

    def __aiter__(self) -> Self:
        """Iterate over the messages."""
        return self

    def __anext__(self) -> Coroutine[Any, Any, Message]:
        """Wait for the next message."""
        return self._messages.get()

    def __len__(self) -> int:
        """How many messages are queued."""
        return self._messages.queue.qsize()
