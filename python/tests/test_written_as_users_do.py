"""Whole tests of users' programs, as users write them: they are short, and read as what they check.

In memory, and those that wait in virtual time. They run under this plugin's own runner;
test_pytest_plugin.py plays the same file under the other frameworks.
"""

import asyncio
import contextlib
import json

import pytest

from ferromqtt import Client, MqttCodeError, MqttError
from ferromqtt.testing import PUBACK, PUBLISH, SUBSCRIBE, Chaos, TestBroker
from ferromqtt_pytest import MqttClients, VirtualTime, assert_published


async def report_level(client: Client, level: float) -> None:
    """Stand for a program of the user's, which takes a client."""
    await client.publish("site/7/level", json.dumps({"level": level}), qos=1)


async def test_reports_level(mqtt_broker: TestBroker, mqtt_client: Client) -> None:
    await report_level(mqtt_client, 28.4)
    assert_published(mqtt_broker, "site/7/level", json={"level": 28.4}, qos=1)


async def test_lost_puback(mqtt_broker: TestBroker, virtual_time: VirtualTime) -> None:
    mqtt_broker.sends(PUBACK).lose().cut()
    async with mqtt_broker.client("pump-7", clean_session=False, reconnect=True) as client:
        await client.publish("a", b"1", qos=1)
    assert [packet.dup for packet in mqtt_broker.packets(PUBLISH)] == [False, True]
    assert virtual_time.now > 0


async def test_half_open_is_noticed(mqtt_broker: TestBroker, virtual_time: VirtualTime) -> None:
    began = virtual_time.now
    async with mqtt_broker.client("pump-7", keepalive=60) as client:
        mqtt_broker.link("pump-7").half_open()
        with pytest.raises(MqttError, match="Keep Alive"):
            await anext(client.messages)
        assert virtual_time.now - began <= 90


async def test_handler_crash_gets_it_again(mqtt_broker: TestBroker) -> None:
    worker = mqtt_broker.client("worker", clean_session=False, manual_ack=True)
    with contextlib.suppress(MqttError):  # leaving, without a connection
        async with worker as client:
            await client.subscribe("jobs", qos=1)
            await mqtt_broker.publish("jobs", b"1", qos=1)
            await anext(client.messages)
            assert mqtt_broker.kill("worker")
    async with worker as client:
        assert (await anext(client.messages)).payload == b"1"


async def test_what_is_queued_while_offline(
    mqtt_broker: TestBroker, virtual_time: VirtualTime
) -> None:
    """With the queue in memory, which ends with the client."""
    async with mqtt_broker.client("pump-7", reconnect=True) as client:
        mqtt_broker.partition()
        mqtt_broker.kill("pump-7")
        await client.enqueue("a", b"1", qos=1, expires_in=10)
        await client.enqueue("a", b"2", qos=1)
        await asyncio.sleep(11)
        mqtt_broker.heal()
        await mqtt_broker.idle(within="10m")
    assert [message.payload for message in mqtt_broker.published("a")] == [b"2"]
    assert virtual_time.now >= 11


async def test_refused_subscription(mqtt_broker: TestBroker, mqtt_clients: MqttClients) -> None:
    mqtt_broker.receives(SUBSCRIBE, topic="secret/#").refuse(0x87)
    client = await mqtt_clients(protocol=5)
    with pytest.raises(MqttCodeError, match="Not authorized"):
        async with client.subscription("secret/#"):
            pass


@pytest.mark.mqtt(seeds=50)
async def test_nothing_is_lost(mqtt_broker: TestBroker, chaos: Chaos) -> None:
    chaos.faults(cuts=0.02, lost_acks=0.02, restarts=1)
    async with mqtt_broker.client(reconnect=True, timeout=600) as client:
        for number in range(100):
            await client.publish("n", str(number), qos=1)
    assert {int(message.payload) for message in mqtt_broker.published("n")} == set(range(100))
