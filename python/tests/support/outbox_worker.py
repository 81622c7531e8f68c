"""A program with an outbox that is killed: it enqueues numbers, and says which of them are stored.

Arguments: port, folder, QoS, which of its lives this is (0: it sends what is left, and ends).
"""

import asyncio
import itertools
import sys

from ferromqtt import Client, Outbox, ProtocolVersion, Reconnect

SOON = Reconnect(min=0.05, max=0.2)


async def main(port: int, folder: str, qos: int, life: int) -> None:
    client = Client(
        "127.0.0.1",
        port,
        identifier="worker",
        protocol=ProtocolVersion.V5 if qos == 2 else ProtocolVersion.V311,
        reconnect=SOON,
        outbox=Outbox(folder),
    )
    async with client:
        for number in itertools.count() if life else ():
            receipt = await client.enqueue("numbers", f"{life}:{number}", qos=qos)
            await receipt.stored()
            print(number, flush=True)
        while (stats := client.outbox_stats()) is None or stats.messages:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    port, folder, qos, life = sys.argv[1:]
    asyncio.run(main(int(port), folder, int(qos), int(life)))
