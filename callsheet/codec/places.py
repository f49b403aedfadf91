"""Is a row's place in the source its own? Versions rest on that."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

import polars as pl

from callsheet.batch import Batch
from callsheet.errors import ParkTableError
from callsheet.event import SWEEP, Op

_JUDGED: Final = ("op", "id", "before", "after")


def require_own_places(batch: Batch) -> None:
    """Different changes at one place come of a compressed transaction: MySQL packs all its events
    into one, and the connector gives each the place of the package. Of two changes of a row the
    later would count as stale.

    What may stand at one place: a change and its repetitions; a delete and a create that are one
    change of a primary key; what a sweep wrote. Rows of a snapshot are not looked at.

    Raises:
        ParkTableError: there are different changes at one place, next to each other in a partition.
    """
    if not _repeats(batch):
        return
    frame = batch.frame.filter(
        ~pl.col("snapshot") & ~pl.col("transaction_id").fill_null("").str.starts_with(f"{SWEEP}:")
    )
    for partition in frame.partition_by("partition", maintain_order=True):
        for changes in _at_one_place(partition):
            if not _is_one_change(changes):
                row = changes[0]
                raise ParkTableError(
                    batch.topic,
                    "shared place",
                    f"different changes stand at {row['file']}:{row['pos']}, so their order is not "
                    "known: the source compressed a transaction",
                    hint="switch binlog_transaction_compression off for every session, and see "
                    "docs/capture.md on how to go on",
                )


def _repeats(batch: Batch) -> bool:
    columns = batch.columns
    if not isinstance(columns, pl.DataFrame):
        return columns.repeats()
    last: dict[int, int] = {}
    rows = columns.select("partition", "version", "snapshot").iter_rows()
    for partition, version, is_snapshot in rows:
        if not is_snapshot:
            if last.get(partition) == version:
                return True
            last[partition] = version
    return False


def _at_one_place(frame: pl.DataFrame) -> Iterator[list[dict[str, Any]]]:
    """Neighbours with one version."""
    rows = frame.select("version", "file", "pos", *_JUDGED).iter_rows(named=True)
    for _, neighbours in groupby(rows, key=lambda row: row["version"]):
        changes = list(neighbours)
        if len(changes) > 1:
            yield changes


def _is_one_change(changes: list[dict[str, Any]]) -> bool:
    # By their texts: a NaN is no different from itself.
    distinct = {repr([change[name] for name in _JUDGED]): change for change in changes}
    if len(distinct) == 1:
        return True
    first, second, *others = distinct.values()
    is_move = {first["op"], second["op"]} == {Op.DELETE, Op.CREATE} and first["id"] != second["id"]
    return is_move and not others
