"""Events that come late: a redrive brings them to a compacted topic long after their time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from callsheet.batch import Batch
from callsheet.errors import Reason
from callsheet.event import Op
from callsheet.ports import Clock, Deadline, Past
from callsheet.sink import Rejection
from sinks.kafka.records import VERSION, Rendered, rejection

_WHY: Final = (
    "older than the topic remembers deletes ({hours:g} h), and it holds nothing of this ID: "
    "whether the row was deleted since cannot be told"
)


@dataclass(frozen=True, slots=True)
class Late:
    """What the topic says of a batch's rows. ``refused``: rows that might be deleted by now."""

    known: Mapping[bytes, int]
    refused: Mapping[int, Rejection]


class Latecomers:
    """Keeps older states out. A tombstone is remembered only for so long: an older event of an ID
    that the topic does not hold is handed back, for a person to decide.
    """

    def __init__(self, past: Past, tombstones_kept_hours: float, clock: Clock) -> None:
        self._past, self._hours, self._clock = past, tombstones_kept_hours, clock

    def look(self, topic: str, batch: Batch, deadline: Deadline) -> Late:
        """Raises:
        RetryableError: the topic is not read to its end yet.
        """
        keys = frozenset(batch.frame["id"].cast(pl.Binary).to_list())
        known = self._past.newest(topic, keys, VERSION, deadline)
        oldest_us = (self._clock.time() - self._hours * 3600) * 1e6
        why = _WHY.format(hours=self._hours)
        refused = {
            row: rejection(batch, row, Reason.REJECTED, why)
            for row, (identifier, ts_us, op) in enumerate(
                batch.frame.select("id", "ts_us", "op").iter_rows()
            )
            if ts_us < oldest_us and op != Op.DELETE and identifier.encode() not in known
        }
        return Late(known, refused)

    def confirm(self, topic: str, batch: Batch, rendered: Rendered, deadline: Deadline) -> None:
        """``batch``: of which ``rendered`` was made, and sent."""
        versions = batch.frame["version"].to_list()
        sent = {
            key: versions[row]
            for row, (key, _, _) in zip(rendered.rows, rendered.records, strict=True)
            if key is not None
        }
        if sent:
            self._past.confirm(topic, sent, VERSION, deadline)
