"""The machine a number was measured on, and whether it was free to measure."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

IDLE_BUSY_SHARE: Final = 0.10
"""Up to this share of all cores others may use; beyond it a result is only indicative."""
PROBE_S: Final = 2.0
PATIENCE_S: Final = 60.0
LOOP: Final = 1_000_000


def describe() -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


@dataclass(frozen=True, slots=True)
class Calm:
    """How busy the machine was just before a measurement.

    Attributes:
        busy_share: of all cores, over ``PROBE_S`` seconds, stolen time included.
        load: the one-minute average; it still remembers the benchmark before this one.
        waited_s: how long it took to become as calm as this.
        loop_ms: CPU time of a loop that is always the same. A virtual machine whose host is busy
            looks idle from within and is slower all the same: only this shows it.
    """

    busy_share: float
    load: float
    waited_s: float
    loop_ms: float

    @property
    def is_idle(self) -> bool:
        return self.busy_share <= IDLE_BUSY_SHARE

    def as_dict(self) -> dict[str, Any]:
        return {
            "busy_share_before": round(self.busy_share, 3),
            "load_average_before": round(self.load, 2),
            "waited_for_calm_s": round(self.waited_s, 1),
            "is_idle": self.is_idle,
            "loop_ms": round(self.loop_ms, 1),
        }


def loop_ms() -> float:
    """The quickest of five: what a neighbour takes for a moment does not count."""
    return min(_loop_s() for _ in range(5)) * 1e3


def _loop_s() -> float:
    start = time.process_time()
    total = 0
    for number in range(LOOP):
        total += number
    return time.process_time() - start


def busy_share(seconds: float) -> float:
    """Share of all cores' time that was not idle; a stolen second was not ours either."""
    percent = psutil.cpu_times_percent(interval=seconds)
    return max(0.0, 1.0 - (percent.idle + percent.iowait) / 100)


def wait_for_calm(
    probe: Callable[[float], float] = busy_share,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
) -> Calm:
    """Wait until nobody else works, up to ``patience_s``; then say how it is."""
    start = clock()
    while True:
        share = probe(PROBE_S)
        waited = clock() - start
        if share <= IDLE_BUSY_SHARE or waited >= patience_s:
            return Calm(share, os.getloadavg()[0], waited, loop_ms())
