"""A queue of the user's own class between the core and the iterators (`Client(queue_type=...)`)."""

from __future__ import annotations

import asyncio
import collections
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Self

from ferromqtt._native import Message
from ferromqtt._turn import TURN


class MessageQueue:
    """Every message goes through the queue's `put_nowait` and `get`.

    Iterators wait here and not in `get`, so that one that is cancelled has taken nothing, and so
    that the end of the connection reaches all of them. A message that one of them was woken for, or
    calls `get` for, is reserved until it is taken: whoever comes later does not take it away.
    """

    def __init__(
        self,
        queue: asyncio.Queue[Message],
        end: Callable[[], Exception | None],
        about_to_wait: Callable[[], None],
        warn: Callable[[str], None],
        report: Callable[[str, Exception], None],
        discard: Callable[[object], None],
    ) -> None:
        self.queue = queue
        self._end = end
        self._about_to_wait = about_to_wait
        self._warn = warn
        self._report = report
        self._discard = discard
        # Others may suspend, before they take a message or afterwards.
        self._takes_at_once = getattr(type(queue), "get", None) is asyncio.Queue.get
        # Ordered, so that one that leaves need not be looked for.
        self._waiters: collections.OrderedDict[asyncio.Future[None], None]
        self._waiters = collections.OrderedDict()
        # What each reserved message is reserved for: the future that was woken, or a call of `get`;
        # and the loop that it runs on.
        self._reserved: dict[object, asyncio.AbstractEventLoop] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def put(self, message: Message) -> None:
        """Take a message from the core; one that the queue refuses is dropped."""
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self._warn("Message queue is full. Discarding message.")
            self._discard(message)
        except Exception as error:  # noqa: BLE001 - whatever the user's class raises
            # Both name the argument and the method. The log does not repeat the user's own text.
            self._warn("queue_type: put_nowait raised an error. Discarding message.")
            self._report("queue_type: put_nowait raised an error", error)
            self._discard(message)
        self._wake()

    async def get(self) -> Message:
        """Return the next message; raise when none will come any more."""
        suspended = False
        while not self._has_message():
            error = self._end()
            if error is not None:
                if self._reserved and self._give_back_of_closed_loops():
                    continue
                if not suspended:
                    suspended = True
                    await TURN
                    continue
                raise error
            self._about_to_wait()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = None
            try:
                await waiter
            except BaseException:  # cancelled, closed, or thrown into
                self._leave(waiter)
                raise
            self._reserved.pop(waiter, None)
            suspended = True
        try:
            return await self._take()
        except Exception:  # the queue is of the user's class, and may raise without suspending
            await TURN
            raise

    async def _take(self) -> Message:
        """Take a message, which is there, by the queue's `get`."""
        if self._takes_at_once:
            return await self.queue.get()
        call = object()
        self._reserved[call] = asyncio.get_running_loop()
        try:
            return await self._get_watched(call)
        finally:
            if self._reserved.pop(call, None) is not None:
                self._wake()  # it was cancelled, or raised, before it had taken a message

    @types.coroutine
    def _get_watched(self, call: object) -> Generator[Any, Any, Message]:
        """Run the queue's own `get`; end the reservation as soon as it has taken a message.

        It may suspend before that and afterwards, so this looks at the queue at each suspension.
        """
        steps = self._get_from_queue()
        resume: Callable[[Any], Any] = steps.send
        value: Any = None
        try:
            while True:
                size = self.queue.qsize()
                try:
                    awaited = resume(value)
                except StopIteration as end:
                    message: Message = end.value
                    return message
                if self.queue.qsize() < size:
                    self._reserved.pop(call, None)
                try:
                    resume, value = steps.send, (yield awaited)
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - the queue's to handle
                    resume, value = steps.throw, error
        finally:
            steps.close()

    async def _get_from_queue(self) -> Message:
        return await self.queue.get()

    def begin(self, loop: asyncio.AbstractEventLoop) -> list[asyncio.Future[None]]:
        """Take out the futures that wait on another loop than `loop`, and return them.

        What is reserved for iterators there is for others to take.
        """
        self._loop = loop
        foreign = [waiter for waiter in list(self._waiters) if waiter.get_loop() is not loop]
        for waiter in foreign:
            self._waiters.pop(waiter, None)
        self._give_back_where(lambda its_loop: its_loop is not loop)
        self._wake()
        return foreign

    def wake_all(self) -> None:
        """Let every waiting iterator look again."""
        while self._waiters:
            self._tell(self._first())

    def take_more(self, batch: list[Message], most: int) -> None:
        """Fill a list with messages that are there, up to `most`.

        None by a `get` of the user's own class, which may suspend.
        """
        while self._takes_at_once and len(batch) < most and self._has_message():
            try:
                batch.append(self.queue.get_nowait())
            except Exception as error:  # noqa: BLE001 - whatever the user's class raises
                self._report("queue_type: get_nowait raised an error", error)
                return

    def _has_message(self) -> bool:
        """Whether there is a message that is not reserved."""
        return self.queue.qsize() > len(self._reserved)

    def _wake(self) -> None:
        while self._waiters and self._has_message():
            waiter = self._first()
            if self._tell(waiter):
                self._reserved[waiter] = waiter.get_loop()

    def _first(self) -> asyncio.Future[None]:
        waiter, _ = self._waiters.popitem(last=False)
        return waiter

    def _leave(self, waiter: asyncio.Future[None]) -> None:
        """Give back what an iterator holds: its place, or the message that it was woken for."""
        if waiter in self._waiters:
            del self._waiters[waiter]
        elif self._reserved.pop(waiter, None) is not None:
            self._wake()

    def _give_back_of_closed_loops(self) -> bool:
        """Give back what is reserved for iterators that never run again; False if there is none.

        Where the client's own loop is open there is none to look for.
        """
        if self._loop is None or not self._loop.is_closed():
            return False
        return self._give_back_where(lambda loop: loop.is_closed())

    def _give_back_where(self, is_lost: Callable[[asyncio.AbstractEventLoop], bool]) -> bool:
        lost = [holder for holder, loop in list(self._reserved.items()) if is_lost(loop)]
        for holder in lost:
            self._reserved.pop(holder, None)
        return bool(lost)

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

    def batches(self, max: int = 100) -> QueuedBatches:  # noqa: A002 - as of the other iterator
        """Return an iterator over lists of 1 to `max` messages that are there.

        Raises:
            ValueError: `max` is below 1.
        """
        return QueuedBatches(self._messages, max)

    def __len__(self) -> int:
        """How many messages are queued."""
        return self._messages.queue.qsize()

    def __repr__(self) -> str:
        return f"<messages of a client, {len(self)} queued>"


class QueuedBatches:
    """What `QueuedMessages.batches` returns."""

    def __init__(self, messages: MessageQueue, most: int) -> None:
        if most < 1:
            raise ValueError(f"max must be 1 or more, not {most}.")
        self._messages = messages
        self._most = most

    def __aiter__(self) -> Self:
        """Iterate over the batches."""
        return self

    async def __anext__(self) -> list[Message]:
        """Wait for a message, and take those behind it that are there."""
        batch = [await self._messages.get()]
        self._messages.take_more(batch, self._most)
        return batch
