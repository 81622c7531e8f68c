"""The outbox's benchmark: its rate beside the disk's, its CPU beside a client's without one.

Run it as `make bench-outbox`, which builds what it needs. bench/README.md says how to read it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

BENCH = Path(__file__).resolve().parent
RELEASE = BENCH.parent / "target/release"
PENDING = 100_000
MANY_PENDING = 1_000_000
MESSAGES = {64: 200_000, 1_024: 100_000}
PYTHON_MESSAGES = {64: 100_000, 1_024: 60_000}

Figures = dict[str, list[float]]


class Bench:
    """One run: its programs, its folder, and what it has found."""

    def __init__(self, of: argparse.Namespace, folder: Path) -> None:
        """Begin with nothing."""
        self._of = of
        self._folder = folder
        self.missed: list[str] = []

    def _call(self, *words: object) -> dict[str, Any]:
        done = subprocess.run(
            [str(word) for word in words], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"outbox.py: {words} has failed: {done.stderr.strip()}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def _rust(self, *words: object) -> dict[str, Any]:
        return self._call(self._of.outbox, *words)

    def _python(self, *words: object) -> dict[str, Any]:
        return self._call(self._of.python, BENCH / "outbox_worker.py", *words)

    def _client(
        self, language: str, kind: str, folder: Path, size: int, messages: int
    ) -> dict[str, Any]:
        if language == "Rust":
            return self._rust(kind, folder, size, messages, self._of.peer)
        named = ("--size", size, "--messages", messages, "--peer", self._of.peer)
        return self._python(kind, folder, *named)

    def _beside_raw(self, figures: Figures, row: str, run: dict[str, Any], frames: int) -> None:
        raw = self._rust("raw", self._folder / "raw", run["written"], frames)
        figures[f"{row} of raw"].append(raw["wall"] / run["wall"])
        figures["sync_ms"].append(raw["sync_ms"])

    def enqueue(self, size: int) -> None:
        """Print the rows of one size."""
        figures: Figures = defaultdict(list)
        for _ in range(self._of.rounds):
            folder = self._folder / "store"
            count = MESSAGES[size]
            run = self._rust("store", folder, size, count)
            shutil.rmtree(folder)
            self._beside_raw(figures, "store", run, run["frames"])
            self._note(figures, "store", run, size, count)
            for language, count in (("Rust", MESSAGES[size]), ("Python", PYTHON_MESSAGES[size])):
                self._enqueue_with(figures, language, size, count)
        say(f"\n{size} B, {self._of.rounds} rounds, medians; fdatasync p50 ", end="")
        say(f"{median(figures['sync_ms']):.2f} ms")
        say(f"{'':<10}{'messages/s':>12}{'of raw':>9}{'bar':>6}{'CPU us':>9}", end="")
        say(f"{'beyond':>8}{'bar':>6}{'bytes':>8}{'bar':>6}")
        for row, of_raw in (("store", None), ("Rust", 0.7), ("Python", 0.4)):
            self._print_row(figures, row, size, of_raw)

    def _enqueue_with(self, figures: Figures, language: str, size: int, count: int) -> None:
        folder = self._folder / "outbox"
        without = self._client(language, "queue", folder, size, count)
        run = self._client(language, "outbox", folder, size, count)
        frames = self._rust("frames", folder)["frames"]
        shutil.rmtree(folder)
        # Python's frames are those of the warm-up, too, and so are not known alone.
        warm_up = 20_000
        frames = run.get("frames", round(frames * count / (count + warm_up)))
        run["written"] -= without["written"]  # what went to the socket
        self._beside_raw(figures, language, run, frames)
        self._note(figures, language, run, size, count)
        figures[f"{language} beyond"].append((run["cpu"] - without["cpu"]) / count * 1e6)
        figures[f"{language} queue rate"].append(count / without["wall"])

    def _note(self, figures: Figures, row: str, run: dict[str, Any], size: int, count: int) -> None:
        figures[f"{row} rate"].append(count / run["wall"])
        figures[f"{row} cpu"].append(run["cpu"] / count * 1e6)
        figures[f"{row} bytes"].append(run["written"] / count / size)

    def _print_row(self, figures: Figures, row: str, size: int, of_raw: float | None) -> None:
        def middle(name: str) -> float:
            return median(figures[f"{row} {name}"])

        say(f"{row:<10}{middle('rate'):>12,.0f}", end="")
        ratio = middle("of raw")
        say(f"{ratio:>9.2f}{self._bar(f'{row}, {size} B, of raw', ratio, at_least=of_raw)}", end="")
        say(f"{middle('cpu'):>9.2f}", end="")
        if row == "store":
            say(f"{'':>14}", end="")
        else:
            beyond = middle("beyond")
            most = 1.0 if row == "Rust" and size == min(MESSAGES) else None
            say(f"{beyond:>8.2f}{self._bar(f'{row}, {size} B, CPU', beyond, most)}", end="")
        most = 1.3 if size == max(MESSAGES) else None
        share = middle("bytes")
        say(f"{share:>8.2f}{self._bar(f'{row}, {size} B, bytes', share, most)}")

    def opening(self) -> None:
        """Print how long entering takes, and how much memory waiting messages take."""
        closed, killed = self._folder / "closed", self._folder / "killed"
        say(f"\n{PENDING:,} pending of 64 B: until the client has begun, in ms, the best round")
        self._rust("fill", closed, 64, PENDING, killed)
        for name, folder in (("closed", closed), ("killed", killed)):
            figures: Figures = defaultdict(list)
            for _ in range(self._of.rounds):
                # What a killed process has left is left so for the next round.
                opened = shutil.copytree(folder, self._folder / "opened")
                run = self._rust("open", opened, PENDING)
                figures["Rust"].append(run["opened"] * 1e3)
                figures["loop"].append(run["stalled"] * 1e3)
                shutil.rmtree(opened)
                opened = shutil.copytree(folder, self._folder / "opened")
                run = self._python("open", opened, "--messages", PENDING)
                figures["Python"].append(run["opened"] * 1e3)
                shutil.rmtree(opened)
            for row in ("Rust", "Python"):
                value = min(figures[row])
                bar = self._bar(f"{row}, {name}, opened in ms", value, 50)
                say(f"{row + ', ' + name:<20}{value:>8.1f}{bar}")
            say(f"{'the loop stood still':<20}{min(figures['loop']):>8.1f}")
        for folder in (closed, killed):
            shutil.rmtree(folder)
        self._rust("fill", closed, 64, 0, killed)
        empty = self._rust("open", closed, 0)["memory_kib"] / 1_024
        shutil.rmtree(killed)
        self._rust("fill", closed, 64, MANY_PENDING, killed)
        full = self._rust("open", closed, MANY_PENDING)["memory_kib"] / 1_024
        bar = self._bar("memory in MiB", full - empty, 64)
        say(f"\n{MANY_PENDING:,} pending of 64 B: {full - empty:.0f} MiB of memory{bar}")

    def _bar(
        self, what: str, value: float, at_most: float | None = None, at_least: float | None = None
    ) -> str:
        bar = at_most if at_least is None else at_least
        if bar is None:
            return f"{'':>6}"
        if (at_most is not None and value > at_most) or (at_least is not None and value < at_least):
            self.missed.append(f"{what}: {value:.2f}, bar {bar}")
            return f"{bar:>5}!"
        return f"{bar:>5} "


def say(text: str, end: str = "\n") -> None:
    """Print at once."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def main() -> None:
    """Measure all, and print which bars are missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--outbox", type=Path, default=RELEASE / "ferromqtt-bench-outbox", metavar="FILE")
    add("--peer", type=Path, default=RELEASE / "ferromqtt-bench-peer", metavar="FILE")
    add("--python", type=Path, default=Path(sys.executable), metavar="FILE")
    add("--folder", type=Path, help="where to write; the default is that of temporary files")
    add("--rounds", type=int, default=5)
    add("--only", choices=("64", "1024", "opening"))
    of = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=of.folder) as folder:
        bench = Bench(of, Path(folder))
        for size in MESSAGES:
            if of.only in (None, str(size)):
                bench.enqueue(size)
        if of.only in (None, "opening"):
            bench.opening()
    for line in bench.missed:
        say(f"MISSED: {line}")


if __name__ == "__main__":
    main()
