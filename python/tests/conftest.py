"""Fixtures: a fresh event loop of each kind, brokers of each kind."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

import ferromqtt
from support.builtin import BrokerInMemory, BuiltinBroker
from support.clients import PROTOCOLS
from support.loops import FACTORIES, LoopRunner
from support.mosquitto import Mosquitto
from support.secrets import Debug, Watch, debugging, watching

SHIM = Path(__file__).parents[1] / "aiomqtt-shim"


class Broker(Protocol):
    """What a test needs to know about a broker: `Client(*broker.where)` leads there."""

    @property
    def where(self) -> tuple[Any, ...]: ...


class TcpBroker(Broker, Protocol):
    """What a test of sockets needs to know beside that."""

    host: str
    port: int


@pytest.fixture(params=FACTORIES)
def run(request: pytest.FixtureRequest) -> LoopRunner:
    """Run a coroutine function in a fresh loop: `run(main)`."""
    return LoopRunner(request.param)


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[Mosquitto]:
    """Debian's mosquitto with plain, login and TLS listeners."""
    with Mosquitto() as broker:
        yield broker


@pytest.fixture(scope="session")
def builtin() -> Iterator[BuiltinBroker]:
    """The broker of this package."""
    with BuiltinBroker() as broker:
        yield broker


@pytest.fixture
def in_memory() -> BrokerInMemory:
    """The broker of this package in the test's own loop, without a port, for this test alone."""
    return BrokerInMemory()


@pytest.fixture(params=["mosquitto", "builtin"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn, that of this package in memory."""
    name = "in_memory" if request.param == "builtin" else request.param
    chosen: Broker = request.getfixturevalue(name)
    return chosen


@pytest.fixture(params=["mosquitto", "builtin"])
def tcp_broker(request: pytest.FixtureRequest) -> TcpBroker:
    """Each broker in turn, for tests that need a socket."""
    chosen: TcpBroker = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Watch]:
    """What collects all that anybody could read; it searches at the end of the test."""
    yield from watching(caplog, capfd)


@pytest.fixture(params=FACTORIES)
def debug(request: pytest.FixtureRequest, watch: Watch) -> Debug:
    """Run a coroutine function in a loop in debug mode that reports every callback as slow."""
    return debugging(request.param, watch)


@pytest.fixture(params=PROTOCOLS, ids=lambda protocol: protocol.name)
def protocol(request: pytest.FixtureRequest) -> ferromqtt.ProtocolVersion:
    """Each protocol version in turn."""
    chosen: ferromqtt.ProtocolVersion = request.param
    return chosen


def shim_of(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the shim as a user's program would, whatever else is installed."""
    monkeypatch.syspath_prepend(str(SHIM))
    for name in [name for name in sys.modules if name.split(".")[0] == "aiomqtt"]:
        monkeypatch.delitem(sys.modules, name)
    module = importlib.import_module("aiomqtt")
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(SHIM)
    return module


@pytest.fixture
def shim(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return shim_of(monkeypatch)
