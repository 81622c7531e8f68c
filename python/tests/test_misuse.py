"""What nobody should do to a message iterator does no harm (design note 0004)."""

import asyncio
import gc

import pytest

from conftest import Broker
from ferromqtt import Client
from support.clients import LIMIT, unique
from support.loops import LoopRunner


def test_a_step_that_was_closed_cannot_be_awaited(run: LoopRunner) -> None:
    async def main() -> None:
        step = anext(Client("localhost").messages)
        assert isinstance(step.send(None), asyncio.Future)
        step.close()
        with pytest.raises(RuntimeError, match="awaited to its end"):
            step.send(None)

    run(main)


def test_a_step_can_be_thrown_into(run: LoopRunner) -> None:
    async def main() -> None:
        step = anext(Client("localhost").messages)
        step.send(None)
        with pytest.raises(KeyError, match="thrown"):
            step.throw(KeyError("thrown"))
        step.close()

    run(main)


def test_a_step_awaited_by_two_tasks_serves_the_first(run: LoopRunner, broker: Broker) -> None:
    async def main() -> None:
        topic = unique("misuse")
        async with Client(broker.host, broker.port) as client:
            await client.subscribe(topic)
            await client.publish(topic, "only")
            step = anext(client.messages)
            async with asyncio.timeout(LIMIT):
                assert (await step).payload == b"only"
                with pytest.raises(RuntimeError, match="awaited to its end"):
                    await step

    run(main)


def test_steps_that_were_dropped_while_waiting_take_no_message(
    run: LoopRunner, broker: Broker
) -> None:
    async def main() -> None:
        topic = unique("misuse")
        async with Client(broker.host, broker.port) as client:
            await client.subscribe(topic, qos=1)
            for _ in range(3):
                anext(client.messages).send(None)
            gc.collect()
            for number in range(3):
                await client.publish(topic, number, qos=1)
            async with asyncio.timeout(LIMIT):
                payloads = [(await anext(client.messages)).payload for _ in range(3)]
            assert payloads == [b"0", b"1", b"2"]

    run(main)
