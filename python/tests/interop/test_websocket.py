"""MQTT over WebSocket, at every server: each has one."""

import pytest

from ferromqtt import MqttError
from interop.conftest import Here
from interop.gaps import Feature
from support.clients import receive, receive_many, unique
from support.loops import LoopRunner


def test_messages_come_back_over_websocket(run: LoopRunner, here: Here) -> None:
    topic = unique("websocket")

    async def main() -> None:
        async with here.websocket_client() as client:
            await client.subscribe(topic, qos=1)
            for number in range(100):
                await client.publish(topic, number, qos=1)
            received = await receive_many(client, 100)
            assert [int(message.payload) for message in received] == list(range(100))

    run(main)


@pytest.mark.needs(Feature.LARGE_OVER_WEBSOCKET)
def test_payload_of_a_megabyte_over_websocket(run: LoopRunner, here: Here) -> None:
    topic = unique("large")
    payload = bytes(range(250)) * 4000

    async def main() -> None:
        async with here.websocket_client() as client:
            await client.subscribe(topic, qos=1)
            await client.publish(topic, payload, qos=1)
            assert (await receive(client)).payload == payload

    run(main)


def test_websocket_and_tcp_meet(run: LoopRunner, here: Here) -> None:
    topic = unique("meet")

    async def main() -> None:
        async with here.websocket_client() as web, here.client() as tcp:
            await web.subscribe(topic, qos=1)
            await tcp.publish(topic, b"from tcp", qos=1)
            assert (await receive(web)).payload == b"from tcp"

    run(main)


def test_websocket_where_there_is_none_is_told_at_once(run: LoopRunner, here: Here) -> None:
    """The server takes the opening request for a broken CONNECT."""

    async def main() -> None:
        with pytest.raises(MqttError):
            await here.websocket_client(port=here.server.port).__aenter__()

    run(main)
