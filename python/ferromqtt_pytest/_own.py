"""The fixtures for tests that this plugin runs, and for those that have no loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ferromqtt_pytest import _forms, _item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ferromqtt import Client
    from ferromqtt.testing import TestBroker
    from ferromqtt_pytest._clients import MqttClients
    from ferromqtt_pytest._remote import RemoteBroker


@pytest.fixture(name="_mqtt_broker_without_loop")
def _without_loop(request: pytest.FixtureRequest) -> TestBroker | RemoteBroker:
    # The loops that a test runs by itself have ended when it has, and the broker's connections too.
    return _forms.make_broker(request)


@pytest.fixture(name=_item.RUNNER)
def _runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=_item.loop_factory(request.node)) as runner:
        yield runner


@pytest.fixture(name="_mqtt_broker_own")
def _broker(
    request: pytest.FixtureRequest, _mqtt_runner: asyncio.Runner
) -> Iterator[TestBroker | RemoteBroker]:
    yield from _forms.in_runner(_mqtt_runner, _forms.broker(request))


@pytest.fixture(name="_mqtt_client_own")
def _client(
    mqtt_broker: TestBroker | RemoteBroker, _mqtt_runner: asyncio.Runner
) -> Iterator[Client]:
    yield from _forms.in_runner(_mqtt_runner, _forms.client(mqtt_broker))


@pytest.fixture(name="_mqtt_clients_own")
def _clients(
    mqtt_broker: TestBroker | RemoteBroker, _mqtt_runner: asyncio.Runner
) -> Iterator[MqttClients]:
    yield from _forms.in_runner(_mqtt_runner, _forms.clients(mqtt_broker))
