"""The file of instruction counts, and what a change may do to them."""

import json
import math
import tomllib
from collections.abc import Mapping
from typing import NamedTuple

AT_MOST = 1.03
"""How many times its recorded count a workload may need."""

GAIN = 0.995
"""How many times its recorded count a workload needs at most, for that to be no noise."""

HEAD = """\
# Instructions per message of the workloads, which `make audit` compares with its own measurement
# (bench/README.md, "Instruction counts"). `make instructions` writes this file. A count that is
# raised needs a reason: `raised`.
"""


class Count(NamedTuple):
    """What a workload may need."""

    instructions: float
    raised: str | None = None
    """Why it was raised, if it was when it was last changed."""


class Recorded(NamedTuple):
    """The file."""

    machine: dict[str, str]
    """The versions that it was measured with (`machine.py`)."""

    workloads: dict[str, Count]


def parse(text: str) -> Recorded:
    """Read the file."""
    document = tomllib.loads(text)
    workloads = {name: Count(**fields) for name, fields in document["workloads"].items()}
    for name, count in workloads.items():
        if not 0 < count.instructions < math.inf:
            raise ValueError(f"{name} has no count, but {count.instructions}")
    return Recorded(document["machine"], workloads)


def render(recorded: Recorded) -> str:
    """Write the file."""
    lines = [HEAD, "[machine]"]
    lines += [f"{name} = {_string(value)}" for name, value in recorded.machine.items()]
    lines += ["", "[workloads]"]
    for name, count in recorded.workloads.items():
        fields = f"instructions = {count.instructions:.1f}"
        if count.raised is not None:
            fields += f", raised = {_string(count.raised)}"
        lines.append(f"{name} = {{ {fields} }}")
    return "\n".join(lines) + "\n"


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # TOML has JSON's escapes


def growths(measured: Mapping[str, float], allowed: Mapping[str, float], where: str) -> list[str]:
    """Return the workloads that need more than 3 % above what is allowed, and `where` that is."""
    return [
        f"{name} needs {measured[name]:,.1f} instructions a message, {percent(measured[name], by)}"
        f" against {by:,.1f} {where}; at most {(AT_MOST - 1) * 100:+.0f} % is allowed"
        for name, by in allowed.items()
        if name in measured and measured[name] > by * AT_MOST
    ]


def mismatches(measured: Mapping[str, float], recorded: Recorded) -> list[str]:
    """Return the workloads that are measured and not recorded, or the other way round."""
    missing = [f"{name} has no recorded count" for name in measured.keys() - recorded.workloads]
    stale = [f"{name} is not measured any more" for name in recorded.workloads.keys() - measured]
    return sorted(missing + stale)


def unexplained_raises(now: Recorded, before: Recorded | None) -> list[str]:
    """Return the counts that were raised without a reason.

    `before` is the parent commit's file, None where it cannot be had. Then, and where it has the
    counts of other versions, only empty reasons are found.
    """
    problems = []
    comparable = before is not None and before.machine == now.machine
    for name, count in now.workloads.items():
        if count.raised is not None and not count.raised.strip():
            problems.append(f"{name} was raised without a reason: write it in `raised`")
            continue
        earlier = before.workloads.get(name) if before is not None and comparable else None
        if earlier is None or count.instructions <= earlier.instructions:
            continue
        if count.raised is None or count.raised == earlier.raised:
            problems.append(
                f"{name} was raised from {earlier.instructions:,.1f} to {count.instructions:,.1f}"
                " without a reason of its own: write it in `raised`"
            )
    return problems


def allowed_by_parent(
    parent: Mapping[str, float], now: Recorded, before: Recorded | None
) -> dict[str, float]:
    """Return what each workload may need, given what it needs in the parent commit's build.

    A count that the commit raises in the file allows as much more. Where the commit also changes
    the versions, the two files cannot be compared, and a new reason allows any growth.
    """
    allowed = {}
    for name, instructions in parent.items():
        count = now.workloads.get(name)
        earlier = before.workloads.get(name) if before is not None else None
        factor = 1.0
        if count is not None and earlier is not None and before is not None:
            if before.machine == now.machine:
                factor = max(1.0, count.instructions / earlier.instructions)
            elif count.raised is not None and count.raised != earlier.raised:
                factor = float("inf")
        allowed[name] = instructions * factor
    return allowed


def updated(
    measured: Mapping[str, float], machine: dict[str, str], before: Recorded | None
) -> Recorded:
    """Return the file with what was measured.

    A count within the 3 % stays as it is, and so small growths add up until they fail. One above
    gets an empty reason, which the check refuses until it is written. A gain beyond the noise is
    recorded.
    """
    workloads = {}
    for name, instructions in measured.items():
        rounded = round(instructions, 1)
        earlier = before.workloads.get(name) if before is not None else None
        if earlier is None or before is None or before.machine != machine:
            workloads[name] = Count(rounded, earlier.raised if earlier is not None else None)
        elif rounded > earlier.instructions * AT_MOST:
            workloads[name] = Count(rounded, raised="")
        elif rounded <= earlier.instructions * GAIN:
            workloads[name] = Count(rounded)
        else:
            workloads[name] = earlier
    return Recorded(machine, workloads)


def percent(now: float, before: float) -> str:
    """Return how much more one count is than the other."""
    return f"{(now / before - 1) * 100:+.1f} %"
