"""What type checkers know of the pytest plugin, and of the broker's sockets."""

from typing import assert_type

from ferromqtt import Client
from ferromqtt.testing import Jump, Listening, TestBroker
from ferromqtt_pytest import MqttClients, RemoteBroker, VirtualTime


async def test_fixtures(
    mqtt_broker: TestBroker,
    mqtt_client: Client,
    mqtt_clients: MqttClients,
    virtual_time: VirtualTime,
) -> None:
    assert_type(await mqtt_clients("pump-7", keepalive=5), Client)
    assert_type(mqtt_client.identifier, str)
    assert_type(virtual_time.now, float)
    assert_type(virtual_time.jumps, list[Jump])
    virtual_time.end_at(3600)
    with virtual_time.hold():
        pass
    listening = await mqtt_broker.listen(tls=True, websocket=True)
    assert_type(listening, Listening)
    assert_type((listening.host, listening.port, listening.url), tuple[str, int | None, str])
    assert_type(mqtt_broker.ca, str)


async def test_a_real_broker(mqtt_broker: TestBroker | RemoteBroker) -> None:
    assert_type(mqtt_broker.client("pump-7"), Client)
    assert_type(await mqtt_broker.listen(), Listening)
