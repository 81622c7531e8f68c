r"""What can be sent as a payload, and what arrives.

It prints:

    'Grüße' arrives as b'Gr\xc3\xbc\xc3\x9fe'
    b'\x00\x01' arrives as b'\x00\x01'
    42 arrives as b'42'
    28.4 arrives as b'28.4'
    None arrives as b''
    JSON, read again: {'degrees': 28.4, 'sensor': 'roof'}
    a dict raises TypeError: payload must be a string, bytearray, int, float or None.
    It may be bytes or a memoryview too, but not dict: encode it first, for example by json.dumps.
"""

import asyncio
import json

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def main() -> None:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.subscribe("payloads")
        for payload in ("Grüße", b"\x00\x01", 42, 28.4, None):
            await client.publish("payloads", payload)
            message = await anext(client.messages)
            print(f"{payload!r} arrives as {message.payload!r}")

        reading = {"degrees": 28.4, "sensor": "roof"}
        await client.publish("payloads", json.dumps(reading))
        message = await anext(client.messages)
        print("JSON, read again:", json.loads(message.payload))

        try:
            await client.publish("payloads", reading)  # type: ignore[call-overload]  # the mistake shown
        except TypeError as error:
            print("a dict raises TypeError:", str(error).replace(". ", ".\n"))


asyncio.run(main())
