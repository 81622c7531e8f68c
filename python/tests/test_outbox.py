"""The outbox: messages and the session outlive the client, and the program."""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ferromqtt import (
    Client,
    MqttDiscardedError,
    MqttError,
    MqttKeptError,
    MqttQuarantinedError,
    MqttQueueFullError,
    Outbox,
    OutgoingQueue,
    ProtocolVersion,
    Published,
    Reconnect,
)
from ferromqtt.testing import CONNECT, PUBACK, PUBLISH, TestBroker, VirtualLoop

V5, V311 = ProtocolVersion.V5, ProtocolVersion.V311
SOON = Reconnect(min=0.05, max=0.05, jitter=0)


def client_of(broker: TestBroker, outbox: Outbox, **options: Any) -> Client:  # noqa: ANN401
    given: dict[str, Any] = {"protocol": V5, "reconnect": SOON, "outbox": outbox}
    return Client(broker, **given | options)


@contextlib.asynccontextmanager
async def away() -> AsyncIterator[TestBroker]:
    """Give a broker that nobody reaches."""
    async with TestBroker(listen=False) as broker:
        pass
    yield broker


async def until_empty(client: Client) -> None:
    """Wait until all messages have ended, and that is on record."""
    while (stats := client.outbox_stats()) is None or stats.messages:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.01)


async def payloads(client: Client, count: int) -> list[str]:
    """Take so many messages."""
    taken = [await anext(client.messages) for _ in range(count)]
    return [bytes(message.payload).decode() for message in taken]


@pytest.mark.parametrize("protocol", [V311, V5], ids=lambda it: it.name)
def test_what_was_stored_without_a_server_is_sent_by_the_next_client(
    tmp_path: Path, protocol: ProtocolVersion
) -> None:
    outbox = Outbox(tmp_path / "outbox")

    async def main() -> None:
        async with away() as nobody, client_of(nobody, outbox, protocol=protocol) as client:
            assert client.state().value == "connecting"
            receipts = [await client.enqueue("t", number, number % 3) for number in range(6)]
            for receipt in receipts:
                await receipt.stored()
            stats = client.outbox_stats()
            assert stats is not None
            assert (stats.messages, stats.accepted) == (6, 6)
        for receipt in receipts:
            with pytest.raises(MqttKeptError, match="the outbox keeps it"):
                await receipt
        async with TestBroker(listen=False) as broker, broker.client("l", protocol=5) as listener:
            await listener.subscribe("t", qos=2)
            async with client_of(broker, outbox, protocol=protocol) as client:
                assert await payloads(listener, 6) == ["0", "1", "2", "3", "4", "5"]
                await until_empty(client)

    asyncio.run(main())


def test_a_client_is_entered_again_with_what_it_left(tmp_path: Path) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker, broker.client("l", protocol=5) as listener:
            await listener.subscribe("t", qos=1)
            client = client_of(broker, Outbox(tmp_path / "outbox"))
            assert client.outbox_stats() is None
            for number in range(3):
                async with client:
                    assert isinstance(await (await client.enqueue("t", number, 1)), Published)
                with pytest.raises(MqttError):
                    await client.enqueue("t", "late", 1)
            assert await payloads(listener, 3) == ["0", "1", "2"]
            assert len({packet.client for packet in broker.packets(CONNECT)}) == 2

    asyncio.run(main())


def test_messages_that_were_not_read_are_there_when_a_client_is_entered_again(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            client = client_of(broker, Outbox(tmp_path / "outbox"))
            async with client:
                await client.wait_connected()
                await client.subscribe("t", qos=2)
                await client.publish("t", "1", qos=2)
                await broker.idle()
            async with client:
                await client.wait_connected()
                await client.publish("t", "2", qos=2)
                assert await payloads(client, 2) == ["1", "2"]

    asyncio.run(main())


def test_a_client_is_not_entered_again_when_another_one_had_its_outbox(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")

    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            client = client_of(broker, outbox)
            async with client:
                await (await client.enqueue("t", 1, 1))
            async with client_of(broker, outbox) as other:
                await (await other.enqueue("t", 2, 1))
            with pytest.raises(MqttError, match="Another client has had the outbox"):
                async with client:
                    pass
            async with client_of(broker, outbox):
                pass

    asyncio.run(main())


def test_an_identifier_is_made_once_and_kept(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")

    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            names = set()
            for _ in range(2):
                async with client_of(broker, outbox) as client:
                    names.add(client.identifier)
            assert len(names) == 1
            with pytest.raises(MqttError, match="holds the session of client"):
                async with client_of(broker, outbox, identifier="other"):
                    pass

    asyncio.run(main())


def test_a_folder_has_one_client_at_a_time(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")

    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            async with client_of(broker, outbox):
                with pytest.raises(MqttError, match=f"in use by process {os.getpid()}"):
                    async with client_of(broker, outbox):
                        pass
            async with client_of(broker, outbox):
                pass

    asyncio.run(main())


def test_what_was_on_its_way_is_sent_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")

    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            broker.sends(PUBACK).lose()
            async with client_of(broker, outbox) as client:
                receipt = await client.enqueue("t", "1", 1)
                await broker.wait_for("t")
                del receipt
            async with client_of(broker, outbox) as client:
                await until_empty(client)
            assert [packet.dup for packet in broker.packets(PUBLISH)] == [False, True]

    asyncio.run(main())


def test_what_the_server_will_not_take_is_kept_apart(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")

    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            broker.receives(PUBLISH, topic="bad").refuse(0x87)
            async with client_of(broker, outbox) as client:
                with pytest.raises(MqttQuarantinedError, match="Not authorized"):
                    await (await client.enqueue("bad", "x", 1))
                await (await client.enqueue("good", "x", 1))
            async with client_of(broker, outbox) as client:
                await (await client.enqueue("good", "x", 1)).stored()
                stats = client.outbox_stats()
                assert stats is not None
                assert stats.quarantined == 1
            assert len(broker.packets(PUBLISH)) == 3

    asyncio.run(main())


def test_qos_2_needs_a_session_that_outlives_the_program(tmp_path: Path) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            options: list[dict[str, Any]] = [
                {"clean_start": True},
                {"session_expiry_interval": 0},
                {"protocol": V311, "clean_session": True},
            ]
            for number, given in enumerate(options):
                outbox = Outbox(tmp_path / f"outbox{number}")
                async with client_of(broker, outbox, **given) as client:
                    with pytest.raises(ValueError, match="a session that outlives the program"):
                        await client.enqueue("t", "x", 2)
                    await (await client.enqueue("t", "x", 1))

    asyncio.run(main())


def test_bounds_hold_and_are_on_record(tmp_path: Path) -> None:
    async def main() -> None:
        async with away() as nobody:
            outbox = Outbox(tmp_path / "oldest", maxsize=2, overflow="drop_oldest")
            async with client_of(nobody, outbox) as client:
                first = await client.enqueue("t", 1, 1, keep="latest")
                second = await client.enqueue("t", 2, 1, keep="latest")
                for error in ("replaced", "dropped"):
                    if error == "dropped":
                        rest = [await client.enqueue("t", number, 1) for number in (3, 4)]
                    with pytest.raises(MqttDiscardedError) as raised:
                        await (first if error == "replaced" else second)
                    assert raised.value.outcome == error
                await rest[-1].stored()
                stats = client.outbox_stats()
                assert stats is not None
                assert (stats.accepted, stats.replaced, stats.dropped) == (4, 1, 1)
            outbox = Outbox(tmp_path / "fail", maxsize=1, overflow="fail")
            async with client_of(nobody, outbox) as client:
                await client.enqueue("t", 1, 1)
                with pytest.raises(MqttQueueFullError):
                    await client.enqueue("t", 2, 1)

    asyncio.run(main())


def test_without_an_outbox_nothing_is_stored(tmp_path: Path) -> None:
    del tmp_path

    async def main() -> None:
        async with TestBroker(listen=False) as broker, broker.client() as client:
            receipt = await client.enqueue("t", "x", 1)
            with pytest.raises(RuntimeError, match="Nothing is stored without an outbox"):
                await receipt.stored()
            assert client.outbox_stats() is None

    asyncio.run(main())


def test_without_reconnect_entering_waits_for_the_server(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")

    async def main() -> None:
        async with away() as nobody:
            with pytest.raises(MqttError):
                async with client_of(nobody, outbox, reconnect=False):
                    pass
        async with TestBroker(listen=False) as broker, client_of(broker, outbox, reconnect=False):
            pass  # the folder is free again

    asyncio.run(main())


@contextlib.asynccontextmanager
async def full_disk() -> AsyncIterator[None]:
    """Let no file of this process grow: a disk without space, as the system says it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_receipt_says_that_a_message_is_kept_only_when_it_is(tmp_path: Path, qos: int) -> None:
    outbox = Outbox(tmp_path / "outbox")

    async def main() -> None:
        async with away() as nobody:
            async with client_of(nobody, outbox) as client:
                stored = await client.enqueue("t", "1", qos)
                await stored.stored()
                async with full_disk():
                    lost = [await client.enqueue("t", "y" * 500, qos)]
                    with pytest.raises(MqttError, match="before the message was on record"):
                        await lost[0].stored()
            with pytest.raises(MqttKeptError):
                await stored
            with pytest.raises(MqttError) as raised:
                await lost[0]
            assert not isinstance(raised.value, MqttKeptError)
            async with client_of(nobody, outbox) as client:
                stats = client.outbox_stats()
                assert stats is not None
                assert stats.messages == 1

    asyncio.run(main())


def test_a_receipt_that_nobody_awaits_any_more_is_no_error_of_the_loop(tmp_path: Path) -> None:
    """asyncio reports what is in a future that nobody has asked for, once that is collected."""

    async def main() -> None:
        async with away() as nobody, client_of(nobody, Outbox(tmp_path / "outbox")) as client:
            receipt = await client.enqueue("t", "1", qos=1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(receipt, 0.01)
        assert receipt.done()
        future: Any = receipt._future
        assert not future._log_traceback

    asyncio.run(main())


def test_a_receipt_ends_when_no_connection_follows(tmp_path: Path) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            broker.refuse_connections(0x86)
            async with client_of(broker, Outbox(tmp_path / "outbox")) as client:
                receipt = client.publish_nowait("t", "1", 1)
                with pytest.raises(MqttKeptError):
                    await receipt

    asyncio.run(main())


def test_a_client_that_was_left_is_not_held_by_what_it_keeps(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")

    async def main() -> None:
        async with away() as nobody:
            client = client_of(nobody, outbox)
            left = weakref.ref(client)
            async with client:
                await (await client.enqueue("t", "1", 1)).stored()
            del client
            await asyncio.sleep(0)
            gc.collect()
            assert left() is None

    asyncio.run(main())


def test_a_cancelled_enter_leaves_the_folder_free(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")

    async def main() -> None:
        async with away() as nobody:
            for turns in range(12):
                client = client_of(nobody, outbox)
                entering = asyncio.create_task(client.__aenter__())
                for _ in range(turns):
                    await asyncio.sleep(0)
                entering.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await entering
                    await client.__aexit__(None, None, None)
                async with client_of(nobody, outbox):
                    pass

    asyncio.run(main())


def test_a_cancelled_leave_ends_all_waits(tmp_path: Path) -> None:
    async def main() -> None:
        async with away() as nobody:
            for turns in range(1, 12):  # at 0 it would not have begun
                client = client_of(nobody, Outbox(tmp_path / f"outbox{turns}"))
                await client.__aenter__()
                receipt = await client.enqueue("t", "1", 1)
                leaving = asyncio.create_task(client.__aexit__(None, None, None))
                for _ in range(turns):
                    await asyncio.sleep(0)
                leaving.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await leaving
                with contextlib.suppress(MqttError):
                    await receipt.stored()
                with pytest.raises(MqttError):
                    await receipt

    asyncio.run(main())


def test_a_client_is_left_in_another_run_of_a_loop(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    clients = []

    async def enter() -> None:
        async with away() as nobody:
            client = client_of(nobody, outbox)
            await client.__aenter__()
            await (await client.enqueue("t", "1", 1)).stored()
            clients.append(client)

    async def leave() -> None:
        await clients[0].__aexit__(None, None, None)
        async with away() as nobody, client_of(nobody, outbox) as client:
            stats = client.outbox_stats()
            assert stats is not None
            assert stats.messages == 1

    asyncio.run(enter())
    asyncio.run(leave())


def test_a_client_is_not_left_from_another_loop(tmp_path: Path) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            client = client_of(broker, Outbox(tmp_path / "outbox"))
            async with client:
                with pytest.raises(RuntimeError, match="another event loop"):
                    await asyncio.to_thread(asyncio.run, client.__aexit__(None, None, None))
                receipt = await client.enqueue("t", "1", 1)
                await receipt.stored()
                await receipt

    asyncio.run(main())


def test_an_outbox_is_drained_as_soon_as_there_is_a_server(tmp_path: Path) -> None:
    async def main() -> None:
        async with TestBroker(listen=False) as broker:
            broker.partition()
            async with client_of(broker, Outbox(tmp_path / "outbox")) as client:
                receipts = [await client.enqueue("t", number, 1) for number in range(3)]
                draining = asyncio.create_task(client.drain())
                await asyncio.sleep(0)
                broker.heal()
                assert (await draining).is_complete
                for receipt in receipts:
                    await receipt

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_the_outbox_to_its_parent(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")

    async def main() -> None:
        async with away() as nobody, client_of(nobody, outbox) as client:
            await (await client.enqueue("t", "1", 1)).stored()
            child = os.fork()
            if child == 0:
                with contextlib.suppress(BaseException):
                    client.publish_nowait("t", "2", 1)
                    os._exit(1)
                os._exit(0)
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            await (await client.enqueue("t", "3", 1)).stored()
            stats = client.outbox_stats()
            assert stats is not None
            assert stats.messages == 2

    asyncio.run(main())


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"maxsize": 0}, ValueError, "maxsize must be 1 or more"),
    ({"maxbytes": "1"}, TypeError, "maxbytes"),
    ({"overflow": "forget"}, ValueError, "overflow must be"),
    ({"max_age": -1}, ValueError, "max_age must be more than 0"),
    ({"max_age": "1"}, TypeError, "max_age"),
    ({"quarantine": "no"}, TypeError, "quarantine"),
    ({"sync": True}, TypeError, "sync"),
    ({"sync": "sometimes"}, ValueError, "sync must be"),
    ({"sync": float("inf")}, ValueError, "sync must be more than 0 seconds, and finite"),
]


@pytest.mark.parametrize(("arguments", "error", "text"), WRONG)
def test_wrong_arguments_are_refused(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Outbox("outbox", **arguments)
    with pytest.raises(TypeError, match="path"):
        Outbox(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="path must not be empty"):
        Outbox("")
    with pytest.raises(ValueError, match="are both given"):
        Client("broker", outbox=Outbox("outbox"), outgoing_queue=OutgoingQueue())


def test_virtual_time_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferromqtt._virtual_loop._OUTSIDE", 0)  # time waits for nothing else

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with away() as broker, client_of(broker, Outbox(tmp_path)) as client:
            began = loop.time()
            receipt = await client.enqueue("t", "x", 1)
            await asyncio.wait_for(receipt.stored(), 1e-6)
            assert loop.time() == began
            # What it has written holds up nothing.
            await asyncio.sleep(10)
            assert loop.time() == began + 10

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        assert not loop.work_outside
