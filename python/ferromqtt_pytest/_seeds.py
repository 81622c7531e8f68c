"""Tests that are played once for each of many seeds: the marker's `seeds`, and the fixture `chaos`.

pytest sees one test, since a seed that fails is shrunk by playing the same test again. Each play
has a loop, a broker and clients of its own. The fixtures of such a test stand for what it gets
then.
"""

from __future__ import annotations

import contextlib
import functools
import shlex
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from ferromqtt_pytest import _item, _report

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable

    from ferromqtt.testing import Chaos, TestBroker

_DEFAULT = 100
"""How many seeds a test is played for that uses `chaos` and says no number."""

_FUNCTION = pytest.StashKey["Callable[..., Coroutine[Any, Any, object]]"]()
"""The test's own function; what the item has may be a framework's around it."""


class _Outcome(BaseException):
    """What a test says of itself by `pytest.xfail` or `pytest.exit`: no failure of a seed."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class OfEachSeed:
    """Stands for what a play of the test has in its place."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # Python itself asks
            raise AttributeError(name)
        raise RuntimeError(
            f"{self._name} belongs to one seed: a test with seeds has it as an argument, and its "
            "other fixtures cannot use it"
        )

    def __repr__(self) -> str:
        return f"<{self._name} of each seed>"


@pytest.fixture(name=_item.OF_EACH_SEED)
def _of_each_seed() -> Callable[[str], OfEachSeed]:
    return OfEachSeed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Note the function of a test before a framework puts another one in its place."""
    if not isinstance(item, pytest.Function) or not _item.has_seeds(item):
        return (yield)
    item.stash[_FUNCTION] = item.obj
    try:
        return (yield)
    finally:
        del item.stash[_FUNCTION]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Play a test for its seeds, whatever framework would have run it once."""
    function = pyfuncitem.stash.get(_FUNCTION, None)
    if function is None:
        return (yield)
    former = pyfuncitem.obj
    pyfuncitem.obj = functools.partial(_play, pyfuncitem, function)
    try:
        return (yield)
    finally:
        pyfuncitem.obj = former


def _play(
    item: pytest.Function, function: Callable[..., Coroutine[Any, Any, object]], **given: object
) -> None:
    __tracebackhide__ = True
    from ferromqtt._chaos import SeedFailure, play_seeds, run_seeds  # noqa: PLC0415 - seldom used

    options = _item.broker_options(item)

    async def play(chaos: Chaos) -> None:
        broker = _broker_of(chaos, options)
        watched = _report.Watched(broker)
        try:
            async with contextlib.AsyncExitStack() as stack:
                mine = await _arguments(given, chaos, broker, stack)
                await function(**(given | mine))
        except (pytest.xfail.Exception, pytest.exit.Exception) as error:
            raise _Outcome(error) from None
        if unused := watched.unused_faults():
            raise AssertionError(_report.unused_text(unused))

    # What pytest.fail raises is no Exception; a skip is no failure.
    failures = (Exception, pytest.fail.Exception)
    try:
        if (chosen := _of_command_line(item)) is not None:
            play_seeds(play, chosen, failures=failures)
        else:
            run_seeds(play, _item.settings(item).get("seeds", _DEFAULT), failures=failures)
    except SeedFailure as failure:
        replay = shlex.quote(item.nodeid)
        failure.add_note(f"With pytest: pytest {replay} --mqtt-seed {failure.seed}")
        raise
    except _Outcome as outcome:
        raise outcome.error from None


def _broker_of(chaos: Chaos, options: Any) -> TestBroker:  # noqa: ANN401 - BrokerOptions
    """Return the broker of a play, with the options of the test's marker."""
    if options:
        from ferromqtt.testing import TestBroker  # noqa: PLC0415 - not before it is needed

        broker = TestBroker(listen=False, **options)
        chaos._broker = broker  # noqa: SLF001 - the play's own, and not shared
        chaos._record.brokers.append(broker)  # noqa: SLF001
    return chaos.broker


async def _arguments(
    given: dict[str, object], chaos: Chaos, broker: TestBroker, stack: contextlib.AsyncExitStack
) -> dict[str, object]:
    """Return the arguments of one play."""
    mine: dict[str, object] = {"chaos": chaos, "mqtt_broker": broker}
    if "mqtt_client" in given:
        mine["mqtt_client"] = await stack.enter_async_context(broker.client())
    if "mqtt_clients" in given:
        from ferromqtt_pytest._clients import MqttClients  # noqa: PLC0415 - seldom used

        mine["mqtt_clients"] = MqttClients(broker, stack)
    return {name: value for name, value in mine.items() if name in given}


def _of_command_line(item: pytest.Item) -> Iterable[int] | None:
    """Return the seeds that the options name; they go before the environment and the marker."""
    one: int | None = item.config.getoption("mqtt_seed")
    if one is not None:
        return [one]
    count: int | None = item.config.getoption("mqtt_seeds")  # checked when it was read
    return None if count is None else range(count)
