"""`benchmarks.render` as a benchmark of the catalogue."""

from __future__ import annotations

from typing import Final

from benchmarks import render
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_most

SIZES: Final = (1, 3, 10, 100, 1_000)
ROWS: Final = 5_000
REPEATS: Final = 30
QUICK_REPEATS: Final = 3


def run(run: Run) -> Outcome:
    repeats = QUICK_REPEATS if run.quick else REPEATS
    costs = {rows: render.cost_us(render.films(rows), repeats) for rows in (*SIZES, ROWS)}
    bounded = Measure(f"{ROWS} rows", costs[ROWS], "us/event", at_most(render.BOUND_US))
    stated = [Measure(f"{rows} rows", costs[rows], "us/event") for rows in SIZES]
    return Outcome([bounded, *stated], {"taken": f"the best of {repeats} of one process"})


BENCHMARK: Final = Benchmark("render", "batches to bulk bodies, by batch size", run)
