"""Authenticate by a method of your own (MQTT 5.0, section 4.12), and again on the same connection.

It prints:

    challenge b'first'
    connected
    challenge b'first'
    authenticated again
"""

import asyncio
import hashlib
import hmac

from ferromqtt import Client
from ferromqtt.testing import TestBroker

SECRET = b"between you and the server"


def proof(challenge: bytes) -> bytes:
    return hmac.digest(SECRET, challenge, hashlib.sha256)


class Prover:
    """Proves that it knows the secret, without sending it."""

    async def begin(self) -> bytes | None:
        """Return the Authentication Data that an exchange begins with."""
        return b"station-7"

    async def __call__(self, challenge: bytes) -> bytes:
        """Return the answer to the server's data."""
        print("challenge", challenge)
        return proof(challenge)  # it may wait for a key store here


async def main() -> None:
    challenges = [(b"first", proof(b"first"))]  # a server of your own makes new ones
    async with (
        TestBroker(authentication=("PROOF", challenges)) as broker,
        Client(
            broker.host,
            broker.port,
            protocol=5,
            authentication_method="PROOF",
            authenticator=Prover(),
        ) as client,
    ):
        print("connected")
        await client.re_authenticate(timeout=5)
        print("authenticated again")


asyncio.run(main())
