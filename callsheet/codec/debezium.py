"""Kafka records of Debezium to batches: sorts one poll, decodes each group, isolates poison.

Two paths lead to the same frame. The row path (fastavro, msgspec) reads one record at a time and
is the judge; the columnar path (:mod:`callsheet.codec.columnar`, where the native decoder is
installed) reads a group at once and hands back each record that it has any doubt about.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeVar, cast

import polars as pl

from callsheet.batch import Batch, Columns, Decoded, Message, Park, Poison, Skip, Truncation
from callsheet.codec.avro_schema import SchemaError
from callsheet.codec.binding import UNSUPPORTED, Dialect, Shape
from callsheet.codec.columnar import NativeModule
from callsheet.codec.envelope import (
    Change,
    Truncated,
    foreign,
    identity_of,
)
from callsheet.codec.events import event_of
from callsheet.codec.frames import frame_of
from callsheet.codec.grouping import Group, Records, Signature, groups_of
from callsheet.codec.table import Table, TableMaker
from callsheet.codec.topics import DecoderOptions, skip_by_topic
from callsheet.errors import FatalError, ParkTableError, PoisonRecordError, Reason
from callsheet.event import Event
from callsheet.schema import TableSchema

_T = TypeVar("_T")
MOST_KNOWN: Final = 1_024
"""Pairs of topic and schemas whose readers are kept; JSON may bring another schema each time."""


@dataclass(slots=True)
class _Outcome:
    """What one topic's part of a poll came to; dropped whole where the topic parks."""

    batches: list[Batch] = field(default_factory=list)
    skipped: Counter[Skip] = field(default_factory=Counter)
    poison: list[Poison] = field(default_factory=list)
    truncations: list[Truncation] = field(default_factory=list)
    is_judged: bool = True

    def reject(self, message: Message, fault: PoisonRecordError) -> None:
        self.poison.append(Poison(message, fault.reason, fault.detail))


class Judge(Protocol):
    """Looks at each batch on its own; ``again`` decodes messages of its topic without a judge."""

    def __call__(self, batch: Batch, again: Callable[[Sequence[Message]], Sequence[Batch]]) -> None:
        """Raises:
        ParkTableError: nothing of the topic may be written.
        """
        ...


def approve(batch: Batch, again: Callable[[Sequence[Message]], Sequence[Batch]]) -> None:
    """A judge that finds no fault."""
    del batch, again


class DebeziumDecoder:
    """Implements :class:`callsheet.ports.Decoder` for Debezium's envelopes.

    Args:
        dialect: :class:`AvroDialect` or :class:`JsonDialect`.
        native: the native decoder (:func:`load_native`); None: the row path alone.
        epochs: per logical source name, the base added to its binlog file ordinals.
        judge: sees each batch before it is handed out, in the order of the poll.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        native: NativeModule | None,
        epochs: Mapping[str, int] | None = None,
        options: DecoderOptions | None = None,
        judge: Judge = approve,
    ) -> None:
        self._dialect, self._judge = dialect, judge
        self._options = options or DecoderOptions()
        self._maker = TableMaker(dialect.convert, native, dict(epochs or {}), self._options)
        self._shapes: dict[tuple[str, Signature], Shape | Skip] = {}
        self._tables: dict[tuple[str, Signature], Table] = {}

    def decode(self, messages: Sequence[Message]) -> Decoded:
        """See :class:`callsheet.ports.Decoder`."""
        outcomes: list[_Outcome] = []
        parked: list[Park] = []
        with self._dialect.lookups():
            for topic, part in _by_topic(messages).items():
                try:
                    outcome = _Outcome()
                    self._topic(topic, part, outcome)
                    outcomes.append(outcome)
                except ParkTableError as fault:
                    parked.append(Park(topic, fault.reason, fault.detail))
        return _merged(outcomes, parked)

    def decode_event(self, message: Message) -> Event:
        """One message as an event, by the row path.

        Raises:
            PoisonRecordError: it is no change of a row, or does not decode.
            ParkTableError, RetryableError: as :meth:`decode` would meet them.
        """
        topic, value, key = message.topic(), message.value(), message.key()
        if value is None:
            raise foreign("a tombstone is no event")
        signature = self._dialect.signature(topic, value, key)
        shape = self._shape(topic, signature)
        if isinstance(shape, Skip):
            raise foreign(f"a {shape.value} record is no event")
        table = self._table(topic, signature, shape, value, key)
        result = table.row(value, key)
        if isinstance(result, Truncated):
            raise foreign("a truncation has no row")
        place = {"partition": message.partition(), "offset": message.offset()}
        images = {"before": result.before, "after": result.after}
        return event_of(topic, table.schema, {**result.columns, **place, **images})

    def _again(self, topic: str, messages: Sequence[Message]) -> Sequence[Batch]:
        outcome = _Outcome(is_judged=False)
        self._topic(topic, messages, outcome)
        return outcome.batches

    # --- one topic ------------------------------------------------------------------------------

    def _topic(self, topic: str, messages: Sequence[Message], outcome: _Outcome) -> None:
        skip = skip_by_topic(topic, self._options)
        if skip is not None:
            outcome.skipped[skip] += len(messages)
            return
        records = self._records(messages, outcome)
        if not records.messages:
            return
        common = self._dialect.common_signature(topic, records)
        groups = [Group(common, records)]
        if common is None:
            signatures, sound = self._signed(topic, records, outcome)
            groups = groups_of(sound, signatures.__getitem__)
        for group in groups:
            self._group(topic, group, outcome)

    def _records(self, messages: Sequence[Message], outcome: _Outcome) -> Records:
        """What is left after tombstones and oversized values."""
        limit = self._options.max_value_bytes
        values = [message.value() for message in messages]
        records = Records(
            list(messages),
            cast("list[bytes]", values),
            [message.key() for message in messages],
        )
        gone = {index for index, value in enumerate(values) if value is None or len(value) > limit}
        for index in sorted(gone):
            value = values[index]
            if value is None:
                outcome.skipped[Skip.TOMBSTONE] += 1
            else:
                detail = f"{len(value)} bytes, of {limit} allowed"
                outcome.poison.append(Poison(messages[index], Reason.OVERSIZE, detail))
        return records.without(gone)

    def _signed(
        self, topic: str, records: Records, outcome: _Outcome
    ) -> tuple[list[Signature], Records]:
        """Signatures, and the records that have one; the others are in the outcome."""
        signatures: list[Signature] = []
        unsigned: set[int] = set()
        for index, (value, key) in enumerate(zip(records.values, records.keys, strict=True)):
            try:
                signatures.append(self._dialect.signature(topic, value, key))
            except PoisonRecordError as fault:
                outcome.reject(records.messages[index], fault)
                unsigned.add(index)
        return signatures, records.without(unsigned)

    # --- one group ------------------------------------------------------------------------------

    def _group(self, topic: str, group: Group, outcome: _Outcome) -> None:
        try:
            shape = self._shape(topic, group.signature)
        except PoisonRecordError as fault:
            for message in group.records.messages:
                outcome.reject(message, fault)
            return
        if isinstance(shape, Skip):
            outcome.skipped[shape] += len(group.records)
            return
        start, table = self._first_readable(topic, group, shape, outcome)
        if table is None:
            return
        records = group.records.since(start)
        is_small = len(records) < self._options.small_batch_threshold
        if is_small or not self._by_columns(topic, table, records, outcome):
            self._by_rows(topic, table, records, outcome)

    def _first_readable(
        self, topic: str, group: Group, shape: Shape, outcome: _Outcome
    ) -> tuple[int, Table | None]:
        """The group's table, learnt from its first record that can be read at all."""
        records = group.records
        for index, (value, key) in enumerate(zip(records.values, records.keys, strict=True)):
            try:
                return index, self._table(topic, group.signature, shape, value, key)
            except PoisonRecordError as fault:
                outcome.reject(records.messages[index], fault)
        return len(records), None

    def _by_rows(self, topic: str, table: Table, records: Records, outcome: _Outcome) -> None:
        changes: list[Change] = []
        gone: set[int] = set()
        for index in range(len(records)):
            change = self._row(table, records, index, outcome)
            if change is None:
                gone.add(index)
            else:
                changes.append(change)
        kept = records.without(gone)
        if changes:
            frame = frame_of(
                table.layout.fields,
                changes,
                [message.partition() for message in kept.messages],
                [message.offset() for message in kept.messages],
            )
            self._add(topic, table, frame, kept, outcome)

    def _row(self, table: Table, records: Records, index: int, outcome: _Outcome) -> Change | None:
        """One change; None where the record went elsewhere."""
        message = records.messages[index]
        try:
            result = table.row(records.values[index], records.keys[index])
        except PoisonRecordError as fault:
            outcome.reject(message, fault)
            return None
        if isinstance(result, Truncated):
            outcome.truncations.append(
                Truncation(message, table.schema.qualified_name, result.version)
            )
            return None
        return result

    def _by_columns(self, topic: str, table: Table, records: Records, outcome: _Outcome) -> bool:
        """Whether the columnar path served. A record that it refuses is judged by the row path:
        if that agrees, it is poison (or a truncation) and the others stay in columns; if it
        does not, the whole group goes by rows, for only so its order is kept.
        """
        if table.columnar is None:
            return False
        bodies = table.shape.bodies(records)
        columns, refused = table.columnar.decode(
            bodies.values,
            bodies.keys,
            [message.partition() for message in records.messages],
            [message.offset() for message in records.messages],
        )
        judged = _Outcome()
        for index in refused:
            if self._row(table, records, index, judged) is not None:
                return False
        outcome.poison += judged.poison
        outcome.truncations += judged.truncations
        kept = records.without(frozenset(refused))
        if kept.messages:
            self._add(topic, table, columns, kept, outcome)
        return True

    def _add(
        self,
        topic: str,
        table: Table,
        columns: pl.DataFrame | Columns,
        records: Records,
        outcome: _Outcome,
    ) -> None:
        batch = _batch(topic, table.schema, columns, records)
        if outcome.is_judged:
            self._judge(batch, partial(self._again, topic))
        outcome.batches.append(batch)

    # --- what is known --------------------------------------------------------------------------

    def _shape(self, topic: str, signature: Signature) -> Shape | Skip:
        known = self._shapes.get((topic, signature))
        if known is None:
            try:
                known = self._dialect.shape(topic, signature)
            except SchemaError as fault:
                raise ParkTableError(topic, UNSUPPORTED, str(fault)) from fault
            _remember(self._shapes, (topic, signature), known)
        return known

    def _table(
        self, topic: str, signature: Signature, shape: Shape, value: bytes, key: bytes | None
    ) -> Table:
        known = self._tables.get((topic, signature))
        if known is None:
            identity = identity_of(shape.raw(value, key).value)
            try:
                known = self._maker.table(identity, shape)
            except SchemaError as fault:
                raise ParkTableError(topic, UNSUPPORTED, str(fault)) from fault
            _remember(self._tables, (topic, signature), known)
        return known


def _remember(
    known: dict[tuple[str, Signature], _T], key: tuple[str, Signature], value: _T
) -> None:
    """The oldest goes when it is full: a table in use is compiled again, garbage never returns."""
    if len(known) >= MOST_KNOWN:
        del known[next(iter(known))]
    known[key] = value


def _by_topic(messages: Sequence[Message]) -> Mapping[str, Sequence[Message]]:
    topics = [message.topic() for message in messages]
    if topics and topics.count(topics[0]) == len(topics):  # the usual poll of a busy topic
        return {topics[0]: messages}
    by_topic: defaultdict[str, list[Message]] = defaultdict(list)
    for topic, message in zip(topics, messages, strict=True):
        by_topic[topic].append(message)
    return by_topic


def _batch(
    topic: str, schema: TableSchema, columns: pl.DataFrame | Columns, records: Records
) -> Batch:
    if len(columns) != len(records):
        raise FatalError(
            f"{len(columns)} rows came of {len(records)} records of {topic}",
            hint="this is a defect of the decoder: report it with the topic's schemas",
        )
    return Batch(topic, schema, columns, records.messages, records.size_bytes)


def _merged(outcomes: Sequence[_Outcome], parked: Sequence[Park]) -> Decoded:
    skipped: Counter[Skip] = Counter()
    for outcome in outcomes:
        skipped.update(outcome.skipped)
    return Decoded(
        batches=[batch for outcome in outcomes for batch in outcome.batches],
        skipped=dict(skipped),
        poison=[poison for outcome in outcomes for poison in outcome.poison],
        truncations=[cut for outcome in outcomes for cut in outcome.truncations],
        parked=parked,
    )
