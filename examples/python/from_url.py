"""Read where the broker is, and who asks, from one text such as an environment variable.

Runs on the built-in broker, or on your own: BROKER=mqtts://user:password@host python from_url.py

It prints:

    published as station-7
    from_url: the argument username is given, and the URL gives it too: leave the
    argument out, or write it into the URL alone.
    from_url: the URL begins with ssl://; it must be one of mqtt, mqtts, ws, wss,
    mqtt+unix (did you mean mqtts://?)
"""

import asyncio
import os
import textwrap

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def main() -> None:
    async with TestBroker() as broker:
        url = os.environ.get("BROKER", f"{broker.url}?client_id=station-7&keep_alive=30")
        # What is the same for every broker stands beside the URL.
        async with Client.from_url(url, protocol=5) as client:
            await client.publish("temperature/outside", 28.4, qos=1)
            print(f"published as {client.identifier}")

    # No error shows the password, and nothing is said twice.
    for url in ("mqtt://anna:secret@localhost", "ssl://anna:secret@localhost"):
        try:
            Client.from_url(url, username="otto")
        except ValueError as error:
            print(textwrap.fill(str(error), 80))


asyncio.run(main())
