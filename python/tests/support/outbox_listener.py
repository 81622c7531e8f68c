"""A program with an outbox that takes numbered messages, and is killed: it says which it has taken.

Arguments: port, folder, MQTT version, who acknowledges ("auto", "manual"), and whether it has an
outbox ("outbox", "none"). It begins when it reads a line. It writes `subscribed`, each payload with
its DUP flag, and `reported` when the log says that a message may have come twice.
"""

import asyncio
import logging
import os
import sys

from ferromqtt import Client, Outbox, ProtocolVersion
from support.killing import let_records_kill

HOUR = 3_600


def say(text: str) -> None:
    """Write a line as a whole, so that it is there however soon the program dies."""
    os.write(1, f"{text}\n".encode())


class Reports(logging.Handler):
    """Passes on that a message may have come twice."""

    def emit(self, record: logging.LogRecord) -> None:
        if "may have come twice" in record.getMessage():
            say("reported")


def make_client(port: int, folder: str, version: str, ack: str, store: str) -> Client:
    logger = logging.getLogger("listener")
    logger.addHandler(Reports())
    arguments = {
        "identifier": "listener",
        "manual_ack": ack == "manual",
        "logger": logger,
        "outbox": Outbox(folder) if store == "outbox" else None,
    }
    if version == "V5":
        return Client(
            "127.0.0.1",
            port,
            protocol=ProtocolVersion.V5,
            clean_start=False,
            session_expiry_interval=HOUR,
            **arguments,
        )
    return Client(
        "127.0.0.1", port, protocol=ProtocolVersion.V311, clean_session=False, **arguments
    )


async def main(client: Client, *, acknowledges: bool) -> None:
    async with client:
        await client.subscribe("numbers/#", qos=2)
        say("subscribed")
        async for message in client.messages:
            say(f"{bytes(message.payload).decode()} {int(message.dup)}")
            if acknowledges:
                message.ack()


if __name__ == "__main__":
    let_records_kill()
    sys.stdin.readline()
    port, folder, version, ack, store = sys.argv[1:]
    client = make_client(int(port), folder, version, ack, store)
    asyncio.run(main(client, acknowledges=ack == "manual"))
