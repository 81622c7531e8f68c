"""`python -m ferromqtt`: the test broker from the command line, and the wheel named `aiomqtt`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from ferromqtt import __version__, _wheel
from ferromqtt._stdout import write_line
from ferromqtt.testing import TestBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DESCRIPTION = """Run a broker for tests and first steps, until Ctrl-C. It speaks MQTT 3.1, 3.1.1
and 5.0, keeps everything in memory, and prints its URL as the first line on standard output.
Not for production: unless told otherwise it asks nobody for a password, and it forgets everything
when it ends."""

LARGEST_PORT = 0xFFFF


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    top, broker = parsers()
    options = vars(top.parse_args(arguments))
    if options.pop("command") == _wheel.COMMAND:
        return _wheel.run(**options)
    host, port = options.pop("host"), options.pop("port")
    if options.get("server_moved") and "server_reference" not in options:
        broker.error("argument --server-moved: needs --server-reference")
    options["users"] = dict(options.get("users", ()))
    options["journal_packets"] = 0  # nobody could look at it
    try:
        server = TestBroker(host, port, **options)
    except (TypeError, ValueError) as error:
        wrong_option(broker, error)
    return asyncio.run(run_broker(server))


def parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Define what the user may type, in all and behind `broker`."""
    top = argparse.ArgumentParser(prog="python -m ferromqtt", description="MQTT for asyncio.")
    top.add_argument("--version", action="version", version=f"ferromqtt {__version__}")
    commands = top.add_subparsers(title="commands", dest="command", required=True)
    broker = commands.add_parser(
        "broker",
        help="run a test broker",
        description=DESCRIPTION,
        argument_default=argparse.SUPPRESS,  # what is not given stays as the broker has it
    )
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
    add_access(broker.add_argument_group("who may do what"))
    add_limits(broker.add_argument_group("limits"))
    _wheel.add_command(commands)
    return top, broker


def add_access(group: argparse._ArgumentGroup) -> None:
    """Add the arguments that let in and refuse."""
    group.add_argument(
        "--user",
        dest="users",
        action="append",
        type=login,
        metavar="NAME:PASSWORD",
        help="let in who has this User Name and Password; may be repeated. Without it, everybody "
        "may connect. Other users of this machine can read a command line: take a password that "
        "is used for nothing else",
    )
    for name, metavar, refused in (
        ("--deny-connect", "[CODE:]CLIENT", "a Client Identifier; * at its end is any rest"),
        ("--deny-publish", "[CODE:]FILTER", "messages to topics that match"),
        ("--deny-subscribe", "[CODE:]FILTER", "subscriptions to a Topic Filter or a part of it"),
    ):
        group.add_argument(
            name,
            action="append",
            type=denial,
            metavar=metavar,
            help=f"refuse {refused}; may be repeated. The answer is Not authorized (0x87), or the "
            "Reason Code in front, as in 0x97:full",
        )
    group.add_argument(
        "--server-reference", metavar="HOST:PORT", help="send every client to another server"
    )
    group.add_argument(
        "--server-moved",
        action="store_true",
        help="send it there forever: Server moved instead of Use another server",
    )


def add_limits(group: argparse._ArgumentGroup) -> None:
    """Add the arguments for limits."""
    arguments: tuple[tuple[str, Callable[[str], object], str, str], ...] = (
        ("--maximum-qos", int, "QOS", "largest QoS of messages and subscriptions"),
        ("--retain-available", boolean, "BOOL", "whether messages can be retained"),
        ("--wildcard-subscription-available", boolean, "BOOL", "whether filters have wildcards"),
        ("--shared-subscription-available", boolean, "BOOL", "whether subscriptions are shared"),
        ("--subscription-identifier-available", boolean, "BOOL", "whether there are any"),
        ("--receive-maximum", int, "COUNT", "QoS 2 messages a client of 5.0 may have unreleased"),
        ("--inflight-window", int, "COUNT", "messages in flight to a client of 3.x"),
        ("--maximum-packet-size", int, "BYTES", "largest packet from a client"),
        ("--topic-alias-maximum", int, "COUNT", "Topic Aliases that a client of 5.0 may use"),
        ("--topic-aliases-out", int, "COUNT", "Topic Aliases that the broker assigns to one"),
        ("--server-keep-alive", int, "SECONDS", "Keep Alive for clients of 5.0"),
        ("--maximum-session-expiry-interval", int, "SECONDS", "longest, for clients of 5.0"),
        ("--assign-client-identifiers", boolean, "BOOL", "whether a client without gets one"),
        ("--response-information", str, "TEXT", "for clients that ask for it"),
        ("--maximum-connections", int, "COUNT", "connections with a client"),
        ("--maximum-sessions", int, "COUNT", "sessions, connected or not"),
        ("--maximum-session-bytes", int, "BYTES", "memory that all sessions take"),
        ("--maximum-subscriptions", int, "COUNT", "subscriptions of one session"),
        ("--maximum-queued-messages", int, "COUNT", "messages that wait for one session"),
        ("--maximum-queued-bytes", int, "BYTES", "memory that those take, and those in flight"),
        ("--maximum-retained-messages", int, "COUNT", "topics with a retained message"),
        ("--maximum-retained-bytes", int, "BYTES", "memory that retained messages take"),
        (
            "--maximum-non-publish-size",
            int,
            "BYTES",
            "largest packet other than PUBLISH, and largest before CONNECT is accepted",
        ),
        ("--maximum-output", int, "BYTES", "output for a client that does not read"),
    )
    for name, kind, metavar, text in arguments:
        group.add_argument(name, type=kind, metavar=metavar, help=text)


def port_number(text: str) -> int:
    """Read a port."""
    if not text.isdecimal() or int(text) > LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give 0 to {LARGEST_PORT}")
    return int(text)


def boolean(text: str) -> bool:
    """Read `true` or `false`."""
    if text not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"


def login(text: str) -> tuple[str, str]:
    """Read a User Name and a Password."""
    name, colon, password = text.partition(":")
    if not colon:
        # The text stays out of it: it may be a password.
        raise argparse.ArgumentTypeError("must read NAME:PASSWORD, with a colon between the two")
    return name, password


def denial(text: str) -> str | tuple[str, int]:
    """Read what is refused, and the Reason Code in front if there is one."""
    code, colon, what = text.partition(":")
    if not colon or not code.startswith("0x"):
        return text
    try:
        return what, int(code, 16)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{code} is no Reason Code: give one like 0x87") from None


def wrong_option(parser: argparse.ArgumentParser, error: Exception) -> NoReturn:
    """End as for any wrong argument, and name it as it was typed."""
    name, rest = str(error).split(maxsplit=1)
    parser.error(f"argument --{name.rstrip(':').replace('_', '-')}: {rest}")


async def run_broker(broker: TestBroker) -> int:
    """Run the broker until a signal comes."""
    stopped = asyncio.Event()
    with set_by_signals(stopped):  # before the URL is out: its reader may send a signal at once
        return await run_until(stopped, broker)


async def run_until(stopped: asyncio.Event, broker: TestBroker) -> int:
    """Run the broker until the event is set; print its URL, and in the end what it dropped."""
    try:
        await broker.start()
    except OSError as error:
        where = f"{broker.host}:{broker.port}"
        problem = f"cannot listen on {where}: {error}; choose another --port or --host"
        sys.stderr.write(f"ferromqtt: {problem}\n")
        return 1
    if not write_line(broker.url):
        await broker.stop()
        return 1
    await stopped.wait()
    stats = broker.stats()
    sys.stderr.write(
        f"ferromqtt: stopped, {stats.dropped} messages were dropped, "
        f"{stats.refused} requests were refused at a limit\n"
    )
    await broker.stop()
    return 0


@contextlib.contextmanager
def set_by_signals(stopped: asyncio.Event) -> Iterator[None]:
    """Have SIGINT (Ctrl-C) and SIGTERM set the event.

    The event loops of Windows have no `add_signal_handler`. There, Python's own handlers wake the
    loop.
    """
    loop = asyncio.get_running_loop()
    replaced = []
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stopped.set)
        except NotImplementedError:
            handler = signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopped.set))
            replaced.append((number, handler))
    try:
        yield
    finally:
        for number, handler in replaced:
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
