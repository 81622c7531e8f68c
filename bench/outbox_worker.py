"""The rows of the outbox's benchmark that are Python: one process, one thing, one line of JSON.

`outbox.py` starts it. Enqueuing does what `outbox/src/client.rs` does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from ferromqtt import Client, Outbox, OutgoingQueue, Receipt

AHEAD = 4_000
BLOCK = 100
WARM_UP = 20_000
CYCLE = 4_096
NOWHERE = 9
"""A port where nobody listens."""


class Peer:
    """The far side, which acknowledges as many messages as it is allowed to."""

    def __init__(self, program: Path) -> None:
        """Start it."""
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([program, "gate"], stdin=pipe, stdout=pipe, bufsize=0)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self.port = int(self._output.readline())
        self._allowed = 0

    def let_through(self, messages: int) -> None:
        """Have it acknowledge so many more."""
        self._allowed += messages
        self._input.write(self._allowed.to_bytes(8, "big"))

    def check(self, messages: int) -> None:
        """Every message has arrived once, in order."""
        report = json.loads(self._output.readline())
        self._input.close()
        self._process.wait()
        if report != {"messages": messages, "lost": 0, "reordered": 0, "duplicates": 0}:
            sys.exit(f"the far side reports {report}")


class Flow:
    """The program."""

    def __init__(self, client: Client, peer: Peer, size: int, *, has_outbox: bool) -> None:
        """Begin with nothing enqueued."""
        self._client = client
        self._peer = peer
        self._has_outbox = has_outbox
        self._payloads = [number.to_bytes(4, "big").ljust(size, b".") for number in range(CYCLE)]
        self._blocks: deque[list[Receipt]] = deque()
        self._enqueued = 0

    async def run(self, messages: int) -> None:
        """Enqueue so many messages; ends when all are acknowledged."""
        pending: list[Receipt] = []
        for _ in range(messages // BLOCK):
            if len(self._blocks) * BLOCK >= AHEAD:
                pending += await self._store_block()
            self._blocks.append([await self._enqueue() for _ in range(BLOCK)])
        while self._blocks:
            pending += await self._store_block()
        for receipt in pending:
            await receipt

    async def _enqueue(self) -> Receipt:
        payload = self._payloads[self._enqueued % CYCLE]
        self._enqueued += 1
        return await self._client.enqueue("site/7/level", payload, qos=1)

    async def _store_block(self) -> list[Receipt]:
        block = self._blocks.popleft()
        if self._has_outbox:
            await block[-1].stored()
        self._peer.let_through(len(block))
        return block


def written() -> int:
    """Return the bytes of all calls that write."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("wchar:")).split()[1])


def cpu() -> float:
    """Return the seconds of CPU of all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def enqueue(kind: str, folder: str, size: int, messages: int, peer: Path) -> dict[str, Any]:
    """Measure one client, with an outbox or with a queue in memory."""
    far = Peer(peer)
    has_outbox = kind == "outbox"
    bounds: dict[str, Any] = {"maxsize": None, "maxbytes": None}
    keeps: dict[str, Any] = (
        {"outbox": Outbox(folder, **bounds)}
        if has_outbox
        else {"outgoing_queue": OutgoingQueue(**bounds)}
    )
    async with Client("127.0.0.1", far.port, max_inflight_messages=100, **keeps) as client:
        flow = Flow(client, far, size, has_outbox=has_outbox)
        await flow.run(WARM_UP)
        before = (time.perf_counter(), cpu(), written())
        await flow.run(messages)
        after = (time.perf_counter(), cpu(), written())
    far.check(WARM_UP + messages)
    wall, used, bytes_ = (late - early for late, early in zip(after, before, strict=True))
    return {"wall": wall, "cpu": used, "written": bytes_}


async def open_(folder: str, messages: int) -> dict[str, Any]:
    """Enter a client whose outbox holds so many messages."""
    outbox = Outbox(folder, maxsize=None, maxbytes=None)
    begun = time.perf_counter()
    async with Client("127.0.0.1", NOWHERE, reconnect=True, outbox=outbox) as client:
        opened = time.perf_counter() - begun
        stats = client.outbox_stats()
        if stats is None or stats.messages != messages:
            sys.exit(f"{stats} instead of {messages} messages")
    return {"opened": opened}


def main() -> None:
    """Measure once and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("outbox", "queue", "open"))
    parser.add_argument("folder")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--peer", type=Path)
    of = parser.parse_args()
    if of.kind == "open":
        result = asyncio.run(open_(of.folder, of.messages))
    else:
        result = asyncio.run(enqueue(of.kind, of.folder, of.size, of.messages, of.peer))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
