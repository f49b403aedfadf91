"""What a sweep came to, for people and machines. No ID is shown: it may be personal data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from callsheet.sweep.sweep import Outcome, Verdict

if TYPE_CHECKING:
    from rich.console import Console

_SAID: Final = {
    Verdict.CLEAN: "clean",
    Verdict.FOUND: "[yellow]found[/]",
    Verdict.SWEPT: "[green]swept[/]",
    Verdict.REFUSED: "[bold red]refused[/]",
    Verdict.NO_WATERMARK: "no watermark",
}


def is_refused(outcomes: Sequence[Outcome]) -> bool:
    return any(outcome.verdict is Verdict.REFUSED for outcome in outcomes)


def as_data(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    changed = any(outcome.verdict is Verdict.SWEPT for outcome in outcomes)
    return {"changed": changed, "tables": [row(outcome) for outcome in outcomes]}


def row(outcome: Outcome) -> dict[str, Any]:
    mark = outcome.watermark
    place = None
    if mark is not None:
        place = {"cause": mark.cause.value, "file": mark.place.file, "pos": mark.place.pos}
    return {
        "table": outcome.table,
        "verdict": outcome.verdict.value,
        "watermark": place,
        "deletes": outcome.deletes,
        "stores": [
            {"pipeline": each.pipeline, "rows": each.rows, "orphans": each.orphans}
            for each in outcome.stores
        ],
        "why": outcome.why,
        "hint": outcome.hint,
    }


def line(outcome: Outcome) -> str:
    mark = f" ({outcome.watermark.cause} {outcome.watermark.place})" if outcome.watermark else ""
    text = f"{outcome.table}: {outcome.verdict}{mark}"
    if outcome.verdict is Verdict.REFUSED:
        return f"{text}: {outcome.why} {outcome.hint}".rstrip()
    return f"{text}: {outcome.deletes:,} deletes"


def render(out: Console, outcomes: Sequence[Outcome]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for name in ("table", "watermark", "orphans per store", "deletes", ""):
        table.add_column(name, justify="right" if name == "deletes" else "left")
    for outcome in outcomes:
        mark = outcome.watermark
        stores = ", ".join(f"{s.pipeline} {s.orphans:,} of {s.rows:,}" for s in outcome.stores)
        table.add_row(
            outcome.table,
            f"{mark.cause} {mark.place}" if mark else "-",
            stores or "-",
            f"{outcome.deletes:,}",
            _SAID[outcome.verdict],
        )
    out.print(table)
    for outcome in outcomes:
        if outcome.why:
            out.print(f"[red]{escape(outcome.table)}[/]: {escape(outcome.why)}")
            out.print(f"  {escape(outcome.hint)}")
