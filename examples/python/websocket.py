"""MQTT over WebSocket: where only web traffic gets through, or the server is behind a web proxy.

It needs a server that speaks it:

    BROKER=ws://localhost:8080/mqtt python websocket.py

It prints:

    temperature/outside 28.4
"""

import asyncio
import os
import sys

from ferromqtt import Client

BROKER = os.environ.get("BROKER", "")
HEADERS = {"User-Agent": "station-7"}  # for a web proxy that asks for some


async def main() -> None:
    # The same as Client(host, port, transport="websockets", websocket_path="/mqtt", ...), and with
    # wss:// tls_params=TLSParameters() too.
    async with Client.from_url(BROKER, websocket_headers=HEADERS) as client:
        # From here on nothing knows how the connection is made.
        await client.subscribe("temperature/#")
        await client.publish("temperature/outside", 28.4, qos=1)
        message = await anext(client.messages)
        print(message.topic, message.payload.decode())


try:
    asyncio.run(main())
except ValueError as error:
    sys.exit(f"BROKER: {error}")
