"""Two clients with one Client Identifier: the warning names it.

When it comes is decided in the core, and tested there in virtual time.
"""

import asyncio
import contextlib
import logging
from types import ModuleType

import pytest

from ferromqtt import Client, MqttError, ProtocolVersion
from support import packets
from support.clients import LIMIT
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer, serve_311


def cut_off(connection: Connection) -> None:
    """Accept, and close without a word."""
    connection.accept()


def take_over(connection: Connection) -> None:
    """Accept, and say that another client has come."""
    connection.accept(packets.CONNACK_5)
    connection.send(packets.encode(packets.DISCONNECT << 4, b"\x8e"))


async def wait_for_the_end(client: Client) -> None:
    """Enter once, and leave when the server has ended the connection."""
    async with client:
        with contextlib.suppress(MqttError):
            await anext(client.messages)


def test_a_client_that_is_entered_again_notices_that_it_is_cut_off_each_time(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, identifier="me")
        for entered in range(1, 5):
            async with asyncio.timeout(LIMIT):
                await wait_for_the_end(client)
            assert len(caplog.records) == (entered >= 3)

    with caplog.at_level(logging.WARNING), ScriptedServer(cut_off) as server:
        run(main, server)
    (record,) = caplog.records
    assert record.getMessage() == (
        "the server accepted 3 connections in a row and closed each within 10 s: another client "
        'may have the same Client Identifier, "me"; give each client its own '
        f"(ends: 3, {server.host}:{server.port})"
    )


def test_a_server_that_says_so_is_believed_at_once(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, identifier="me", protocol=ProtocolVersion.V5)
        async with asyncio.timeout(LIMIT):
            await wait_for_the_end(client)

    with caplog.at_level(logging.WARNING), ScriptedServer(take_over) as server:
        run(main, server)
    (record,) = caplog.records
    assert record.getMessage() == (
        'another client has connected with the Client Identifier "me", and the server ended this '
        "connection for it (Session taken over (0x8E)): give each client its own "
        f"(ends: 1, {server.host}:{server.port})"
    )


def test_a_program_that_cuts_its_connection_itself_blames_nobody_else(
    run: LoopRunner, shim: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(server: ScriptedServer) -> None:
        client = shim.Client(server.host, server.port, identifier="me")
        for _ in range(4):
            async with client, asyncio.timeout(LIMIT):
                client._client._sock_close()
                with pytest.raises(MqttError) as caught:
                    await anext(client.messages)
            text = "Disconnected during message iteration: this client cut the connection ("
            assert str(caught.value).startswith(text)

    with caplog.at_level(logging.WARNING), ScriptedServer(serve_311) as server:
        run(main, server)
    assert not caplog.records


def test_a_contest_that_goes_on_has_few_lines(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """Each end of a connection is one occurrence, and one end: neither may have a line each."""

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, identifier="me", protocol=ProtocolVersion.V5)
        for _ in range(20):
            async with asyncio.timeout(LIMIT):
                await wait_for_the_end(client)

    with caplog.at_level(logging.WARNING), ScriptedServer(take_over) as server:
        run(main, server)
    lines = [
        record.getMessage().rpartition(f"{server.host}:{server.port})")[2]
        for record in caplog.records
    ]
    assert lines[:3] == ["", " (2 times so far)", " (3 times in all)"]
    assert len(lines) <= 10, lines
