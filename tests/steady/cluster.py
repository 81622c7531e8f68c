"""Kills the node in use of real clusters, and looks for what is lost.

One client with a list of servers publishes numbers at QoS 1, and receives them again through a
session that outlives connections. In each round the node that it is connected to is killed. The
client is back when a message has been acknowledged, and one has been received, that were published
after that. Then the node is started again, and the next round begins.

    python tests/steady/cluster.py                       both clusters, both languages, 6 rounds
    python tests/steady/cluster.py --only nats --language rust --rounds 2
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass, field

from nodes import CLUSTERS, HOST, Cluster, NotReadyError
from worker import LANGUAGES, Account, Breach, Worker, now

BACK_WITHIN = 15.0
"""Seconds from the kill until messages are acknowledged, and come, again."""

TIMEOUT = 3.0
"""Seconds for each attempt to connect. A nats-server that has asked JetStream for the session when
that had no leader waits 4 seconds for the answer, and then closes: to try again is quicker."""

_PATIENCE = 60.0
_LATE = 0.2
"""Seconds in which a line of the program has come."""
_BEFORE_KILL = 100
"""Messages that are acknowledged between two kills, at least."""


@dataclass
class Result:
    """What has come of one language on one cluster."""

    cluster: str
    language: str
    times: list[float] = field(default_factory=list)
    sent: int = 0
    again: int = 0
    failures: list[str] = field(default_factory=list)

    def row(self) -> str:
        """Return a row of the table in docs/clusters.md."""
        if self.times:
            figures = (min(self.times), statistics.median(self.times), max(self.times))
            shown = " / ".join(f"{figure:.1f}" for figure in figures)
        else:
            shown = "-"
        lost = "; ".join(self.failures) or "0"
        return (
            f"| {self.cluster} | {self.language} | {len(self.times)} | {self.sent:,} "
            f"| {lost} | {self.again} | {shown} |"
        )


def play(cluster: Cluster, language: str, rounds: int, rate: float) -> Result:
    """Play all rounds of one language."""
    result = Result(cluster.version(), language)
    settings = {
        "servers": [f"{HOST}:{port}" for port in cluster.ports],
        "identifier": f"steady-{language}",
        "topic": f"steady/{language}",
        "version": 4,
        "qos": [1],
        "rate": rate,
        "timeout": TIMEOUT,
    }
    with Worker(language, **settings) as worker:
        try:
            for number in range(rounds):
                result.times.append(_round(cluster, worker, number, rate))
            worker.stop()
        except NotReadyError as error:
            result.failures.append(str(error))
        except Breach as breach:
            result.failures.append(str(breach))
            missing = worker.look(lambda it: len(it.missing))
            result.failures.append(f"{missing} acknowledged, and not received until then")
            withheld = cluster.withheld()
            if withheld:
                text = f"the cluster has {withheld} of them, and says that none waits for delivery"
                result.failures.append(text)
            _explain(cluster, worker, now())
        account = worker.account
        result.sent = account.sent + 1
        result.again = account.counts["again"]
        result.failures += account.breaches[:5]
    result.failures += [f"back after {time:.1f} s" for time in result.times if time > BACK_WITHIN]
    return result


def _round(cluster: Cluster, worker: Worker, number: int, rate: float) -> float:
    """Kill the node in use; return after how many seconds the client was back."""

    def count(it: Account) -> int:
        return min(it.counts["acknowledged"], it.counts["received"])

    first = worker.look(count)
    assert isinstance(first, int)
    worker.wait(lambda it: count(it) >= first + _BEFORE_KILL, _PATIENCE, "messages before a kill")
    port = worker.server_in_use(cluster.ports)
    if port is None:
        message = "the client is connected to no node"
        raise Breach(message)
    node = cluster.ports.index(port)

    back: dict[str, float] = {}

    def start(it: Account) -> None:
        after = it.sent + rate * _LATE

        def note(what: str, of: int) -> None:
            if of > after:
                back.setdefault(what, now())

        it.on_acknowledged = lambda of: note("acknowledged", of)
        it.on_received = lambda of: note("received", of)

    cluster.kill(node)
    killed = now()
    # What was sent until the node was dead may have been acknowledged by it, and lines are late.
    worker.look(start)
    worker.wait(lambda _: len(back) == 2, 4 * BACK_WITHIN, "messages after a kill")
    took = max(back.values()) - killed
    at = worker.server_in_use(cluster.ports)
    there = "?" if at is None else cluster.ports.index(at)
    print(
        f"  round {number + 1}: node {node} killed; acknowledged after "
        f"{back['acknowledged'] - killed:.1f} s, received after {back['received'] - killed:.1f} s, "
        f"by node {there}",
        flush=True,
    )
    if took > BACK_WITHIN:
        _explain(cluster, worker, killed)
    cluster.start_node(node)
    cluster.wait_until_ready(node)
    return took


def _explain(cluster: Cluster, worker: Worker, since: float) -> None:
    """Print what both sides say of a round that took too long, or failed."""
    ends = (f"{at - since:+.1f} s: {text[:100]}" for at, text in worker.ends)
    print("  connections and attempts ended:", *ends, sep="\n    ")
    print("  the cluster says:", *cluster.report().splitlines(), sep="\n    ", flush=True)


def main() -> int:
    """Play what the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=CLUSTERS, action="append")
    parser.add_argument("--language", choices=LANGUAGES, action="append")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--rate", type=float, default=50, help="messages a second")
    given = parser.parse_args()
    results = []
    for name in given.only or CLUSTERS:
        for language in given.language or LANGUAGES:
            with CLUSTERS[name]() as cluster:
                print(f"{cluster.version()}, {language}", flush=True)
                results.append(play(cluster, language, given.rounds, given.rate))
    print("\n| cluster | client | rounds | messages | lost | twice | back after (s) |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for result in results:
        print(result.row())
    return any(result.failures for result in results)


if __name__ == "__main__":
    sys.exit(main())
