"""MySQL against the index: rows and sums of money, from ``_source``, exact."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from callsheet.absence import absence
from callsheet.errors import CallsheetError, UnavailableError

if TYPE_CHECKING:
    import sqlalchemy as sa
    from elasticsearch import Elasticsearch
    from rich.console import Console

_PATIENCE_S: Final = 60.0
_POLL_S: Final = 0.25
_PAGE: Final = 5_000
_HINT: Final = (
    "See `callsheet stack status`; `callsheet stack logs elasticsearch` says why. `callsheet demo` "
    "starts it again and goes on."
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One table. ``source`` and ``index`` hold the sum per money column."""

    table: str
    source_rows: int
    index_rows: int
    source: Mapping[str, Decimal]
    index: Mapping[str, Decimal]

    @property
    def is_equal(self) -> bool:
        return self.source_rows == self.index_rows and self.source == self.index


def alias_of(table: str) -> str:
    return f"finance-{table}"


@contextmanager
def answered(url: str) -> Iterator[None]:
    """Around all that is asked of the index.

    Raises:
        UnavailableError: it does not answer, or not with what was asked for.
    """
    from elastic_transport import ApiError, TransportError

    parts = urlsplit(url)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        yield
    except ApiError as error:
        raise UnavailableError(
            f"Elasticsearch at {address} answers HTTP {error.meta.status}.", hint=_HINT
        ) from error
    except TransportError as error:
        raise UnavailableError(
            f"Elasticsearch at {address} does not answer: {absence(error)}.", hint=_HINT
        ) from error


def wait_for_rows(out: Console, engine: sa.Engine, index: Elasticsearch) -> None:
    """Until the index has as many documents as MySQL has rows, with progress shown.

    Raises:
        CallsheetError: for a minute the number has not changed.
    """
    from finance.checks import totals

    wanted = {name: found.rows for name, found in totals(engine).items()}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    last, since_s = -1, time.monotonic()
    with Progress(*columns, console=out, disable=not out.is_terminal) as progress:
        task = progress.add_task("documents", total=sum(wanted.values()))
        while True:
            counts = {name: _count(index, name) for name in wanted}
            now = sum(min(counts[name], rows) for name, rows in wanted.items())
            progress.update(task, completed=now)
            if counts == wanted:
                break
            if now != last:
                last, since_s = now, time.monotonic()
            elif time.monotonic() > since_s + _PATIENCE_S:
                raise CallsheetError(
                    f"The index has {sum(counts.values()):,} documents of "
                    f"{sum(wanted.values()):,} rows and has stopped growing.",
                    hint="`callsheet status` says what does not run, and why.",
                )
            time.sleep(_POLL_S)
    out.print(f"{sum(wanted.values()):,} documents, one per row.")


def _count(index: Elasticsearch, table: str) -> int:
    alias = alias_of(table)
    if not index.indices.exists_alias(name=alias):
        return 0
    index.indices.refresh(index=alias)
    return int(index.count(index=alias)["count"])


def compare(engine: sa.Engine, index: Elasticsearch) -> Sequence[Comparison]:
    """Every business table. Nothing may change meanwhile, or they differ."""
    from finance.checks import totals

    return [
        _comparison(index, name, found.rows, found.sums) for name, found in totals(engine).items()
    ]


def _comparison(
    index: Elasticsearch, table: str, rows: int, sums: Mapping[str, Decimal]
) -> Comparison:
    count, found = _index_totals(index, table, sums)
    return Comparison(table, rows, count, sums, found)


def _index_totals(
    index: Elasticsearch, table: str, columns: Mapping[str, Decimal]
) -> tuple[int, dict[str, Decimal]]:
    count, sums = 0, dict.fromkeys(columns, Decimal(0))
    for source in _sources(index, alias_of(table), list(columns)):
        count += 1
        for name in columns:
            text = source.get(name)
            if text is not None:
                sums[name] += Decimal(text)
    return count, sums


def _sources(index: Elasticsearch, alias: str, columns: Sequence[str]) -> Iterator[Any]:
    """Every document's ``_source``, page by page, at one point in time."""
    from elastic_transport import ApiError, TransportError

    point = index.open_point_in_time(index=alias, keep_alive="1m")["id"]
    try:
        after = None
        while True:
            page = index.search(
                pit={"id": point, "keep_alive": "1m"},
                size=_PAGE,
                sort=["_shard_doc"],
                search_after=after,
                source_includes=list(columns) or ["_callsheet"],
                track_total_hits=False,
            )["hits"]["hits"]
            if not page:
                return
            yield from (hit["_source"] for hit in page)
            after = page[-1]["sort"]
    finally:
        with suppress(ApiError, TransportError):  # it ends by itself, and another error counts
            index.close_point_in_time(id=point)


def show_comparison(out: Console, found: Sequence[Comparison]) -> None:
    """Four narrow columns, so that no digit of a sum is cut off on 80 characters."""
    table = Table("table", "MySQL", "index", "", box=None, pad_edge=False)
    table.columns[1].justify = table.columns[2].justify = "right"
    for each in found:
        _compared(table, f"[bold]{each.table}[/] rows", each.source_rows, each.index_rows)
        for column, total in each.source.items():
            _compared(table, f"  {column}", total, each.index[column])
    out.print(table)


def _compared(table: Table, what: str, source: Decimal | int, index: Decimal | int) -> None:
    mark = "[green]equal[/]" if source == index else "[bold red]DIFFERENT[/]"
    table.add_row(what, f"{source:,}", f"{index:,}", mark)
