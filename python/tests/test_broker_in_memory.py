"""The test broker without a port: clients that are given the broker itself."""

import asyncio
import gc
import socket
import ssl
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ferromqtt import Client, MqttError, ProtocolVersion, ProxySettings, TLSParameters, Will
from ferromqtt._internals import internals_of
from ferromqtt._transport import progress
from ferromqtt.testing import TestBroker
from support.clients import LIMIT, receive, unique
from support.loops import FACTORIES, LoopRunner, settle

KEPT = {"clean_session": False}


def test_a_client_is_given_the_broker_instead_of_a_host(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        async with Client(broker, identifier="one") as one, broker.client("two") as two:
            assert two.identifier == "two"
            await one.subscribe("a", qos=2)
            await two.publish("a", b"x" * 1_000_000, qos=2)
            assert len((await receive(one)).payload) == 1_000_000
            assert broker.stats().connections == 2
        assert broker.stats().connections == 0

    run(main)


def test_the_shims_client_takes_the_broker_too(run: LoopRunner, shim: ModuleType) -> None:
    async def main() -> None:
        async with shim.Client(TestBroker(listen=False)) as client:
            await client.subscribe("a")
            await client.publish("a", b"x")
            assert (await receive(client)).payload == b"x"
            assert client._client.socket() is None

    run(main)


def test_a_broker_is_ready_when_it_is_constructed(
    run: LoopRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside of any loop, without a start, and without a socket."""
    broker = TestBroker()

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.delattr(socket, "socket")
            async with broker.client() as client:
                await client.publish("a", b"x", qos=1)

    run(main)


def test_a_broker_that_does_not_listen_has_no_address(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        for look in (lambda: broker.host, lambda: broker.port, lambda: broker.url):
            with pytest.raises(RuntimeError, match=r"listen=False.*Client\(broker\)"):
                look()
        assert repr(broker) == "<TestBroker in memory, ready>"
        async with broker:
            with pytest.raises(RuntimeError, match="listen=False"):
                look()
            with pytest.raises(RuntimeError, match="running already"):
                await broker.start()
            async with broker.client() as client:
                await client.publish("a", b"x", qos=1)
        assert repr(broker) == "<TestBroker in memory, stopped>"

    run(main)


def test_an_address_for_a_broker_that_does_not_listen_is_refused() -> None:
    for address in ({"port": 1883}, {"host": "::1"}):
        with pytest.raises(ValueError, match="leave out host and port"):
            TestBroker(**address, listen=False)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="listen must be bool, not int"):
        TestBroker(listen=0)  # type: ignore[arg-type]


def test_a_start_keeps_what_was_there_in_memory(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker()
        async with broker.client("early", **KEPT) as early:
            await early.subscribe("a", qos=1)
            await early.publish("kept", b"x", qos=1, retain=True)
            async with broker, Client(broker.host, broker.port) as late:
                await late.publish("a", b"y", qos=1)
                assert (await receive(early)).payload == b"y"
                await late.subscribe("kept")
                assert (await receive(late)).payload == b"x"
                assert broker.session("early") is not None
                early_messages = early.messages
            with pytest.raises(MqttError, match=r"^Disconnected during message iteration: "):
                await anext(early_messages)

    run(main)


def test_a_stop_forgets_everything(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client("early", **KEPT) as client:
            await client.subscribe("a", qos=1)
        assert broker.session("early") is not None
        await broker.stop()
        await broker.stop()
        assert broker.session("early") is None
        assert broker.stats() == type(broker.stats())()
        assert broker.dropped == 0
        assert not broker.disconnect_client("early", 0x8B)
        async with broker, broker.client("late"):
            assert broker.session("early") is None
            assert broker.session("late") is not None

    run(main)


def test_a_stopped_broker_refuses_as_an_unused_port_does(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        await broker.stop()
        client = broker.client()
        for _ in range(2):
            with pytest.raises(MqttError, match="it is stopped") as caught:
                await client.__aenter__()
            assert str(caught.value) == (
                "[Errno 111] Connection refused: cannot connect to the test broker: it is stopped "
                "(start it again, or make another)"
            )
            assert isinstance(caught.value.__cause__, ConnectionRefusedError)
            assert (caught.value.phase, caught.value.address) == ("connect", "the test broker")
        await broker.start()
        async with client:
            await client.publish("a", b"x", qos=1)

    run(main)


def test_a_stop_breaks_links_in_memory(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            client = broker.client()
            await client.__aenter__()
            publishing = asyncio.create_task(client.publish("a", bytes(8 << 20), qos=1))
            await settle()
        with pytest.raises(MqttError, match=r"^Disconnected during message iteration: "):
            await receive(client)
        with pytest.raises(MqttError, match="connection to the test broker ended"):
            await publishing
        await client.__aexit__(None, None, None)

    run(main)


def test_a_broker_goes_on_in_the_next_loop_with_its_sessions(run: LoopRunner) -> None:
    """As for a program that is run twice by `asyncio.run`."""
    broker = TestBroker(listen=False)
    topic = unique("will")

    async def first() -> None:
        async with broker.client("kept", **KEPT) as client:
            await client.subscribe(topic, qos=1)

    async def second() -> None:
        await broker.client("lost", will=Will(topic, b"gone", qos=1)).__aenter__()

    async def third() -> None:
        async with broker.client("kept", **KEPT) as client:
            assert (await receive(client)).payload == b"gone"
            assert broker.stats().connections == 1

    run(first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of the client that is not left
        for program in (second, third):
            with asyncio.Runner(loop_factory=FACTORIES[run.name]) as runner:
                runner.run(program())
        gc.collect()


def test_a_broker_that_fails_as_a_client_connects_can_be_stopped(
    run: LoopRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)

        def fail(_: object) -> None:
            monkeypatch.undo()
            raise LookupError("once")

        monkeypatch.setattr("ferromqtt._broker_host.Host.flush", fail)
        with pytest.raises(LookupError, match="once"):
            await broker.client().__aenter__()
        async with asyncio.timeout(LIMIT):
            await broker.stop()

    run(main)


def test_a_broker_whose_loop_is_closed_can_be_started_again(run: LoopRunner) -> None:
    broker = TestBroker(listen=False)
    run(broker.start)

    async def again() -> None:
        async with broker, broker.client() as client:
            await client.publish("a")

    run(again)


def test_a_broker_that_is_to_take_a_free_port_has_none_before_its_start() -> None:
    broker = TestBroker()
    for look in (lambda: broker.port, lambda: broker.url):
        with pytest.raises(RuntimeError, match="no port yet: start it by `async with broker`"):
            look()
    assert repr(broker) == "<TestBroker mqtt://127.0.0.1:0, not running>"
    assert TestBroker(port=1883).url == "mqtt://127.0.0.1:1883"


def test_a_client_identifier_that_is_no_text_is_refused() -> None:
    broker = TestBroker()
    for call in (
        lambda: broker.session(5),  # type: ignore[arg-type]
        lambda: broker.disconnect_client(5, 0x8B),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="client_identifier must be str, not int"):
            call()


def test_a_broker_serves_one_open_loop(run: LoopRunner) -> None:
    broker = TestBroker()
    text = r"^The test broker serves another event loop: use it there, or stop it there first \("

    async def enter() -> None:
        async with broker.client("first"):
            pass

    async def refused() -> None:
        with pytest.raises(RuntimeError, match=text):
            await enter()
        with pytest.raises(RuntimeError, match=text):
            await broker.start()
        with pytest.raises(RuntimeError, match=text):
            await broker.stop()

    with asyncio.Runner() as other:
        other.run(enter())
        run(refused)
        other.run(enter())
    run(enter)


def test_a_broker_whose_loop_is_closed_can_be_stopped(run: LoopRunner) -> None:
    broker = TestBroker(listen=False)

    async def enter() -> None:
        async with broker.client("first", **KEPT):
            pass

    async def stop() -> None:
        await broker.stop()
        async with broker:
            assert broker.session("first") is None

    run(enter)
    run(stop)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 1884),
        ("transport", "websockets"),
        ("transport", "unix"),
        ("bind_address", "127.0.0.1"),
        ("bind_port", 5),
        ("tls_context", ssl.create_default_context()),
        ("tls_params", TLSParameters()),
        ("tls_insecure", False),
        ("tls_server_hostname", "a"),
        ("proxy", ProxySettings(proxy_type=2, proxy_addr="a")),
        ("socket_options", [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]),
        ("websocket_path", "/a"),
        ("websocket_headers", {"a": "b"}),
    ],
)
def test_options_of_sockets_are_refused_in_memory(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} makes no sense with a test broker in memory, "):
        TestBroker(listen=False).client(**{name: value})


def test_options_of_mqtt_are_those_of_any_client(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker(listen=False, users={"ann": "s3cret"})
        options = {"username": "ann", "password": "s3cret", "protocol": ProtocolVersion.V5}
        async with broker.client("a", **options) as client:
            assert repr(client) == (
                "<Client(<TestBroker in memory, ready>, identifier='a') connected>"
            )
        with pytest.raises(MqttError, match="Not authorized") as caught:
            await broker.client().__aenter__()
        assert "the test broker refused the connection" in caught.value.__notes__[0]

    run(main)


def test_a_proxy_of_the_environment_is_not_asked(
    run: LoopRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("mqtt_proxy", "nonsense")

    async def main() -> None:
        async with TestBroker(listen=False).client() as client:
            await client.publish("a", b"x", qos=1)

    run(main)


def test_an_attempt_that_takes_too_long_names_no_port(run: LoopRunner) -> None:
    async def main() -> None:
        with pytest.raises(MqttError, match=r"no CONNACK from the test broker within 0 s$"):
            await TestBroker(listen=False).client(timeout=0).__aenter__()

    run(main)


def test_a_link_in_memory_tells_how_far_it_has_come(run: LoopRunner) -> None:
    async def main() -> None:
        async with TestBroker(listen=False).client() as client:
            transport = internals_of(client).core.transport
            before = progress.tcp_progress(transport)
            await client.publish("a", bytes(1000))
            await settle()
            after = progress.tcp_progress(transport)
            assert before is not None
            assert after is not None
            assert after[0] - before[0] > 1000
            assert before[1] == after[1] == 0

    run(main)


# What 200 starts and stops leave


def timers() -> int:
    """Return how many timers the running loop has, where it tells: uvloop does not."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", [])
    return sum(not handle.cancelled() for handle in scheduled)


async def left_properly(broker: TestBroker) -> None:
    async with broker.client(**KEPT, identifier="a") as one, broker.client() as two:
        await one.subscribe("a", qos=1)
        await two.publish("a", b"x", qos=1)
        await receive(one)


async def connected_at_the_stop(broker: TestBroker) -> None:
    client = broker.client("a", will=Will("a", b"x"))
    await client.__aenter__()
    await client.publish("a", bytes(300_000))
    await broker.stop()
    await client.__aexit__(None, None, None)


async def cancelled(broker: TestBroker) -> None:
    for turns in range(4):
        entering = asyncio.create_task(broker.client().__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        entering.cancel()
        await asyncio.wait([entering])
        if not entering.cancelled():
            await entering.result().__aexit__(None, None, None)


async def never_left(broker: TestBroker) -> None:
    client = broker.client(keepalive=3)
    await client.__aenter__()
    await client.subscribe("a")


async def sent_away(broker: TestBroker) -> None:
    async with broker.client("a", protocol=5) as client:
        assert broker.disconnect_client("a", 0x8B)
        with pytest.raises(MqttError):
            await receive(client)


async def refused(broker: TestBroker) -> None:
    with pytest.raises(MqttError):
        await broker.client("bad").__aenter__()


@pytest.mark.parametrize(
    "play", [left_properly, connected_at_the_stop, cancelled, never_left, sent_away, refused]
)
def test_200_starts_and_stops_leave_nothing(
    run: LoopRunner, play: Callable[[TestBroker], Any]
) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def objects() -> Counter[str]:
        gc.collect()
        kinds = (type(it) for it in gc.get_objects())
        return Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)

    async def once() -> None:
        async with TestBroker(listen=False, deny_connect=["bad"]) as broker:
            await play(broker)
        await settle()

    async def main() -> None:
        for _ in range(5):
            await once()
        before, files = objects(), descriptors()
        for _ in range(200):
            await once()
        after = objects()
        # asyncio keeps up to 100 timers that were cancelled, each with a context and a reference.
        grown = {kind: count for kind, count in (after - before).items() if count > 120}
        assert not grown
        assert descriptors() == files
        assert len(asyncio.all_tasks()) == 1
        assert timers() <= 1  # the time limit of this test

    run(main)


def test_a_broker_that_is_never_stopped_leaves_no_timer(run: LoopRunner) -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client() as client:
            await client.publish("a", b"x", qos=1)
        await settle()
        assert timers() <= 1  # the time limit of this test

    run(main)
