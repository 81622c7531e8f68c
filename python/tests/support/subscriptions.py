"""What tests of subscriptions with a queue of their own share."""

import asyncio

from ferromqtt import SubscriptionMessages
from support import packets
from support.clients import LIMIT
from support.scripted import Connection, Script


async def take(messages: SubscriptionMessages, count: int) -> list[bytes]:
    """Return the payloads of the next `count` messages."""
    async with asyncio.timeout(LIMIT):
        return [(await anext(messages)).payload for _ in range(count)]


def refusing_to_unsubscribe(filters: int) -> Script:
    """Return a server of 5.0 that grants one SUBSCRIBE and ends all its `filters` but the last."""

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        packet_id = packets.packet_id_of(*connection.expect(packets.SUBSCRIBE))
        connection.send(packets.ack(packets.SUBACK, packet_id, b"\x00" + b"\x01" * filters))
        packet_id = packets.packet_id_of(*connection.expect(packets.UNSUBSCRIBE))
        codes = b"\x00" * (filters - 1) + b"\x87"
        connection.send(packets.ack(packets.UNSUBACK, packet_id, b"\x00" + codes))
        connection.expect(packets.DISCONNECT)

    return script
