"""What repeats is counted, not printed: the first at once, then at doublings, the rest at the end.

Which lines are written is decided in the core, and tested there in virtual time.
"""

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from ferromqtt import Client, Message, MqttError
from ferromqtt._internals import internals_of
from support import packets
from support.clients import LIMIT
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer

MESSAGES = 10_000
MOST_LINES = 16
"""One, a line for each doubling up to 10,000, and one at the end."""


class Fussy(asyncio.Queue[Message]):
    """Raises for every message."""

    def put_nowait(self, item: Message) -> None:  # noqa: ARG002
        raise RuntimeError("no")


def flood(connection: Connection) -> None:
    """Send far more than the queue takes, in many reads; then what shows that all has come."""
    connection.accept()
    connection.expect(packets.PUBLISH)
    for _ in range(100):
        connection.send(packets.publish("a", b"x") * (MESSAGES // 100))
    connection.send(packets.publish("a", b"x", qos=1, packet_id=1))
    connection.expect(packets.PUBACK)
    connection.expect(packets.DISCONNECT)


def overrun(
    run: LoopRunner, caplog: pytest.LogCaptureFixture, queue_type: type[asyncio.Queue[Any]] | None
) -> tuple[list[str], list[str]]:
    """Return what is logged, and what the loop is told."""
    reported: list[str] = []

    async def main(server: ScriptedServer) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context["message"]))
        async with Client(
            server.host, server.port, max_queued_incoming_messages=1, queue_type=queue_type
        ) as client:
            await client.publish("go")
            async with asyncio.timeout(LIMIT):
                while b"\x40\x02\x00\x01" not in server.received:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)

    with caplog.at_level(logging.WARNING), ScriptedServer(flood) as server:
        run(main, server)
    return [record.getMessage() for record in caplog.records], reported


@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
def test_an_overrun_queue_writes_few_lines_and_tells_how_many_it_lost_1_2(
    run: LoopRunner,
    caplog: pytest.LogCaptureFixture,
    queue_type: type[asyncio.Queue[Message]] | None,
) -> None:
    lines, reported = overrun(run, caplog, queue_type)
    assert not reported
    assert lines[0] == "Message queue is full. Discarding message."
    assert all(line.startswith(lines[0]) for line in lines)
    assert len(lines) <= MOST_LINES, lines
    assert f"({MESSAGES} times " in lines[-1]  # one is kept


def test_a_queue_that_raises_each_time_is_told_of_a_few_times_1_2(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    lines, reported = overrun(run, caplog, Fussy)
    assert len(reported) <= MOST_LINES, reported
    assert reported[0] == "ferromqtt: queue_type: put_nowait raised an error"
    assert reported[1] == f"{reported[0]} (2 times so far)"
    assert lines[0] == "queue_type: put_nowait raised an error. Discarding message."
    assert len(lines) <= MOST_LINES + 1, lines
    totals = [line for line in lines if line.endswith(f"({MESSAGES + 1} times in all)")]
    assert len(totals) == 2, lines  # of the discarded messages, and of the exceptions


def test_a_logger_that_raises_each_time_is_told_of_a_few_times(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[str] = []
    logger = logging.getLogger("test.refusing")

    def refuse(_: logging.LogRecord) -> bool:
        raise RuntimeError("no")

    async def main(server: ScriptedServer) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context["message"]))
        async with Client(server.host, server.port, logger=logger) as client:
            client.pending_calls_threshold = 0
            for _ in range(1000):
                await client.publish("a")

    def script(connection: Connection) -> None:
        connection.accept()
        connection.read_to_end()

    logger.addFilter(refuse)
    try:
        with caplog.at_level(logging.WARNING), ScriptedServer(script) as server:
            run(main, server)
    finally:
        logger.removeFilter(refuse)
    assert 1 < len(reported) <= MOST_LINES, reported


def test_each_connection_tells_what_was_left_out_of_it(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.send(packets.publish("a", b"x") * 4)
        connection.send(packets.publish("a", b"x") * 3)
        connection.close()

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, max_queued_incoming_messages=1)
        for _ in range(2):
            await client.__aenter__()
            async with asyncio.timeout(LIMIT):
                while internals_of(client).core.iteration_end() is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            with contextlib.suppress(MqttError):
                await client.__aexit__(None, None, None)

    with caplog.at_level(logging.WARNING), ScriptedServer(script, script) as server:
        run(main, server)
    lines = [record.getMessage() for record in caplog.records]
    # 6 of the first connection, and all 7 of the second one, whose queue was full before
    assert any("(6 times " in line for line in lines), lines
    assert "(13 times " in lines[-1], lines
