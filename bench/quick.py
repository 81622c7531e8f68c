"""The quick benchmark: ferromqtt beside aiomqtt, in turns, on this machine.

Run it as `make bench-quick`, which builds what it needs. bench/README.md says how to read it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pairs
from report import Results, has_missed_goal, print_scenario, summarize

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
WORKER_TIME_LIMIT = 90.0
RAW_MESSAGES_STEP = 512


class Client(NamedTuple):
    """One row of the tables."""

    name: str
    interpreter: Path
    module: str
    implementation: str
    """What must have done the work, so that no environment passes for another."""

    warm_up: int


class RunError(Exception):
    """A run that says nothing about speed: the client crashed, stuck, or lost messages."""


# Messages a run, so that it takes about 0.3 to 1 second of CPU. A scenario without a count for
# a module has no row for it.
MESSAGES: dict[str, dict[str, int]] = {
    "pub_qos0": {"paho": 8_000, "ferromqtt": 1_000_000, "none": 512 * 16_000},
    "recv_qos0": {"paho": 15_000, "ferromqtt": 1_000_000, "none": 16_000_000},
    "pub_qos1_w100": {"paho": 8_000, "ferromqtt": 200_000},
    "recv_qos1": {"paho": 10_000, "ferromqtt": 500_000},
}


def main() -> int:
    """Run every scenario and return the exit code."""
    arguments = parse_arguments()
    clients = available_clients(arguments)
    results: Results = {}
    failures: list[str] = []
    for scenario in arguments.scenario or MESSAGES:
        runs = run_scenario(scenario, clients, arguments, failures)
        results[scenario] = summarize(scenario, runs)
        print_scenario(scenario, results[scenario])
    write_results(arguments, results, failures)
    for failure in failures:
        say(f"FAILED: {failure}")
    if failures:
        return 1
    return 1 if arguments.check and has_missed_goal(results) else 0


def parse_arguments() -> argparse.Namespace:
    """Read the command line; the defaults are what `make bench-quick` prepares."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--aiomqtt", type=Path, default=ROOT / ".venv-aiomqtt/bin/python", metavar="PYTHON")
    add("--ferromqtt", type=Path, default=ROOT / ".venv/bin/python", metavar="PYTHON")
    add("--shim", type=Path, default=ROOT / ".venv-shim/bin/python", metavar="PYTHON")
    add("--peer", type=Path, default=ROOT / "target/release/ferromqtt-bench-peer", metavar="FILE")
    add("--rounds", type=int, default=5)
    add("--scenario", action="append", choices=MESSAGES, help="only this one; may be repeated")
    add("--loop", default="asyncio", choices=("asyncio", "uvloop"))
    add("--scale", type=float, default=1.0, help="multiply every number of messages")
    add("--parent", type=Path, metavar="PYTHON", help="compare with this build of ours, too")
    add("--only-ours", action="store_true", help="leave out the clients of others")
    add("--check", action="store_true", help="exit with 1 when a goal is missed")
    add("--output", type=Path, default=BENCH / "results/quick.json", metavar="FILE")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.scale <= 0:
        parser.error("--rounds and --scale must be positive")
    return arguments


def available_clients(arguments: argparse.Namespace) -> list[Client]:
    """List the rows; only the shim may be missing."""
    needed = ["ferromqtt", "peer"] if arguments.only_ours else ["aiomqtt", "ferromqtt", "peer"]
    for option in [*needed, "parent"] if arguments.parent else needed:
        path = getattr(arguments, option)
        if not path.exists():
            sys.exit(f"quick.py: {path} does not exist: run `make bench-quick`, or give --{option}")

    def ours(name: str, interpreter: Path) -> Client:
        return Client(name, interpreter, "ferromqtt", "ferromqtt", warm_up=20_000)

    builds = [ours(pairs.OURS, arguments.ferromqtt), ours(pairs.AGAIN, arguments.ferromqtt)]
    if arguments.parent:
        builds.append(ours(pairs.PARENT, arguments.parent))
    if arguments.only_ours:
        return builds
    aiomqtt = Client("aiomqtt", arguments.aiomqtt, "aiomqtt", "paho", warm_up=500)
    shim = Client("shim", arguments.shim, "aiomqtt", "ferromqtt", warm_up=20_000)
    raw = Client("raw", Path(sys.executable), "raw", "none", warm_up=512 * 100)
    if not arguments.shim.exists():
        say(f"skipped: the shim, because {arguments.shim} does not exist")
        return [aiomqtt, *builds, raw]
    return [aiomqtt, *builds, shim, raw]


def run_scenario(
    scenario: str, clients: list[Client], arguments: argparse.Namespace, failures: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """Run each client once a round, in turns: what disturbs the machine disturbs all."""
    running = [client for client in clients if client.implementation in MESSAGES[scenario]]
    runs: dict[str, list[dict[str, Any]]] = {client.name: [] for client in running}
    for number in range(arguments.rounds):
        for client in running if number % 2 == 0 else running[::-1]:
            try:
                runs[client.name].append(run_once(client, scenario, arguments))
            except RunError as failure:
                failures.append(f"{scenario}, {client.name}, round {number + 1}: {failure}")
                # A client that hangs costs the time limit once, not once a round.
                running = [other for other in running if other is not client]
    return runs


def run_once(client: Client, scenario: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one fresh process against a fresh far side; raises RunError."""
    messages = max(1, round(MESSAGES[scenario][client.implementation] * arguments.scale))
    if client.module == "raw":
        messages = max(1, messages // RAW_MESSAGES_STEP) * RAW_MESSAGES_STEP

    def command(port: str) -> list[str]:
        return worker_command(client, scenario, port, messages, arguments.loop)

    result = run_against_peer(arguments.peer, scenario, messages, client.warm_up, command)
    check_identity(client, result)
    return result


def run_against_peer(
    peer_program: Path,
    scenario: str,
    messages: int,
    warm_up: int,
    command: Callable[[str], list[str]],
) -> dict[str, Any]:
    """Measure the process that `command` names for the far side's port; raises RunError."""
    peer_command = [str(peer_program), *peer_mode(scenario, messages, warm_up)]
    with subprocess.Popen(
        peer_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdout is not None
        try:
            result = run_measured(command(peer.stdout.readline().strip()))
            far_side = json.loads(peer.stdout.readline() or '{"error": "it ended too early"}')
        finally:
            peer.kill()
    check_far_side(far_side, messages + warm_up, scenario)
    return result


def peer_mode(scenario: str, messages: int, warm_up: int) -> list[str]:
    """Say what the far side has to do."""
    if scenario.startswith("pub_"):
        return ["sink"]
    qos = "1" if scenario == "recv_qos1" else "0"
    return ["source", "--messages", str(messages), "--warm-up", str(warm_up), "--qos", qos]


def worker_command(client: Client, scenario: str, port: str, messages: int, loop: str) -> list[str]:
    """Say how the measured process is started."""
    options = {
        "--module": client.module,
        "--scenario": scenario,
        "--port": port,
        "--messages": str(messages),
        "--warm-up": str(client.warm_up),
        "--loop": loop,
    }
    # Not resolved: an environment's interpreter is a link, and the link is what selects it.
    command = [str(client.interpreter.absolute()), str(BENCH / "worker.py")]
    return command + [word for option in options.items() for word in option]


def run_measured(command: list[str]) -> dict[str, Any]:
    """Run the measured process."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=WORKER_TIME_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"the client did not end within {WORKER_TIME_LIMIT:.0f} s") from None
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or ["no message"])[-1].strip(" |+-")
        raise RunError(f"the client ended with code {done.returncode}: {last_line}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def check_identity(client: Client, result: dict[str, Any]) -> None:
    """Refuse to measure one library under the name of another."""
    if result["implementation"] != client.implementation:
        raise RunError(
            f"{client.interpreter} imports {client.module} from {result['implementation']}, "
            f"expected {client.implementation}: check what is installed there"
        )


def check_far_side(far_side: dict[str, Any], expected: int, scenario: str) -> None:
    """Every message must have arrived once, in order, and been acknowledged."""
    wanted = {"messages": expected, "lost": 0, "reordered": 0, "duplicates": 0, "out_of_order": 0}
    if scenario == "recv_qos1":
        wanted["acknowledged"] = expected
    is_complete = all(far_side.get(key, value) == value for key, value in wanted.items())
    if "error" in far_side or not is_complete:
        raise RunError(f"the far side reports {far_side}, expected {expected} messages")


def write_results(arguments: argparse.Namespace, results: Results, failures: list[str]) -> None:
    """Keep all runs for later reading."""
    document = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "loop": arguments.loop,
        "rounds": arguments.rounds,
        "scenarios": results,
        "failures": failures,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(document, indent=2) + "\n")
    say(f"wrote {arguments.output}")


def say(line: str) -> None:
    """Print a line at once: a run takes minutes."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
