"""Messages survive the program: it is killed, and its next start sends what it had stored.

The station has no server to talk to yet. It stores three readings, and is killed. Started again,
with the same folder, it finds a server.

It prints:

    station: stored 28.4
    station: stored 28.5
    station: stored 28.9
    the station was killed
    station: all readings are sent
    the server has: 28.4, 28.5, 28.9
"""

import asyncio
import logging
import os
import signal
import sys
import tempfile

from ferromqtt import Client, Outbox, Reconnect
from ferromqtt.testing import TestBroker

SOON = Reconnect(min=0.05, max=0.05)
NO_SERVER = 1


async def station(port: int, folder: str) -> None:
    """Store readings and die, where there is no server; otherwise send what is there."""
    logging.getLogger("ferromqtt").setLevel(logging.ERROR)  # it warns that there is no server
    outbox = Outbox(folder)
    async with Client("127.0.0.1", port, reconnect=SOON, outbox=outbox) as client:
        if port == NO_SERVER:
            for level in (28.4, 28.5, 28.9):
                receipt = await client.enqueue("site/7/level", level, qos=1)
                await receipt.stored()  # it survives from here on
                print("station: stored", level, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        await client.wait_connected()
        await client.drain(timeout=30)
        print("station: all readings are sent", flush=True)


async def start_station(port: int, folder: str) -> int:
    """Run the station in a process of its own; return how it ended."""
    arguments = [__file__, str(port), folder]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    return await process.wait()


async def main() -> None:
    """Start the station without a server, and again with one."""
    with tempfile.TemporaryDirectory() as folder:
        if await start_station(NO_SERVER, folder) == -signal.SIGKILL:
            print("the station was killed", flush=True)
        async with TestBroker() as broker, broker.client() as watcher:
            await watcher.subscribe("site/#", qos=1)
            await start_station(broker.port, folder)
            levels = [await anext(watcher.messages) for _ in range(3)]
        print("the server has:", ", ".join(level.payload.decode() for level in levels))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(station(int(sys.argv[1]), sys.argv[2]))
    else:
        asyncio.run(main())
