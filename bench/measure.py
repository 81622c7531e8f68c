"""What every measured process shares: the payloads and the clock."""

import gc
import resource
import time
from dataclasses import dataclass
from typing import Self

HOST = "127.0.0.1"
TOPIC = "bench/topic"
PAYLOAD_SIZE = 64

# The far side (peer/src/sequence.rs) uses the same cycle and the same filler.
CYCLE = 4096
PAYLOADS = [number.to_bytes(4, "big").ljust(PAYLOAD_SIZE, b".") for number in range(CYCLE)]

# A message without payload ends a batch; it is not counted.
END_MARKER = b""


@dataclass(frozen=True)
class Cost:
    """What the measured part took."""

    cpu_seconds: float
    """User and system time of the whole process: a client's helper threads count too."""

    loop_thread_cpu_seconds: float
    """The part of it that the thread of the event loop used."""

    wall_seconds: float


class Meter:
    """Measures the block it wraps."""

    cost: Cost

    def __enter__(self) -> Self:
        # Rubbish of the warm-up is not the measured part's; the collector itself stays on.
        gc.collect()
        self._process = _cpu_seconds(resource.RUSAGE_SELF)
        self._thread = _cpu_seconds(resource.RUSAGE_THREAD)
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        wall = time.perf_counter()
        self.cost = Cost(
            cpu_seconds=_cpu_seconds(resource.RUSAGE_SELF) - self._process,
            loop_thread_cpu_seconds=_cpu_seconds(resource.RUSAGE_THREAD) - self._thread,
            wall_seconds=wall - self._wall,
        )


def _cpu_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
