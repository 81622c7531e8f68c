"""MQTT over WebSocket: where only web traffic gets through, or the server is behind a web proxy.

It needs a server that speaks it:

    BROKER=ws://localhost:8080/mqtt python websocket.py

It prints:

    temperature/outside 28.4
"""

import asyncio
import os

from broker_url import read_broker

from ferromqtt import Client, TLSParameters

BROKER = read_broker(os.environ.get("BROKER", ""), ws=80, wss=443)
SECURE = BROKER.scheme == "wss"


async def main() -> None:
    client = Client(
        BROKER.host,
        BROKER.port,
        username=BROKER.username,
        password=BROKER.password,
        transport="websockets",
        tls_params=TLSParameters() if SECURE else None,
        websocket_path=BROKER.path or "/mqtt",
        websocket_headers={"User-Agent": "station-7"},  # for a web proxy that asks for some
    )
    async with client:  # from here on nothing knows how the connection is made
        await client.subscribe("temperature/#")
        await client.publish("temperature/outside", 28.4, qos=1)
        message = await anext(client.messages)
        print(message.topic, message.payload.decode())


asyncio.run(main())
