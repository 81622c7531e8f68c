"""What tests of `Router` share."""

import asyncio

from ferromqtt import Message
from ferromqtt.testing import TestBroker


class Log:
    """What handlers were called with."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.active = 0
        self.most = 0

    async def work(self, message: Message, seconds: float = 1.0) -> None:
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            await asyncio.sleep(seconds)
            self.entries.append(message.payload.decode())
        finally:
            self.active -= 1


def subscriptions(broker: TestBroker, client: str = "c") -> int:
    session = broker.session(client)
    assert session is not None
    return session.subscriptions
