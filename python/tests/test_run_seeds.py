"""`run_seeds`: scripts of faults from seeds, and what is left of one that fails."""

import asyncio
import contextlib
import re
import socket

import pytest

from ferromqtt import Client, MqttError, ProtocolVersion, Reconnect
from ferromqtt.testing import (
    PUBACK,
    PUBLISH,
    Chaos,
    SeedFailure,
    TestBroker,
    VirtualLoop,
    run_seeds,
)


@pytest.fixture(autouse=True)
def _all_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FERROMQTT_SEED", raising=False)


def failure_of(test: object, seeds: object = 50, **terms: object) -> SeedFailure:
    with pytest.raises(SeedFailure) as failed:
        run_seeds(test, seeds, **terms)  # type: ignore[arg-type]
    return failed.value


async def publish_some(chaos: Chaos) -> None:
    chaos.faults(cuts=0.02, lost_acks=0.02, restarts=1)
    async with chaos.broker.client(reconnect=True, protocol=ProtocolVersion.V5) as client:
        for number in range(10):
            await client.publish("n", str(number), qos=1)


def test_each_seed_is_played_with_its_own_script() -> None:
    scripts: dict[int, str] = {}

    async def test(chaos: Chaos) -> None:
        scripts[chaos.seed] = chaos.faults(cuts=0.05, restarts=1)
        await asyncio.sleep(3600)

    run_seeds(test, 20)
    run_seeds(test, [100, 7])
    assert list(scripts) == [*range(20), 100]
    assert len(set(scripts.values())) == 21
    assert all("optional cut" in script for script in scripts.values())


def test_a_program_that_keeps_its_promise_passes() -> None:
    async def test(chaos: Chaos) -> None:
        await publish_some(chaos)
        published = {int(message.payload) for message in chaos.broker.published("n")}
        assert published == set(range(10))

    run_seeds(test, 50)


def test_a_failing_script_is_shrunk_to_what_the_failure_needs() -> None:
    async def test(chaos: Chaos) -> None:
        await publish_some(chaos)
        again = [packet for packet in chaos.broker.packets(PUBLISH) if packet.dup]
        assert not again, "a message was sent again"

    failure = failure_of(test)
    assert len(failure.script.splitlines()) == 1, failure
    assert "AssertionError: a message was sent again" in str(failure)
    assert "The shortest script that fails (1 of " in str(failure)
    assert f"    {failure.script.strip()}\n" in str(failure)
    assert "    broker." in str(failure)
    assert "What happened:" in str(failure)
    assert "DUP" in str(failure)
    assert f"FERROMQTT_SEED={failure.seed} " in str(failure)
    assert isinstance(failure.__cause__, AssertionError)


def test_the_shortest_script_fails_as_code_too() -> None:
    async def program(broker: TestBroker) -> None:
        async with broker.client(reconnect=True, protocol=ProtocolVersion.V5) as client:
            await client.publish("n", "1", qos=1)
        assert not any(packet.dup for packet in broker.packets(PUBLISH)), "again"

    async def test(chaos: Chaos) -> None:
        chaos.faults(lost_acks=0.2)
        await program(chaos.broker)

    failure = failure_of(test)
    code = [line.strip() for line in str(failure).splitlines() if line.startswith("    broker.")]
    assert code == ["broker.sends(PUBACK).lose().cut()"]

    async def pasted() -> None:
        broker = TestBroker(listen=False)
        broker.sends(PUBACK).lose().cut()
        try:
            await program(broker)
        finally:
            await broker.stop()

    with (
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
        pytest.raises(AssertionError, match="again"),
    ):
        runner.run(pasted())


def test_a_test_that_fails_without_faults_is_told_so() -> None:
    async def test(chaos: Chaos) -> None:
        await publish_some(chaos)
        raise LookupError("always")

    failure = failure_of(test)
    assert failure.seed == 0
    assert failure.script == ""
    assert "It fails without any fault." in str(failure)


def test_a_test_that_waits_forever_fails() -> None:
    async def test(chaos: Chaos) -> None:
        chaos.faults(cuts=0.1)
        async with chaos.broker.client(reconnect=True, protocol=ProtocolVersion.V5):
            await asyncio.get_running_loop().create_future()

    failure = failure_of(test, most_tries=10, end_at=600)
    assert "The virtual time has reached its end, 600 s" in str(failure)


def crashed_in(failure: SeedFailure) -> list[str]:
    """Return the lines about tasks, without the places in this file."""
    _, _, section = str(failure).partition("Tasks that ended with an exception:\n")
    lines = section.partition("\n\n")[0].splitlines()
    return [re.sub(rf" \({re.escape(__file__)}:\d+\)$", " (here)", line) for line in lines]


def test_a_background_task_that_crashed_is_named_where_the_test_waits_for_it() -> None:
    async def measure(client: Client) -> None:
        await client.publish("level", "1")
        raise LookupError("no sensor")

    async def test(chaos: Chaos) -> None:
        client = chaos.broker.client()
        async with client:
            task = asyncio.create_task(measure(client), name="measuring")
            await asyncio.Event().wait()  # what the task would set
        task.cancel()

    failure = failure_of(test, end_at=600)
    assert "StuckError: The virtual time has reached its end" in str(failure)
    name = measure.__qualname__
    assert crashed_in(failure) == [f"    measuring, {name}: LookupError: no sensor (here)"]


def test_the_tasks_of_a_group_are_named_with_what_they_raised() -> None:
    async def fail(text: str) -> None:
        raise ValueError(text)

    async def test(_: Chaos) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail("one"), name="first")
            group.create_task(fail("two"), name="second")

    failure = failure_of(test, [0])
    assert "ExceptionGroup: unhandled errors in a TaskGroup" in str(failure)
    first, second = crashed_in(failure)
    assert first.startswith("    first, ")
    assert first.endswith("ValueError: one (here)")
    assert second.startswith("    second, ")


def test_of_many_crashed_tasks_a_few_are_named() -> None:
    async def fail() -> None:
        raise ValueError

    async def test(_: Chaos) -> None:
        kept = [asyncio.create_task(fail()) for _ in range(7)]
        await asyncio.sleep(1)
        assert not kept

    lines = crashed_in(failure_of(test, [0]))
    assert len(lines) == 6
    assert lines[5] == "    and 2 more"


def test_what_the_test_has_caught_or_raised_itself_is_no_crashed_task() -> None:
    async def fail(text: str) -> None:
        raise ValueError(text)

    async def test(_: Chaos) -> None:
        with contextlib.suppress(ValueError):
            await asyncio.create_task(fail("caught"))
        await asyncio.create_task(fail("raised"))

    failure = failure_of(test, [0])
    assert str(failure).startswith("seed 0 fails: ValueError: raised\n")
    assert not crashed_in(failure)


def test_a_failure_that_the_seed_does_not_bring_again_is_told_so() -> None:
    runs: list[int] = []

    async def test(chaos: Chaos) -> None:
        runs.append(chaos.seed)
        assert len(runs) > 1

    failure = failure_of(test)
    assert "passed when it was played again" in str(failure)
    assert runs == [0, 0]


def test_shrinking_takes_no_more_runs_than_it_may() -> None:
    runs: list[int] = []

    async def test(chaos: Chaos) -> None:
        runs.append(chaos.seed)
        assert not chaos.faults(cuts=0.2)

    failure_of(test, [1], most_tries=5)
    assert len(runs) <= 7


def test_scripts_of_two_brokers_are_shrunk_together() -> None:
    async def test(chaos: Chaos) -> None:
        other = TestBroker(listen=False)
        one = chaos.faults(cuts=0.1)
        two = chaos.faults(broker=other, duplicates=0.1)
        assert not ("cut" in one and "duplicate" in two)

    failure = failure_of(test)
    assert len(failure.script.splitlines()) == 2
    assert "# broker 1" in str(failure)
    assert "# broker 2" in str(failure)


def test_the_same_seed_takes_the_same_course() -> None:
    charts: list[str] = []

    async def test(chaos: Chaos) -> None:
        chaos.faults(cuts=0.05, lost_acks=0.05, duplicates=0.05, delays=0.05, restarts=1)
        client = Client(chaos.broker, reconnect=Reconnect(initial=True))
        async with client:
            for number in range(20):
                with contextlib.suppress(MqttError):  # a QoS 2 message of a session that was lost
                    await client.publish("n", str(number), qos=number % 3)
        charts.append(chaos.broker.chart())

    run_seeds(test, [3, 4, 5])
    run_seeds(test, [3, 4, 5])
    assert charts[:3] == charts[3:]
    assert len(set(charts)) == 3


def test_one_seed_of_the_environment_is_played_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    async def test(chaos: Chaos) -> None:
        seeds.append(chaos.seed)

    monkeypatch.setenv("FERROMQTT_SEED", "4711")
    run_seeds(test, 10)
    assert seeds == [4711]
    monkeypatch.setenv("FERROMQTT_SEED", "many")
    with pytest.raises(ValueError, match="FERROMQTT_SEED must be a number of 64 bits, not 'many'"):
        run_seeds(test, 10)


@pytest.mark.parametrize("way", ["listen", "connect", "reader"])
def test_a_real_socket_is_refused(way: str) -> None:
    async def test(_: Chaos) -> None:
        loop = asyncio.get_running_loop()
        if way == "listen":
            async with TestBroker() as broker, Client(broker.host, broker.port):
                pass
        elif way == "connect":
            async with Client("127.0.0.1", 1, reconnect=Reconnect(initial=True)):
                pass
        else:
            one, other = socket.socketpair()
            with one, other:
                loop.add_reader(one, print)

    with pytest.raises(RuntimeError, match=r"Seeds play without sockets, .* chaos\.broker\.client"):
        run_seeds(test, 3)


def test_other_exceptions_leave_at_once() -> None:
    class Stopped(BaseException):
        pass

    seeds: list[int] = []

    async def test(chaos: Chaos) -> None:
        seeds.append(chaos.seed)
        raise Stopped

    with pytest.raises(Stopped):
        run_seeds(test)
    assert seeds == [0]
    assert isinstance(failure_of(test, failures=(Stopped,)).__cause__, Stopped)


def test_what_is_no_test_or_seed_is_refused() -> None:
    async def test(_: Chaos) -> None:
        pass

    wrong: list[tuple[object, object, type[Exception], str]] = [
        (None, 1, TypeError, "test must be a coroutine function"),
        (lambda _: 7, 1, TypeError, "what test returns must be an awaitable"),
        (test, "all", TypeError, "seed must be int"),
        (test, 1.5, TypeError, "seeds must be int"),
        (test, [-1], ValueError, "a seed must be a number of 64 bits, not -1"),
        (test, 0, ValueError, "there is no seed to play, so nothing was tested"),
        (test, [], ValueError, "there is no seed to play, so nothing was tested"),
    ]
    for program, seeds, kind, text in wrong:
        with pytest.raises((kind, SeedFailure), match=text):
            run_seeds(program, seeds)  # type: ignore[arg-type]


def test_seeds_are_played_by_loops_of_their_own() -> None:
    async def main() -> None:
        run_seeds(publish_some)

    with pytest.raises(RuntimeError, match="call it from a function that is not async"):
        asyncio.run(main())


def test_a_wrong_argument_is_no_matter_of_chance() -> None:
    async def test(chaos: Chaos) -> None:
        chaos.faults(cuts=2)

    text = str(failure_of(test))
    assert "cuts must be a probability from 0 to 1, not 2" in text
    assert "It fails without any fault." in text
    assert "passed when it was played again" not in text


@pytest.mark.parametrize(
    ("faults", "kind", "text"),
    [
        ({"cuts": 2}, ValueError, "cuts must be a probability from 0 to 1, not 2"),
        ({"delays": "often"}, TypeError, "delays must be a number from 0 to 1"),
        ({"restarts": -1}, ValueError, "restarts must be in the range"),
        ({"packets": 1.5}, TypeError, "packets must be int"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    faults: dict[str, object], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        Chaos(0).faults(**faults)  # type: ignore[arg-type]


def test_a_script_is_played_by_its_text() -> None:
    async def test() -> None:
        broker = TestBroker(listen=False)
        broker.play_faults(
            "sends PUBACK lose, cut\n\n# a comment\nat packet 9 restart keeps sessions"
        )
        async with broker.client(reconnect=True, protocol=ProtocolVersion.V5) as client:
            for number in range(5):
                await client.publish("n", str(number), qos=1)
        assert [packet.dup for packet in broker.packets(PUBLISH)][:2] == [False, True]
        assert "reset" in broker.chart()
        await broker.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(test())


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("sends PUBACK", "line 1 of the script of faults: fault rule: .* is missing"),
        ("\nat noon restart", 'line 2 of the script of faults: "noon" stands where packet'),
        ("at 3s restart keeps nothing", '"nothing" stands where sessions or retained should'),
        ("at 3s partition for 5s hangs on", '"on" stands where the end of the line should'),
        ("sends PINGREQ lose", "the broker never sends PINGREQ"),
    ],
)
def test_a_script_that_cannot_be_played_is_refused(script: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TestBroker(listen=False).play_faults(script)


def test_a_script_is_a_text() -> None:
    with pytest.raises(TypeError, match="script must be str"):
        TestBroker(listen=False).play_faults(7)  # type: ignore[arg-type]
