"""The test broker, and the commands."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

from ferromqtt import MqttError, _wheel
from ferromqtt import __main__ as commands
from ferromqtt.testing import CONNECT, PUBACK, PUBLISH, Chaos, TestBroker, run_seeds
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


@provokes(BROKER, "a fault keeps it down")
async def _(_: World) -> None:
    broker = TestBroker()
    broker.partition()
    await broker.client().__aenter__()


@provokes(BROKER, "is stopped: start it first")
async def _(_: World) -> None:
    broker = TestBroker()
    await broker.stop()
    broker.heal()


@provokes(BROKER, "times=0 proves nothing")
async def _(_: World) -> None:
    broker = TestBroker()
    async with broker.client() as client:
        broker.sends(PUBACK).hold()
        publishing = asyncio.create_task(client.publish("a", qos=1))
        await broker.wait_for("a")
        try:
            broker.check_published("b", times=0)
        finally:
            publishing.cancel()


@provokes(BROKER, "is not idle")
async def _(_: World) -> None:
    broker = TestBroker()
    async with broker.client() as client:
        broker.sends(PUBACK).hold()
        publishing = asyncio.create_task(client.publish("a", qos=1))
        await broker.wait_for("a")
        try:
            await broker.idle(within=0)
        finally:
            publishing.cancel()


@provokes(BROKER, "keep must be of")
async def _(_: World) -> None:
    await TestBroker().restart(keep=("everything",))


@provokes(BROKER, "is no duration such as '3s'")
async def _(_: World) -> None:
    await TestBroker().wait_for("a", within="3")


def making_faults(part: str, make: Callable[[TestBroker], object]) -> None:
    """Ask a broker for a fault, or for what happened."""

    @provokes(BROKER, part)
    async def fail(_: World) -> None:
        make(TestBroker())


making_faults("No client", lambda broker: broker.link("c").cut())
making_faults("must be a PacketKind", lambda broker: broker.sends(16))
making_faults("contradict each other", lambda broker: broker.sends(PUBACK).lose().hold())
making_faults("no server sends", lambda broker: broker.send("c", CONNECT))
making_faults("{packet} needs {field}", lambda broker: broker.send("c", PUBACK))
making_faults(
    "{packet} has no {field}", lambda broker: broker.send("c", PUBACK, packet_id=1, topic="a")
)
making_faults("PUBLISH of QoS 0", lambda broker: broker.send("c", PUBLISH, packet_id=1))
making_faults("from 0 to", lambda broker: broker.sends(PUBACK).delay(-1))
making_faults('is no duration such as "3s"', lambda broker: broker.link("c").latency("10001d"))
making_faults("must not be negative", lambda broker: broker.sends(PUBACK).garbage(-1))
making_faults("in the range 0-255", lambda broker: broker.sends(PUBACK).disconnect(256))
making_faults("after_bytes exclude", lambda b: b.sends(PUBACK).cut(before=True, after_bytes=1))
making_faults("direction must be", lambda broker: broker.link("c").stall("up"))
making_faults("bytes_per_second", lambda broker: broker.link("c").rate(0))
making_faults("side must be", lambda broker: broker.packets(side="up"))
making_faults("payload and json", lambda b: b.check_published("a", b"x", json=1))


making_faults("faults: {reason}", lambda broker: broker.play_faults("sends PUBACK"))
making_faults("an event reads", lambda broker: broker.play_faults("at noon restart"))
making_faults("must be a probability", lambda _: Chaos(0).faults(cuts=2))


async def _listens(_: Chaos) -> None:
    await TestBroker().start()


@provokes(BROKER, "{variable} must be a number of 64 bits")
async def _(world: World) -> None:
    world.monkeypatch.setenv("FERROMQTT_SEED", "many")
    run_seeds(_listens)


def playing(part: str, seeds: int | list[int]) -> None:
    """Play seeds where no loop runs."""

    @provokes(BROKER, part)
    async def fail(_: World) -> None:
        await asyncio.to_thread(run_seeds, _fails, seeds, failures=(ValueError,))


async def _fails(_: Chaos) -> None:
    raise LookupError("not there")


playing("a seed must be", [-1])
playing("there is no seed to play", 0)
playing("Seed {seed} was being played", 1)


@provokes(BROKER, "run_seeds runs loops of its own")
async def _(_: World) -> None:
    run_seeds(_listens)


@provokes(BROKER, "lies too deep to be read")
async def _(_: World) -> None:
    broker = TestBroker()
    await broker.publish("a", "[" * 100_000)
    broker.published("a")[0].json()


@provokes(BROKER, "the broker keeps no journal")
async def _(_: World) -> None:
    TestBroker(journal_packets=0).check_published("a")


@provokes(BROKER, "the journal holds the newest")
async def _(_: World) -> None:
    broker = TestBroker(journal_packets=1)
    await broker.publish("a")
    await broker.publish("a")
    broker.check_published("a", times=0)


@provokes(BROKER, "unix must be the path")
async def _(_: World) -> None:
    await TestBroker().listen(unix="")


@provokes(BROKER, "Seeds play without sockets")
async def _(_: World) -> None:
    await asyncio.to_thread(run_seeds, _listens)


@provokes(BROKER, "has no port yet")
async def _(_: World) -> None:
    _ = TestBroker().url


@provokes(BROKER, "makes no sense with a test broker")
async def _(_: World) -> None:
    TestBroker().client(bind_port=5)


@provokes(BROKER, "unix names a socket")
async def _(_: World) -> None:
    await TestBroker().listen(unix="/a", tls=True)


@provokes(BROKER, "is stopped: start it again")
async def _(_: World) -> None:
    broker = TestBroker()
    await broker.stop()
    await broker.listen()


@provokes(BROKER, "cannot make a certificate")
async def _(_: World) -> None:
    await TestBroker().listen("b\u00fccher", tls=True)


making("record_payloads says", record_payloads=True)


def replaying(part: str, text: bytes) -> None:
    """Make a broker of what is no recording, or none that can be replayed."""

    @provokes(BROKER, part)
    async def fail(world: World) -> None:
        path = world.folder / "session.mqttlog"
        path.write_bytes(text)
        TestBroker.from_recording(path)


HEADER = b'{"mqttlog":1,"payloads":true}\n'
replaying("cannot read the recording", b"\xff")
replaying("is no line of a recording", b"")
replaying("has version", b'{"mqttlog":2}\n')
replaying("has no payloads", b'{"mqttlog":1,"payloads":false}\n')
replaying(
    "cannot be replayed: {reason}",
    HEADER + b'{"at":0,"link":1,"to":"client","packet":"PUBLISH","left_out":99999999}\n',
)


@provokes(BROKER, "cannot record to")
async def _(world: World) -> None:
    path = world.folder / "session.mqttlog"
    _first = TestBroker(listen=False, record=path)
    TestBroker(listen=False, record=path)


@provokes(BROKER, "record names the recording")
async def _(world: World) -> None:
    path = world.folder / "session.mqttlog"
    path.write_bytes(HEADER)
    TestBroker.from_recording(path, record=path)


@provokes(BROKER, "makes no faults, has no sessions")
async def _(world: World) -> None:
    path = world.folder / "session.mqttlog"
    path.write_bytes(HEADER)
    TestBroker.from_recording(path).heal()


@provokes(BROKER, "the replay is not finished")
async def _(world: World) -> None:
    path = world.folder / "session.mqttlog"
    broker = TestBroker(listen=False, record=path, record_payloads=True)
    async with broker.client():
        pass
    TestBroker.from_recording(path).check_replay()


@provokes(BROKER, "the replay fails")
async def _(world: World) -> None:
    path = world.folder / "session.mqttlog"
    broker = TestBroker(listen=False, record=path, record_payloads=True)
    async with broker.client():
        pass
    broker = TestBroker.from_recording(path)
    with contextlib.suppress(MqttError):
        async with broker.client(protocol=5):
            pass
    broker.check_replay()


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
