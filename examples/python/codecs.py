"""Publish values, and take messages as values; a payload that is none is an item of its own.

It prints:

    room/hall/temp: 21.5 °C
    room/attic/temp: JSONDecodeError
    room/cellar/temp: 12.25 °C, battery at 80 %
    not sent: MismatchError: Reading.celsius must be float, not str
    by the module json: {'free': ['of', 'any', 'form']}
    by a codec of its own: ['one', 'two']
"""

import asyncio
import json
import sys
from dataclasses import dataclass

from ferromqtt import Client, PayloadError, json_codec
from ferromqtt.testing import TestBroker


@dataclass
class Reading:
    """What a sensor sends."""

    celsius: float
    battery: int | None = None


class Lines:
    """A codec is any object with these two methods; half of it is enough for one direction."""

    def encode(self, value: list[str]) -> str:
        """Return the payload."""
        return "\n".join(value)

    def decode(self, payload: bytes) -> list[str]:
        """Return the value."""
        return payload.decode().splitlines()


async def readings(client: Client) -> None:
    codec = json_codec(Reading)
    async with client.subscription("room/+/temp", qos=1, codec=codec) as messages:
        await client.publish("room/hall/temp", Reading(21.5), qos=1, codec=codec)
        await client.publish("room/attic/temp", "too hot", qos=1)
        await client.publish("room/cellar/temp", Reading(12.25, battery=80), qos=1, codec=codec)
        async for message in messages:
            if message.error is not None:
                # The loop goes on. The codec's own exception may show the payload: log with care.
                print(f"{message.topic}: {type(message.error.__cause__).__name__}")
                continue
            reading = message.value  # type checkers know that it is a Reading
            battery = f", battery at {reading.battery} %" if reading.battery else ""
            print(f"{message.topic}: {reading.celsius} °C{battery}")
            if battery:
                break

    wrong = Reading("hot")  # type: ignore[arg-type]  # the mistake shown
    try:
        await client.publish("room/hall/temp", wrong, codec=codec)
    except PayloadError as error:
        print(f"not sent: {type(error.__cause__).__name__}: {error.__cause__}")


async def other_codecs(client: Client) -> None:
    async with client.subscription("anything", codec=json) as messages:
        await client.publish("anything", {"free": ["of", "any", "form"]}, codec=json)
        print("by the module json:", (await anext(messages)).value)
    async with client.subscription("lines", codec=Lines()) as lines:
        await client.publish("lines", ["one", "two"], codec=Lines())
        print("by a codec of its own:", (await anext(lines)).value)


async def main(host: str, port: int) -> None:
    async with Client(host, port) as client:
        await readings(client)
        await other_codecs(client)


async def with_a_broker() -> None:
    async with TestBroker() as broker:
        await main(broker.host, broker.port)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
    else:
        asyncio.run(with_a_broker())
