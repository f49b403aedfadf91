"""What rendering costs: one batch of film rows to bulk bodies, per event.

    python benchmarks/render.py [--rows 5000] [--json]

Bound: 2.5 microseconds an event at 5,000 rows; and what a batch of a few rows costs, because that
is what normal traffic is made of.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as the worker runs

from callsheet.batch import Batch
from callsheet.codec.columnar import load_native
from callsheet.event import Op
from callsheet.ports import SystemClock
from callsheet.schema import Column, Kind
from sinks.elasticsearch.render import Renderer
from tests.support.batches import Row, a_batch, a_schema

MOVIES = Path(__file__).parent.parent / "examples/data/movies.json"
BOUND_US = 2.5

MONEY = ("total_budget", "us_gross", "worldwide_gross")
SCHEMA = a_schema(
    Column("id", Kind.INTEGER, nullable=False),
    Column("name", Kind.STRING),
    Column("kind", Kind.ENUM),
    Column("launch_date", Kind.DATE),
    *(Column(name, Kind.DECIMAL, precision=15, scale=2) for name in MONEY),
    Column("distributor", Kind.STRING),
    Column("genre", Kind.STRING),
    Column("rating", Kind.ENUM),
    Column("director", Kind.STRING),
    Column("running_time_minutes", Kind.INTEGER),
    Column("votes", Kind.INTEGER),
    Column("updated_at", Kind.TIMESTAMP),
    table="films",
)


def films(rows: int) -> Batch:
    """Real film rows, repeated under new IDs, over four partitions."""
    movies = json.loads(MOVIES.read_text("utf-8"))
    return a_batch([_event(movies[n % len(movies)], n) for n in range(rows)], SCHEMA)


def _event(movie: dict[str, object], n: int) -> Row:
    def money(name: str) -> Decimal | None:
        value = movie.get(name)
        return Decimal(value).quantize(Decimal("0.01")) if isinstance(value, int) else None

    after = {
        "id": n,
        "name": str(movie["Title"]),
        "kind": "film",
        "launch_date": date(1980, 1, 1) + timedelta(days=n % 15_000),
        "total_budget": money("Production Budget"),
        "us_gross": money("US Gross"),
        "worldwide_gross": money("Worldwide Gross"),
        "distributor": movie["Distributor"],
        "genre": movie["Major Genre"],
        "rating": movie["MPAA Rating"],
        "director": movie["Director"],
        "running_time_minutes": movie["Running Time min"],
        "votes": movie["IMDB Votes"],
        "updated_at": "2026-11-23T00:15:13.123456Z",
    }
    return Row(Op.READ, str(n), after, partition=n % 4)


def cost_us(batch: Batch, repeats: int) -> float:
    """The best of ``repeats``, per event: what else the machine does only ever adds."""
    renderer = Renderer(4, 2 << 20, SystemClock(), load_native())
    renderer.render(batch, "finance-films")
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        renderer.render(replace(batch), "finance-films")
        best = min(best, time.perf_counter() - started)
    return best * 1e6 / len(batch)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=5_000)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    costs = {rows: cost_us(films(rows), 30) for rows in (1, 3, 10, 32, 33, 100, 1000, chosen.rows)}
    passed = costs[chosen.rows] <= BOUND_US
    if chosen.json:
        print(json.dumps({"us_per_event": costs, "bound_us": BOUND_US, "passed": passed}))
        return
    for rows, cost in costs.items():
        print(f"{rows:>6} rows a batch: {cost:6.2f} us an event")
    print(f"{'within' if passed else 'BEYOND'} the bound of {BOUND_US} us at {chosen.rows} rows")


if __name__ == "__main__":
    main()
