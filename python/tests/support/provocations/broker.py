"""The test broker, and the commands."""

import asyncio
import socket
from pathlib import Path

from ferromqtt import __main__ as commands
from ferromqtt import _wheel
from ferromqtt.testing import TestBroker
from support.provocations.registry import BROKER, COMMANDS, Given, World, provokes


def making(part: str, *args: Given, **given: Given) -> None:
    """Make a broker."""

    @provokes(BROKER, part)
    async def fail(_: World) -> None:
        TestBroker(*args, **given)


making("has no option", maximum=1)
making("{option} must be {type}", maximum_qos="1")
making("{option} must be in the range", maximum_qos=3)
making("port must be in the range", port=-1)
making("must be more than 0", handshake_timeout=0)
making("lone surrogate", server_reference="\ud800")
making("U+0000", server_reference="\0")
making("{option}: {filter}", deny_publish=["a#"])
making("is no Reason Code of", deny_connect=[("a", 5)])
making("cannot be answered", deny_publish=[("a", 0x10)])
making("bytes long", authentication=("method", [(b"", b"." * 65536)]))
making("listen=False leaves", port=1883, listen=False)


@provokes(BROKER, "is running already")
async def _(_: World) -> None:
    async with TestBroker() as broker:
        await broker.start()


@provokes(BROKER, "has no address")
async def _(_: World) -> None:
    _ = TestBroker(listen=False).url


@provokes(BROKER, "serves another event loop")
async def _(_: World) -> None:
    broker = TestBroker()

    async def use() -> None:
        async with broker.client():
            pass

    other = asyncio.Runner()
    try:
        await asyncio.to_thread(other.run, use())
        await use()
    finally:
        await asyncio.to_thread(other.close)


@provokes(BROKER, "it is stopped")
async def _(_: World) -> None:
    broker = TestBroker()
    await broker.stop()
    await broker.client().__aenter__()


@provokes(BROKER, "has no port yet")
async def _(_: World) -> None:
    _ = TestBroker().url


@provokes(BROKER, "makes no sense with a test broker")
async def _(_: World) -> None:
    TestBroker().client(bind_port=5)


@provokes(BROKER, "unix names a socket")
async def _(_: World) -> None:
    await TestBroker().listen(unix="/a", tls=True)


@provokes(BROKER, "The test broker is stopped")
async def _(_: World) -> None:
    broker = TestBroker()
    await broker.stop()
    await broker.listen()


@provokes(BROKER, "cannot make a certificate")
async def _(_: World) -> None:
    await TestBroker().listen("b\u00fccher", tls=True)


def running(part: str, *arguments: str) -> None:
    """Run `python -m ferromqtt`, in this process."""

    @provokes(COMMANDS, part)
    async def fail(_: World) -> None:
        raise SystemExit(commands.main(list(arguments)))


running("is not a port", "broker", "--port", "x")
running("neither true nor false", "broker", "--retain-available", "perhaps")
running("must read NAME:PASSWORD", "broker", "--user", "secret")
running("is no Reason Code", "broker", "--deny-connect", "0xzz:a")
running("needs --server-reference", "broker", "--server-moved")
running("argument --{option}: must be", "broker", "--maximum-qos", "3")
running("not a release of aiomqtt", "aiomqtt-wheel", "--version", "3.0")
running("cannot write the wheel: {reason}", "aiomqtt-wheel", "--output", "/dev/null/x")


@provokes(COMMANDS, "cannot write to standard output")
async def _(world: World) -> None:
    with open("/dev/full", "w") as full:  # noqa: ASYNC230, PTH123 - a device
        world.monkeypatch.setattr("sys.stdout", full)
        raise SystemExit(commands.main(["aiomqtt-wheel", "--output", str(world.folder)]))


@provokes(COMMANDS, "has no Python files")
async def _(world: World) -> None:
    world.monkeypatch.setattr(_wheel, "SOURCES", Path("/nowhere"))
    raise SystemExit(commands.main(["aiomqtt-wheel", "--output", str(world.folder)]))


@provokes(COMMANDS, "cannot listen on")
async def _(_: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        broker = TestBroker(port=other.getsockname()[1])
        raise SystemExit(await commands.run_until(asyncio.Event(), broker))


@provokes(COMMANDS, "ferromqtt: stopped")
async def _(_: World) -> None:
    stopped = asyncio.Event()
    stopped.set()
    raise SystemExit(await commands.run_until(stopped, TestBroker()))
