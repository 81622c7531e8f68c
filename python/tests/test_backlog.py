"""Received messages that wait, or are kept: the memory they take, and warnings of many."""

import logging
import sys
from pathlib import Path

import pytest

from ferromqtt import Client, Message, ProtocolVersion
from ferromqtt._internals import internals_of
from support import packets
from support.loops import LoopRunner
from support.wire import Wire

TEXT = "received messages wait to be taken"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for record in caplog.records if TEXT in (text := record.getMessage())]


def test_a_queue_of_100_000_messages_is_warned_of_once(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        assert wire.core.backlog_thresholds == (100_000, 1 << 30)
        read = packets.publish("t", b"x") * 1_000
        for _ in range(99):
            wire.feed(read)
        wire.feed(packets.publish("t", b"x") * 999)
        assert warnings(caplog) == []
        wire.feed(packets.publish("t", b"x"))
        (text,) = warnings(caplog)
        assert text.startswith("100000 ")
        assert "max_queued_incoming_messages" in text
        for _ in range(3):
            wire.feed(read)
        assert len(wire.client.messages) == 103_000
        assert len(warnings(caplog)) == 1
        wire.lose()

    with caplog.at_level(logging.WARNING, logger="ferromqtt"):
        run(main)


def test_a_queue_of_many_bytes_is_warned_of_once_for_each_connection(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    """Topics count as well."""

    async def main() -> None:
        wire = Wire()
        wire.core.backlog_thresholds = (100_000, 4 << 20)
        message = packets.publish("t" * 60_000, b"")
        for connection in (1, 2):
            await wire.connect()
            for _ in range(100):
                wire.feed(message)
            assert len(warnings(caplog)) == connection
            wire.lose()
        assert "take 4 MiB" in caplog.text

    with caplog.at_level(logging.WARNING, logger="ferromqtt"):
        run(main)


def test_a_number_of_messages_that_the_user_allows_is_not_warned_of(
    run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        wire = Wire()
        wire.core.configure(**{**internals_of(wire.client).core_options(), "max_incoming": 200_000})
        await wire.connect()
        for _ in range(101):
            wire.feed(packets.publish("t", b"x") * 1_000)
        assert len(wire.client.messages) == 101_000
        assert warnings(caplog) == []
        wire.lose()

    with caplog.at_level(logging.WARNING, logger="ferromqtt"):
        run(main)


def test_the_docs_say_that_the_queue_has_no_limit() -> None:
    text = " ".join((Client.__doc__ or "").split())
    assert "no limit, as in aiomqtt: the queue grows" in text
    assert "100,000 messages" in text
    assert "1 GiB" in text


def resident() -> int:
    """Return the process's memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm, which Linux alone has")
@pytest.mark.parametrize("taken", [True, False], ids=["kept", "queued"])
def test_messages_whose_properties_were_never_read_do_not_keep_what_came_with_them(
    run: LoopRunner, *, taken: bool
) -> None:
    """On 5.0 they kept all of the read that brought them: 43 KB for a payload of one byte."""
    user_property = b"\x26" + packets.string("name") + packets.string("value")
    properties = bytes([len(user_property)]) + user_property
    small = packets.encode(0x30, packets.string("t") + properties + b"x")
    pings = b"\xd0\x00" * 30_000
    count = 2_000

    async def main() -> None:
        wire = Wire(ProtocolVersion.V5)
        await wire.connect()
        kept: list[Message] = []
        for _ in range(100):  # so that what is needed anyway is there
            wire.feed(small + pings)
            kept.append(await anext(wire.client.messages))
        before = resident()
        for _ in range(count):
            wire.feed(small + pings)
            if taken:
                kept.append(await anext(wire.client.messages))
        grown = resident() - before
        assert grown < 16 << 20, f"{grown // count} bytes for each message"
        if not taken:
            assert len(wire.client.messages) == count
            kept.extend([await anext(wire.client.messages) for _ in range(count)])
        wire.lose()
        for message in kept:
            assert message.properties.UserProperty == [("name", "value")]

    run(main)
