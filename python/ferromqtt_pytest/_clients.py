"""What the fixture `mqtt_clients` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from ferromqtt import Client
    from ferromqtt._client_keywords import MemoryClientKeywords
    from ferromqtt.testing import TestBroker
    from ferromqtt_pytest._remote import RemoteBroker


class MqttClients:
    """Connects clients to the broker of a test, which disconnects them in the end."""

    def __init__(self, broker: TestBroker | RemoteBroker, stack: AsyncExitStack) -> None:
        self._broker = broker
        self._stack = stack

    async def __call__(
        self, identifier: str | None = None, **options: Unpack[MemoryClientKeywords]
    ) -> Client:
        """Return another client, connected.

        Args:
            identifier: Its Client Identifier; without one it makes one up.
            options: What `TestBroker.client` takes.

        Raises:
            ValueError: An argument is wrong, or makes no sense in memory.
            TypeError: There is no such argument, or it has the wrong type.
            MqttError: The broker refuses the client.
        """
        client = self._broker.client(identifier, **options)
        return await self._stack.enter_async_context(client)
