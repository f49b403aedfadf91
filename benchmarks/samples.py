"""The few statistics that the results quote."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median


def percentile(samples: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: a value that was really measured, never an interpolation.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("no samples")
    rank = max(1, math.ceil(percent / 100 * len(samples)))
    return sorted(samples)[rank - 1]


def spread(samples: Sequence[float]) -> float:
    """(largest - smallest) / median: how far runs of the same thing lie apart."""
    middle = median(samples)
    return (max(samples) - min(samples)) / middle if middle else 0.0


def summary(samples: Sequence[float]) -> dict[str, float]:
    """For latencies: count, the usual percentiles, the extremes."""
    return {
        "count": len(samples),
        "min": min(samples),
        "p50": percentile(samples, 50),
        "p90": percentile(samples, 90),
        "p99": percentile(samples, 99),
        "max": max(samples),
    }
