"""Ours and another build of ours, in turns: by how much they differ."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

OURS = "ferromqtt"
AGAIN = "ferromqtt A/A"
"""The same program once more: what differs here is the noise of the machine."""
PARENT = "parent"

AT_MOST = 1.03
"""How many times the parent's CPU time ours may take, by the median."""


class Pair(NamedTuple):
    """The CPU time of ours divided by the other's, over the rounds."""

    low: float
    middle: float
    high: float


def pair(ours: Sequence[float], other: Sequence[float]) -> Pair | None:
    """Divide round by round; None if there is no round that both have ended."""
    ratios = [a / b for a, b in zip(ours, other, strict=False)]
    return Pair(min(ratios), median(ratios), max(ratios)) if ratios else None


def is_slower(found: Pair, noise: Pair | None) -> bool:
    """Whether ours takes more than the bar allows, and not as much as between two equal builds."""
    return found.middle > AT_MOST and (noise is None or found.middle > noise.high)


def line(ours: str, other: str, found: Pair) -> str:
    """Return what is printed below a table."""
    label = f"{ours} / {other}"
    return f"  {label:<36}{found.middle:.3f} x CPU (median; {found.low:.3f} to {found.high:.3f})"
