"""The pytest plugin of ferromqtt: a broker, connected clients and virtual time as fixtures.

`pip install ferromqtt` is enough: pytest finds the plugin by itself. It imports nothing of
ferromqtt until a test uses one of its fixtures. `-p no:ferromqtt` switches it off.

```python
async def test_a_message_arrives(mqtt_client):
    await mqtt_client.subscribe("site/7/level")
    await mqtt_client.publish("site/7/level", b"28.4", qos=1)
    message = await anext(aiter(mqtt_client.messages))
    assert message.payload == b"28.4"
```

docs/testing.md has a recipe for each fixture. A coroutine test runs under pytest-asyncio or
AnyIO's plugin, where one of them takes it. Otherwise this plugin runs it, if it is marked `mqtt` or
uses one of the fixtures.
"""

from __future__ import annotations

import argparse
import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from ferromqtt_pytest import _item

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator

    from ferromqtt import Client
    from ferromqtt.testing import Chaos, TestBroker
    from ferromqtt_pytest._assertions import assert_published
    from ferromqtt_pytest._clients import MqttClients
    from ferromqtt_pytest._remote import RemoteBroker
    from ferromqtt_pytest._time import VirtualTime

__all__ = ["MqttClients", "RemoteBroker", "VirtualTime", "assert_published"]

_HOMES = {
    "MqttClients": "_clients",
    "RemoteBroker": "_remote",
    "VirtualTime": "_time",
    "assert_published": "_assertions",
}

_MARKER = (
    "mqtt(*, virtual_time=False, broker=None, seeds=100): run a coroutine test, on a loop in which "
    "waiting takes no time if virtual_time is true; broker is a dict of options for the broker of "
    "the fixtures (ferromqtt.testing.BrokerOptions); seeds is how often to play the test, each "
    "time with other faults of the fixture chaos"
)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - one of the names
    """Import what tests import from here when they do."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - seldom needed

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


# What a test uses


@pytest.fixture
def mqtt_broker(request: pytest.FixtureRequest) -> TestBroker | RemoteBroker:
    """Return a broker in memory for this test alone; it is stopped after the test.

    A `ferromqtt.testing.TestBroker`: `mqtt_broker.client()` makes a client, and `Client(broker)`
    does so too. A test that passed fails when a rule for faults never fired
    (`TestBroker.unused_faults`); the report of a failure shows the newest packets.

    With `--mqtt-broker URL` it stands for the broker at that URL: it makes clients in
    the same way, and a test that asks for more than a real broker can do is skipped.
    """
    broker: TestBroker | RemoteBroker = _value("broker", request)
    return broker


@pytest.fixture
def mqtt_client(request: pytest.FixtureRequest) -> Client:
    """Return a client that is connected to `mqtt_broker` until the end of the test."""
    client: Client = _value("client", request)
    return client


@pytest.fixture
def mqtt_clients(request: pytest.FixtureRequest) -> MqttClients:
    """Return what connects more clients to `mqtt_broker`, until the end of the test.

    `pump = await mqtt_clients("pump-7", keepalive=5)` takes what `TestBroker.client` takes. The
    clients are disconnected after the test, the latest first.
    """
    clients: MqttClients = _value("clients", request)
    return clients


def _value(what: str, request: pytest.FixtureRequest) -> Any:  # noqa: ANN401 - of any fixture
    form = _item.form(what, request.node)
    value = request.getfixturevalue(form)
    return value(f"mqtt_{what}") if form == _item.OF_EACH_SEED else value


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> Chaos:
    """Play this test once for each of many seeds, and return what draws faults from the seed.

    A `ferromqtt.testing.Chaos`: `chaos.faults(cuts=0.02, restarts=1)` gives `mqtt_broker` a script
    of faults. Each seed has a broker, clients and a virtual loop of its own; a seed that fails is
    shrunk. `@pytest.mark.mqtt(seeds=500)` says how many; the default is 100.
    """
    chaos: Chaos = request.getfixturevalue(_item.OF_EACH_SEED)("chaos")
    return chaos


@pytest.fixture
def virtual_time(request: pytest.FixtureRequest) -> VirtualTime:
    """Run this test on a loop in which waiting takes no time, and return what shows that time.

    See `ferromqtt.testing.VirtualLoop`. It has `now`, `jumps`, `end_at` and `hold`.
    """
    from ferromqtt_pytest._time import VirtualTime  # noqa: PLC0415 - not before a test needs it

    if not _item.is_coroutine_test(request.node):
        pytest.fail(
            "virtual_time is the time of the loop that runs a test: write the test as `async def`, "
            "or use asyncio.Runner(loop_factory=ferromqtt.testing.VirtualLoop) in it",
            pytrace=False,
        )
    return VirtualTime()


# What pytest calls


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for a real broker, and for seeds."""
    group = parser.getgroup("mqtt", "MQTT")
    group.addoption(
        "--mqtt-broker",
        metavar="URL",
        help="run the tests that use mqtt_broker on the broker at this URL, such as "
        "mqtt://127.0.0.1:1883; those that need the built-in broker are skipped",
    )
    group.addoption(
        "--mqtt-seed", metavar="N", type=int, help="play tests with seeds for this seed alone"
    )
    group.addoption(
        "--mqtt-seeds",
        metavar="N",
        type=_at_least_one,
        help="play tests with seeds for so many, whatever their markers say",
    )


def _at_least_one(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more, or nothing would be tested")
    return count


def pytest_configure(config: pytest.Config) -> None:
    """Add the marker, and leave the modules of ferromqtt as they are."""
    from ferromqtt_pytest import _imports  # noqa: PLC0415 - not where pytest runs no test

    config.addinivalue_line("markers", _MARKER)
    _imports.leave_as_it_is(config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, None, None]:
    """Have the framework of a test in virtual time make a virtual loop for it."""
    marked = _item.settings(metafunc.definition)
    if "seeds" in marked or _item.CHAOS in metafunc.fixturenames:
        return (yield)  # on loops of their own
    if not (marked.get("virtual_time") or _item.VIRTUAL_TIME in metafunc.fixturenames):
        return (yield)
    if _item.ANYIO_BACKEND in metafunc.fixturenames:
        from ferromqtt_pytest import _anyio  # noqa: PLC0415 - of no use otherwise

        metafunc.definition.add_marker(_anyio.virtual_backend())
    if not hasattr(metafunc.config.hook, "pytest_asyncio_loop_factories"):
        return (yield)
    from ferromqtt_pytest import _asyncio  # noqa: PLC0415 - it needs pytest-asyncio

    # pytest-asyncio asks each plugin that has its hook for the loops of every test, and takes no
    # None for an answer: so there is one for as long as it asks for this test.
    loops = _asyncio.VirtualLoops()
    metafunc.config.pluginmanager.register(loops)
    try:
        return (yield)
    finally:
        metafunc.config.pluginmanager.unregister(loops)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Define the fixtures of each framework once tests use them, and give some tests a runner."""
    functions = [item for item in items if _item.is_concerned(item)]
    if not functions:
        return
    _item.define_fixtures(config.pluginmanager)
    for item in functions:
        if _item.runs_here(item):
            item.fixturenames.append(_item.RUNNER)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the broker of `--mqtt-broker` cannot do, and refuse what nobody would run."""
    if _item.is_concerned(item):
        _item.check(item)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run a coroutine test that no other plugin runs."""
    function = pyfuncitem.obj
    if _item.RUNNER not in pyfuncitem.funcargs or not inspect.iscoroutinefunction(function):
        return (yield)
    runner: asyncio.Runner = pyfuncitem.funcargs[_item.RUNNER]  # type: ignore[assignment] # object

    @functools.wraps(function)
    def run(*args: object, **kwargs: object) -> None:
        runner.run(function(*args, **kwargs))

    pyfuncitem.obj = run
    try:
        return (yield)
    finally:
        pyfuncitem.obj = function
