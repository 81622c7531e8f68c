"""The client and its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiomqtt import _private
from ferromqtt import client
from ferromqtt._internals import internals_of
from ferromqtt.client import MessagesIterator
from ferromqtt.options import ProtocolVersion, ProxySettings, TLSParameters, Will

if TYPE_CHECKING:
    import logging

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

    _FerromqttInternalsHolder__internals_class = _private.ShimInternals

    def _on_message(self, client: object, userdata: object, message: Message) -> None:
        """Queue a message that came: called for each one, but only if a subclass overrides it."""
        del client, userdata
        queue = internals_of(self).queue
        if queue is not None:
            queue.put(message)

    @_private.View
    def _client(self) -> Any:  # noqa: ANN401 - used as if it were a paho client
        return _private.PahoClient(internals_of(self).core)

    @_private.View
    def _logger(self) -> logging.Logger:
        return internals_of(self).core.logger

    @_private.View
    def _lock(self) -> _private.Lock:
        return _private.Lock(held=internals_of(self).entered)

    @_private.View
    def _connected(self) -> _private.Connected:
        return _private.Connected(internals_of(self).core)

    @_private.View
    def _disconnected(self) -> _private.Disconnected:
        return _private.Disconnected(internals_of(self).core)


_private.ShimInternals.on_message = Client._on_message  # noqa: SLF001 - its own
