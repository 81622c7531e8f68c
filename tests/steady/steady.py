"""Publishes numbers at a steady rate and receives them again, with the asyncio client.

`python steady.py '{"servers": ["127.0.0.1:1883"], "identifier": "a", "topic": "b", "version": 4,
"qos": [1], "rate": 50}'` writes a line for each thing that happens: `sent 7`, `acknowledged 7`,
`failed 7 TEXT`, `received 7`, `connected`, `lost TEXT`, and once a second `tasks 5`. A line `stop`
on standard input ends publishing, and `quit` the program. `steady.rs` in `tests/rust-client` is the
same with the tokio client, and `worker.py` reads both.

`version` is 4 for MQTT 3.1.1 and 5 for 5.0; `qos` is taken by turns, message by message; `rate` is
how many messages are published a second, whether there is a connection or not.
"""

import asyncio
import json
import logging
import sys
from collections import deque

from ferromqtt import Client, MqttError, OutgoingQueue, ProtocolVersion, Receipt, Reconnect
from ferromqtt.events import Connected, Disconnected

TICK = 0.02
"""Seconds between two bursts of messages, and between two writes to standard output."""


class Steady:
    """One client, and what is said of it."""

    def __init__(self, settings: dict) -> None:
        self.settings = settings
        self.lines: list[str] = []
        self.stopped = asyncio.Event()
        self.quit = asyncio.Event()
        self.receipts: deque[tuple[int, Receipt]] = deque()
        self.accepted = asyncio.Event()

    def client(self) -> Client:
        host, port = self.settings["servers"][0].split(":")
        version = ProtocolVersion(self.settings["version"])
        session = (
            {"clean_start": False, "session_expiry_interval": 3600}
            if version is ProtocolVersion.V5
            else {"clean_session": False}
        )
        return Client(
            host,
            int(port),
            servers=self.settings["servers"][1:],
            identifier=self.settings["identifier"],
            protocol=version,
            timeout=self.settings.get("timeout", 5),
            reconnect=Reconnect(min=0.2, max=1, initial=True),
            outgoing_queue=OutgoingQueue(maxsize=100_000),
            **session,
        )

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self.obey)
        client = self.client()
        others = [asyncio.create_task(it) for it in (self.watch(client), self.write())]
        subscription = client.subscription(self.settings["topic"], qos=max(self.settings["qos"]))
        async with subscription as messages, client, asyncio.TaskGroup() as tasks:
            await client.wait_connected()
            reading = tasks.create_task(self.receive(messages))
            following = tasks.create_task(self.follow())
            await self.publish(client)
            await self.quit.wait()
            reading.cancel()
            following.cancel()
            await messages.unsubscribe()
        for other in others:
            other.cancel()
        self.flush()

    def obey(self) -> None:
        for line in sys.stdin.buffer.raw.read(100).decode().split():
            if line == "quit":
                self.quit.set()
            self.stopped.set()

    async def publish(self, client: Client) -> None:
        topic, qos = self.settings["topic"], self.settings["qos"]
        begin = asyncio.get_running_loop().time()
        number = 0
        while not self.stopped.is_set():
            due = (asyncio.get_running_loop().time() - begin) * self.settings["rate"]
            while number < due:
                self.lines.append(f"sent {number}")
                receipt = await client.enqueue(topic, str(number), qos=qos[number % len(qos)])
                self.receipts.append((number, receipt))
                self.accepted.set()
                number += 1
            await asyncio.sleep(TICK)

    async def follow(self) -> None:
        """Say what became of each message."""
        while True:
            self.accepted.clear()
            while self.receipts:
                number, receipt = self.receipts.popleft()
                try:
                    await receipt
                except MqttError as error:
                    self.lines.append(f"failed {number} {error}")
                else:
                    self.lines.append(f"acknowledged {number}")
            await self.accepted.wait()

    async def receive(self, messages) -> None:  # noqa: ANN001 - as it comes from the client
        async for message in messages:
            self.lines.append(f"received {message.payload.decode()}")

    async def watch(self, client: Client) -> None:
        async for event in client.events():
            match event:
                case Connected():
                    self.lines.append("connected")
                case Disconnected(cause=cause):
                    self.lines.append(f"lost {cause}")

    async def write(self) -> None:
        loop = asyncio.get_running_loop()
        told = loop.time()
        while True:
            if loop.time() >= told + 1:
                told = loop.time()
                self.lines.append(f"tasks {len(asyncio.all_tasks())}")
            self.flush()
            await asyncio.sleep(TICK)

    def flush(self) -> None:
        if self.lines:
            sys.stdout.write("\n".join(self.lines) + "\n")
            sys.stdout.flush()
            self.lines.clear()


async def main() -> None:
    """Do what the command line says."""
    await Steady(json.loads(sys.argv[1])).run()


logging.getLogger("ferromqtt").setLevel(logging.ERROR)  # lines say how connections end
asyncio.run(main())
