"""A batch to bulk bodies: one operation per ID, spread over the lanes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import polars as pl

from callsheet.batch import Batch
from callsheet.codec.columnar import NativeModule
from callsheet.errors import PoisonRecordError, Reason
from callsheet.ports import Clock
from sinks.elasticsearch import values
from sinks.elasticsearch.columns import ColumnPlan
from sinks.elasticsearch.native import NativeLines, NativePlan, lane_of, native_plan, rows_of
from sinks.elasticsearch.rows import RowPlan

SMALL: Final = 192
"""Rows up to which plain Python is quicker than setting up the expressions (measured)."""


class Piece(NamedTuple):
    """Operations of one lane: two lines of ``body`` per element of ``rows``."""

    lane: int
    rows: Sequence[int]
    body: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that cannot be written as JSON at all."""

    row: int
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """Every row of a batch is an operation, superseded, or refused."""

    pieces: Sequence[Piece]
    superseded: int
    refusals: Sequence[Refusal] = ()

    @property
    def operations(self) -> int:
        return sum(len(piece.rows) for piece in self.pieces)

    @property
    def size_bytes(self) -> int:
        return sum(len(piece.body) for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class _Plans:
    """The same lines in three ways; each does what the one before it does not."""

    native: NativePlan | None
    columns: ColumnPlan
    rows: RowPlan


@dataclass(slots=True)
class Renderer:
    """Keeps the plans of the schema versions that it met. ``native``: the native module, if any."""

    lanes: int
    piece_bytes: int
    clock: Clock
    native: NativeModule | None = None
    _plans: dict[tuple[str, str], _Plans] = field(default_factory=dict)

    def render(self, batch: Batch, alias: str) -> Rendered:
        plans = self._plan(batch, alias)
        deleted_at = values.instant_text(int(self.clock.time() * 1_000_000))
        if plans.native is not None:
            found = plans.native.lines(rows_of(batch), deleted_at)
            if found is not None:
                return self._of_native(batch, found)
        elif len(batch) > SMALL:
            kept = _latest(batch.frame)
            frame = batch.frame if len(kept) == len(batch) else batch.frame[kept]
            lines = plans.columns.lines(frame, deleted_at)
            if lines is not None:
                return self._of_columns(batch, frame["id"], kept, lines)
        return self._of_rows(batch, plans.rows, deleted_at)

    def _plan(self, batch: Batch, alias: str) -> _Plans:
        key = batch.schema.fingerprint, alias
        plans = self._plans.get(key)
        if plans is None:
            schema, images = batch.schema, batch.frame.schema["after"]
            plans = self._plans[key] = _Plans(
                native_plan(self.native, schema, alias, images),
                ColumnPlan(schema, alias),
                RowPlan(schema, alias, images),
            )
        return plans

    def _of_native(self, batch: Batch, lines: NativeLines) -> Rendered:
        pieces = [Piece(*each) for each in lines.pieces(self.lanes, self.piece_bytes)]
        return Rendered(pieces, len(batch) - len(lines))

    def _of_columns(
        self, batch: Batch, ids: pl.Series, kept: Sequence[int], lines: pl.Series
    ) -> Rendered:
        def body(places: Sequence[int]) -> bytes:
            return b"".join(lines.gather(places).cast(pl.Binary).to_list())

        size = int(lines.str.len_bytes().sum())
        pieces = self._pieces(ids.to_list(), kept, size, body)
        return Rendered(pieces, len(batch) - len(kept))

    def _of_rows(self, batch: Batch, plan: RowPlan, deleted_at: str) -> Rendered:
        ids, versions = _listed(batch, "id"), _listed(batch, "version")
        refusals: list[Refusal] = []
        latest: dict[str, int] = {}
        texts: dict[int, bytes] = {}
        for row, line in enumerate(plan.lines(batch.frame, ids, versions, deleted_at)):
            if isinstance(line, PoisonRecordError):
                refusals.append(Refusal(row, line.reason, line.detail))
                continue
            texts[row] = line
            best = latest.get(ids[row])
            if best is None or versions[row] >= versions[best]:
                latest[ids[row]] = row
        kept = sorted(latest.values())
        pieces = self._pieces(
            [ids[row] for row in kept],
            kept,
            sum(map(len, texts.values())),
            lambda places: b"".join([texts[kept[place]] for place in places]),
        )
        return Rendered(pieces, len(texts) - len(kept), refusals)

    def _pieces(
        self,
        ids: Sequence[str],
        rows: Sequence[int],
        size_bytes: int,
        body: Callable[[Sequence[int]], bytes],
    ) -> list[Piece]:
        """By lane, in log order, none much larger than ``piece_bytes`` unless a row is."""
        lanes: defaultdict[int, list[int]] = defaultdict(list)
        for place, identifier in enumerate(ids):
            lanes[lane_of(identifier, self.lanes)].append(place)
        most = max(1, self.piece_bytes * len(ids) // max(1, size_bytes))
        return [
            Piece(lane, [rows[place] for place in run], body(run))
            for lane, places in lanes.items()
            for run in (places[at : at + most] for at in range(0, len(places), most))
        ]


def _listed(batch: Batch, name: str) -> list[Any]:
    return batch.frame.get_column(name).to_list()


def _latest(frame: pl.DataFrame) -> list[int]:
    """Per ID the row with the highest version, not the last one: a repeat can run backwards."""
    if frame["id"].n_unique() == len(frame):
        return list(range(len(frame)))
    rows = frame.select(pl.int_range(pl.len()).alias("row"), "id", "version")
    last = rows.sort("version", maintain_order=True).unique("id", keep="last")
    return last["row"].sort().to_list()
