"""Tests under the faults of many seeds, in virtual time. Imported by `ferromqtt.testing` alone."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from ferromqtt._checks import check_number, is_number, wrong_type
from ferromqtt._crashed_tasks import CrashedTasks
from ferromqtt._native import Broker, ScriptShrinker, draw_faults, python_code
from ferromqtt._seed import seeded
from ferromqtt._virtual_loop import VirtualLoop
from ferromqtt.testing import TestBroker

_ONE_SEED = "FERROMQTT_SEED"
_SEEDS = 1 << 64
_MOST_COUNT = (1 << 32) - 1
_CHART_LINES = 60
_NOT_AGAIN = (
    "The same seed passed when it was played again, so the test depends on something else: "
    "threads, the system's time, random numbers that are not of Chaos.random, or the order of a "
    "set."
)


@dataclass
class _Record:
    """What a run has drawn, and what it is to draw."""

    scripts: list[str] | None = None
    """Drawn in place of what the seed says."""
    drawn: list[str] = field(default_factory=list)
    cores: list[Broker] = field(default_factory=list)
    """Those of the brokers with faults, which outlive a stop of these."""
    brokers: list[TestBroker] = field(default_factory=list)


class Chaos:
    """The seed of a run, for a test that `run_seeds` plays.

    It has a `TestBroker` in memory, `broker`, which is stopped behind the test. What the test
    itself draws at random it takes from `random`.
    """

    def __init__(self, seed: int, record: _Record | None = None) -> None:
        self._seed = seed
        self._record = _Record() if record is None else record
        self._random = random.Random(seed)  # noqa: S311 - to be repeated, and not for secrets
        self._broker: TestBroker | None = None

    @property
    def seed(self) -> int:
        """The seed."""
        return self._seed

    @property
    def random(self) -> random.Random:
        """Random numbers of this seed."""
        return self._random

    @property
    def broker(self) -> TestBroker:
        """A broker in memory, made when it is first asked for."""
        if self._broker is None:
            self._broker = TestBroker(listen=False)
            self._record.brokers.append(self._broker)
        return self._broker

    def faults(
        self,
        *,
        cuts: float = 0.0,
        lost_acks: float = 0.0,
        duplicates: float = 0.0,
        delays: float = 0.0,
        restarts: int = 0,
        partitions: int = 0,
        packets: int = 200,
        broker: TestBroker | None = None,
    ) -> str:
        """Draw a script of faults from the seed, put it to work, and return its text.

        While a failure is shrunk, it is what is left of the script in question.

        A probability is that of a fault at each packet of its kind, among the first `packets`. The
        first connection comes about: cuts spare the first packet of each direction, restarts and
        partitions come behind both. Every fault is one that a network or a right broker can come
        to, so that MQTT's promises hold under all of them.

        Args:
            cuts: How likely a link ends before, behind or inside of a packet.
            lost_acks: How likely an acknowledgement is lost, and its link ends.
            duplicates: How likely PUBACK, PUBREC, PUBREL, PUBCOMP, or PUBLISH of QoS 1 or 2 comes
                twice.
            delays: How likely a packet comes up to 5 s later.
            restarts: How often the broker restarts, for up to 5 s. One half keep the sessions and
                retained messages, the other half keep nothing.
            partitions: How often nothing reaches the broker, for up to 5 s.
            packets: How many packets of each kind are looked at. After those the program is left in
                peace, so that it comes to its end.
            broker: Another broker of the test than `broker`. Its first use has to be in the test.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: A probability is not from 0 to 1, or a number is negative.

        """
        counts = {"restarts": restarts, "partitions": partitions, "packets": packets}
        for name, count in counts.items():
            if not isinstance(count, int) or isinstance(count, bool):
                raise wrong_type(name, "int", count)
            if not 0 <= count <= _MOST_COUNT:
                raise ValueError(f"{name} must be in the range 0-{_MOST_COUNT}, not {count}")
        likely = {
            "cuts": cuts,
            "lost_acks": lost_acks,
            "duplicates": duplicates,
            "delays": delays,
        }
        for name, probability in likely.items():
            if not is_number(probability):
                raise wrong_type(name, "a number from 0 to 1", probability)
        record = self._record
        number = len(record.drawn)
        # Drawn in a replay too, so that a wrong argument fails there as it did before.
        script = draw_faults(
            (self._seed + (number << 32)) % _SEEDS,
            cuts=cuts,
            lost_acks=lost_acks,
            duplicates=duplicates,
            delays=delays,
            restarts=restarts,
            partitions=partitions,
            packets=packets,
        )
        if record.scripts is not None:
            script = record.scripts[number] if number < len(record.scripts) else ""
        record.drawn.append(script)
        target = self.broker if broker is None else broker
        target.seed_faults(self._seed)
        target.play_faults(script)
        record.cores.append(target._core())  # noqa: SLF001 - a stop takes it out of the broker
        if target not in record.brokers:
            record.brokers.append(target)
        return script


class SeedFailure(AssertionError):  # noqa: N818 - as a failed assertion, and not an error of ours
    """A seed fails. The text has the shortest script of faults with which it does.

    What the test has raised with that script is its cause.
    """

    def __init__(self, text: str, seed: int, script: str) -> None:
        super().__init__(text)
        self._seed = seed
        self._script = script

    @property
    def seed(self) -> int:
        """The seed."""
        return self._seed

    @property
    def script(self) -> str:
        """The shortest script of faults: empty when it fails without any."""
        return self._script


class _Run(NamedTuple):
    """A run that has ended."""

    scripts: list[str]
    error: BaseException | None
    charts: list[str]
    crashed: list[str]
    """Tasks that ended with an exception, which `error` does not name."""

    @property
    def failure(self) -> str:
        return f"{type(self.error).__name__}: {self.error}"


class _Terms(NamedTuple):
    """What all runs of a test have in common."""

    test: Callable[[Chaos], Awaitable[object]]
    end_at: float
    failures: tuple[type[BaseException], ...]


def run_seeds(
    test: Callable[[Chaos], Awaitable[object]],
    seeds: int | Iterable[int] = 100,
    *,
    most_tries: int = 200,
    end_at: float = 86_400,
    failures: tuple[type[BaseException], ...] = (Exception,),
) -> None:
    """Play a test once for each seed, each time on a `VirtualLoop` of its own.

    ```python
    async def nothing_is_lost(chaos: Chaos) -> None:
        chaos.faults(cuts=0.02, lost_acks=0.02, restarts=1)
        async with chaos.broker.client(reconnect=True, timeout=600) as client:
            for n in range(20):
                await client.publish("n", str(n), qos=1)
        assert {m.payload for m in chaos.broker.published("n")} >= {b"0", b"19"}

    run_seeds(nothing_is_lost, 500)
    ```

    When a seed fails, its script of faults is shrunk: the test is played again with fewer and
    simpler faults, as long as it fails. Then SeedFailure tells the seed, the shortest script as
    text and as code, and what went by under it.

    The same seed takes the same course if everything in the test comes from the seed and the loop:
    take random numbers from `Chaos.random`, start no threads. Clients have their seeds from the
    run. Sockets are refused.

    With FERROMQTT_SEED in the environment, that seed alone is played.

    Args:
        test: A coroutine function, called with the `Chaos` of the run.
        seeds: How many seeds, from 0 on, or which.
        most_tries: How many runs shrinking takes at most.
        end_at: How far the clock of a run goes, in seconds; then the test fails. A program that
            waits forever gets there soon.
        failures: The exceptions that fail a seed; others leave this function at once.

    Raises:
        SeedFailure: A seed fails.
        RuntimeError: A loop runs in this thread, or the test has used a socket.
        TypeError: An argument has the wrong type.
        ValueError: There are no seeds, one is out of the range of 64 bits, or FERROMQTT_SEED is no
            number.

    """
    __tracebackhide__ = True  # pytest shows what the test has raised, not this
    play_seeds(test, _chosen(seeds), most_tries, end_at, failures)


def play_seeds(
    test: Callable[[Chaos], Awaitable[object]],
    seeds: Iterable[int],
    most_tries: int = 200,
    end_at: float = 86_400,
    failures: tuple[type[BaseException], ...] = (Exception,),
) -> None:
    """Do what `run_seeds` does, whatever the environment says."""
    __tracebackhide__ = True
    if not callable(test):
        raise wrong_type("test", "a coroutine function", test)
    check_number("most_tries", most_tries, least=0)
    VirtualLoop(end_at=end_at).close()  # raises for what is no time
    _check_no_loop()
    terms = _Terms(test, end_at, failures)
    played = 0
    for seed in map(_checked, seeds):
        played += 1
        try:
            first = _play(terms, seed)
            failure = None if first.error is None else _shrunk(terms, seed, first, most_tries)
        except BaseException as error:
            error.add_note(f"Seed {seed} was being played.")
            raise
        if failure is not None:
            raise failure
    if not played:
        raise ValueError("there is no seed to play, so nothing was tested: seeds must not be empty")


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "run_seeds runs loops of its own, and one runs in this thread already: call it from a "
        "function that is not async"
    )


def _chosen(seeds: int | Iterable[int]) -> Iterable[int]:
    """Return the seeds to play."""
    one = os.environ.get(_ONE_SEED)
    if one is not None:
        try:
            return [_checked(int(one))]
        except ValueError as error:
            raise ValueError(f"{_ONE_SEED} must be a number of 64 bits, not {one!r}") from error
    if isinstance(seeds, bool) or not isinstance(seeds, (int, Iterable)):
        raise wrong_type("seeds", "int or an iterable of them", seeds)
    return range(seeds) if isinstance(seeds, int) else seeds


def _checked(seed: int) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise wrong_type("seed", "int", seed)
    if not 0 <= seed < _SEEDS:
        raise ValueError(f"a seed must be a number of 64 bits, not {seed}")
    return seed


def _play(terms: _Terms, seed: int, scripts: list[str] | None = None) -> _Run:
    record = _Record(scripts)
    loops: list[_SocketlessLoop] = []

    def new_loop() -> _SocketlessLoop:
        loops.append(_SocketlessLoop(end_at=terms.end_at))
        return loops[-1]

    error: BaseException | None = None
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_run(terms.test, seed, record))
    except terms.failures as raised:
        error = raised
    if loops and loops[0].refused is not None:
        raise loops[0].refused  # whatever came of it: the run could not be repeated
    if error is None:
        return _Run(record.drawn, None, [], [])
    charts = [core.chart(_CHART_LINES) for core in record.cores]
    crashed = [line for loop in loops for line in loop.crashed.lines(error)]
    return _Run(record.drawn, error, charts, crashed)


async def _run(test: Callable[[Chaos], Awaitable[object]], seed: int, record: _Record) -> None:
    chaos = Chaos(seed, record)
    with seeded(chaos.random):
        outcome = test(chaos)
        if not inspect.isawaitable(outcome):
            raise wrong_type("what test returns", "an awaitable, as of a coroutine", outcome)
        try:
            await outcome
        finally:
            for broker in record.brokers:
                await broker.stop()


class _SocketlessLoop(VirtualLoop):
    """A virtual loop that refuses to wait for anything outside of it."""

    def __init__(self, *, end_at: float) -> None:
        super().__init__(end_at=end_at)
        self.refused: RuntimeError | None = None
        self.crashed = CrashedTasks()
        self._jumping.refuse = self._refuse

    def create_task(self, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:  # noqa: ANN401
        task = super().create_task(*args, **kwargs)
        self.crashed.watch(task)
        return task

    # A server is refused before it has a socket, which nobody would close; the rest when the loop
    # is to wait for it.

    async def create_server(self, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401
        self._refuse()

    async def create_unix_server(self, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401
        self._refuse()

    def _refuse(self) -> NoReturn:
        if self.refused is None:
            self.refused = RuntimeError(
                "Seeds play without sockets, since what those do depends on the system and not on "
                "the seed: give the client the broker itself, chaos.broker.client() or "
                "Client(chaos.broker)"
            )
        raise self.refused


def _shrunk(terms: _Terms, seed: int, first: _Run, most_tries: int) -> SeedFailure:
    """Shrink the scripts of a run that has failed."""
    shortest = _play(terms, seed, first.scripts)
    if shortest.error is None:
        parts = [
            f"seed {seed} fails: {first.failure}",
            *_crashed(first),
            _NOT_AGAIN,
            _command(seed),
        ]
        failure = SeedFailure("\n\n".join(parts), seed, "".join(first.scripts))
        failure.__cause__ = first.error
        return failure
    shrinker = ScriptShrinker(first.scripts, most_tries)
    while (candidate := shrinker.candidate()) is not None:
        run = _play(terms, seed, candidate)
        shrinker.report(run.error is not None)
        if run.error is not None:
            shortest = run
    scripts = shrinker.shortest()
    failure = SeedFailure(
        _report(seed, first, shortest, scripts, shrinker.tries), seed, "".join(scripts)
    )
    failure.__cause__ = shortest.error
    return failure


def _report(seed: int, first: _Run, shortest: _Run, scripts: list[str], tries: int) -> str:
    parts = [f"seed {seed} fails: {first.failure}"]
    left = _entries(scripts)
    if not left:
        parts.append("It fails without any fault.")
    else:
        of = f"{left} of {_entries(first.scripts)} entries, found in {tries} tries"
        parts.append(f"The shortest script that fails ({of}):\n{_indented(scripts)}")
        code = _indented([python_code(script) for script in scripts])
        parts.append(f"As code, in place of chaos.faults:\n{code}")
    if shortest.failure != first.failure:
        parts.append(f"With it the test fails so: {shortest.failure}")
    parts += _crashed(shortest)
    parts += [f"What happened:\n{chart.rstrip()}" for chart in shortest.charts]
    return "\n\n".join([*parts, _command(seed)])


def _crashed(run: _Run) -> list[str]:
    lines = "".join(f"\n    {line}" for line in run.crashed)
    return [f"Tasks that ended with an exception:{lines}"] if lines else []


def _entries(scripts: list[str]) -> int:
    return sum(len(script.splitlines()) for script in scripts)


def _indented(texts: list[str]) -> str:
    several = len(texts) > 1
    lines: list[str] = []
    for number, text in enumerate(texts, 1):
        if several:
            lines.append(f"# broker {number}")
        lines += text.splitlines()
    return "\n".join(f"    {line}" for line in lines)


def _command(seed: int) -> str:
    return f"To play it again: {_ONE_SEED}={seed} in the environment, or run_seeds(..., [{seed}])"
