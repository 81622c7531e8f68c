"""`python -m ferromqtt broker`: the test broker from the command line."""

import argparse
import asyncio
import signal
import sys

from ferromqtt.testing import TestBroker

DESCRIPTION = """Run a broker for tests and first steps, until Ctrl-C. It speaks MQTT 3.1, 3.1.1
and 5.0, keeps everything in memory, and prints its URL as the first line on standard output.
Not for production: it asks nobody for a password and forgets everything when it ends."""

LARGEST_PORT = 0xFFFF


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser().parse_args(arguments)
    return asyncio.run(run_broker(options.host, options.port))


def parser() -> argparse.ArgumentParser:
    """Define what the user may type."""
    top = argparse.ArgumentParser(prog="python -m ferromqtt", description="MQTT for asyncio.")
    commands = top.add_subparsers(title="commands", required=True)
    broker = commands.add_parser("broker", help="run a test broker", description=DESCRIPTION)
    broker.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, reached from this machine only)",
    )
    broker.add_argument(
        "--port",
        type=port_number,
        default=0,
        help="port to listen on (default: %(default)s, which takes a free one)",
    )
    return top


def port_number(text: str) -> int:
    """Read a port."""
    if not text.isdecimal() or int(text) > LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give 0 to {LARGEST_PORT}")
    return int(text)


async def run_broker(host: str, port: int) -> int:
    """Run the broker until a signal comes."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Before the URL is out: who reads it may send the signal at once.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    broker = TestBroker(host, port)
    try:
        await broker.start()
    except OSError as error:
        problem = f"cannot listen on {host}:{port}: {error}; choose another --port or --host"
        sys.stderr.write(f"ferromqtt: {problem}\n")
        return 1
    sys.stdout.write(f"{broker.url}\n")
    sys.stdout.flush()
    await stopped.wait()
    await broker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
