"""Every benchmark by name, in the order in which all of them run: quick ones first."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from benchmarks import (
    audit,
    bulk,
    decode,
    hive,
    kafka_sink,
    latency_get,
    latency_search,
    mixed,
    recovery,
    rendering,
    scaling,
    soak,
    sql,
)
from benchmarks.harness import Benchmark
from callsheet.errors import UsageError

MODULES: Sequence[ModuleType] = (
    decode,
    rendering,
    hive,
    bulk,
    mixed,
    sql,
    kafka_sink,
    scaling,
    audit,
    recovery,
    latency_get,
    latency_search,
    soak,
)


def catalogue(modules: Sequence[ModuleType] = MODULES) -> dict[str, Benchmark]:
    found: dict[str, Benchmark] = {}
    for module in modules:
        for benchmark in _declared(module):
            if benchmark.name in found:
                raise ValueError(f"two benchmarks are named {benchmark.name}")
            found[benchmark.name] = benchmark
    return found


def _declared(module: ModuleType) -> Sequence[Benchmark]:
    if hasattr(module, "BENCHMARKS"):
        several: Sequence[Benchmark] = module.BENCHMARKS
        return several
    return (module.BENCHMARK,)


def chosen(names: Sequence[str], known: dict[str, Benchmark]) -> list[Benchmark]:
    """The named ones, all when none is named; always in the catalogue's order.

    Raises:
        UsageError: a name that is not in the catalogue.
    """
    if unknown := sorted(set(names) - known.keys()):
        raise UsageError(
            f"There is no benchmark named {', '.join(unknown)}.",
            hint=f"The benchmarks are {', '.join(known)}.",
        )
    return [benchmark for name, benchmark in known.items() if not names or name in names]
