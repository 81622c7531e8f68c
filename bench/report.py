"""From runs to figures, and from figures to a table."""

from statistics import median
from typing import Any, TypedDict

import pairs

BASELINE = "aiomqtt"

# How many times less CPU a message than the baseline, by medians.
GOALS: dict[str, float] = {"pub_qos0": 100.0, "recv_qos0": 60.0}
ROWS_WITH_GOALS = ("ferromqtt", "shim")


class Row(TypedDict):
    """One client in one scenario. Figures are per message and per run."""

    version: str | None
    cpu_us: list[float]
    messages_per_second: float
    times_less_cpu: float | None
    times_less_cpu_best_runs: float | None
    goal: float | None
    goal_met: bool | None
    ours_divided_by_it: pairs.Pair | None
    """Of another build of ours: the CPU time of ours in times of its own."""
    runs: list[dict[str, Any]]


Results = dict[str, dict[str, Row]]


def summarize(scenario: str, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Row]:
    """Compute the rows of one scenario; a client whose every run failed has none."""
    cpu = {name: [cpu_us(run) for run in of_client] for name, of_client in runs.items()}
    baseline = cpu.get(BASELINE)
    rows: dict[str, Row] = {}
    for name, of_client in runs.items():
        if not of_client:
            continue
        ratio = median(baseline) / median(cpu[name]) if baseline else None
        goal = GOALS.get(scenario) if name in ROWS_WITH_GOALS else None
        rows[name] = Row(
            version=of_client[0]["version"],
            cpu_us=cpu[name],
            messages_per_second=median(run["messages"] / run["wall_seconds"] for run in of_client),
            times_less_cpu=ratio,
            times_less_cpu_best_runs=min(baseline) / min(cpu[name]) if baseline else None,
            goal=goal,
            goal_met=ratio >= goal if ratio is not None and goal is not None else None,
            ours_divided_by_it=pairs.pair(cpu[pairs.OURS], cpu[name])
            if name in (pairs.AGAIN, pairs.PARENT) and pairs.OURS in cpu
            else None,
            runs=of_client,
        )
    return rows


def cpu_us(run: dict[str, Any]) -> float:
    """CPU time of the client process per message, in microseconds."""
    return float(run["cpu_seconds"] / run["messages"] * 1e6)


def has_missed_goal(results: Results) -> bool:
    """Whether any row missed its goal, or takes more than the parent's build."""
    of_goal = any(row["goal_met"] is False for rows in results.values() for row in rows.values())
    return of_goal or any(is_slower(rows) for rows in results.values())


def is_slower(rows: dict[str, Row]) -> bool:
    """Whether ours takes more than the parent's build."""
    found, noise = (
        rows[name]["ours_divided_by_it"] if name in rows else None
        for name in (pairs.PARENT, pairs.AGAIN)
    )
    return found is not None and pairs.is_slower(found, noise)


def print_scenario(scenario: str, rows: dict[str, Row]) -> None:
    """Print one table."""
    print(f"\n{scenario:<22}{'CPU us per message':^30}{'messages/s':>12}{'x aiomqtt (CPU)':>20}")
    print(f"{'':<22}{'min':>10}{'median':>10}{'max':>10}{'median':>12}{'median':>10}{'best':>10}")
    for name, row in rows.items():
        low, middle, high = min(row["cpu_us"]), median(row["cpu_us"]), max(row["cpu_us"])
        label = f"{name} {row['version'] or ''}".strip()
        print(
            f"{label:<22}{low:>10.3f}{middle:>10.3f}{high:>10.3f}"
            f"{row['messages_per_second']:>12,.0f}"
            f"{_ratio(row['times_less_cpu'])}{_ratio(row['times_less_cpu_best_runs'])}"
            f"{_verdict(row)}",
        )
    for name, row in rows.items():
        if (found := row["ours_divided_by_it"]) is not None:
            print(pairs.line(pairs.OURS, name, found))
    if is_slower(rows):
        print(f"  SLOWER than the parent: at most {pairs.AT_MOST} x, or the noise of A/A")
    print(flush=True)


def _ratio(value: float | None) -> str:
    return f"{'-':>10}" if value is None else f"{value:>10.1f}"


def _verdict(row: Row) -> str:
    if row["goal_met"] is None:
        return ""
    return f"  goal {'met' if row['goal_met'] else 'MISSED'} ({row['goal']:.0f}x)"
