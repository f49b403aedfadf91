"""A batch is columns: one table, one schema, rows in log order, the raw messages beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, cast

import polars as pl

from callsheet.errors import Reason
from callsheet.schema import TableSchema


class Message(Protocol):
    """A Kafka record as the client hands it out: methods, so the client's own object serves."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> Sequence[tuple[str, bytes | None]] | None: ...
    def timestamp(self) -> tuple[int, int]:
        """(kind, milliseconds since the epoch)."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


Offset = int
"""Of the *next* record to read, wherever progress is meant."""

BEGINNING: Final[Offset] = -2
"""As a place to start from: the first record that the log still has. Kafka's own number for it."""

FRAME_SCHEMA: Final[Mapping[str, pl.DataType]] = {
    "op": pl.String(),
    "id": pl.String(),
    "ts_us": pl.Int64(),
    "version": pl.Int64(),
    "snapshot": pl.Boolean(),
    "gtid": pl.String(),
    "file": pl.String(),
    "pos": pl.Int64(),
    "row": pl.Int64(),
    "server_id": pl.Int64(),
    "transaction_id": pl.String(),
    "transaction_order": pl.Int64(),
    "partition": pl.Int32(),
    "offset": pl.Int64(),
}
"""The fixed columns. Beside them stand ``before`` and ``after``: structs of the schema's columns in
the types that :class:`callsheet.schema.Kind` states, null where there is no such image."""


Edges = tuple[int, Sequence[int], int, Sequence[int]]
"""Of one partition of a batch: the ``version`` of its first row, the numbers of all rows that share
it with none between, and the same of its last row."""


class Columns(Protocol):
    """Columns in a decoder's own memory. To make a frame of a few rows costs more than to decode
    them, so it is made when somebody asks for it.
    """

    def __len__(self) -> int: ...
    def frame(self) -> pl.DataFrame: ...
    def times(self) -> tuple[int, int]:
        """The least and the greatest ``ts_us``; there is at least one row."""
        ...

    def places(self) -> tuple[bool, Mapping[int, Edges]]:
        """Whether rows next to each other in a partition have one ``version``, and by number of the
        partition where its rows begin and end. Not counted at all: rows of a snapshot or a sweep,
        many of which have one; not counted as repeated: a delete and a create that are one change
        of a key.
        """
        ...

    def ends(self) -> Mapping[int, int]:
        """By number of the partition the ``offset`` of its last row."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one table under one schema.

    Attributes:
        topic: all rows are of this topic; several of its partitions may be mixed.
        schema: of the images.
        columns: what :attr:`frame` is made of, or that frame itself.
        messages: the raw records, ``messages[i]`` gave row ``i``.
        size_bytes: keys and values of the messages, for memory bounds.
    """

    topic: str
    schema: TableSchema
    columns: pl.DataFrame | Columns
    messages: Sequence[Message]
    size_bytes: int
    _frame: list[pl.DataFrame] = field(default_factory=list, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def frame(self) -> pl.DataFrame:
        """``FRAME_SCHEMA`` plus ``before`` and ``after``; one row per message, in log order per
        partition; no null in ``op``, ``id``, ``ts_us``, ``version``, ``partition``, ``offset``.
        """
        if isinstance(self.columns, pl.DataFrame):
            return self.columns
        if not self._frame:
            self._frame.append(self.columns.frame())
        return self._frame[0]

    def times(self) -> tuple[int, int]:
        """Source commit times of the oldest and of the newest row, microseconds since the epoch.
        There is at least one row.
        """
        if isinstance(self.columns, pl.DataFrame):
            times = self.columns["ts_us"]
            return cast("int", times.min()), cast("int", times.max())
        return self.columns.times()

    def next_offsets(self) -> dict[Partition, Offset]:
        """Per partition the offset after the batch's last row."""
        if isinstance(self.columns, pl.DataFrame):
            # From the messages: a group_by of the frame costs more than a small batch is worth.
            last = {message.partition(): message.offset() for message in self.messages}
        else:
            last = dict(self.columns.ends())
        return {Partition(self.topic, number): offset + 1 for number, offset in last.items()}


class Skip(StrEnum):
    """Records that carry no row change, each with a stated meaning (docs/event-contract.md)."""

    TOMBSTONE = "tombstone"
    HEARTBEAT = "heartbeat"
    TRANSACTION = "transaction"
    SCHEMA_CHANGE = "schema_change"


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that does not decode: a dead letter."""

    message: Message
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Truncation:
    """A TRUNCATE of the whole table; it has no key, so no order against the rows' partitions."""

    message: Message
    table: str
    version: int


@dataclass(frozen=True, slots=True)
class Park:
    """A topic which must wait for a human: its partitions are paused, uncommitted, listed."""

    topic: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one poll came to. Every message of the poll is in exactly one of these places; those of
    a parked topic are in none, and must be read again.
    """

    batches: Sequence[Batch] = ()
    skipped: Mapping[Skip, int] = field(default_factory=dict)
    poison: Sequence[Poison] = ()
    truncations: Sequence[Truncation] = ()
    parked: Sequence[Park] = ()
