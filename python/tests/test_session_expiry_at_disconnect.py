"""How long the server keeps the session of a client that has left (section 3.14.2.2.2)."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from ferromqtt import Client, ProtocolVersion, blocking
from ferromqtt.testing import TestBroker, VirtualLoop
from support import packets
from support.scripted import Connection, ScriptedServer

V5 = ProtocolVersion.V5


def play(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)


def client_of(broker: TestBroker, expiry: int | None, at_disconnect: int | None) -> Client:
    properties = None if expiry is None else {"SessionExpiryInterval": expiry}
    return Client(
        broker,
        identifier="a",
        protocol=V5,
        properties=properties,
        session_expiry_at_disconnect=at_disconnect,
    )


def test_it_replaces_the_interval_of_connect() -> None:
    async def main() -> None:
        async with TestBroker() as broker:
            for at_disconnect, kept in ((None, True), (0, False), (60, True), (0xFFFF_FFFF, True)):
                async with client_of(broker, 3600, at_disconnect):
                    pass
                assert (broker.session("a") is not None) is kept, at_disconnect

    play(main())


def test_the_server_keeps_the_session_for_so_long() -> None:
    async def main() -> None:
        async with TestBroker() as broker:
            async with client_of(broker, 3600, 60):
                pass
            await asyncio.sleep(50)  # virtual
            assert broker.session("a") is not None
            await asyncio.sleep(20)
            assert broker.session("a") is None

    play(main())


def test_a_connection_that_is_lost_leaves_the_session_as_connect_said() -> None:
    async def main() -> None:
        async with TestBroker() as broker, client_of(broker, 3600, 0):
            broker.disconnect_client("a", 0x8B)
            await asyncio.sleep(60)  # virtual
            assert broker.session("a") is not None

    play(main())


def test_draining_says_it_too() -> None:
    async def main() -> None:
        async with TestBroker() as broker, client_of(broker, 3600, 0) as client:
            await client.drain()
            assert broker.session("a") is None

    play(main())


def test_with_reconnect_the_session_of_an_hour_can_be_kept_shorter_after_leaving() -> None:
    async def main() -> None:
        async with TestBroker() as broker:
            options: dict[str, Any] = {"identifier": "a", "protocol": 5, "reconnect": True}
            async with Client(broker, **options):
                pass
            assert broker.session("a") is None  # nothing would resume it
            async with Client(broker, session_expiry_at_disconnect=60, **options):
                pass
            assert broker.session("a") is not None

    play(main())


@pytest.mark.parametrize("expiry", [None, 0])
def test_a_session_that_ends_with_the_connection_is_not_prolonged(expiry: int | None) -> None:
    async def main() -> None:
        async with TestBroker() as broker:
            text = (
                "session_expiry_at_disconnect cannot keep a session that ends with the connection"
            )
            with pytest.raises(ValueError, match=f"^{text}"):
                await client_of(broker, expiry, 1).__aenter__()
            assert broker.stats().connections == 0
            async with client_of(broker, expiry, 0):
                pass  # what the standard permits

    play(main())


def test_it_is_refused_before_5_0() -> None:
    with pytest.raises(ValueError, match=r"^session_expiry_at_disconnect only applies to MQTT V5"):
        Client("localhost", session_expiry_at_disconnect=0)


@pytest.mark.parametrize(
    ("given", "error"), [(-1, ValueError), (1 << 32, ValueError), ("1", TypeError)]
)
def test_a_number_of_seconds_is_asked_for(given: Any, error: type[Exception]) -> None:  # noqa: ANN401
    with pytest.raises(error, match=r"^session_expiry_at_disconnect must be "):
        Client("localhost", protocol=5, session_expiry_at_disconnect=given)


def test_a_blocking_client_sends_it_in_its_disconnect() -> None:
    def serve(connection: Connection) -> None:
        connection.accept(b"\x20\x03\x00\x00\x00")
        disconnects.append(connection.expect(packets.DISCONNECT)[1])
        connection.close()

    disconnects: list[bytes] = []
    with ScriptedServer(serve) as server:
        with blocking.Client(
            server.host,
            server.port,
            protocol=5,
            properties={"SessionExpiryInterval": 9},
            session_expiry_at_disconnect=7,
        ):
            pass
        server.join()
    assert disconnects == [b"\x00\x05\x11\x00\x00\x00\x07"]
