from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from benchmarks import machine, report, versions
from benchmarks.catalogue import catalogue, chosen
from benchmarks.harness import Benchmark, Measure, Outcome, Run, at_least, at_most
from benchmarks.samples import percentile, spread, summary
from callsheet.errors import UsageError


def unused(_: Run) -> Outcome:
    raise AssertionError("not to be run")


A_BENCHMARK = Benchmark("films", "as fast as they go", unused)


def a_result(*measures: Measure) -> dict[str, Any]:
    return report.document(
        A_BENCHMARK,
        Outcome(measures, {"samples": [1, 2, 3]}),
        machine={"cores": 2},
        versions={"python": "3.11"},
        date=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


class TestBound:
    @pytest.mark.parametrize(
        ("bound", "value", "holds"),
        [
            (at_least(50_000), 50_000, True),
            (at_least(50_000), 49_999.9, False),
            (at_most(10), 10, True),
            (at_most(10), 10.01, False),
            (at_most(0), 0, True),
            (at_most(0), 1, False),
        ],
    )
    def test_the_limit_itself_still_passes(self, bound: Any, value: float, holds: bool) -> None:
        assert bound.holds_for(value) is holds

    def test_not_a_number_fails_every_bound(self) -> None:
        assert not at_least(1).holds_for(float("nan"))
        assert not at_most(1).holds_for(float("nan"))


class TestOutcome:
    def test_one_bad_measure_fails_it(self) -> None:
        good, bad = Measure("a", 1, "s", at_most(1)), Measure("b", 2, "s", at_most(1))
        assert Outcome([good]).passed
        assert not Outcome([good, bad]).passed

    def test_a_measure_without_a_bound_cannot_fail(self) -> None:
        assert Outcome([Measure("a", 1e9, "s")]).passed

    def test_nothing_measured_is_no_outcome(self) -> None:
        with pytest.raises(ValueError, match="measured nothing"):
            Outcome([])


class TestSamples:
    @pytest.mark.parametrize(("percent", "wanted"), [(50, 50), (99, 99), (100, 100), (1, 1)])
    def test_percentile_is_a_measured_value(self, percent: float, wanted: float) -> None:
        assert percentile([float(n) for n in range(100, 0, -1)], percent) == wanted

    def test_percentile_of_few_samples_is_the_worst_of_them(self) -> None:
        assert percentile([3.0, 1.0, 2.0], 99) == 3.0

    def test_percentile_of_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no samples"):
            percentile([], 50)

    def test_spread_is_relative_to_the_median(self) -> None:
        assert spread([90.0, 100.0, 120.0]) == pytest.approx(0.3)

    def test_summary_has_the_extremes(self) -> None:
        found = summary([1.0, 2.0, 3.0, 10.0])
        assert (found["min"], found["max"], found["count"]) == (1.0, 10.0, 4)


class TestReport:
    def test_the_headline_stands_at_the_top(self) -> None:
        result = a_result(Measure("rate", 51_234.5, "docs/s", at_least(50_000)))
        assert result["value"] == 51_234
        assert result["unit"] == "docs/s"
        assert result["bound"] == {"at_least": 50_000}
        assert result["passed"] is True
        assert result["date"] == "2026-01-02T03:04:05+00:00"
        assert result["details"]["samples"] == [1, 2, 3]

    def test_passed_covers_every_measure_not_only_the_headline(self) -> None:
        good = Measure("rate", 60_000, "docs/s", at_least(50_000))
        result = a_result(good, Measure("CPU", 11, "us/event", at_most(10)))
        assert result["passed"] is False
        assert report.failures([result]) == ["films: CPU is 11 us/event, the bound is ≤ 10"]

    def test_a_result_is_written_whole_under_its_name(self, tmp_path: Path) -> None:
        result = a_result(Measure("rate", 1, "docs/s"))
        path = report.write(result, tmp_path / "results")
        assert path.name == "films.json"
        assert json.loads(path.read_text()) == result
        assert list(path.parent.iterdir()) == [path]

    def test_a_failure_is_printed_and_a_quick_run_is_not_judged(self) -> None:
        result = a_result(Measure("rate", 1, "docs/s", at_least(2)))
        judged, quick = (Console(record=True, width=120) for _ in range(2))
        report.show(judged, [result], judged=True)
        report.show(quick, [result], judged=False)
        assert "FAILED films: rate is 1 docs/s, the bound is ≥ 2" in judged.export_text()
        assert "FAILED" not in quick.export_text()

    def test_small_numbers_keep_their_digits(self) -> None:
        assert a_result(Measure("cost", 8.76543, "us"))["value"] == 8.765


class TestCatalogue:
    def test_names_are_unique_and_each_benchmark_of_the_issue_is_there(self) -> None:
        names = set(catalogue())
        assert {"bulk-json", "bulk-avro", "ceiling", "mixed"} <= names
        assert {"latency-get", "latency-search", "soak"} <= names
        assert {"hive", "kafka-sink", "sql", "recovery", "scaling"} <= names

    def test_two_of_one_name_are_refused(self) -> None:
        module: Any = SimpleNamespace(BENCHMARKS=[A_BENCHMARK, A_BENCHMARK])
        with pytest.raises(ValueError, match="films"):
            catalogue([module])

    def test_a_module_may_declare_one(self) -> None:
        module = ModuleType("one")
        module.BENCHMARK = A_BENCHMARK  # type: ignore[attr-defined]
        assert catalogue([module]) == {"films": A_BENCHMARK}

    def test_chosen_keeps_the_catalogues_order(self) -> None:
        known = {name: Benchmark(name, "", unused) for name in ("a", "b", "c")}
        assert [b.name for b in chosen(["c", "a"], known)] == ["a", "c"]
        assert [b.name for b in chosen([], known)] == ["a", "b", "c"]

    def test_an_unknown_name_is_refused_with_the_known_ones(self) -> None:
        with pytest.raises(UsageError) as caught:
            chosen(["d"], {"a": A_BENCHMARK})
        assert "d" in caught.value.message
        assert "a" in caught.value.hint


class TestMachine:
    def test_it_waits_until_others_are_quiet(self) -> None:
        shares, times = iter([0.9, 0.5, 0.02]), iter([0.0, 2.0, 4.0, 6.0])
        calm = machine.wait_for_calm(lambda _: next(shares), 60, lambda: next(times))
        assert calm.is_idle
        assert calm.waited_s == 6.0

    def test_it_gives_up_and_says_so(self) -> None:
        times = iter([0.0, 30.0, 61.0])
        calm = machine.wait_for_calm(lambda _: 0.8, 60, lambda: next(times))
        assert not calm.is_idle
        assert calm.as_dict()["is_idle"] is False

    def test_the_description_names_the_processor_and_its_cores(self) -> None:
        described = machine.describe()
        assert described["cpu"]
        assert described["cores"] >= 1
        assert described["memory_gib"] > 0


def test_versions_name_what_ran() -> None:
    merged = versions.merged({"mysql": "9.7"})
    assert merged["mysql"] == "9.7"
    assert merged["python"].startswith("3.")
    assert merged["callsheet"]
