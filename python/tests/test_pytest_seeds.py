"""The pytest plugin plays a test once for each of many seeds, under whatever framework there is."""

import pytest

from support.builtin import BuiltinBroker
from test_pytest_plugin import ANYIO, FRAMEWORKS, run

BEGIN = """
import asyncio
import pytest
from ferromqtt import Client, ProtocolVersion
from ferromqtt.testing import PUBACK, PUBLISH, VirtualLoop
"""


@pytest.fixture(autouse=True)
def _all_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FERROMQTT_SEED", raising=False)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_seed_has_a_loop_a_broker_and_clients_of_its_own(
    pytester: pytest.Pytester, framework: str
) -> None:
    source = """
PLAYED = []

@pytest.mark.mqtt(seeds=5)
async def test_seeds(chaos, mqtt_broker, mqtt_client, mqtt_clients, virtual_time, tmp_path):
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop) and virtual_time.now < 1
    assert chaos.broker is mqtt_broker and mqtt_broker.stats().sessions == 1
    other = await mqtt_clients("pump-7")
    await other.publish("a", b"1", qos=1, retain=True)
    assert mqtt_client.stats().attempts == 1 and mqtt_broker.stats().retained_messages == 1
    await asyncio.sleep(3600)
    PLAYED.append((chaos.seed, loop, mqtt_broker, mqtt_client, chaos.faults(cuts=0.1)))

@pytest.mark.mqtt
async def test_they_were_played():
    assert [play[0] for play in PLAYED] == [0, 1, 2, 3, 4]
    assert all(len({id(play[part]) for play in PLAYED}) == 5 for part in (1, 2, 3))
    assert len({play[4] for play in PLAYED}) == 5
    assert all(play[1].is_closed() and "stopped" in repr(play[2]) for play in PLAYED)

class TestMethods:
    COUNTED = []

    @pytest.mark.parametrize("number", [7, 8])
    @pytest.mark.mqtt(seeds=3, virtual_time=True, broker={"maximum_qos": 1})
    async def test_seeds(self, mqtt_client, number):
        self.COUNTED.append(number)
        (granted,) = await mqtt_client.subscribe("t", qos=2)
        assert getattr(granted, "value", granted) == 1

    @pytest.mark.mqtt
    async def test_they_were_played(self):
        assert self.COUNTED == [7, 7, 7, 8, 8, 8]

DEFAULT = []

async def test_default(chaos):
    DEFAULT.append(chaos.seed)

@pytest.mark.mqtt
async def test_they_were_played_by_default():
    assert DEFAULT == [*range(100)]

async def test_the_next_test_has_real_time(mqtt_client):
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
"""
    head, arguments = FRAMEWORKS[framework]
    run(pytester, BEGIN + head + source, *arguments).assert_outcomes(passed=8)


def test_a_seed_that_fails_is_shrunk_and_can_be_played_alone(pytester: pytest.Pytester) -> None:
    source = """
@pytest.mark.mqtt(seeds=200)
async def test_not_again(mqtt_broker, chaos):
    chaos.faults(lost_acks=0.1)
    async with mqtt_broker.client(reconnect=True, protocol=ProtocolVersion.V5) as client:
        await client.publish("n", b"1", qos=1)
    again = [packet for packet in mqtt_broker.packets(PUBLISH) if packet.dup]
    if again:
        pytest.fail("came again")
"""
    result = run(pytester, BEGIN + source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">           pytest.fail(*",
            "E *ferromqtt*SeedFailure: seed * fails: Failed: came again",
            "E *The shortest script that fails (1 of *",
            "E *    broker.sends(PUBACK).lose().cut()",
            "E *What happened:",
            "E *PUBLISH (id 1, QoS 1, DUP, topic *",
        ]
    )
    (line,) = [line for line in result.outlines if "With pytest: " in line]
    _, _, arguments = line.partition("With pytest: pytest ")
    name, option, seed = arguments.split()
    again = run(pytester, BEGIN + source, option, seed, "-k", name.partition("::")[2])
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines([f"E *SeedFailure: seed {seed} fails: Failed: came again"])
    run(pytester, BEGIN + source, "--mqtt-seeds", seed).assert_outcomes(passed=1)


def test_a_rule_by_hand_that_never_fires_fails_a_seed(pytester: pytest.Pytester) -> None:
    source = """
async def test_a(mqtt_broker, chaos):
    mqtt_broker.sends(PUBACK).lose()
"""
    result = run(pytester, BEGIN + source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *This rule for faults never fired, so *", "E *sends PUBACK lose"]
    )


def test_a_rule_that_never_fired_is_missed_also_when_the_broker_was_stopped(
    pytester: pytest.Pytester,
) -> None:
    source = """
async def test_a(mqtt_broker, chaos):
    mqtt_broker.sends(PUBACK).lose()
    await mqtt_broker.stop()

async def test_b(mqtt_broker):
    for kind in (PUBACK, PUBREC, PUBLISH):
        await mqtt_broker.stop()
        await mqtt_broker.start()
        mqtt_broker.sends(kind).lose()
    mqtt_broker.sends(PUBCOMP)
"""
    imports = "\nfrom ferromqtt.testing import PUBACK, PUBCOMP, PUBLISH, PUBREC\n"
    result = run(pytester, BEGIN + imports + source)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*sends PUBACK lose*",
            "*sends PUBACK lose*",
            "*sends PUBREC lose*",
            "*sends PUBLISH lose*",
            "*sends PUBCOMP (which does nothing: *",
        ]
    )


def test_what_a_test_says_of_itself_is_no_failure_of_a_seed(pytester: pytest.Pytester) -> None:
    source = """
async def test_known(chaos):
    pytest.xfail("known")

async def test_end(chaos):
    pytest.exit("enough", 3)

async def test_not_run(chaos): ...
"""
    result = run(pytester, BEGIN + source)
    result.assert_outcomes(xfailed=1)
    assert result.ret == 3


def test_the_options_go_before_the_environment(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERROMQTT_SEED", "77")
    source = """
async def test_seed(chaos):
    print(f"played {chaos.seed}")
"""
    for options, played in (
        ((), ["77"]),
        (("--mqtt-seed", "5"), ["5"]),
        (("--mqtt-seeds", "2"), ["0", "1"]),
    ):
        result = run(pytester, BEGIN + source, "-s", *options)
        result.assert_outcomes(passed=1)
        found = [line for line in result.outlines if "played " in line]
        assert [line.split("played ")[1].split(".")[0] for line in found] == played


@pytest.mark.parametrize("count", ["0", "-5"])
def test_no_seeds_are_refused(pytester: pytest.Pytester, count: str) -> None:
    result = run(pytester, "async def test_a(chaos): assert False", f"--mqtt-seeds={count}")
    result.stderr.fnmatch_lines(["*--mqtt-seeds: it must be 1 or more, or nothing would be tested"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_what_a_test_with_seeds_cannot_have_is_said(
    pytester: pytest.Pytester, builtin: BuiltinBroker
) -> None:
    source = """
@pytest.fixture
def program(mqtt_broker):
    return mqtt_broker.client()

async def test_fixtures(program, chaos): ...

async def test_skips(chaos):
    pytest.skip("for another reason")

async def test_sockets(chaos, mqtt_broker):
    await mqtt_broker.listen()

def test_function(chaos): ...

@pytest.mark.mqtt(seeds=0)
async def test_number(mqtt_client): ...

@pytest.mark.mqtt(seeds=[1])
async def test_list(mqtt_client): ...
"""
    result = run(pytester, BEGIN + source)
    result.assert_outcomes(failed=1, errors=4, skipped=1)
    result.stdout.fnmatch_lines_random(
        [
            "E *mqtt_broker belongs to one seed: a test with seeds has it as an argument, *",
            "E *Seeds play without sockets, *",
            "a test with seeds is played on loops of its own: write it as `async def`, or *",
            "seeds must be a number of seeds, at least 1, not 0",
            "seeds must be a number of seeds, at least 1, not [[]1]",
        ]
    )
    url = f"mqtt://{builtin.host}:{builtin.port}"
    result = run(pytester, BEGIN + source, "--mqtt-broker", url, "-rs")
    result.assert_outcomes(skipped=6)
    result.stdout.fnmatch_lines(["*plays seeds, whose faults and time a broker at --mqtt-broker *"])


def test_under_anyio_a_backend_is_no_hindrance(pytester: pytest.Pytester) -> None:
    source = (
        "\n@pytest.mark.parametrize('anyio_backend', ['asyncio'])\nasync def test_a(chaos): ..."
    )
    run(pytester, BEGIN + ANYIO + source).assert_outcomes(passed=1)
