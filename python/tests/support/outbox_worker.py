"""A program with an outbox that is killed: it enqueues numbers, and says which of them are stored.

Arguments: port, folder, QoS, which of its lives this is (0: it sends what is left, says how many
are kept apart, and ends), and the MQTT version. It begins when it reads a line, or the end of its
input.
"""

import asyncio
import itertools
import sys

from ferromqtt import Client, Outbox, ProtocolVersion, Reconnect
from support.killing import let_records_kill

SOON = Reconnect(min=0.05, max=0.2)


async def main(port: int, folder: str, qos: int, life: int, version: str) -> None:
    client = Client(
        "127.0.0.1",
        port,
        identifier="worker",
        protocol=ProtocolVersion[version],
        reconnect=SOON,
        outbox=Outbox(folder),
    )
    async with client:
        for number in itertools.count() if life else ():
            receipt = await client.enqueue("numbers", f"{life}:{number}", qos=qos)
            await receipt.stored()
            print(number, flush=True)
        while has_more(client):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
        stats = client.outbox_stats()
        print(stats.quarantined if stats else 0, flush=True)


def has_more(client: Client) -> bool:
    stats = client.outbox_stats()
    return stats is None or stats.messages > stats.quarantined


if __name__ == "__main__":
    let_records_kill()
    sys.stdin.readline()
    port, folder, qos, life, version = sys.argv[1:]
    asyncio.run(main(int(port), folder, int(qos), int(life), version))
