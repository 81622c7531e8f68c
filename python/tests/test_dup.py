"""`Message.dup`: the DUP flag as it was received (section 3.3.1.1)."""

import asyncio
from typing import Any

import pytest

from ferromqtt import Client, Message
from support import packets
from support.clients import receive
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer


def publish(dup: bool, packet_id: int) -> bytes:
    body = packets.string("a") + packet_id.to_bytes(2, "big") + b"x"
    return packets.encode(0x3A if dup else 0x32, body)


def serve(connection: Connection) -> None:
    connection.accept()
    connection.send(publish(dup=False, packet_id=1) + publish(dup=True, packet_id=2))
    connection.read_to_end()


@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
def test_the_flag_is_that_of_the_packet(run: LoopRunner, queue_type: Any) -> None:  # noqa: ANN401
    async def main() -> None:
        async with Client(server.host, server.port, queue_type=queue_type) as client:
            received = [await receive(client) for _ in range(2)]
            assert [(message.mid, message.dup) for message in received] == [(1, False), (2, True)]

    with ScriptedServer(serve) as server:
        run(main)


def test_a_message_of_one_s_own_has_a_flag_that_can_be_set() -> None:
    message = Message("a", b"", 0, False, 0, None)
    assert message.dup is False
    message.dup = True
    assert message.dup is True
