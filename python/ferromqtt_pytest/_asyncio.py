"""The fixtures for tests that pytest-asyncio runs.

A fixture runs in a loop of the scope that it was defined with, and a test in one of the scope that
its marker says. So there is one of each kind for each scope, and `_item.form` takes that of the
test's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from ferromqtt_pytest import _forms

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Callable, Mapping

    from ferromqtt import Client
    from ferromqtt.testing import TestBroker
    from ferromqtt_pytest._clients import MqttClients
    from ferromqtt_pytest._remote import RemoteBroker

_SCOPES = ("function", "class", "module", "package", "session")


class VirtualLoops:
    """A plugin that makes pytest-asyncio run a test on a virtual loop."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_asyncio_loop_factories(
        self,
    ) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
        """Return the only loop that there is for the test."""
        from ferromqtt_pytest._time import virtual_loop  # noqa: PLC0415 - imported when it is used

        return {"virtual": virtual_loop}


def _fixtures(scope: Any) -> dict[str, object]:  # noqa: ANN401 - a Literal of pytest-asyncio's
    """Define the fixtures whose loop has this scope."""

    @pytest_asyncio.fixture(loop_scope=scope, name=f"_mqtt_broker_asyncio_{scope}")
    async def broker(
        request: pytest.FixtureRequest,
    ) -> AsyncGenerator[TestBroker | RemoteBroker, None]:
        async for made in _forms.broker(request):
            yield made

    @pytest_asyncio.fixture(loop_scope=scope, name=f"_mqtt_client_asyncio_{scope}")
    async def client(
        mqtt_broker: TestBroker | RemoteBroker,
    ) -> AsyncGenerator[Client, None]:
        async for connected in _forms.client(mqtt_broker):
            yield connected

    @pytest_asyncio.fixture(loop_scope=scope, name=f"_mqtt_clients_asyncio_{scope}")
    async def clients(
        mqtt_broker: TestBroker | RemoteBroker,
    ) -> AsyncGenerator[MqttClients, None]:
        async for connecting in _forms.clients(mqtt_broker):
            yield connecting

    return {f"{kind.__name__}_{scope}": kind for kind in (broker, client, clients)}


for _scope in _SCOPES:
    globals().update(_fixtures(_scope))
