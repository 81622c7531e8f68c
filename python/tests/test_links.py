"""One protocol object for each transport: what an earlier one reports is ignored."""

import asyncio

import pytest

from ferromqtt import Reconnect
from ferromqtt._link import Link
from support import packets
from support.virtual import play
from support.wire import HandTransport, Wire

SOON = Reconnect(min=0.01, max=0.01)


async def reconnected() -> tuple[Wire, Link, HandTransport]:
    """Return a client on its second link, the first link, and the second transport."""
    wire = Wire(reconnect=SOON)
    await wire.connect()
    first = wire.link
    first.give_up(None, False)
    assert wire.transport.closing
    while wire.link is first:  # noqa: ASYNC110  the time is virtual
        await asyncio.sleep(0.01)
    second = HandTransport()
    wire.link.connection_made(second)
    wire.feed(packets.CONNACK_311)
    assert wire.core.connected
    return wire, first, second


def test_late_callbacks_of_an_earlier_link_change_nothing() -> None:
    async def main() -> None:
        wire, first, second = await reconnected()
        assert not first.is_current
        first.pause_writing()
        await wire.client.publish("t", "x")
        wire.core.flush()
        assert second.written[-1] == packets.publish("t", b"x")
        first.resume_writing()
        first.get_buffer(-1)[:2] = b"\xff\xff"  # what ends a connection
        first.buffer_updated(2)
        first.eof_received()
        first.connection_lost(OSError("late"))
        first.give_up("late", True)
        assert wire.core.connected
        assert wire.core.transport is second
        assert not second.closing
        await wire.core.drop()

    play(main)


def test_a_transport_that_comes_when_its_link_was_given_up_is_aborted() -> None:
    async def main() -> None:
        wire, first, second = await reconnected()
        late = HandTransport()
        first.connection_made(late)
        assert late.closing
        assert late.written == []
        assert wire.core.transport is second
        await wire.core.drop()

    play(main)


def test_reading_begins_while_an_earlier_link_still_holds_a_buffer() -> None:
    """As on a proactor loop, which asks for a buffer before anything has come."""

    async def main() -> None:
        wire, first, _ = await reconnected()
        early = first.get_buffer(-1)
        data = packets.publish("t", b"x")
        view = wire.link.get_buffer(-1)
        view[: len(data)] = data
        early[:1] = b"\xff"
        first.buffer_updated(1)
        early.release()
        wire.link.buffer_updated(len(data))
        assert (await anext(wire.client.messages)).payload == b"x"
        await wire.core.drop()

    play(main)


@pytest.mark.parametrize("reason", [None, "because"])
def test_a_link_that_was_never_asked_for_is_never_current(reason: str | None) -> None:
    async def main() -> None:
        link = Link(Wire().core)
        assert not link.is_current
        link.give_up(reason, True)
        link.connection_lost(None)

    play(main)
