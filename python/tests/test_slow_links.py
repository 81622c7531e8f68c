"""Keep Alive over links that are slow, and over links that fall silent, on every transport."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine

import pytest

from ferromqtt import Client, MqttError, TLSParameters
from ferromqtt._internals import internals_of
from support.builtin import BuiltinBroker
from support.clients import LIMIT, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto
from support.slow_relay import SlowRelay

KEEP_ALIVE = 2
"""Half of it is the shortest time that a PINGREQ waits for its answer."""

RATE = 1_000_000

KINDS = ["tcp", "tls", "ws", "wss"]


def client(relay: SlowRelay, mosquitto: Mosquitto, kind: str, **options: object) -> Client:
    if kind in ("tls", "wss"):
        options["tls_params"] = TLSParameters(ca_certs=str(mosquitto.ca_file))
    if kind in ("ws", "wss"):
        options["transport"] = "websockets"
    # The only name in the server's certificate.
    return Client("localhost", relay.port, keepalive=KEEP_ALIVE, **options)  # type: ignore[arg-type]


def relay(mosquitto: Mosquitto, kind: str, rate: int = RATE) -> SlowRelay:
    ports = {
        "tcp": mosquitto.port,
        "tls": mosquitto.tls_port,
        "ws": mosquitto.websocket_port,
        "wss": mosquitto.secure_websocket_port,
    }
    return SlowRelay(mosquitto.host, ports[kind], rate)


@pytest.mark.parametrize("kind", KINDS)
def test_a_slow_upload_completes_1_6(run: LoopRunner, mosquitto: Mosquitto, kind: str) -> None:
    """It lasts longer than one and a half Keep Alives; the PINGREQ waits behind it.

    Over WebSocket this broker takes a large message itself for silence, so there are several.
    """
    parts = 1 if kind in ("tcp", "tls") else 10

    async def main() -> None:
        with relay(mosquitto, kind) as slow:
            async with client(slow, mosquitto, kind, timeout=40) as publisher:
                began = time.monotonic()
                for _ in range(parts):
                    await publisher.publish(unique("slow"), bytes(5 * RATE // parts), qos=0)
                await publisher.publish(unique("slow"), b"x", qos=1)
                assert time.monotonic() - began > 4, "the link is slow"

    run(main)


def test_a_slow_upload_to_the_test_broker_completes(
    run: LoopRunner, builtin: BuiltinBroker
) -> None:
    """Which counts silence, too."""

    async def main() -> None:
        with SlowRelay(builtin.host, builtin.port, RATE) as slow:
            async with Client(slow.host, slow.port, keepalive=KEEP_ALIVE, timeout=40) as publisher:
                await publisher.publish("t", bytes(5 * RATE), qos=1)

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_that_falls_silent_is_noticed_1_6(
    run: LoopRunner, mosquitto: Mosquitto, kind: str
) -> None:
    """While idle, and while publishing.

    The limit leaves a busy machine time; the system alone would take a quarter of an hour.
    """

    async def publish(there: Client) -> None:
        while True:
            await there.publish("t", b"x")
            await asyncio.sleep(0.1)

    async def listen(there: Client) -> None:
        async for _ in there.messages:
            pass

    async def is_noticed(use: Callable[[Client], Coroutine[None, None, None]]) -> None:
        with relay(mosquitto, kind) as link:
            async with client(link, mosquitto, kind) as there:
                await there.publish(unique("silent"), b"x", qos=1)
                link.fall_silent()
                async with asyncio.timeout(LIMIT):
                    with pytest.raises(MqttError):
                        await use(there)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(is_noticed(publish))
            group.create_task(is_noticed(listen))

    run(main)


def test_little_is_ahead_of_the_core_in_a_transport(run: LoopRunner, mosquitto: Mosquitto) -> None:
    """At most 256 KiB: a transport of asyncio would take a whole payload of any size."""

    async def main() -> None:
        for kind in ("tcp", "tls"):
            with relay(mosquitto, kind, 10 * RATE) as slow:
                async with client(slow, mosquitto, kind, timeout=40) as publisher:
                    publishing = asyncio.ensure_future(
                        publisher.publish(unique("ahead"), bytes(16 * RATE), qos=1)
                    )
                    most = 0
                    while not publishing.done():
                        transport = internals_of(publisher).core.transport
                        if transport is not None:
                            most = max(most, transport.get_write_buffer_size())
                        await asyncio.sleep(0.01)
                    await publishing
                    assert most <= (256 if kind == "tcp" else 112) * 1024  # TLS: more below

    run(main)


@pytest.mark.skipif(sys.platform != "linux", reason="the client asks TCP on Linux alone")
@pytest.mark.parametrize("kind", KINDS)
def test_the_tcp_connection_below_is_asked(
    run: LoopRunner, mosquitto: Mosquitto, kind: str
) -> None:
    async def main() -> None:
        with relay(mosquitto, kind) as link:
            async with client(link, mosquitto, kind) as there:
                before = internals_of(there).core._tcp_progress()
                await there.publish(unique("progress"), bytes(100_000), qos=1)
                after = internals_of(there).core._tcp_progress()
                assert before is not None
                assert after is not None
                assert 100_000 <= after[0] - before[0] < 120_000
                assert after[1] == 0

    run(main)
