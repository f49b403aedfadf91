"""Result files, and the table a person reads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.harness import Benchmark, Bound, Measure, Outcome

RESULTS: Final = Path(__file__).parent / "results"


def document(
    benchmark: Benchmark,
    outcome: Outcome,
    *,
    machine: Mapping[str, Any],
    versions: Mapping[str, str],
    date: datetime,
) -> dict[str, Any]:
    """The whole result as JSON. The headline's fields stand at the top, as each measure's do."""
    return {
        "name": benchmark.name,
        "summary": benchmark.summary,
        **_fields(outcome.headline),
        "measure": outcome.headline.name,
        "passed": outcome.passed,
        "measures": [{"name": m.name, **_fields(m)} for m in outcome.measures],
        "machine": dict(machine),
        "versions": dict(versions),
        "date": date.astimezone(UTC).isoformat(timespec="seconds"),
        "details": dict(outcome.details),
    }


def _fields(measure: Measure) -> dict[str, Any]:
    return {
        "value": rounded(measure.value),
        "unit": measure.unit,
        "bound": _bound(measure.bound),
        "passed": measure.passed,
    }


def _bound(bound: Bound | None) -> dict[str, float] | None:
    return None if bound is None else {bound.sense.value: bound.limit}


def rounded(value: float) -> float:
    """Four significant digits say all that such a measurement knows; whole numbers stay whole."""
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value)


def write(result: Mapping[str, Any], folder: Path) -> Path:
    """Aside, then renamed: an interrupted run leaves the last whole result."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['name']}.json"
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
    aside.replace(path)
    return path


def table(results: Sequence[Mapping[str, Any]], *, judged: bool) -> Table:
    view = Table("benchmark", "measure", "value", "bound", "", title=None if judged else "quick")
    for result in results:
        for number, measure in enumerate(result["measures"]):
            view.add_row(
                result["name"] if number == 0 else "",
                measure["name"],
                _value(measure),
                _bound_text(measure["bound"]),
                _verdict(measure) if judged else "",
            )
    return view


def _value(measure: Mapping[str, Any]) -> str:
    return f"{measure['value']:,.10g} {measure['unit']}".rstrip()


def _bound_text(bound: Mapping[str, float] | None) -> str:
    if bound is None:
        return "stated"
    ((sense, limit),) = bound.items()
    return f"{'≥' if sense == 'at_least' else '≤'} {limit:,.10g}"


def _verdict(measure: Mapping[str, Any]) -> str:
    if measure["bound"] is None:
        return ""
    return "[green]ok[/]" if measure["passed"] else "[bold red]FAILED[/]"


def failures(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{result['name']}: {measure['name']} is {_value(measure)}, "
        f"the bound is {_bound_text(measure['bound'])}"
        for result in results
        for measure in result["measures"]
        if not measure["passed"]
    ]


def show(console: Console, results: Sequence[Mapping[str, Any]], *, judged: bool) -> None:
    console.print(table(results, judged=judged))
    if not judged:
        console.print("Quick runs show that everything works; their numbers are not judged.")
        return
    for line in failures(results):
        console.print(f"FAILED {line}", style="bold red", markup=False)
