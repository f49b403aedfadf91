"""The films: as fast as they go, from JSON and from Avro, and against the server's own ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from benchmarks.bulk_runs import ROUNDS, Contender, Sample
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_least, at_most
from benchmarks.samples import spread

METHOD: Final = (
    "Real films, repeated with distinct ids; Debezium snapshot events, 4 partitions, lz4; one "
    "worker process tree, one index with 1 shard and a 1 s refresh. Each run has a new group and a "
    "new index. Seconds: from the last moment the group was not stable until Elasticsearch has "
    f"carried out every row. One warm-up round, then the median of {ROUNDS} rounds."
)


def _worker_outcome(
    samples: Sequence[Sample], docs_per_s: float, cpu_us: float, mb: float
) -> Outcome:
    rates = [sample.rate for sample in samples]
    return Outcome(
        [
            Measure("rate", median(rates), "docs/s", at_least(docs_per_s)),
            Measure("CPU", median(s.cpu_us for s in samples), "us/event", at_most(cpu_us)),
            Measure("peak memory", max(s.peak_mb for s in samples), "MB", at_most(mb)),
            Measure("spread of the rate", spread(rates), "ratio"),
        ],
        {"method": METHOD, "runs": [sample.as_dict() for sample in samples]},
    )


def run_json(run: Run) -> Outcome:
    return _worker_outcome(run.resources.bulk.samples(Contender.JSON), 50_000, 10, 300)


def run_avro(run: Run) -> Outcome:
    return _worker_outcome(run.resources.bulk.samples(Contender.AVRO), 45_000, 10, 350)


def _ratios(rates: Sequence[float], ceilings: Sequence[float]) -> list[float]:
    return [round(rate / ceiling, 3) for rate, ceiling in zip(rates, ceilings, strict=True)]


def run_ceiling(run: Run) -> Outcome:
    runs = {
        each: run.resources.bulk.samples(each)
        for each in (Contender.CEILING, Contender.JSON, Contender.AVRO)
    }
    rates = {each: [sample.rate for sample in samples] for each, samples in runs.items()}
    ceiling = rates[Contender.CEILING]
    # Within a round: a machine that slows down meanwhile favours nobody.
    ratios = {each: _ratios(rates[each], ceiling) for each in (Contender.JSON, Contender.AVRO)}
    details: dict[str, Any] = {
        "method": METHOD,
        "clients": 4,
        "docs_per_request": {str(k): round(v) for k, v in run.resources.bulk.ceiling_sizes.items()},
        "ratio_per_round": {each.value: found for each, found in ratios.items()},
        "spread": {each.value: round(spread(found), 3) for each, found in rates.items()},
        "runs": {each.value: [s.as_dict() for s in samples] for each, samples in runs.items()},
    }
    return Outcome(
        [
            Measure("JSON over ceiling", median(ratios[Contender.JSON]), "ratio", at_least(0.75)),
            Measure("Avro over ceiling", median(ratios[Contender.AVRO]), "ratio", at_least(0.60)),
            Measure("ceiling", median(ceiling), "docs/s"),
        ],
        details,
    )


BENCHMARKS: Final = (
    Benchmark("bulk-json", "films from JSON to Elasticsearch", run_json, needs_servers=True),
    Benchmark("bulk-avro", "films from Avro to Elasticsearch", run_avro, needs_servers=True),
    Benchmark(
        "ceiling",
        "ready-made bulk bodies by plain HTTP, and the worker's share of that",
        run_ceiling,
        needs_servers=True,
    ),
)
