"""What has become of a message? A publish that fails says whether it may have arrived.

It prints:

    all is well: acknowledged by the server
    a forbidden topic: refused by the server: [code:135] Not authorized
    no time for the answer: MqttTimeoutError, it may have arrived
    the server breaks down: MqttError, it may have arrived
    not connected any more: MqttCodeError, it was not sent
"""

import asyncio

from ferromqtt import Client, MqttError, ProtocolVersion
from ferromqtt.testing import TestBroker


async def outcome(client: Client, topic: str, timeout: float = 10) -> str:
    try:
        await client.publish(topic, "hello", qos=1, timeout=timeout)
    except MqttError as error:
        kind = type(error).__name__
        if error.delivery == "not_sent":  # to publish it again is safe
            return f"{kind}, it was not sent"
        if error.delivery == "unknown":  # published again, it might arrive twice
            return f"{kind}, it may have arrived"
        return f"refused by the server: {error}"  # told by 5.0 only
    return "acknowledged by the server"


async def main() -> None:
    broker = TestBroker(deny_publish=["secrets"])
    await broker.start()
    async with Client(broker.host, broker.port, protocol=ProtocolVersion.V5) as client:
        print("all is well:", await outcome(client, "news"))
        print("a forbidden topic:", await outcome(client, "secrets"))
        print("no time for the answer:", await outcome(client, "news", timeout=0))
        waiting = asyncio.create_task(outcome(client, "news"))
        await asyncio.sleep(0)  # the message is on its way
        await broker.stop()
        print("the server breaks down:", await waiting)
        print("not connected any more:", await outcome(client, "news"))


asyncio.run(main())
