"""A queue of the user's own class between the core and the iterators (`Client(queue_type=...)`)."""

from __future__ import annotations

import asyncio
import collections
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Coroutine

    from ferromqtt._native import Message


class MessageQueue:
    """Every message goes through the queue's `put_nowait` and `get`.

    Iterators wait here and not in `get`, so that one that is cancelled has taken nothing.
    """

    def __init__(
        self,
        queue: asyncio.Queue[Message],
        logger: logging.Logger,
        end: Callable[[], Exception | None],
    ) -> None:
        self.queue = queue
        self._logger = logger
        self._end = end
        self._waiters: collections.deque[asyncio.Future[None]] = collections.deque()

    def put(self, message: Message) -> None:
        """Take a message from the core; one that finds the queue full is dropped."""
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self._logger.warning("Message queue is full. Discarding message.")
        else:
            self._wake_one()

    async def get(self) -> Message:
        """Return the next message; raise when none will come any more."""
        while self.queue.empty():
            error = self._end()
            if error is not None:
                raise error
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                elif not waiter.cancelled():
                    self._wake_one()  # it was woken for a message that it does not take
                raise
        return await self.queue.get()

    def wake_all(self) -> None:
        """Let every waiting iterator look again."""
        while self._waiters:
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


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
