"""Connect with TLS. The server's certificate and name are checked unless you say otherwise.

It needs a server with a certificate:

    BROKER=mqtts://localhost:8883 CA_FILE=ca.pem python tls.py

It prints:

    connected with a context of one's own
    connected with TLS parameters
    a server that nobody vouches for is refused: certificate verify failed
"""

import asyncio
import os
import ssl
import sys
from functools import partial

from ferromqtt import Client, MqttError, TLSParameters

BROKER = os.environ.get("BROKER", "")
CA_FILE = os.environ.get("CA_FILE", "")  # the authorities to trust
if not CA_FILE:
    sys.exit("the environment variable CA_FILE is not set: it must name the file of an authority")


async def main() -> None:
    connect = partial(Client.from_url, BROKER)
    client = connect(tls_params=TLSParameters(ca_certs=CA_FILE))

    context = ssl.create_default_context(cafile=CA_FILE)
    async with connect(tls_context=context):
        print("connected with a context of one's own")

    # The same, and files are not read on the event loop. `certfile` and `keyfile` are for a server
    # that asks for a certificate of the client.
    async with client:
        print("connected with TLS parameters")

    try:
        async with connect(tls_params=TLSParameters()):
            pass
    except MqttError as error:
        if "certificate verify failed" in str(error):
            print("a server that nobody vouches for is refused: certificate verify failed")


try:
    asyncio.run(main())
except ValueError as error:
    sys.exit(f"BROKER: {error}")
