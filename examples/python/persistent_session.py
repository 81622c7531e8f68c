"""A session that outlives the connection: the server keeps what comes meanwhile, at QoS 1 and 2.

It prints:

    3.1.1 missed nothing: alarm 1, alarm 2
    5.0 missed nothing: alarm 1, alarm 2
"""

import asyncio

from ferromqtt import Client, PacketTypes, Properties, ProtocolVersion
from ferromqtt.testing import TestBroker


def client_of_3_1_1(broker: TestBroker) -> Client:
    return Client(broker.host, broker.port, identifier="station-1", clean_session=False)


def client_of_5_0(broker: TestBroker) -> Client:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600  # seconds; without it the session ends at once
    return Client(
        broker.host,
        broker.port,
        identifier="station-2",
        protocol=ProtocolVersion.V5,
        clean_start=False,
        properties=properties,
    )


async def miss_nothing(station: Client, broker: TestBroker) -> str:
    async with station:
        await station.subscribe("alarms", qos=1)
    async with Client(broker.host, broker.port) as somebody:
        await somebody.publish("alarms", "alarm 1", qos=1)
        await somebody.publish("alarms", "alarm 2", qos=1)
    async with station:  # subscribed already
        return ", ".join([(await anext(station.messages)).payload.decode() for _ in range(2)])


async def main() -> None:
    async with TestBroker() as broker:
        print("3.1.1 missed nothing:", await miss_nothing(client_of_3_1_1(broker), broker))
        print("5.0 missed nothing:", await miss_nothing(client_of_5_0(broker), broker))


asyncio.run(main())
