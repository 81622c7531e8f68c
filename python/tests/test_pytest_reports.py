"""What the pytest plugin says of a test: rules that never fired, packets, and assertions."""

from pathlib import Path

import pytest

from support.builtin import BuiltinBroker
from test_pytest_plugin import FRAMEWORKS, run

BEGIN = """
import asyncio
import pytest
from ferromqtt.testing import DISCONNECT, PUBACK, PUBLISH
from ferromqtt_pytest import assert_published
"""
WHOLE_TESTS = Path(__file__).with_name("test_written_as_users_do.py")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_rule_that_never_fired_fails_a_test_that_passed(
    pytester: pytest.Pytester, framework: str
) -> None:
    source = """
async def test_one(mqtt_broker, mqtt_client):
    mqtt_broker.sends(PUBACK).nth(2).lose()
    await mqtt_client.publish("a", b"1", qos=1)

async def test_two(mqtt_broker):
    mqtt_broker.sends(PUBACK).lose()
    mqtt_broker.receives(PUBLISH, topic="a").delay("3s")

async def test_of_none_is_that_expected(mqtt_broker, mqtt_client):
    mqtt_broker.sends(PUBACK).always().delay("1ms")
    mqtt_broker.receives(DISCONNECT).optional().lose()
    mqtt_broker.receives(PUBLISH).with_probability(0.5).delay("1ms")
    mqtt_broker.sends(PUBLISH).lose().remove()

async def test_that_it_did(mqtt_broker, mqtt_client):
    mqtt_broker.sends(PUBACK).delay("1ms")
    await mqtt_client.publish("a", b"1", qos=1)

async def test_skipped(mqtt_broker):
    mqtt_broker.sends(PUBACK).lose()
    pytest.skip("for another reason")

@pytest.mark.xfail(strict=True)
async def test_expected(mqtt_broker):
    mqtt_broker.sends(PUBACK).lose()

async def test_a_broker_that_was_stopped(mqtt_broker):
    mqtt_broker.sends(PUBACK).times(3).lose()
    await mqtt_broker.stop()
    await mqtt_broker.start()
    mqtt_broker.sends(PUBACK).times(4).lose()
"""
    head, arguments = FRAMEWORKS[framework]
    result = run(pytester, BEGIN + head + source, *arguments)
    result.assert_outcomes(passed=2, failed=3, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "This rule for faults never fired, so *",
            "  sends PUBACK nth 2 lose   (1 packet matched)",
            "* MQTT packets at mqtt_broker *",
            "*PUBLISH (id 1, QoS 1, topic *",
            "These rules for faults never fired, so *",
            "  sends PUBACK lose",
            '  receives PUBLISH topic "a" delay 3s',
            "These rules for faults never fired, so *",
            "  sends PUBACK times 3 lose",
            "  sends PUBACK times 4 lose",
        ]
    )
    assert result.stdout.str().count("sends PUBACK nth 2 lose") == 1  # not in the section again


def test_a_test_without_a_loop_is_told_of_its_rules_too(pytester: pytest.Pytester) -> None:
    source = """
def test_programs(mqtt_broker):
    mqtt_broker.sends(PUBACK).lose()
    async def main():
        async with mqtt_broker.client() as client:
            await client.publish("a", b"1")
    asyncio.run(main())
"""
    result = run(pytester, BEGIN + source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["This rule *", "  sends PUBACK lose", "*PUBLISH (QoS 0, topic *"])


def test_a_failure_shows_the_packets_and_the_rules_that_never_fired(
    pytester: pytest.Pytester,
) -> None:
    source = """
async def test_fails(mqtt_broker, mqtt_client):
    mqtt_broker.sends(PUBACK).nth(3).lose()
    await mqtt_client.publish("a", b"1", qos=1)
    await mqtt_broker.stop()
    assert 1 + 1 == 3

async def test_passes(mqtt_client):
    await mqtt_client.publish("quiet", b"1", qos=1)

@pytest.fixture
def leaving(mqtt_broker):
    yield
    raise OSError("no way out")

async def test_has_an_error_behind_it(leaving, mqtt_clients):
    await mqtt_clients("pump-7")
"""
    result = run(pytester, BEGIN + source)
    result.assert_outcomes(failed=1, passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*no way out",
            "* MQTT packets at mqtt_broker *",
            "*pump-7 *CONNECT (*",
            "E *assert (1 + 1) == 3",
            "* MQTT packets at mqtt_broker *",
            "rule never fired: sends PUBACK nth 3 lose   (1 packet matched)",
            "*PUBLISH (id 1, QoS 1, topic *",
            "*PUBACK (id 1)",
        ]
    )
    result.stdout.no_fnmatch_line("*quiet*")


def test_what_was_published_is_asserted_in_a_line(pytester: pytest.Pytester) -> None:
    source = """
async def test_as_wanted(mqtt_broker, mqtt_client):
    await mqtt_client.publish("site/7/level", '{"level":28.4}', qos=1, retain=True)
    await mqtt_client.publish("site/7/level", "x")
    await mqtt_broker.idle()
    assert_published(mqtt_broker, "site/+/level", json={"level": 28.4}, qos=1, retain=True)
    assert_published(mqtt_broker, "site/7/level", b"x", retain=False)
    assert_published(mqtt_broker, "site/7/level", "x", qos=0)
    assert_published(mqtt_broker, "site/#", times=2)
    assert_published(mqtt_broker, "elsewhere", times=0)

async def test_other_level(mqtt_broker, mqtt_client):
    await mqtt_client.publish("site/7/level", '{"level": 28.5}', qos=1)
    await mqtt_client.publish("site/8/level", '{"level": 28.4}', qos=1)
    assert_published(mqtt_broker, "site/7/level", json={"level": 28.4})
"""
    result = run(pytester, BEGIN + source)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            ">       assert_published(mqtt_broker, *",
            'E *: no message matched   topic "site/7/level"  json {"level": 28.4}',
            'E *near:  site/7/level  {"level": 28.5}   level: 28.5 is not 28.4   +* s',
            'E *near:  site/8/level  {"level": 28.4}   topic   +* s',
            "E *PUBLISH (id 1, QoS 1, topic *",
        ]
    )
    # The failure is the test's line; the chart is there once.
    result.stdout.no_fnmatch_line("*_broker_faults.py*")
    result.stdout.no_fnmatch_line("* MQTT packets at mqtt_broker *")


def test_a_real_broker_makes_no_faults_and_cannot_tell(
    pytester: pytest.Pytester, builtin: BuiltinBroker
) -> None:
    source = """
async def test_faults(mqtt_broker):
    mqtt_broker.sends(PUBACK).lose()
    assert False

async def test_links(mqtt_broker, mqtt_client):
    mqtt_broker.link(mqtt_client.identifier).half_open()
    assert False

async def test_assertion(mqtt_broker, mqtt_client):
    await mqtt_client.publish("plugin/told", b"1", qos=1)
    assert_published(mqtt_broker, "plugin/told")
    assert False

async def test_that_fails(mqtt_client):
    assert False
"""
    url = f"mqtt://{builtin.host}:{builtin.port}"
    result = run(pytester, BEGIN + source, "--mqtt-broker", url, "-rs")
    result.assert_outcomes(skipped=3, failed=1)
    for name in ("sends", "link", "check_published"):
        text = f"*needs `{name}` of the built-in broker, and --mqtt-broker names another"
        result.stdout.fnmatch_lines([text])
    result.stdout.no_fnmatch_line("* MQTT packets at mqtt_broker *")


@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if name != "AnyIO"])
def test_the_tests_of_users_pass_under_each_framework(
    pytester: pytest.Pytester, framework: str
) -> None:
    head, arguments = FRAMEWORKS[framework]
    source = WHOLE_TESTS.read_text().replace(
        "\nasync def report_level", f"\n{head}\n\nasync def report_level"
    )
    arguments = (*arguments, "--mqtt-seeds", "5")  # the file's own number is played elsewhere
    run(pytester, source, *arguments).assert_outcomes(passed=source.count("async def test_"))
