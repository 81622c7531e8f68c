"""The fixtures for tests that AnyIO's plugin runs: it takes any asynchronous generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ferromqtt_pytest import _forms, _item

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ferromqtt import Client
    from ferromqtt.testing import TestBroker
    from ferromqtt_pytest._clients import MqttClients
    from ferromqtt_pytest._remote import RemoteBroker


def virtual_backend() -> pytest.MarkDecorator:
    """Return a marker that makes AnyIO run a test on a virtual loop."""
    from ferromqtt_pytest._time import virtual_loop  # noqa: PLC0415 - not before a test needs it

    backend = ("asyncio", {"loop_factory": virtual_loop})
    # Of the scope that AnyIO's own fixture has, so that wider fixtures may use it.
    return pytest.mark.parametrize(
        _item.ANYIO_BACKEND, [pytest.param(backend, id="virtual")], scope="module"
    )


@pytest.fixture(name="_mqtt_broker_anyio")
async def _broker(
    request: pytest.FixtureRequest,
) -> AsyncGenerator[TestBroker | RemoteBroker, None]:
    async for made in _forms.broker(request):
        yield made


@pytest.fixture(name="_mqtt_client_anyio")
async def _client(mqtt_broker: TestBroker | RemoteBroker) -> AsyncGenerator[Client, None]:
    async for connected in _forms.client(mqtt_broker):
        yield connected


@pytest.fixture(name="_mqtt_clients_anyio")
async def _clients(mqtt_broker: TestBroker | RemoteBroker) -> AsyncGenerator[MqttClients, None]:
    async for connecting in _forms.clients(mqtt_broker):
        yield connecting
