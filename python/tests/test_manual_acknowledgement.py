"""Acknowledging received messages by hand, as programs do by the paho client (contract 1.8)."""

# ruff: noqa: ANN401 - the shim is imported as a program would import it, so it has no types

import asyncio
from types import ModuleType
from typing import Any

import pytest

from conftest import Broker, TcpBroker
from ferromqtt import Message, PacketTypes, Properties, ProtocolVersion
from ferromqtt.reasons import MQTTErrorCode
from support import packets
from support.clients import LIMIT, receive, receive_many, receive_until, unique, wait_for_queued
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer, answer

SUCCESS, NO_CONNECTION = MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN


class ByMid(asyncio.PriorityQueue[Message]):
    """The recipe of aiomqtt's documentation: a queue that orders messages."""

    def _put(self, item: Any) -> None:
        super()._put((-item.qos, item))  # type: ignore[arg-type]

    def _get(self) -> Any:
        return super()._get()[1]  # type: ignore[index]


QUEUES = [None, asyncio.Queue, ByMid]


def persistent(
    shim: ModuleType, broker: Broker, protocol: ProtocolVersion, identifier: str, queue_type: Any
) -> Any:
    """Return a client whose session the server keeps, and that acknowledges by hand."""
    kept: dict[str, Any] = {"clean_session": False}
    if protocol == ProtocolVersion.V5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 300
        kept = {"clean_start": False, "properties": properties}
    client = shim.Client(
        *broker.where,
        protocol=protocol,
        identifier=identifier,
        queue_type=queue_type,
        **kept,
    )
    client._client.manual_ack_set(True)
    return client


async def everything_is_read(client: Any) -> None:
    """Return when the server has read all that the client has sent so far."""
    await client.publish(unique("nobody"), qos=1)


@pytest.mark.parametrize("queue_type", QUEUES)
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_not_acknowledged_comes_again_and_what_is_does_not_1_8(
    run: LoopRunner,
    broker: Broker,
    shim: ModuleType,
    restarted: bool,
    qos: int,
    queue_type: Any,
    protocol: ProtocolVersion,
) -> None:
    async def main() -> None:
        identifier, topic = unique("manual"), unique("jobs")
        client = persistent(shim, broker, protocol, identifier, queue_type)
        async with client:
            await client.subscribe(topic, qos=qos)
            for payload in ("done", "lost", "done too"):
                await client.publish(topic, payload, qos=qos)
            done, lost, done_too = await receive_many(client, 3)
            assert lost.payload == b"lost"
            assert client._client.ack(done.mid, done.qos) == SUCCESS
            assert client._client.ack(done_too.mid, done_too.qos) == SUCCESS
            await everything_is_read(client)
            client._client._sock_close()
        if restarted:
            client = persistent(shim, broker, protocol, identifier, queue_type)
        async with client:
            again = await receive(client)
            assert again.payload == b"lost"
            client._client.ack(again.mid, again.qos)
            if restarted:
                # Its acknowledgement waited for the one before, and went with the program.
                assert (await receive(client)).payload == b"done too"
            await client.publish(topic, "last", qos=0)
            assert await receive_until(client, b"last") == []
        if not restarted:
            async with client:
                await client.publish(topic, "last", qos=0)
                assert await receive_until(client, b"last") == []
        async with shim.Client(*broker.where, identifier=identifier):
            pass  # the server forgets the session

    run(main)


@pytest.mark.parametrize("early", [True, False])
def test_acknowledgements_wait_for_the_program_and_leave_in_order_1_8(
    run: LoopRunner, shim: ModuleType, early: bool
) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        if not early:  # the client has turned it on when it publishes
            answer(connection, *connection.expect(packets.PUBLISH))
        connection.send(packets.publish("t", b"one", qos=1, packet_id=1))
        connection.send(packets.publish("t", b"two", qos=2, packet_id=2))
        answer(connection, *connection.expect(packets.PUBLISH))  # and no acknowledgement before it
        assert connection.expect(packets.PUBACK)[1] == b"\0\1"
        assert connection.expect(packets.PUBREC)[1] == b"\0\2"
        connection.send(packets.ack(packets.PUBREL, 2))
        connection.send(packets.publish("t", b"released"))
        assert connection.expect(packets.PUBCOMP)[1] == b"\0\2"
        connection.read_to_end()

    async def main() -> None:
        with ScriptedServer(script) as server:
            client = shim.Client(server.host, server.port)
            if early:
                client._client.manual_ack_set(True)
            async with client:
                if not early:
                    client._client.manual_ack_set(True)
                    await everything_is_read(client)
                one, two = await receive_many(client, 2)
                assert [(it.mid, it.qos) for it in (one, two)] == [(1, 1), (2, 2)]
                assert client._client.ack(two.mid, two.qos) == SUCCESS
                await everything_is_read(client)
                assert client._client.ack(one.mid, one.qos) == SUCCESS
                assert (await receive(client)).payload == b"released"

    run(main)


def test_acknowledging_what_is_unknown_is_harmless_1_8(run: LoopRunner, shim: ModuleType) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.send(packets.publish("t", b"one", qos=1, packet_id=1))
        answer(connection, *connection.expect(packets.PUBLISH))  # and no acknowledgement before it
        assert connection.expect(packets.PUBACK)[1] == b"\0\1"
        connection.expect(packets.DISCONNECT)  # one acknowledgement

    async def main() -> None:
        with ScriptedServer(script) as server:
            client = shim.Client(server.host, server.port)
            client._client.manual_ack_set(True)
            assert client._client.ack(1, 1) == NO_CONNECTION
            with pytest.raises(TypeError, match="'str' object cannot be interpreted as an integer"):
                client._client.ack("1", 1)
            async with client:
                with pytest.raises(TypeError, match="'str' object cannot be interpreted"):
                    client._client.ack("1", 1)
                await wait_for_queued(client, 1)
                not_taken, taken = (1, 1), [(2, 1), (1, 2), (1, 0), (0, 1), (-1, 1), (70_000, 1)]
                for mid, qos in [not_taken, *taken, (1, 3), (1, -1), (1 << 70, 1), (1, 1 << 70)]:
                    assert client._client.ack(mid, qos) == SUCCESS
                await receive(client)
                for mid, qos in taken:
                    assert client._client.ack(mid, qos) == SUCCESS
                await everything_is_read(client)
                for _ in range(2):
                    assert client._client.ack(1, 1) == SUCCESS
            assert client._client.ack(1, 1) == NO_CONNECTION

    run(main)


def test_an_old_acknowledgement_acknowledges_no_other_message_that_is_not_taken_1_8(
    run: LoopRunner, shim: ModuleType
) -> None:
    """A fresh session uses the Packet Identifier for another message."""

    def first(connection: Connection) -> None:
        connection.accept()
        connection.send(packets.publish("t", b"old", qos=1, packet_id=1))
        answer(connection, *connection.expect(packets.PUBLISH))
        connection.close()

    def second(connection: Connection) -> None:
        connection.accept()
        connection.send(packets.publish("t", b"new", qos=1, packet_id=1))
        answer(connection, *connection.expect(packets.PUBLISH))  # and no acknowledgement before it
        assert connection.expect(packets.PUBACK)[1] == b"\0\1"
        connection.read_to_end()

    async def main() -> None:
        with ScriptedServer(first, second) as server:
            client = shim.Client(server.host, server.port)
            client._client.manual_ack_set(True)
            async with client:
                old = await receive(client)
                await everything_is_read(client)
                with pytest.raises(shim.MqttError):
                    await receive(client)
            async with client:
                await wait_for_queued(client, 1)
                assert client._client.ack(old.mid, old.qos) == SUCCESS
                await everything_is_read(client)
                new = await receive(client)
                assert (new.payload, new.mid) == (b"new", old.mid)
                client._client.ack(new.mid, new.qos)

    run(main)


SESSION_PRESENT = b"\x20\x02\x01\x00"


def repeated(payload: bytes, *, qos: int, packet_id: int) -> bytes:
    """Return a PUBLISH with DUP."""
    first, *rest = packets.publish("t", payload, qos=qos, packet_id=packet_id)
    return bytes([first | 8, *rest])


@pytest.mark.parametrize("queue_type", QUEUES)
@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_taken_after_the_connection_has_ended_comes_again_1_8(
    run: LoopRunner, shim: ModuleType, qos: int, queue_type: Any
) -> None:
    """A message that can be acknowledged no more must not hold up those of the next connection."""

    def first(connection: Connection) -> None:
        connection.accept()
        connection.send(packets.publish("t", b"one", qos=qos, packet_id=1))
        connection.send(packets.publish("t", b"two", qos=qos, packet_id=2))
        answer(connection, *connection.expect(packets.PUBLISH))
        connection.close()

    def second(connection: Connection) -> None:
        connection.accept(SESSION_PRESENT)
        connection.send(repeated(b"one", qos=qos, packet_id=1))
        connection.send(repeated(b"two", qos=qos, packet_id=2))
        connection.send(packets.publish("t", b"three", qos=qos, packet_id=3))
        for number in (b"\0\1", b"\0\2", b"\0\3"):
            kind = packets.PUBACK if qos == 1 else packets.PUBREC
            assert connection.expect(kind)[1] == number
        connection.send(packets.publish("t", b"acknowledged"))
        connection.read_to_end()

    async def main() -> None:
        with ScriptedServer(first, second) as server:
            client = shim.Client(
                server.host, server.port, identifier="x", clean_session=False, queue_type=queue_type
            )
            client._client.manual_ack_set(True)
            async with client:
                await everything_is_read(client)
                async with asyncio.timeout(LIMIT):
                    while client._client.is_connected():  # noqa: ASYNC110  no message tells it
                        await asyncio.sleep(0.005)
                for _ in range(2):
                    message = await receive(client)
                    code = client._client.ack(message.mid, message.qos)
                    assert code == NO_CONNECTION
                with pytest.raises(shim.MqttError):
                    await receive(client)
            async with client:
                for payload in (b"one", b"two", b"three"):
                    message = await receive(client)
                    assert message.payload == payload
                    assert client._client.ack(message.mid, message.qos) == SUCCESS
                assert (await receive(client)).payload == b"acknowledged"

    run(main)


@pytest.mark.parametrize("passes_on", [True, False])
def test_an_on_message_of_a_subclass_may_acknowledge_1_8(
    run: LoopRunner, shim: ModuleType, passes_on: bool
) -> None:
    """As is usual with paho: in the callback."""

    def script(connection: Connection) -> None:
        connection.accept()
        connection.send(packets.publish("t", b"one", qos=1, packet_id=1))
        assert connection.expect(packets.PUBACK)[1] == b"\0\1"
        connection.send(packets.publish("t", b"acknowledged"))
        connection.read_to_end()

    class Acknowledging(shim.Client):  # type: ignore[name-defined, misc]
        def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
            if message.qos:
                assert client.ack(message.mid, message.qos) == SUCCESS
            if passes_on or not message.qos:
                super()._on_message(client, userdata, message)

    async def main() -> None:
        with ScriptedServer(script) as server:
            client = Acknowledging(server.host, server.port)
            client._client.manual_ack_set(True)
            async with client:
                if passes_on:
                    assert (await receive(client)).payload == b"one"
                assert (await receive(client)).payload == b"acknowledged"

    run(main)


class Wrapping(asyncio.Queue[Any]):
    """A queue that hands out something else than it was given."""

    async def get(self) -> Any:
        return ("wrapped", await super().get())


def test_a_message_that_a_queue_wraps_can_be_acknowledged_1_8(
    run: LoopRunner, shim: ModuleType
) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.send(packets.publish("t", b"one", qos=1, packet_id=1))
        assert connection.expect(packets.PUBACK)[1] == b"\0\1"
        connection.read_to_end()

    async def main() -> None:
        with ScriptedServer(script) as server:
            client = shim.Client(server.host, server.port, queue_type=Wrapping)
            client._client.manual_ack_set(True)
            async with client:
                _, message = await receive(client)
                client._client.ack(message.mid, message.qos)

    run(main)


class Latest(asyncio.Queue[Any]):
    """The recipe of a queue that drops what is old."""

    def put_nowait(self, item: Any) -> None:
        while self.full():
            self.get_nowait()
        super().put_nowait(item)


def test_what_a_queue_has_dropped_comes_again_on_the_next_connection_1_8(
    run: LoopRunner, shim: ModuleType
) -> None:
    """Otherwise it would hold up the acknowledgements of every connection that follows."""

    def first(connection: Connection) -> None:
        connection.accept()
        connection.send(packets.publish("t", b"one", qos=1, packet_id=1))
        connection.send(packets.publish("t", b"two", qos=1, packet_id=2))
        answer(connection, *connection.expect(packets.PUBLISH))
        connection.close()

    def second(connection: Connection) -> None:
        connection.accept(SESSION_PRESENT)
        connection.send(repeated(b"one", qos=1, packet_id=1))
        assert connection.expect(packets.PUBACK)[1] == b"\0\1"
        connection.send(repeated(b"two", qos=1, packet_id=2))
        assert connection.expect(packets.PUBACK)[1] == b"\0\2"
        connection.read_to_end()

    async def main() -> None:
        with ScriptedServer(first, second) as server:
            client = shim.Client(
                server.host,
                server.port,
                identifier="x",
                clean_session=False,
                queue_type=Latest,
                max_queued_incoming_messages=1,
            )
            client._client.manual_ack_set(True)
            async with client:
                await everything_is_read(client)
                assert (await receive(client)).payload == b"two"
                with pytest.raises(shim.MqttError):
                    await receive(client)
            async with client:
                for payload in (b"one", b"two"):
                    message = await receive(client)
                    assert message.payload == payload
                    client._client.ack(message.mid, message.qos)

    run(main)


@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
def test_a_message_that_a_full_queue_discards_holds_up_no_acknowledgement_1_8(
    run: LoopRunner, shim: ModuleType, queue_type: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        for number in (1, 2):
            connection.send(packets.publish("t", b"x", qos=1, packet_id=number))
        answer(connection, *connection.expect(packets.PUBLISH))
        for number in (b"\0\1", b"\0\2"):
            assert connection.expect(packets.PUBACK)[1] == number
        connection.read_to_end()

    async def main() -> None:
        with ScriptedServer(script) as server:
            client = shim.Client(
                server.host,
                server.port,
                queue_type=queue_type,
                max_queued_incoming_messages=1,
            )
            client._client.manual_ack_set(True)
            async with client:
                await everything_is_read(client)  # its answer comes behind the messages
                message = await receive(client)
                client._client.ack(message.mid, message.qos)

    run(main)
    assert [record.message for record in caplog.records] == [
        "Message queue is full. Discarding message."
    ]


def test_manual_acknowledgement_can_be_turned_off_again_1_8(
    run: LoopRunner, shim: ModuleType
) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.send(packets.publish("t", b"one", qos=1, packet_id=1))
        answer(connection, *connection.expect(packets.PUBLISH))
        connection.send(packets.publish("t", b"two", qos=1, packet_id=2))
        for number in (b"\0\1", b"\0\2"):
            assert connection.expect(packets.PUBACK)[1] == number
        connection.read_to_end()

    async def main() -> None:
        with ScriptedServer(script) as server:
            client = shim.Client(server.host, server.port)
            client._client.manual_ack_set(True)
            async with client:
                one = await receive(client)
                client._client.manual_ack_set(False)
                await everything_is_read(client)
                await receive(client)
                client._client.ack(one.mid, one.qos)  # given by hand still

    run(main)


def test_another_thread_may_acknowledge_1_8(run: LoopRunner, shim: ModuleType) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        connection.send(packets.publish("t", b"one", qos=1, packet_id=1))
        assert connection.expect(packets.PUBACK)[1] == b"\0\1"
        connection.send(packets.publish("t", b"acknowledged"))
        connection.read_to_end()

    async def main() -> None:
        with ScriptedServer(script) as server:
            client = shim.Client(server.host, server.port)
            client._client.manual_ack_set(True)
            async with client:
                one = await receive(client)
                code = await asyncio.to_thread(client._client.ack, one.mid, one.qos)
                assert code == SUCCESS
                assert (await receive(client)).payload == b"acknowledged"

    run(main)


def test_jobs_are_acknowledged_when_their_tasks_have_ended_1_8(
    run: LoopRunner, broker: Broker, shim: ModuleType
) -> None:
    """As programs of aiomqtt do: a task for each message, which acknowledges it at its end."""
    identifier, topic = unique("worker"), unique("jobs")
    count = 60  # more than servers send without an acknowledgement
    ended: list[bytes] = []

    async def work(client: Any, message: Message) -> None:
        for _ in range(int(message.payload) % 3):
            await asyncio.sleep(0)  # they end in another order
        ended.append(message.payload)
        client._client.ack(message.mid, message.qos)

    async def main() -> None:
        async with (
            shim.Client(*broker.where, identifier=identifier) as client,
            asyncio.timeout(LIMIT),
            asyncio.TaskGroup() as tasks,
        ):
            client._client.manual_ack_set(True)
            await client.subscribe(topic, qos=1)
            for number in range(count):
                tasks.create_task(client.publish(topic, number, qos=1))
            left = count
            async for message in client.messages:
                tasks.create_task(work(client, message))
                left -= 1
                if not left:
                    break
        assert sorted(map(int, ended)) == list(range(count))
        ended.clear()

    run(main)


def test_a_server_that_may_be_waiting_for_acknowledgements_is_warned_of_once_1_8(
    shim: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        for number in range(1, 11):
            connection.send(packets.publish("t", b"x", qos=1, packet_id=number))
        connection.read_to_end()

    async def main() -> None:
        with ScriptedServer(script) as server:
            client = shim.Client(server.host, server.port)
            client._client.manual_ack_set(True)
            async with client:
                await receive_many(client, 10)
                async with asyncio.timeout(LIMIT):
                    while not caplog.records:  # noqa: ASYNC110  the core tells it after 5 s
                        await asyncio.sleep(0.01)

    asyncio.run(main())
    (record,) = caplog.records
    assert record.name == "mqtt"
    assert record.message.startswith("received messages are not acknowledged, and for 5 s")
    assert "(messages: 10, " in record.message


def test_the_paho_client_tells_of_its_connection_and_socket_1_8(
    run: LoopRunner, tcp_broker: TcpBroker, shim: ModuleType
) -> None:
    async def main() -> None:
        client = shim.Client(*tcp_broker.where)
        assert (client._client.is_connected(), client._client.socket()) == (False, None)
        async with client:
            assert client._client.is_connected()
            assert client._client.socket().getpeername() == (tcp_broker.host, tcp_broker.port)
        assert (client._client.is_connected(), client._client.socket()) == (False, None)

    run(main)
