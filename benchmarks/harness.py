"""What a benchmark is: it measures, names its bounds and keeps every sample it took.

A module of this package declares one as ``BENCHMARK`` (or several as ``BENCHMARKS``) and is listed
in :mod:`benchmarks.catalogue`::

    def run(run: Run) -> Outcome:
        costs = [...]
        return Outcome([Measure("cost", median(costs), "us/event", at_most(10))], {"costs": costs})

    BENCHMARK = Benchmark("decode", "Avro bytes to columns, one process", run)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from benchmarks.progress import Narrator
from benchmarks.resources import Resources


class Sense(StrEnum):
    AT_LEAST = "at_least"
    AT_MOST = "at_most"


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit in the unit of its measure; the limit itself still passes."""

    sense: Sense
    limit: float

    def holds_for(self, value: float) -> bool:
        return value >= self.limit if self.sense is Sense.AT_LEAST else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.sense is Sense.AT_LEAST else '≤'} {self.limit:,.10g}"


def at_least(limit: float) -> Bound:
    return Bound(Sense.AT_LEAST, limit)


def at_most(limit: float) -> Bound:
    return Bound(Sense.AT_MOST, limit)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number. Without a bound it is stated and cannot fail."""

    name: str
    value: float
    unit: str
    bound: Bound | None = None

    @property
    def passed(self) -> bool:
        return self.bound is None or self.bound.holds_for(self.value)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The first measure is the headline. ``details`` keeps all samples and what was chosen."""

    measures: Sequence[Measure]
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.measures:
            raise ValueError("a benchmark that measured nothing has no outcome")

    @property
    def headline(self) -> Measure:
        return self.measures[0]

    @property
    def passed(self) -> bool:
        return all(measure.passed for measure in self.measures)


@dataclass(frozen=True, slots=True)
class Run:
    """What a benchmark gets.

    Attributes:
        quick: a small load that shows that everything works; bounds are not judged.
        minutes: how long the soak lasts.
        selected: names of all benchmarks of this call; those that share runs interleave them.
        narrator: tells the person at the terminal how far it is.
        resources: servers, data sets and shared runs, made when first asked for.
    """

    quick: bool
    minutes: float
    selected: frozenset[str]
    narrator: Narrator
    resources: Resources


@dataclass(frozen=True, slots=True)
class Benchmark:
    name: str
    summary: str
    run: Callable[[Run], Outcome]
    needs_servers: bool = False
