"""Is the index what MySQL is, row for row and column for column?

The rules of comparison are :mod:`benchmarks.compare`'s, which knows none of the product's decoding
or rendering. Here: both sides read, foreign fields noticed, and a report that names where they
differ without repeating what a person's row says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from elasticsearch import Elasticsearch

from benchmarks.compare import Comparison, Difference, compare
from finance.checks import rows_in, snapshot

PERSONAL: Final = frozenset({"talent", "talent_payments"})
"""Tables whose values never reach a report: a failed run's log may travel far."""

OURS: Final = "_callsheet"
_PAGE: Final = 2_000
_KEEP_ALIVE: Final = "1m"


@dataclass(slots=True)
class Report:
    """All tables of one comparison."""

    tables: list[Comparison] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        return bool(self.tables) and all(table.is_equal for table in self.tables)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    def __str__(self) -> str:
        return "\n".join(_lines(self.tables)) or "equal"


def _lines(tables: Iterable[Comparison]) -> Iterator[str]:
    for table in tables:
        if not table.is_equal:
            yield (
                f"{table.table}: {table.rows} rows, {table.documents} documents, "
                f"{table.differences} differences"
            )
            yield from (f"  {_shown(table.table, each)}" for each in table.shown)


def _shown(table: str, difference: Difference) -> str:
    if table not in PERSONAL:
        return str(difference)
    return f"{difference.identifier}.{difference.column or '(whole row)'} differs"


def compare_tables(
    engine: sa.Engine, client: Elasticsearch, aliases: Mapping[sa.Table, str]
) -> Report:
    """Each table with what a search through its alias finds: deleted rows are not found there.

    MySQL is read as of one moment; nobody may write meanwhile, or the index may be ahead of it.
    """
    report = Report()
    with snapshot(engine) as connection:
        for table, alias in aliases.items():
            seen = _Documents(client, alias, {column.name for column in table.columns})
            result = compare(table, rows_in(connection, table), seen)
            for identifier, names in seen.foreign.items():
                result.note(Difference(identifier, ",".join(names), "has no such column", "has it"))
            report.tables.append(result)
    return report


def documents(client: Elasticsearch, alias: str) -> Iterator[Mapping[str, Any]]:
    """Every hit of a point in time, page by page, after a refresh."""
    client.indices.refresh(index=alias)
    point = client.open_point_in_time(index=alias, keep_alive=_KEEP_ALIVE)["id"]
    after: list[Any] | None = None
    try:
        while True:
            page = client.search(
                size=_PAGE,
                pit={"id": point, "keep_alive": _KEEP_ALIVE},
                sort=["_shard_doc"],
                search_after=after,
                track_total_hits=False,
                version=True,
            )
            point, hits = page["pit_id"], page["hits"]["hits"]
            if not hits:
                return
            yield from hits
            after = hits[-1]["sort"]
    finally:
        client.close_point_in_time(id=point)


class _Documents:
    """Passes the hits on, and keeps what no column explains."""

    def __init__(self, client: Elasticsearch, alias: str, columns: set[str]) -> None:
        self._client, self._alias, self._known = client, alias, columns | {OURS}
        self.foreign: dict[str, list[str]] = {}

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for hit in documents(self._client, self._alias):
            foreign = sorted(hit["_source"].keys() - self._known)
            if foreign:
                self.foreign[hit["_id"]] = foreign
            yield hit
