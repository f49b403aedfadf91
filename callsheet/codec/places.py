"""Is a row's place in the source its own? Versions rest on that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import polars as pl

from callsheet.batch import Batch, Edges, Message
from callsheet.errors import ParkTableError
from callsheet.event import SWEEP, Op

_JUDGED: Final = ("op", "id", "before", "after")
_SWEPT: Final = f"{SWEEP}:"


_End = tuple[int, Sequence[Message]]
"""What a partition's last batch ended with: a version, and the records that have it. A tuple, for
each batch of a few rows makes some.
"""


class OwnPlaces:
    """Different changes at one place come of a compressed transaction: MySQL packs all its events
    into one, and the connector gives each the place of the package. Of two changes of a row the
    later would count as stale.

    What may stand at one place: a change and its repetitions; a delete and a create that are one
    change of a primary key; what a sweep wrote. Rows of a snapshot are not looked at.

    Sees the batches of a partition in the order of its log, and keeps what each partition ended
    with: a poll may end between two changes at one place.
    """

    def __init__(self) -> None:
        self._ends: defaultdict[str, dict[int, _End]] = defaultdict(dict)

    def __call__(self, batch: Batch, again: Callable[[Sequence[Message]], Sequence[Batch]]) -> None:
        """``again`` decodes messages of the batch's topic without asking us.

        Raises:
            ParkTableError: there are different changes at one place, next to each other in a
                partition. Then the batch counts as not seen.
        """
        repeats, edges = _places(batch)
        if repeats:
            _require_own(batch.topic, batch.frame)
        messages, known = batch.messages, self._ends[batch.topic]
        ends: dict[int, _End] = {}
        for number, (oldest, first, newest, last) in edges.items():
            ending = [messages[row] for row in last]
            before = known.get(number)
            if before is not None and before[0] == oldest:
                met = [*before[1], *(messages[row] for row in first)]
                met = list({message.offset(): message for message in met}.values())
                # Decoded under two schemas they are two batches, and not of one transaction.
                for both in again(met):
                    _require_own(batch.topic, both.frame)
                if first == last:
                    ending = met
            ends[number] = (newest, ending)
        known |= ends


def _places(batch: Batch) -> tuple[bool, Mapping[int, Edges]]:
    """See :meth:`callsheet.batch.Columns.places`; a changed key counts as repeated here."""
    columns = batch.columns
    if not isinstance(columns, pl.DataFrame):
        return columns.places()
    runs: defaultdict[int, list[tuple[int, list[int]]]] = defaultdict(list)
    rows = columns.select("partition", "version", "snapshot", "transaction_id").iter_rows()
    for row, (partition, version, is_snapshot, transaction) in enumerate(rows):
        if is_snapshot or (transaction or "").startswith(_SWEPT):
            continue
        mine = runs[partition]
        if mine and mine[-1][0] == version:
            mine[-1][1].append(row)
        else:
            mine.append((version, [row]))
    repeats = any(len(found) > 1 for mine in runs.values() for _, found in mine)
    return repeats, {number: (*mine[0], *mine[-1]) for number, mine in runs.items()}


def _require_own(topic: str, frame: pl.DataFrame) -> None:
    frame = frame.filter(
        ~pl.col("snapshot") & ~pl.col("transaction_id").fill_null("").str.starts_with(_SWEPT)
    )
    for partition in frame.partition_by("partition", maintain_order=True):
        for changes in _at_one_place(partition):
            if not _is_one_change(changes):
                row = changes[0]
                raise ParkTableError(
                    topic,
                    "shared place",
                    f"different changes stand at {row['file']}:{row['pos']}, so their order is not "
                    "known: the source compressed a transaction",
                    hint="switch binlog_transaction_compression off for every session, and see "
                    "docs/capture.md on how to go on",
                )


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
