"""What once went wrong, each with the smallest program that showed it."""

import asyncio
import gc
import logging
import threading
import weakref

import pytest

from conftest import Broker
from ferromqtt import Client, MqttError, ProtocolVersion
from support import packets
from support.clients import LIMIT, unique
from support.loops import LoopRunner, settle
from support.scripted import Connection, ScriptedServer


def test_cancelling_a_loop_of_qos_0_publishes_leaves_other_calls_alone(run: LoopRunner) -> None:
    """It gave up the call that had been accepted last, which then never ended."""

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_311)
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        async with Client(server.host, server.port) as client:

            async def publish_forever() -> None:
                while True:
                    await client.publish("b", "y")

            unanswered = asyncio.ensure_future(client.publish("a", "x", qos=1, timeout=0.3))
            await asyncio.sleep(0)
            flood = asyncio.ensure_future(publish_forever())
            await asyncio.sleep(0)
            flood.cancel()
            with pytest.raises(MqttError, match="Operation timed out"):
                await asyncio.wait_for(unanswered, LIMIT)

    with ScriptedServer(script) as server:
        run(main, server)


def test_a_message_that_comes_with_the_end_goes_to_the_first_that_waits(run: LoopRunner) -> None:
    """All were woken by the end, and none of them took it."""

    def script(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        connection.send(b"\x30\x06\x00\x01a\x00hi" + b"\xe0\x00")
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, protocol=ProtocolVersion.V5)
        waiting = [asyncio.ensure_future(anext(client.messages)) for _ in range(3)]
        await asyncio.sleep(0)
        async with asyncio.timeout(LIMIT), client:
            results = await asyncio.gather(*waiting, return_exceptions=True)
        assert getattr(results[0], "payload", None) == b"hi"
        assert [type(result) for result in results[1:]] == [MqttError, MqttError]

    with ScriptedServer(script) as server:
        run(main, server)


def test_a_waiting_step_in_a_garbage_cycle_takes_no_message(
    run: LoopRunner, broker: Broker
) -> None:
    async def main() -> None:
        topic = unique("cycle")
        async with Client(*broker.where) as client:
            await client.subscribe(topic, qos=1)
            step = anext(client.messages)
            step.send(None)
            cycle: list[object] = [step]
            cycle.append(cycle)
            del step, cycle
            gc.collect()
            for number in range(2):
                await client.publish(topic, number, qos=1)
            async with asyncio.timeout(LIMIT):
                assert [(await anext(client.messages)).payload for _ in "ab"] == [b"0", b"1"]

    run(main)


@pytest.mark.parametrize("qos", [0, 1])
def test_a_logger_that_raises_stops_no_publish(run: LoopRunner, broker: Broker, qos: int) -> None:
    """The flush at the end of the turn was noted as scheduled, but was not."""
    reported: list[str] = []
    logger = logging.getLogger("test.raises")

    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError(record.msg)

    async def main() -> None:
        topic = unique("logger")
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(str(context["exception"]))
        )
        async with Client(*broker.where, logger=logger) as client:
            await client.subscribe(topic)
            client.pending_calls_threshold = 0
            await client.publish(topic, "first", qos=qos)
            client.pending_calls_threshold = 10
            await client.publish(topic, "second", qos=qos)
            async with asyncio.timeout(LIMIT):
                assert [(await anext(client.messages)).payload for _ in "ab"] == [
                    b"first",
                    b"second",
                ]
        assert reported == ["%d calls wait for the server (pending_calls_threshold=%d)."]

    logger.addFilter(refuse)
    try:
        run(main)
    finally:
        logger.removeFilter(refuse)


def test_a_topic_s_last_reference_may_run_code_that_uses_the_client(
    run: LoopRunner, broker: Broker
) -> None:
    """Forgetting topics dropped them while the core was in use."""

    async def main() -> None:
        prefix = unique("topics")
        seen: list[int] = []
        async with Client(*broker.where) as client:
            await client.subscribe(f"{prefix}/#")
            references = []
            for number in range(300):
                await client.publish(f"{prefix}/{number}")
                async with asyncio.timeout(LIMIT):
                    message = await anext(client.messages)
                if number == 0:
                    references.append(
                        weakref.ref(message.topic, lambda _: seen.append(len(client.messages)))
                    )
            assert seen == [0]

    run(main)


def test_an_exit_that_is_cancelled_leaves_no_connection_behind(run: LoopRunner) -> None:
    """A server that reads nothing kept it open, and the next enter waited for its end."""

    over = threading.Event()

    def read_nothing(connection: Connection) -> None:
        connection.accept(packets.CONNACK_311)
        assert over.wait(LIMIT)

    def behave(connection: Connection) -> None:
        connection.accept(packets.CONNACK_311)
        connection.read_to_end()

    async def main(server: ScriptedServer) -> None:
        client = Client(server.host, server.port, timeout=LIMIT)
        await client.__aenter__()

        async def flood() -> None:
            while True:
                await client.publish("a", b"." * 30_000_000)  # more than the system takes unread

        task = asyncio.ensure_future(flood())
        await settle()
        leaving = asyncio.ensure_future(client.__aexit__(None, None, None))
        done, _ = await asyncio.wait([leaving], timeout=0.1)
        assert not done
        leaving.cancel()
        await asyncio.wait([leaving, task], timeout=LIMIT)
        assert leaving.cancelled()
        assert isinstance(task.exception(), MqttError)
        async with client:
            pass
        over.set()

    with ScriptedServer(read_nothing, behave) as server:
        run(main, server)
