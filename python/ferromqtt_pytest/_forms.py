"""The fixtures as asynchronous generators, which each framework runs in its own way."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from ferromqtt_pytest import _item, _report

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Iterator

    import pytest

    from ferromqtt import Client
    from ferromqtt.testing import TestBroker
    from ferromqtt_pytest._clients import MqttClients
    from ferromqtt_pytest._remote import RemoteBroker

_T = TypeVar("_T")


def make_broker(request: pytest.FixtureRequest) -> TestBroker | RemoteBroker:
    """Return the broker of a test, in memory unless `--mqtt-broker` names one."""
    url: str | None = request.config.getoption("mqtt_broker")
    if url is not None:
        from ferromqtt_pytest._remote import broker_of_option  # noqa: PLC0415 - seldom used

        return broker_of_option(url)
    from ferromqtt.testing import TestBroker  # noqa: PLC0415 - not before a test needs it

    made = TestBroker(listen=False, **_item.broker_options(request.node))
    _report.watch(request.node, made)
    return made


async def broker(
    request: pytest.FixtureRequest,
) -> AsyncGenerator[TestBroker | RemoteBroker, None]:
    """Give a test its broker, and stop it."""
    made = make_broker(request)
    yield made
    await made.stop()


async def client(broker: TestBroker | RemoteBroker) -> AsyncGenerator[Client, None]:
    """Give a test a connected client, and disconnect it."""
    async with broker.client() as connected:
        yield connected


async def clients(broker: TestBroker | RemoteBroker) -> AsyncGenerator[MqttClients, None]:
    """Give a test what connects clients, and disconnect them."""
    from ferromqtt_pytest._clients import MqttClients  # noqa: PLC0415 - seldom used

    async with contextlib.AsyncExitStack() as stack:
        yield MqttClients(broker, stack)


def in_runner(runner: asyncio.Runner, generator: AsyncGenerator[_T, None]) -> Iterator[_T]:
    """Run the two halves of a generator, before and after a test."""

    async def begin() -> _T:
        return await anext(generator)

    async def end() -> None:
        async for _ in generator:
            raise AssertionError("a fixture yields once")

    yield runner.run(begin())
    runner.run(end())
