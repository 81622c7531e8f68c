"""What a test asks the plugin for, and who runs it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from typing import TypeGuard

MARKER = "mqtt"
RUNNER = "_mqtt_runner"
VIRTUAL_TIME = "virtual_time"
CHAOS = "chaos"
ANYIO_BACKEND = "anyio_backend"
OF_EACH_SEED = "_mqtt_of_each_seed"

_NEED_BROKER = {"mqtt_broker", "mqtt_client", "mqtt_clients"}
_FIXTURES = {*_NEED_BROKER, VIRTUAL_TIME, CHAOS}

_LOOP_SCOPES = "asyncio_default_test_loop_scope"


_ARGUMENTS = {"virtual_time", "broker", "seeds"}


def settings(item: pytest.Item) -> dict[str, Any]:
    """Return what the markers of a test, its class and its module say; the closest one wins.

    Raises:
        pytest.fail.Exception: A marker has an argument that there is not.
    """
    said: dict[str, Any] = {}
    for marker in reversed([*item.iter_markers(MARKER)]):  # the closest comes last
        unknown = [*marker.args, *(marker.kwargs.keys() - _ARGUMENTS)]
        if unknown:
            pytest.fail(
                f"{item.nodeid}: pytest.mark.mqtt takes virtual_time, broker and seeds by name, "
                f"not {unknown[0]!r}",
                pytrace=False,
            )
        said |= marker.kwargs
    return said


def broker_options(item: pytest.Item) -> Mapping[str, Any]:
    """Return the options for the broker of a test."""
    return settings(item).get("broker") or {}


def is_concerned(item: pytest.Item) -> TypeGuard[pytest.Function]:
    """Return whether a test uses anything of the plugin's."""
    return isinstance(item, pytest.Function) and (
        not _FIXTURES.isdisjoint(item.fixturenames) or item.get_closest_marker(MARKER) is not None
    )


def define_fixtures(manager: pytest.PytestPluginManager) -> None:
    """Define the fixtures of this plugin's runner, and of the frameworks that are there."""
    from ferromqtt_pytest import _own, _report, _seeds  # noqa: PLC0415 - many runs need none

    if manager.is_registered(_own):
        return
    manager.register(_own)
    manager.register(_report)
    manager.register(_seeds)
    if manager.hasplugin("asyncio"):
        from ferromqtt_pytest import _asyncio  # noqa: PLC0415 - it needs pytest-asyncio

        manager.register(_asyncio)
    if manager.hasplugin("anyio"):
        from ferromqtt_pytest import _anyio  # noqa: PLC0415 - of no use otherwise

        manager.register(_anyio)


def form(what: str, item: pytest.Item) -> str:
    """Return the fixture that gives a test its broker or clients, by the framework that runs it."""
    if has_seeds(item):
        return OF_EACH_SEED
    if not is_coroutine_test(item):
        if what != "broker":
            pytest.fail(
                f"mqtt_{what} is connected by the loop that runs a test: write the test as "
                "`async def`, or use mqtt_broker.client() in a loop of its own",
                pytrace=False,
            )
        return "_mqtt_broker_without_loop"
    if _is_of_pytest_asyncio(item):
        return f"_mqtt_{what}_asyncio_{_loop_scope(item)}"
    if ANYIO_BACKEND in _fixtures_of(item):
        return f"_mqtt_{what}_anyio"
    return f"_mqtt_{what}_own"


def has_seeds(item: pytest.Item) -> bool:
    """Return whether a test is to be played once for each of many seeds."""
    return "seeds" in settings(item) or CHAOS in _fixtures_of(item)


def is_coroutine_test(item: pytest.Item) -> bool:
    """Return whether a test is written as `async def`."""
    return isinstance(item, pytest.Function) and (
        inspect.iscoroutinefunction(item.obj) or _is_of_pytest_asyncio(item)
    )


def runs_here(item: pytest.Function) -> bool:
    """Return whether this plugin runs a test that it is concerned with: one that no other runs."""
    return (
        inspect.iscoroutinefunction(item.obj)
        and RUNNER not in item.fixturenames
        and ANYIO_BACKEND not in item.fixturenames
        and not any(item.get_closest_marker(name) for name in ("anyio", "trio", "twisted"))
        and not _is_of_pytest_asyncio(item)
        and not has_seeds(item)
    )


def loop_factory(item: pytest.Item) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop of a test, if that is not asyncio's default."""
    if not wants_virtual_time(item):
        return None
    from ferromqtt_pytest._time import virtual_loop  # noqa: PLC0415 - not before a test needs it

    return virtual_loop


def wants_virtual_time(item: pytest.Item) -> bool:
    """Return whether a test is to run in virtual time."""
    return bool(settings(item).get("virtual_time")) or VIRTUAL_TIME in _fixtures_of(item)


def check(item: pytest.Function) -> None:
    """Skip a test that a real broker cannot do, and fail one that would not get what it asks for.

    Raises:
        pytest.skip.Exception: `--mqtt-broker` is given, and the test needs the built-in broker.
        pytest.fail.Exception: Nothing can give the test a virtual loop.
    """
    if has_seeds(item):
        _check_seeds(item)
        return
    is_virtual = wants_virtual_time(item)
    if item.config.getoption("mqtt_broker") and not _NEED_BROKER.isdisjoint(item.fixturenames):
        if is_virtual:
            pytest.skip("needs virtual time, which a broker at --mqtt-broker does not follow")
        if broker_options(item):
            pytest.skip("sets options of the built-in broker, and --mqtt-broker names another")
    if not is_virtual:
        return
    has_hook = hasattr(item.config.hook, "pytest_asyncio_loop_factories")
    if _is_of_pytest_asyncio(item) and not has_hook:
        pytest.fail("virtual time needs pytest-asyncio 1.5 or later", pytrace=False)
    if not is_coroutine_test(item):
        pytest.fail(
            "virtual time is that of the loop that runs a test: write the test as `async def`",
            pytrace=False,
        )


def _check_seeds(item: pytest.Function) -> None:
    if item.config.getoption("mqtt_broker"):
        pytest.skip("plays seeds, whose faults and time a broker at --mqtt-broker does not have")
    seeds = settings(item).get("seeds", 1)
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        pytest.fail(f"seeds must be a number of seeds, at least 1, not {seeds!r}", pytrace=False)
    if not inspect.iscoroutinefunction(item.obj):
        pytest.fail(
            "a test with seeds is played on loops of its own: write it as `async def`, or call "
            "ferromqtt.testing.run_seeds in it",
            pytrace=False,
        )


def _fixtures_of(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []


def _is_of_pytest_asyncio(item: pytest.Item) -> bool:
    if not item.config.pluginmanager.hasplugin("asyncio"):
        return False
    import pytest_asyncio  # noqa: PLC0415 - it may not be there

    return pytest_asyncio.is_async_test(item)


def _loop_scope(item: pytest.Item) -> str:
    marker = item.get_closest_marker("asyncio")
    said = marker.kwargs.get("loop_scope") or marker.kwargs.get("scope") if marker else None
    return str(said or item.config.getini(_LOOP_SCOPES))
