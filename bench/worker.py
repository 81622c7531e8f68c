"""One measured client process: one module, one scenario, one line of JSON.

The far side must be listening already (`quick.py` starts it). Every module runs the same code
here: nothing in this file knows which client it is measuring.
"""

import argparse
import asyncio
import importlib
import json
import resource
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from itertools import chain, cycle, islice, repeat
from typing import Any, NamedTuple

import raw
from measure import END_MARKER, HOST, PAYLOADS, TOPIC, Cost, Meter

TIME_LIMIT = 60.0
TASKS = 100
NO_WARNING = 1_000_000


class SequenceError(Exception):
    """A message was lost, repeated or out of order."""


class Plan(NamedTuple):
    """What to do with the connected client."""

    module: Any
    port: int
    warm_up: int
    messages: int


async def publish_all(client: Any, payloads: Iterator[bytes], qos: int) -> None:
    """Publish one after another, each awaited."""
    for payload in payloads:
        await client.publish(TOPIC, payload, qos=qos)


async def publish_with_tasks(client: Any, payloads: Iterator[bytes], qos: int) -> None:
    """Share the payloads between tasks: as many publishes in flight as there are tasks."""
    async with asyncio.TaskGroup() as group:
        for _ in range(TASKS):
            group.create_task(publish_all(client, payloads, qos))


async def receive_all(messages: Any, count: int) -> None:
    """Read one batch and compare every topic and payload with what was sent."""
    # One beyond the last, we expect what no message carries, so that the end marker ends the loop.
    expected = chain(islice(cycle(PAYLOADS), count), repeat(None)).__next__
    async for message in messages:
        if message.payload != (wanted := expected()) or message.topic.value != TOPIC:
            break
    if wanted is not None or message.payload != END_MARKER or message.topic.value != TOPIC:
        problem = f"expected {_describe(wanted)}, got {_describe(message.payload)}"
        raise SequenceError(problem)


def _describe(payload: bytes | None) -> str:
    if not payload:
        return "the end of the batch"
    return f"message {int.from_bytes(payload[:4], 'big')} of the cycle"


async def pub_qos0(plan: Plan) -> Cost:
    """Publish at QoS 0; ends when the far side has counted all."""
    async with plan.module.Client(HOST, plan.port) as client:
        payloads = cycle(PAYLOADS)
        await publish_all(client, islice(payloads, plan.warm_up), 0)
        await client.publish(TOPIC, END_MARKER, qos=1)
        with Meter() as meter:
            await publish_all(client, islice(payloads, plan.messages), 0)
            # The far side acknowledges the end marker after it has counted what came before.
            await client.publish(TOPIC, END_MARKER, qos=1)
    return meter.cost


async def pub_qos1_w100(plan: Plan) -> Cost:
    """Publish at QoS 1 from 100 tasks; ends at the last PUBACK."""
    async with plan.module.Client(HOST, plan.port, max_inflight_messages=TASKS) as client:
        client.pending_calls_threshold = NO_WARNING
        payloads = cycle(PAYLOADS)
        await publish_with_tasks(client, islice(payloads, plan.warm_up), 1)
        with Meter() as meter:
            await publish_with_tasks(client, islice(payloads, plan.messages), 1)
    return meter.cost


async def recv_qos0(plan: Plan) -> Cost:
    """Receive at QoS 0 in the plain loop."""
    return await _receive(plan, 0)


async def recv_qos1(plan: Plan) -> Cost:
    """Receive at QoS 1; the far side ends the batch when all is acknowledged."""
    return await _receive(plan, 1)


async def _receive(plan: Plan, qos: int) -> Cost:
    async with plan.module.Client(HOST, plan.port) as client:
        # Each SUBSCRIBE starts one batch. The clock starts before it: no message comes earlier.
        await client.subscribe(TOPIC, qos=qos)
        await receive_all(client.messages, plan.warm_up)
        with Meter() as meter:
            await client.subscribe(TOPIC, qos=qos)
            await receive_all(client.messages, plan.messages)
    return meter.cost


SCENARIOS: dict[str, Callable[[Plan], Awaitable[Cost]]] = {
    scenario.__name__: scenario for scenario in (pub_qos0, recv_qos0, pub_qos1_w100, recv_qos1)
}


async def measure(arguments: argparse.Namespace) -> Cost:
    """Run the scenario under the time limit."""
    try:
        async with asyncio.timeout(TIME_LIMIT) as limit:
            return await run_scenario(arguments)
    except TimeoutError:
        if not limit.expired():
            raise
        problem = f"not done within {TIME_LIMIT:.0f} s: the client waits for what never comes"
        raise TimeoutError(problem) from None


async def run_scenario(arguments: argparse.Namespace) -> Cost:
    """Pick the client and the scenario."""
    if arguments.module == "raw":
        run = raw.SCENARIOS[arguments.scenario]
        return await run(arguments.port, arguments.warm_up, arguments.messages)
    module = importlib.import_module(arguments.module)
    plan = Plan(module, arguments.port, arguments.warm_up, arguments.messages)
    return await SCENARIOS[arguments.scenario](plan)


def implementation() -> str:
    """Which library did the work, whatever name it was imported by."""
    return next((name for name in ("paho", "ferromqtt") if name in sys.modules), "none")


def main() -> None:
    """Measure once and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--module", required=True, choices=("aiomqtt", "ferromqtt", "raw"))
    parser.add_argument("--scenario", required=True, choices=SCENARIOS)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--messages", required=True, type=int)
    parser.add_argument("--warm-up", default=500, type=int)
    parser.add_argument("--loop", default="asyncio", choices=("asyncio", "uvloop"))
    arguments = parser.parse_args()
    loop_factory = None
    if arguments.loop == "uvloop":
        loop_factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        cost = runner.run(measure(arguments))
    result = {
        "module": arguments.module,
        "version": getattr(sys.modules.get(arguments.module), "__version__", None),
        "implementation": implementation(),
        "scenario": arguments.scenario,
        "loop": arguments.loop,
        "messages": arguments.messages,
        **asdict(cost),
        "peak_rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
