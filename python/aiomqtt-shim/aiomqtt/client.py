"""The client and its options."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from aiomqtt import _private
from ferromqtt import client
from ferromqtt.client import MessagesIterator
from ferromqtt.options import ProtocolVersion, ProxySettings, TLSParameters, Will

if TYPE_CHECKING:
    from ferromqtt.message import Message

__all__ = [
    "Client",
    "MessagesIterator",
    "ProtocolVersion",
    "ProxySettings",
    "TLSParameters",
    "Will",
]


class Client(client.Client):
    """`ferromqtt.Client` that logs where aiomqtt does, unless it is given a logger."""

    _default_logger_name = "mqtt"
    _pending_calls_text = "There are %d pending publish calls."  # whatever waits

    async def __aenter__(self) -> Self:
        """Connect."""
        routed = type(self)._on_message is not Client._on_message  # noqa: SLF001 - its own
        if routed and self._core.message_sink is None:
            self._use_queue(asyncio.Queue)
            self._core.message_sink = self._route
        return await super().__aenter__()

    def _route(self, message: Message) -> None:
        self._on_message(self._client, None, message)

    def _on_message(self, client: object, userdata: object, message: Message) -> None:
        """Queue a message that came: called for each one, but only if a subclass overrides it."""
        del client, userdata
        if self._queue is not None:
            self._queue.put(message)

    @property
    def _client(self) -> Any:  # noqa: ANN401 - used as if it were a paho client
        return _private.PahoClient(self._core)

    @property
    def _lock(self) -> _private.Lock:
        return _private.Lock(held=self._entered)

    @property
    def _connected(self) -> _private.Connected:
        return _private.Connected(self._core)

    @property
    def _disconnected(self) -> _private.Disconnected:
        return _private.Disconnected(self._core)
