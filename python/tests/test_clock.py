"""The native core and the test broker take the time from the loop that they run on."""

import asyncio
import gc
import math
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import looptime
import pytest
import uvloop

from ferromqtt import Client, MqttError, MqttTimeoutError, ProtocolVersion, TLSParameters
from ferromqtt._native import Broker, Core
from ferromqtt._transport import tls
from ferromqtt.properties import PacketTypes, Properties
from ferromqtt.testing import TestBroker, VirtualLoop
from support import packets
from support.clients import receive
from support.loops import FACTORIES, LoopRunner
from support.wire import Wire

T = TypeVar("T")


class CoarseLoop(VirtualLoop):
    """Its clock shows seconds since 1970, where floats have steps of 238 nanoseconds."""

    def time(self) -> float:
        return 1.7e9 + super().time()


VIRTUAL: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "VirtualLoop": VirtualLoop,
    "coarse": CoarseLoop,
    "looptime": looptime.new_event_loop,
}


@pytest.fixture(params=VIRTUAL)
def factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return VIRTUAL[request.param]


def play(
    factory: Callable[[], asyncio.AbstractEventLoop], main: Callable[[], Coroutine[Any, Any, T]]
) -> T:
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


def elapsed(since: float) -> float:
    return asyncio.get_running_loop().time() - since


def count(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


# A client and a broker in virtual time


def test_an_hour_of_keep_alive_takes_no_time(
    factory: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    """Fails when the core reads another clock than the loop's: then no PINGREQ is ever due."""

    async def main() -> float:
        async with TestBroker() as broker, Client(broker.host, broker.port, keepalive=60) as client:
            begin = asyncio.get_running_loop().time()
            await asyncio.sleep(3630)
            await client.publish("a", "b", qos=1)
            return elapsed(begin)

    with caplog.at_level("DEBUG", "ferromqtt"):
        assert play(factory, main) == pytest.approx(3630)
    assert (count(caplog, "sent PINGREQ"), count(caplog, "received PINGRESP")) == (60, 60)


def test_an_hour_of_keep_alive_takes_few_turns_of_the_loop() -> None:
    turns = 0

    class Counted(CoarseLoop):
        def _run_once(self) -> None:
            nonlocal turns
            turns += 1
            super()._run_once()  # type: ignore[misc] # asyncio's own

    async def main() -> int:
        async with TestBroker() as broker, Client(broker.host, broker.port, keepalive=60):
            before = turns
            await asyncio.sleep(3600)
            return turns - before

    assert play(Counted, main) < 60 * 20


def test_time_limits_of_calls_are_virtual(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> float:
        wire = Wire(keepalive=0)
        await wire.connect()
        begin = asyncio.get_running_loop().time()
        with pytest.raises(MqttTimeoutError):
            await wire.client.publish("a", "b", qos=1, timeout=300)
        end = elapsed(begin)
        wire.lose()
        return end

    assert play(factory, main) == pytest.approx(300)


def test_the_time_to_connect_is_virtual(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await reader.read()
        writer.close()

    async def main() -> float:
        async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            begin = asyncio.get_running_loop().time()
            with pytest.raises(MqttTimeoutError):
                async with Client(host, port, timeout=3600):
                    pass
            return elapsed(begin)

    assert play(factory, main) == pytest.approx(3600)


def test_a_silent_peer_is_given_up_in_virtual_time(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> float:
        wire = Wire(keepalive=60)
        await wire.connect()
        begin = asyncio.get_running_loop().time()
        with pytest.raises(MqttError, match="within the Keep Alive time"):
            await wire.client.publish("a", "b", qos=1, timeout=math.inf)
        end = elapsed(begin)
        wire.lose()
        return end

    assert play(factory, main) == pytest.approx(90)


def test_the_broker_gives_up_a_silent_client_in_virtual_time(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> float:
        async with TestBroker() as broker:
            reader, writer = await asyncio.open_connection(broker.host, broker.port)
            connect = packets.string("MQTT") + b"\x04\x02" + (600).to_bytes(2) + packets.string("c")
            writer.write(packets.encode(0x10, connect))
            assert await reader.readexactly(4) == packets.CONNACK_311
            begin = asyncio.get_running_loop().time()
            assert await reader.read() == b""
            end = elapsed(begin)
            writer.close()
            await writer.wait_closed()
            return end

    assert play(factory, main) == pytest.approx(900)


def test_messages_expire_in_virtual_time(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """What waits in the broker for a client that is away: one message of a minute, one of a day."""

    async def main() -> tuple[bytes | None, Any]:
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 0xFFFF_FFFF
        async with TestBroker() as broker:
            away = Client(
                broker.host,
                broker.port,
                identifier="away",
                protocol=ProtocolVersion.V5,
                clean_start=False,
                properties=kept,
            )
            async with away:
                await away.subscribe("t", qos=1)
            async with Client(broker.host, broker.port, protocol=ProtocolVersion.V5) as client:
                for payload, seconds in (("minute", 60), ("day", 86_400)):
                    properties = Properties(PacketTypes.PUBLISH)
                    properties.MessageExpiryInterval = seconds
                    await client.publish("t", payload, qos=1, properties=properties)
            await asyncio.sleep(3600)
            async with away:
                message = await receive(away)
            return message.payload, message.properties.MessageExpiryInterval

    assert play(factory, main) == (b"day", 82_800)


def test_reading_certificates_takes_no_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read in a thread that is not one of the loop's executor."""

    async def main() -> float:
        loop, asked, answered = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def read(_: TLSParameters) -> None:
            loop.call_soon_threadsafe(asked.set)
            answered.wait(20)
            raise ValueError("read")

        async def answer() -> None:
            await asked.wait()
            answered.set()

        monkeypatch.setattr(tls, "_make", read)
        answering = asyncio.create_task(answer())
        with pytest.raises(ValueError, match="read"):
            async with Client("localhost", tls_params=TLSParameters(), timeout=1):
                pass
        await answering
        return loop.time()

    assert play(VirtualLoop, main) == 0


def test_a_client_goes_from_a_virtual_loop_to_a_real_one_and_back() -> None:
    wire = Wire(keepalive=60)

    async def main() -> list[bool]:
        await wire.connect()
        publishing = asyncio.create_task(wire.client.publish("a", "b", qos=1))
        await asyncio.sleep(0)
        states = [wire.core.connected]
        wire.feed(packets.ack(packets.PUBACK, wire.core.stats()["attempts"]))
        await publishing
        if isinstance(asyncio.get_running_loop(), VirtualLoop):
            await asyncio.sleep(3600)  # nobody answers: the connection ends within
        else:
            wire.lose()
        return [*states, wire.core.connected]

    for factory in (VirtualLoop, *FACTORIES.values(), VirtualLoop):
        assert play(factory, main) == [True, False]
        wire.lose()


def test_a_loop_and_its_broker_are_collected() -> None:
    async def main() -> tuple[weakref.ref[Any], ...]:
        broker = Broker()
        loop = asyncio.get_running_loop()
        broker.run_on(loop)
        loop.broker = broker  # type: ignore[attr-defined] # a cycle
        return (weakref.ref(loop),)

    references = play(VirtualLoop, main)
    gc.collect()
    assert [reference() for reference in references] == [None]


# Which clock it is


def test_the_clocks_of_asyncio_and_uvloop_cost_no_call(run: LoopRunner) -> None:
    """A `time` that is replaced after the connection began is never called by the core."""
    callers: set[str] = set()

    async def main() -> None:
        loop, wire = asyncio.get_running_loop(), Wire(keepalive=1)
        original = loop.time

        def watched() -> float:
            callers.add(Path(sys._getframe(1).f_code.co_filename).name)
            return original()

        await wire.connect()
        loop.time = watched  # type: ignore[method-assign]
        publishing = asyncio.create_task(wire.client.publish("a", "b", qos=1))
        await asyncio.sleep(0)
        wire.feed(packets.ack(packets.PUBACK, 1))
        await publishing
        await wire.client.publish("a", "b")
        wire.message(b"x")
        assert (await receive(wire.client)).payload == b"x"
        with pytest.raises(MqttError, match="within the Keep Alive time"):  # a timer has fired
            await wire.client.publish("a", "b", qos=1)
        wire.lose()
        del loop.time

    run(main)
    assert callers <= {"base_events.py", "timeouts.py"}  # asyncio's own


class Overriding(asyncio.SelectorEventLoop):
    """The system's clock, in Python, which counts who asks."""

    calls = 0

    def time(self) -> float:
        self.calls += 1
        return super().time()


class Plain(asyncio.SelectorEventLoop):
    """Overrides nothing that concerns time."""


@pytest.mark.parametrize(
    ("factory", "asks"),
    [
        (asyncio.SelectorEventLoop, False),
        (Plain, False),
        (uvloop.new_event_loop, False),
        (Overriding, True),
        (VirtualLoop, True),
        (looptime.new_event_loop, True),
    ],
)
def test_only_a_clock_of_its_own_is_asked(
    factory: Callable[[], asyncio.AbstractEventLoop], asks: bool
) -> None:
    class AskedError(Exception):
        pass

    def watched() -> float:
        raise AskedError

    loop = factory()
    core = Core(1)
    core.begin(loop, "somewhere")
    loop.time = watched  # type: ignore[method-assign]
    try:
        core.count_line("line", 1)
        asked = False
    except AskedError:
        asked = True
    finally:
        del loop.time
        loop.close()
    assert asked == asks


def test_a_clock_that_is_replaced_on_one_loop_is_asked() -> None:
    loop = asyncio.SelectorEventLoop()
    times = iter([5.0, 5.0])
    loop.time = lambda: next(times)  # type: ignore[method-assign]
    Core(1).begin(loop, "somewhere")
    assert list(times) == []
    loop.close()


class Clock:
    """As much of a loop as a core needs to begin."""

    def __init__(self, *times: object) -> None:
        self.times = list(times)

    def time(self) -> Any:  # noqa: ANN401 - whatever a loop may return
        time = self.times.pop(0)
        if isinstance(time, BaseException):
            raise time
        return time


def begun(*times: object) -> tuple[Core, Clock]:
    core, clock = Core(1), Clock(0.0, 0.0, *times)
    core.begin(clock, "somewhere")  # type: ignore[arg-type]
    return core, clock


def test_a_time_may_be_any_number() -> None:
    core, clock = begun(1, True, 2.5, -1e11)
    while clock.times:
        assert core.count_line(f"line {len(clock.times)}", 1) == 1


@pytest.mark.parametrize(
    ("time", "error", "text"),
    [
        (None, TypeError, "time\\(\\) must return a number of seconds, not NoneType"),
        ("1", TypeError, "time\\(\\) must return a number of seconds, not str"),
        (math.nan, ValueError, "time\\(\\) must return a finite number of seconds, not NaN"),
        (-math.inf, ValueError, "time\\(\\) must return a finite number of seconds, not -inf"),
        (1e300, ValueError, "time\\(\\) must return a finite number of seconds, not 1e300"),
        (10**400, TypeError, "time\\(\\) must return a number of seconds, not int"),
        (RuntimeError("stopped"), RuntimeError, "stopped"),
    ],
)
def test_a_clock_that_does_not_tell_the_time_is_an_error(
    time: object, error: type[Exception], text: str
) -> None:
    core, _ = begun(time)
    with pytest.raises(error, match=text):
        core.count_line("line", 1)
    with pytest.raises(error, match=text):
        Core(1).begin(Clock(time), "somewhere")  # type: ignore[arg-type]
    broker = Broker()
    broker.run_on(Clock(0, time))  # type: ignore[arg-type]
    with pytest.raises(error, match=text):
        broker.open()


def test_a_connection_that_ends_under_a_broken_clock_has_ended() -> None:
    class Breaking(VirtualLoop):
        broken = False

        def time(self) -> float:
            if self.broken and sys._getframe(1).f_code.co_name == "connection_lost":
                raise RuntimeError("broken")
            return super().time()

    async def main() -> bool:
        wire = Wire()
        await wire.connect()
        asyncio.get_running_loop().broken = True  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError, match="broken"):
            wire.lose()
        return wire.core.idle

    assert play(Breaking, main)


def test_a_line_is_quiet_by_the_clock_of_the_loop_which_never_goes_back() -> None:
    """A line that repeats is due again after ten quiet seconds; set back, the clock goes on."""
    core, clock = begun(1e6, 1e6, 1e6, 5, 14.9, 25.1)
    assert core.count_line("line", 1) == 1
    assert core.count_line("line", 1) == 2
    assert core.count_line("line", 1) is None
    assert core.count_line("line", 1) == 4  # set back: no time has passed
    assert core.count_line("line", 1) is None  # 9.9 s later
    assert core.count_line("line", 1) == 6  # and 10.2 s
    assert not clock.times


def test_the_clock_may_run_python_code_that_uses_the_client() -> None:
    """No borrow of the core is held while the loop is asked."""

    class Meddling(VirtualLoop):
        wire: Wire | None = None

        def time(self) -> float:
            wire, self.wire = self.wire, None
            if wire is not None:
                wire.core.flush()
                _ = wire.core.connected, wire.core.address
                gc.collect(0)
                self.wire = wire
            return super().time()

    async def main() -> int:
        loop = asyncio.get_running_loop()
        wire = Wire()
        await wire.connect()
        loop.wire = wire  # type: ignore[attr-defined]
        publishing = asyncio.create_task(wire.client.publish("a", "b", qos=1))
        await asyncio.sleep(0)
        wire.feed(packets.ack(packets.PUBACK, 1))
        await publishing
        await wire.client.publish("a", "b")
        await asyncio.sleep(3600)
        loop.wire = None  # type: ignore[attr-defined]
        wire.lose()
        return len(wire.transport.written)

    assert play(Meddling, main) >= 3


def test_a_broker_that_is_woken_for_its_earliest_deadline_does_what_is_due() -> None:
    """Even if the loop calls back a step of its clock too early, and then stands still."""
    broker = Broker(handshake_timeout=10)
    broker.run_on(Clock(0.0, 0.0, 0.0, 9.999999, 9.999999))  # type: ignore[arg-type]
    number = broker.open()
    assert broker.timeout() == 10
    broker.handle_timeout()
    assert broker.take_closed() == [(number, False)]


# looptime's plugin


LOOPTIME = """
import asyncio
import pytest
from ferromqtt import Client
from ferromqtt.testing import TestBroker

@pytest.mark.asyncio
@pytest.mark.looptime(start=0)
async def test_an_hour():
    async with TestBroker() as broker, Client(broker.host, broker.port, keepalive=60) as client:
        await asyncio.sleep(3600)
        await client.publish("a", "b", qos=1)
    assert asyncio.get_running_loop().time() == 3600
"""


def test_a_client_is_right_under_the_plugin_of_looptime(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\ntimeout = 50\n"
    )
    (tmp_path / "test_it.py").write_text(LOOPTIME)
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", tmp_path)
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
