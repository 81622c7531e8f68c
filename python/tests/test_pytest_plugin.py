"""The pytest plugin: each run is a project of its own, in a process of its own."""

import subprocess
import sys

import pytest

from support.builtin import BuiltinBroker
from support.forked_pytest import run_pytest

# Runs in the process of a test: a plugin of some of them blocks what it finds in the others.
ALONE = ("asyncio", "anyio", "looptime_plugin", "looptime_chronometers", "looptime_timeproxies")
WITHOUT_FRAMEWORK = tuple(part for name in ALONE for part in ("-p", f"no:{name}"))

ASYNCIO = "import pytest_asyncio\npytestmark = pytest.mark.asyncio"
ANYIO = """
pytestmark = pytest.mark.anyio

@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"
"""

FRAMEWORKS = {
    "none": ("", WITHOUT_FRAMEWORK),
    "none of those that are there": ("", ()),
    "pytest-asyncio, strict": (ASYNCIO, ()),
    "pytest-asyncio, auto": ("import pytest_asyncio", ("--asyncio-mode=auto",)),
    "pytest-asyncio, one loop": (
        'import pytest_asyncio\npytestmark = pytest.mark.asyncio(loop_scope="module")',
        (),
    ),
    "AnyIO": (ANYIO, ()),
}

BEGIN = """
import asyncio
import ssl
import pytest
from ferromqtt import Client
from ferromqtt.testing import VirtualLoop
"""

USE = """
async def test_a_message_arrives(mqtt_client, mqtt_broker):
    await mqtt_client.subscribe("site/7/level")
    await mqtt_client.publish("site/7/level", b"28.4", qos=1)
    assert (await anext(aiter(mqtt_client.messages))).payload == b"28.4"
    assert mqtt_broker.stats().connections == 1
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)

async def test_more_clients(mqtt_clients, mqtt_client):
    pump = await mqtt_clients("pump-7", keepalive=5)
    assert pump.identifier == "pump-7"
    await pump.subscribe("x")
    await mqtt_client.publish("x", b"1")
    assert (await anext(aiter(pump.messages))).payload == b"1"

async def test_a_broker(mqtt_broker):
    assert mqtt_broker.stats().sessions == 0
    async with mqtt_broker.client() as one, Client(mqtt_broker) as other:
        await one.publish("t", b"", qos=2)
        await other.publish("t", b"", qos=2)

async def test_a_socket(mqtt_broker):
    where = await mqtt_broker.listen(tls=True, websocket=True)
    context = ssl.create_default_context(cadata=mqtt_broker.ca)
    async with Client.from_url(where.url, tls_context=context) as client:
        await client.publish("t", b"", qos=1)

@pytest.mark.mqtt(broker={"maximum_qos": 1})
async def test_options(mqtt_client):
    (granted,) = await mqtt_client.subscribe("t", qos=2)
    assert getattr(granted, "value", granted) == 1

async def test_an_hour(virtual_time, mqtt_client):
    begin = virtual_time.now
    await asyncio.sleep(3600)
    assert virtual_time.now - begin == 3600
    at, who = virtual_time.jumps[-1]
    assert at == virtual_time.now and "test_an_hour" in who
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.Event().wait()
    assert "a time limit of " in virtual_time.jumps[-1].who

@pytest.mark.mqtt(virtual_time=True)
class TestMarked:
    @pytest.mark.parametrize("number", [1, 2])
    async def test_two_hours(self, mqtt_client, number):
        await asyncio.sleep(7_200)
        assert asyncio.get_running_loop().time() >= 7_200

    @pytest.mark.mqtt(virtual_time=False)
    async def test_the_closest_marker_wins(self, mqtt_client):
        assert not isinstance(asyncio.get_running_loop(), VirtualLoop)

async def test_no_time_is_left_over(mqtt_client):
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
"""


def run(
    pytester: pytest.Pytester, source: str, *arguments: str, fresh: bool = False
) -> pytest.RunResult:
    """Run a file of tests, in which every warning is an error; `fresh` is about imports."""
    pytester.makepyfile(source)
    options = ("-p", "no:cacheprovider", "--strict-markers", "-W", "error")
    # Loops that other plugins leave open end whenever the garbage collector comes by.
    options += ("-W", "ignore:unclosed event loop <_UnixSelectorEventLoop:ResourceWarning")
    options += ("-W", "ignore:unclosed <socket.socket:ResourceWarning")
    if "no:asyncio" not in arguments:
        options += ("-o", "asyncio_default_fixture_loop_scope=function")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("CI", "BUILD_NUMBER"):  # with them pytest's summary repeats whole texts
            environment.delenv(name, raising=False)
        if fresh:
            return pytester.runpytest_subprocess(*options, *arguments)
        return run_pytest(pytester, *options, *arguments)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_fixtures_work_under_each_framework(pytester: pytest.Pytester, framework: str) -> None:
    head, arguments = FRAMEWORKS[framework]
    run(pytester, BEGIN + head + USE, *arguments).assert_outcomes(passed=10)


# A fixture of the user's that the framework runs; both end it before the broker is stopped.
AROUND = """
WENT = []

async def leave(mqtt_broker, mqtt_client):
    await mqtt_client.subscribe("state")
    yield "ready"
    async with mqtt_broker.client() as other:
        await other.publish("state", b"off", qos=1)
    WENT.append((await anext(aiter(mqtt_client.messages))).payload)
    WENT.append(mqtt_broker)

program = {fixture}(leave)

async def test_it_is_there(program):
    assert program == "ready"

def test_and_it_has_left_before_the_broker_was_stopped():
    payload, broker = WENT
    assert payload == b"off"
    assert repr(broker) == "<TestBroker in memory, stopped>"
"""


@pytest.mark.parametrize(
    ("mark", "fixture"),
    [
        ("import pytest_asyncio\n@pytest.mark.asyncio", "pytest_asyncio.fixture"),
        ("@pytest.mark.anyio", "pytest.fixture"),
    ],
)
def test_the_broker_outlives_what_uses_it(
    pytester: pytest.Pytester, mark: str, fixture: str
) -> None:
    *head, mark = mark.splitlines()
    backend = "@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    source = AROUND.format(fixture=fixture).replace("async def test_", f"{mark}\nasync def test_")
    result = run(pytester, "\n".join([BEGIN, *head, backend, source]))
    result.assert_outcomes(passed=2)


def test_the_broker_is_stopped_also_after_a_failure(pytester: pytest.Pytester) -> None:
    source = """
BROKERS = []

async def test_one(mqtt_broker, mqtt_client, mqtt_clients):
    BROKERS.append(mqtt_broker)
    await mqtt_clients()
    mqtt_broker.disconnect_client(mqtt_client.identifier, 0x8B)
    assert not mqtt_broker.stats().sessions

async def test_other(mqtt_broker):
    assert mqtt_broker is not BROKERS[0]
    assert mqtt_broker.stats().sessions == 0
    assert "stopped" in repr(BROKERS[0])
"""
    result = run(pytester, BEGIN + source)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E * assert not *"])


def test_a_test_without_a_loop_has_a_broker(pytester: pytest.Pytester) -> None:
    source = """
def test_programs(mqtt_broker):
    async def main():
        async with mqtt_broker.client() as client:
            await client.publish("kept", b"1", retain=True)
    asyncio.run(main())
    asyncio.run(main())
    assert mqtt_broker.stats().retained_messages == 1
"""
    run(pytester, BEGIN + source).assert_outcomes(passed=1)


def test_what_needs_a_loop_says_so_in_a_test_without_one(pytester: pytest.Pytester) -> None:
    source = """
def test_client(mqtt_client): ...
def test_clients(mqtt_clients): ...
def test_time(virtual_time): ...
"""
    result = run(pytester, BEGIN + source)
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(["mqtt_client is connected by the loop that runs a test: *"])
    result.stdout.fnmatch_lines(["mqtt_clients is connected by the loop that runs a test: *"])
    result.stdout.fnmatch_lines(["virtual time is that of the loop that runs a test: *"])


@pytest.mark.parametrize("arguments", ["True", "seed=5"])
def test_a_marker_that_says_something_else_is_refused(
    pytester: pytest.Pytester, arguments: str
) -> None:
    source = f"@pytest.mark.mqtt({arguments})\nasync def test_a(mqtt_client): ..."
    result = run(pytester, BEGIN + source)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*pytest.mark.mqtt takes virtual_time, broker and seeds by name, not *"]
    )


def test_the_end_of_virtual_time_fails_a_test_and_names_who_waits(
    pytester: pytest.Pytester,
) -> None:
    source = """
async def test_a(virtual_time, mqtt_client):
    virtual_time.end_at(3600)
    await anext(aiter(mqtt_client.messages))
"""
    result = run(pytester, BEGIN + source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *The virtual time has reached its end, 3600 s*"])
    result.stdout.fnmatch_lines(["E *test_a (*"])


def test_a_test_that_waits_for_what_never_comes_ends_after_a_week(
    pytester: pytest.Pytester,
) -> None:
    source = """
async def test_a(virtual_time, mqtt_clients):
    client = await mqtt_clients(keepalive=3600)
    await anext(client.messages)

async def test_another_end(virtual_time):
    virtual_time.end_at(700_000)
    await asyncio.sleep(650_000)

def test_nothing_is_left(): ...
"""
    result = run(pytester, BEGIN + source, "-W", "error")
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["*StuckError: The virtual time has reached its end, 604800 s *"])


def test_time_stands_still_while_it_is_held(pytester: pytest.Pytester) -> None:
    source = """
import threading

async def test_a(virtual_time):
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    with virtual_time.hold():
        threading.Thread(target=loop.call_soon_threadsafe, args=(done.set,)).start()
        await done.wait()
    assert virtual_time.now == 0

def test_elsewhere():
    from ferromqtt_pytest import VirtualTime
    async def main():
        with pytest.raises(RuntimeError, match="not virtual"):
            VirtualTime().now
    asyncio.run(main())
"""
    run(pytester, BEGIN + source).assert_outcomes(passed=2)


def test_the_same_tests_run_on_a_real_broker(
    pytester: pytest.Pytester, builtin: BuiltinBroker
) -> None:
    source = """
from ferromqtt_pytest import RemoteBroker

async def test_a_message_arrives(mqtt_client, mqtt_clients):
    await mqtt_client.subscribe("plugin/remote")
    other = await mqtt_clients("plugin-remote")
    await other.publish("plugin/remote", b"1", qos=1)
    assert (await anext(aiter(mqtt_client.messages))).payload == b"1"

async def test_where_it_is(mqtt_broker):
    assert isinstance(mqtt_broker, RemoteBroker)
    async with Client(mqtt_broker.host, mqtt_broker.port), Client.from_url(mqtt_broker.url):
        pass
    assert "s3cret" not in repr(mqtt_broker)
    with pytest.raises(AttributeError, match="no attribute 'bogus'"):
        mqtt_broker.bogus

async def test_a_program_that_takes_a_url(mqtt_broker):
    where = await mqtt_broker.listen()
    async with Client.from_url(where.url), Client(where.host, where.port):
        pass

async def test_skipped_since_it_needs_tls(mqtt_broker):
    await mqtt_broker.listen(tls=True)
    assert False

async def test_skipped_since_it_looks_inside(mqtt_broker):
    mqtt_broker.stats()
    assert False

async def test_skipped_since_it_jumps(mqtt_client, virtual_time):
    assert False

@pytest.mark.mqtt(broker={"maximum_qos": 0})
async def test_skipped_since_it_sets_options(mqtt_client):
    assert False

async def test_without_broker(virtual_time):
    await asyncio.sleep(3600)
"""
    url = f"mqtt://user:s3cret@{builtin.host}:{builtin.port}"
    result = run(pytester, BEGIN + source, "--mqtt-broker", url, "-rs")
    result.assert_outcomes(passed=4, skipped=4)
    result.stdout.fnmatch_lines_random(
        [
            "*needs `stats` of the built-in broker, and --mqtt-broker names another",
            "*needs a socket of the built-in broker, and --mqtt-broker names another",
            "*needs virtual time, which a broker at --mqtt-broker does not follow",
            "*sets options of the built-in broker, and --mqtt-broker names another",
        ]
    )


def test_a_url_that_cannot_be_read_is_said(pytester: pytest.Pytester) -> None:
    result = run(
        pytester, "async def test_a(mqtt_client): ...", "--mqtt-broker", "http://u:s3cret@h"
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["--mqtt-broker: the URL begins with http://*"])
    result.stdout.no_fnmatch_line("*s3cret*")


def test_the_plugin_can_be_switched_off(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_a(mqtt_client): ...", "-p", "no:ferromqtt")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *fixture 'mqtt_client' not found"])


# What a run costs that has no test of MQTT

REPORTING = """
import sys

def pytest_sessionfinish():
    sys.__stderr__.write("modules: " + " ".join(sorted(sys.modules)) + chr(10))
"""


SELDOM_USED = [
    *("_chaos", "_drain", "_journal", "_json_codec", "_profile", "_receipt", "_requests"),
    *("_servers", "_transport.proxy", "_url", "_virtual_loop", "connection", "events", "message"),
    *("once", "options", "outbox", "outcomes", "router", "stats"),
]
"""What no first test has to wait for. Most of them make classes, which takes a millisecond each."""


def modules_of_a_run(pytester: pytest.Pytester, source: str, *arguments: str) -> set[str]:
    pytester.makeconftest(REPORTING)
    result = run(pytester, source, *arguments, fresh=True)
    result.assert_outcomes(passed=1)
    (line,) = [line for line in result.errlines if line.startswith("modules: ")]
    return set(line.split()[1:])


def test_nothing_is_imported_until_a_fixture_is_used(pytester: pytest.Pytester) -> None:
    source = "async def test_a(): ...\ndef test_b(): ..."
    selected = (*WITHOUT_FRAMEWORK, "-k", "test_b")
    without = modules_of_a_run(pytester, source, *selected, "-p", "no:ferromqtt")
    added = modules_of_a_run(pytester, source, *selected) - without
    assert added == {"ferromqtt_pytest", "ferromqtt_pytest._imports", "ferromqtt_pytest._item"}


def test_with_a_fixture_the_package_is_imported(pytester: pytest.Pytester) -> None:
    source = """
async def test_a(mqtt_client):
    await mqtt_client.subscribe("a")
    await mqtt_client.publish("a", b"x", qos=1)
    await anext(aiter(mqtt_client.messages))
"""
    added = modules_of_a_run(pytester, source)
    assert "ferromqtt._native" in added
    assert not {f"ferromqtt.{name}" for name in SELDOM_USED} & added


def test_the_package_is_imported_as_without_pytest(pytester: pytest.Pytester) -> None:
    source = """
import importlib.machinery
import sys

async def test_a(mqtt_client):
    loaders = {
        type(module.__spec__.loader)
        for name, module in sys.modules.items()
        if name.startswith("ferromqtt.")
    }
    assert loaders == {
        importlib.machinery.SourceFileLoader, importlib.machinery.ExtensionFileLoader
    }
"""
    run(pytester, source, fresh=True).assert_outcomes(passed=1)


LOADING = """
import inspect, sys
import pytest, _pytest.fixtures

counted = 0

def count(frame, event, argument):
    global counted
    frame.f_trace_opcodes = True
    counted += event == "opcode"
    return count

here = inspect.currentframe()
sys.settrace(count)
import ferromqtt_pytest
sys.settrace(None)
print(counted)
"""


def test_loading_the_plugin_takes_few_instructions() -> None:
    """At some 50 ns each, that is six tenths of the millisecond that it may cost."""
    command = [sys.executable, "-c", LOADING]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 12_000
