"""Instruction counts of fixed workloads: compared with the recorded ones, or recorded.

Run it as `make check-instructions`, a part of `make audit`, or as `make instructions`.
bench/README.md says how to read it.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import counts
import parent
from callgrind import CountError, count
from counts import Recorded
from machine import this_machine

ROOT = parent.ROOT
FILE = "bench/instructions.toml"
PACKAGE = "ferromqtt-bench-instructions"

WHAT_TO_DO = f"""\
What to do: look for what the change does more often than before (bench/README.md, "Instruction
counts", says how to see it by function). If it is worth its cost, run `make instructions` and write
the reason in `raised`, beside the count in {FILE}.
"""


def main() -> int:
    """Measure, then check or record; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("action", choices=("check", "record"))
    add("--python", type=Path, default=ROOT / ".venv/bin/python", metavar="PYTHON")
    program = parent.target_folder(ROOT) / "release" / PACKAGE
    add("--program", type=Path, default=program, metavar="FILE")
    add("--parent", metavar="REVISION", help="compare with this commit, not with the one before")
    add("--with-parent", action="store_true", help="measure it even if nothing asks for it")
    arguments = parser.parse_args()
    try:
        measured = measure(ROOT, arguments.python, arguments.program)
        if arguments.action == "record":
            return record(measured)
        return check(measured, arguments.parent, with_parent=arguments.with_parent)
    except CountError as error:
        print(f"instructions.py: {error}", file=sys.stderr)
        return 1


def measure(tree: Path, python: Path, program: Path) -> dict[str, float]:
    """Count every workload of a checkout. Raises CountError."""
    of_python = [str(python.absolute()), str(tree / "bench/workloads.py")]
    # Once without counting: whether byte code lies ready changes where objects lie, and 0.2 %.
    subprocess.run(of_python, stdout=subprocess.DEVNULL, check=False)
    # By a name without the folder: the length of a path on the stack changes where objects lie, and
    # with that what copying them takes, by 1 %.
    of_rust = count([f"./{program.name}"], program.absolute().parent)
    return of_rust | count(of_python, tree)


def record(measured: Mapping[str, float]) -> int:
    """Write the file."""
    file = ROOT / FILE
    before = counts.parse(file.read_text()) if file.exists() else None
    now = counts.updated(measured, this_machine(), before)
    file.write_text(counts.render(now))
    earlier = {} if before is None else instructions(before)
    print_table(instructions(now), earlier, "new", "recorded")
    print(f"wrote {FILE}")
    for problem in counts.unexplained_raises(now, before):
        print(f"Still to do: {problem}.")
    return 0


def check(measured: Mapping[str, float], revision: str | None, *, with_parent: bool) -> int:
    """Compare with the file, and where that does not help with the parent commit's build."""
    recorded = counts.parse((ROOT / FILE).read_text())
    try:
        commit = parent.find(ROOT, revision)
        text = parent.text_at(ROOT, commit, FILE)
        before = None if text is None else counts.parse(text)
    except parent.ParentError as error:
        commit, before = None, None
        shout(f"there is no parent commit to compare {FILE} with: {error}", "RAISES NOT CHECKED")
    problems = counts.unexplained_raises(recorded, before)
    is_comparable = recorded.machine == this_machine()
    if is_comparable:
        allowed = instructions(recorded)
        print_table(measured, allowed, "measured", "recorded")
        problems += counts.growths(measured, allowed, f"in {FILE}")
        problems += counts.mismatches(measured, recorded)
        note_gains(measured, allowed)
    else:
        print_versions(recorded.machine, this_machine())
    is_new_machine = before is not None and before.machine != recorded.machine
    if with_parent or is_new_machine or not is_comparable:
        problems += check_with_parent(measured, commit, recorded, before)
    for problem in problems:
        print(f"FAILED: {problem}.")
    if problems:
        print(WHAT_TO_DO)
    return 1 if problems else 0


def check_with_parent(
    measured: Mapping[str, float], commit: str | None, recorded: Recorded, before: Recorded | None
) -> list[str]:
    """Build and measure the parent commit; return what needs more than it does."""
    why_not = "there is none here"
    of_parent = None
    try:
        of_parent = measure_parent(commit) if commit is not None else None
    except (parent.ParentError, CountError) as error:
        why_not = str(error)
    if of_parent is None:
        print_table(measured, {}, "measured", "parent")
        shout(f"the parent commit cannot be measured: {why_not}", "INSTRUCTION COUNTS NOT JUDGED")
        return []
    print_table(measured, of_parent, "measured", "parent")
    allowed = counts.allowed_by_parent(of_parent, recorded, before)
    return counts.growths(measured, allowed, "of the parent commit")


def measure_parent(commit: str) -> dict[str, float]:
    """Build a commit, and count its own workloads. Raises ParentError and CountError."""
    tree = parent.check_out(ROOT, commit)
    if not (tree / "bench/workloads.py").exists():
        raise parent.ParentError(f"commit {commit} has no workloads")
    python = parent.build_module(tree)
    return measure(tree, python, parent.cargo_build(tree, "--package", PACKAGE) / PACKAGE)


def instructions(recorded: Recorded) -> dict[str, float]:
    """Return the counts alone."""
    return {name: it.instructions for name, it in recorded.workloads.items()}


def print_table(now: Mapping[str, float], before: Mapping[str, float], *columns: str) -> None:
    """Print two counts for each workload, and how they differ."""
    print(f"{'instructions per message':<26}{columns[0]:>12}{columns[1]:>12}{'change':>12}")
    for name, value in now.items():
        line = f"{name:<26}{value:>12,.1f}"
        if name in before:
            line += f"{before[name]:>12,.1f}{counts.percent(value, before[name]):>12}"
        else:
            line += f"{'-':>12}{'-':>12}"
        print(line)
    print(flush=True)


def print_versions(recorded: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Say why the recorded counts say nothing on this machine."""
    print(f"{FILE} was recorded with other versions, so the parent commit is measured too:")
    for name, version in here.items():
        if recorded.get(name) != version:
            print(f"  {name} {version}, recorded with {recorded.get(name)}")
    print(flush=True)


def note_gains(measured: Mapping[str, float], allowed: Mapping[str, float]) -> None:
    """Say what may be recorded as a gain, so that it is not lost again unseen."""
    gains = [name for name, by in allowed.items() if measured.get(name, by) * counts.AT_MOST < by]
    if gains:
        print(f"Less than recorded: {', '.join(gains)}. `make instructions` keeps that.\n")


def shout(text: str, verdict: str) -> None:
    """Print what nobody should miss in a long log."""
    rule = "!" * 80
    print(f"{rule}\n{verdict}: {text}\n{rule}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
