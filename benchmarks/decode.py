"""Kafka bytes to batches: microseconds of one process per event, by batch size and path.

The rows are the films of ``examples/data/movies.json`` in snapshot envelopes as Debezium 3.6 writes
them; everything is counted, from the poll's messages to the finished frame.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime
from statistics import median
from typing import Any, Final

from benchmarks.films import base_rows
from benchmarks.harness import Benchmark, Bound, Measure, Outcome, Run, at_most
from callsheet.codec.binding import AvroDialect, Dialect, JsonDialect
from callsheet.codec.columnar import load_native
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.declared import declared_schema
from callsheet.codec.topics import DecoderOptions
from tests.support.envelopes import (
    AvroTable,
    FakeMessage,
    FakeRegistry,
    JsonTable,
    an_envelope,
    decimal,
    envelope_schema,
    nullable,
    semantic,
    sourced,
    unscaled,
)

SIZES: Final = (1, 10, 100, 1_000, 5_000)
ROW_PATH_LIMIT: Final = 1_000
TARGET: Final = at_most(3)
MONEY: Final = ("us_gross", "worldwide_gross", "production_budget")
COLUMNS: Final[dict[str, Any]] = {
    "film_id": "long",
    "title": nullable(sourced("string", "VARCHAR", length="255")),
    **{name: nullable(decimal(15, 2)) for name in MONEY},
    "release_date": semantic("int", "io.debezium.time.Date"),
    "rating": nullable("string"),
    "running_time_minutes": nullable("int"),
    "distributor": nullable("string"),
    "genre": nullable("string"),
    "director": nullable("string"),
    "votes": nullable("long"),
    "booked_at": semantic("long", "io.debezium.time.MicroTimestamp"),
}
SNAPSHOT: Final[dict[str, Any]] = {"snapshot": "true", "gtid": None, "thread": None}


def run(run: Run) -> Outcome:
    """Measures each path at each size; the headline is Avro in columns at the largest size."""
    measures: list[Measure] = []
    details: dict[str, list[float]] = {}
    for wire, (messages, dialect) in {"avro": avro_messages(), "json": _json()}.items():
        for path in ("columns", "rows"):
            for size in SIZES:
                if path == "rows" and size > ROW_PATH_LIMIT:
                    continue
                costs = _costs(
                    messages[:size], dialect, path, events=2_000 if run.quick else 60_000
                )
                name = f"{wire}, {path}, {size:,} a batch"
                bound: Bound | None = TARGET if (path, size) == ("columns", 5_000) else None
                measures.append(Measure(name, median(costs), "us/event", bound))
                details[name] = costs
    measures.sort(key=lambda measure: measure.bound is None)
    return Outcome(measures, details)


def _costs(
    messages: Sequence[FakeMessage], dialect: Callable[[], Dialect], path: str, *, events: int
) -> list[float]:
    """CPU per event of five rounds, after one that is not counted."""
    options = DecoderOptions(small_batch_threshold=0 if path == "columns" else 1 << 30)
    native = load_native() if path == "columns" else None
    decoder = DebeziumDecoder(dialect(), native=native, options=options)
    share = events // 10 if path == "rows" else events
    times = max(1, share // (5 * len(messages)))
    costs: list[float] = []
    for _ in range(6):
        start = time.process_time()
        for _ in range(times):
            decoded = decoder.decode(messages)
        costs.append((time.process_time() - start) / (times * len(messages)) * 1e6)
        if sum(len(batch) for batch in decoded.batches) != len(messages):
            raise AssertionError("not every record was decoded")
    return costs[1:]


# --- data ---------------------------------------------------------------------------------------


def _rows(count: int, *, is_json: bool) -> list[dict[str, Any]]:
    films = [dict(zip(COLUMNS, row, strict=True)) for row in base_rows()]
    films = (films * (count // len(films) + 1))[:count]
    return [
        {name: _wire(name, value, is_json=is_json) for name, value in film.items()}
        | {"film_id": number}
        for number, film in enumerate(films, start=1)
    ]


def _wire(name: str, value: Any, *, is_json: bool) -> Any:
    match value:
        case datetime():
            return int((value - datetime(1970, 1, 1)).total_seconds() * 1_000_000)  # noqa: DTZ001
        case date():
            return value.toordinal() - date(1970, 1, 1).toordinal()
        case int() if name in MONEY:
            return f"{value}.00" if is_json else unscaled(value * 100)
        case _:
            return value


def _envelope(row: dict[str, Any], number: int) -> dict[str, Any]:
    return an_envelope("r", after=row, **SNAPSHOT, pos=4_489 + number)


def avro_messages(count: int = SIZES[-1]) -> tuple[list[FakeMessage], Callable[[], Dialect]]:
    """Film envelopes with distinct ids and positions, and the dialect that reads them."""
    registry = FakeRegistry()
    table = AvroTable(registry, COLUMNS, ["film_id"])
    rows = _rows(count, is_json=False)
    messages = [table.message(_envelope(row, n), offset=n) for n, row in enumerate(rows)]
    return messages, lambda: AvroDialect(registry)


def _json() -> tuple[list[FakeMessage], Callable[[], Dialect]]:
    table = JsonTable(["film_id"])
    money = nullable(sourced("string", "DECIMAL", length="15", scale="2"))
    columns = COLUMNS | dict.fromkeys(MONEY, money)
    text = json.dumps(envelope_schema(columns) | {"callsheet.key": ["film_id"]})
    rows = _rows(SIZES[-1], is_json=True)
    messages = [table.message(_envelope(row, n), offset=n) for n, row in enumerate(rows)]
    return messages, lambda: JsonDialect({table.topic: declared_schema(text)})


BENCHMARK = Benchmark("decode", "Kafka bytes to batches, Avro and JSON, by batch size", run)
