"""The Rust rows of the quick benchmark: ferromqtt beside rumqttc and ntex-mqtt, in turns.

Run it as `make bench-quick`, which builds what it needs. bench/README.md says how to read it.
"""

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pairs
from quick import ROOT, RunError, run_against_peer, say

OURS = (pairs.OURS, "ferromqtt-threads")
PEERS = ("rumqttc", "ntex-mqtt")
CLIENTS = (*OURS, *PEERS)
WARM_UP = 20_000

# At most so many times the CPU a message of the best other client, and of our own current thread.
GOAL_BEST = 1.5
GOAL_THREADS = 2.0

# Messages a run: about 0.2 to 1 second of CPU.
MESSAGES: dict[str, dict[str, int]] = {
    "pub_qos0": dict.fromkeys(CLIENTS, 1_000_000) | {"rumqttc": 60_000},
    "pub_qos1_w100": dict.fromkeys(CLIENTS, 400_000) | {"rumqttc": 60_000},
    "recv_qos0": dict.fromkeys(CLIENTS, 1_000_000),
    "recv_qos1": dict.fromkeys(CLIENTS, 400_000),
}

Runs = dict[str, list[float]]


class Row(NamedTuple):
    """One row of the tables: a client of a program."""

    name: str
    program: Path
    client: str


def main() -> int:
    """Run every scenario and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    release = ROOT / "target/release"
    add("--peer", type=Path, default=release / "ferromqtt-bench-peer", metavar="FILE")
    add("--clients", type=Path, default=release / "ferromqtt-bench-clients", metavar="FILE")
    add("--rounds", type=int, default=5)
    add("--scenario", action="append", choices=MESSAGES, help="only this one; may be repeated")
    add("--scale", type=float, default=1.0, help="multiply every number of messages")
    add("--parent", type=Path, metavar="FILE", help="compare with this build of ours, too")
    add("--only-ours", action="store_true", help="leave out the clients of others")
    add("--check", action="store_true", help="exit with 1 when a goal is missed")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.scale <= 0:
        parser.error("--rounds and --scale must be positive")
    for option in ("peer", "clients", "parent") if arguments.parent else ("peer", "clients"):
        path = getattr(arguments, option)
        if not path.exists():
            sys.exit(f"rust.py: {path} does not exist: run `make bench-quick`, or give --{option}")
    rows = all_rows(arguments)
    failures: list[str] = []
    missed = False
    for scenario in arguments.scenario or MESSAGES:
        cpu, rates = run_scenario(scenario, rows, arguments, failures)
        missed |= print_scenario(scenario, cpu, rates)
    for failure in failures:
        say(f"FAILED: {failure}")
    return 1 if failures or (arguments.check and missed) else 0


def all_rows(arguments: argparse.Namespace) -> list[Row]:
    """List the rows. Those of the same client stand beside each other."""
    rows = []
    for client in OURS if arguments.only_ours else CLIENTS:
        rows.append(Row(client, arguments.clients, client))
        if client == pairs.OURS:
            rows.append(Row(pairs.AGAIN, arguments.clients, client))
        if arguments.parent and client in OURS:
            rows.append(Row(of_parent(client), arguments.parent, client))
    return rows


def of_parent(client: str) -> str:
    """Return the name of the parent's row for a client of ours."""
    return client.replace(pairs.OURS, pairs.PARENT)


def run_scenario(
    scenario: str, rows: list[Row], arguments: argparse.Namespace, failures: list[str]
) -> tuple[Runs, Runs]:
    """Run each client once a round, in turns: what disturbs the machine disturbs all."""
    cpu: Runs = {row.name: [] for row in rows}
    rates: Runs = {row.name: [] for row in rows}
    running = rows
    for number in range(arguments.rounds):
        for row in running if number % 2 == 0 else running[::-1]:
            try:
                run = run_once(row, scenario, arguments)
            except RunError as failure:
                failures.append(f"{scenario}, {row.name}, round {number + 1}: {failure}")
                # A client that hangs costs the time limit once, not once a round.
                running = [other for other in running if other is not row]
                continue
            cpu[row.name].append(run["cpu_seconds"] / run["messages"] * 1e6)
            rates[row.name].append(run["messages"] / run["wall_seconds"])
    return cpu, rates


def run_once(row: Row, scenario: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one fresh process against a fresh far side; raises RunError."""
    messages = max(1, round(MESSAGES[scenario][row.client] * arguments.scale))

    def command(port: str) -> list[str]:
        return [str(row.program), row.client, scenario, port, str(WARM_UP), str(messages)]

    return run_against_peer(arguments.peer, scenario, messages, WARM_UP, command)


def print_scenario(scenario: str, cpu: Runs, rates: Runs) -> bool:
    """Print one table; true when a goal was missed."""
    middle = {client: median(runs) for client, runs in cpu.items() if runs}
    best = min((middle[peer] for peer in PEERS if peer in middle), default=None)
    bounds = {
        "ferromqtt": (best, GOAL_BEST, "the best"),
        "ferromqtt-threads": (middle.get("ferromqtt"), GOAL_THREADS, "ferromqtt"),
    }
    missed = False
    say(f"\n{scenario + ', Rust':<22}{'CPU us per message':^30}{'messages/s':>12}{'x best':>10}")
    say(f"{'':<22}{'min':>10}{'median':>10}{'max':>10}{'median':>12}{'(CPU)':>10}")
    for client, value in middle.items():
        line = f"{client:<22}{min(cpu[client]):>10.3f}{value:>10.3f}{max(cpu[client]):>10.3f}"
        line += f"{median(rates[client]):>12,.0f}"
        line += f"{value / best:>10.2f}" if best else f"{'-':>10}"
        base, goal, of = bounds.get(client, (None, 0.0, ""))
        if base is not None:
            missed |= value > goal * base
            verdict = "MISSED" if value > goal * base else "met"
            line += f"  goal {verdict} ({value / base:.2f} x {of}, at most {goal})"
        say(line)
    return print_pairs(cpu) or missed


def print_pairs(cpu: Runs) -> bool:
    """Compare ours with other builds of ours; true when it takes more than the parent's."""
    noise = pairs.pair(cpu[pairs.OURS], cpu[pairs.AGAIN])
    if noise is not None:
        say(pairs.line(pairs.OURS, pairs.AGAIN, noise))
    is_slower = False
    for client in OURS:
        found = pairs.pair(cpu[client], cpu.get(of_parent(client), []))
        if found is None:
            continue
        say(pairs.line(client, of_parent(client), found))
        if pairs.is_slower(found, noise):
            say(f"  SLOWER than the parent: at most {pairs.AT_MOST} x, or the noise of A/A")
            is_slower = True
    return is_slower


if __name__ == "__main__":
    sys.exit(main())
