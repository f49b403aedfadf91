"""The compacted mode's choice: which of a batch's rows are the latest of their ID."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice

from callsheet.batch import Batch, Partition


def latest_rows(batch: Batch) -> list[int]:
    """Per ID the row of the highest version, of equal ones the last; in log order."""
    rows = batch.frame.select("id", "version").with_row_index("row")
    last = rows.sort("version", maintain_order=True).unique("id", keep="last")
    return last["row"].sort().to_list()


class Versions:
    """The newest version of the IDs that were written lately, per partition.

    A compacted topic keeps the last record of a key, whatever its version: a source that repeats
    itself after a crash would bring an old state back. This holds for as many IDs as are
    remembered, and not beyond a restart; the version in each record's headers holds for ever.
    """

    def __init__(self, most_ids: int) -> None:
        self._most_ids = most_ids
        self._known: dict[Partition, dict[str, int]] = {}

    def news(self, batch: Batch) -> list[int]:
        """Rows that are newer than what is known of their ID; they are what is known then."""
        rows = batch.frame.select("partition", "id", "version").iter_rows()
        kept: list[int] = []
        for row, (number, identifier, version) in enumerate(rows):
            known = self._known.setdefault(Partition(batch.topic, number), {})
            before = known.pop(identifier, -1)  # and in again, so that the oldest stand first
            known[identifier] = max(before, version)
            if version > before:
                kept.append(row)
        self._shrink()
        return kept

    def learn(self, batch: Batch, versions: Mapping[bytes, int]) -> None:
        """What the topic itself holds of the batch's IDs."""
        for number, identifier in batch.frame.select("partition", "id").iter_rows():
            known = self._known.setdefault(Partition(batch.topic, number), {})
            version = versions.get(identifier.encode(), -1)
            known[identifier] = max(version, known.get(identifier, -1))

    def forget(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._known.pop(partition, None)

    def _shrink(self) -> None:
        for known in self._known.values():
            if (surplus := len(known) - self._most_ids) > 0:
                for identifier in list(islice(known, surplus)):
                    del known[identifier]
