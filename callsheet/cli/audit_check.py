"""The audit against Kafka: every record of the topic is a row, a dead letter, or no change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import polars as pl

from callsheet.batch import Batch, Decoded, Message, Offset, Partition
from callsheet.kafka.groups import PartitionOffsets
from callsheet.kafka.letters import FIRST_REDRIVE_PARTITION
from callsheet.ports import Clock, Decoder
from sinks.hive.check import Comparison, Examiner, LaneBook
from sinks.hive.columns import Renderer
from sinks.hive.layout import TableLayout
from sinks.hive.ranges import Lane, RangeLog
from sinks.hive.stores.port import Store

_DECODE_EVENTS: Final = 2_000
Place = tuple[Partition, Offset]


@dataclass(slots=True)
class LaneReport:
    """One lane, and what became of the records that Kafka still has of it.

    Attributes:
        begin: Kafka's first kept offset; None where nothing was compared.
        compared: records that are rows.
        letters: records that are dead letters.
        expired: records that the audit cannot take, older than dead letters are kept.
        dropped: records whose rows retention has taken out of the audit.
        no_change: records that change no row: heartbeats, truncations.
        waiting: records that the audit is yet to take.
    """

    book: LaneBook
    begin: Offset | None = None
    compared: int = 0
    letters: int = 0
    expired: int = 0
    dropped: int = 0
    no_change: int = 0
    waiting: int = 0

    @property
    def is_redrive(self) -> bool:
        return self.book.lane.partition >= FIRST_REDRIVE_PARTITION

    def as_data(self) -> dict[str, Any]:
        book = self.book
        own = ("begin", "compared", "letters", "expired", "dropped", "no_change", "waiting")
        return {
            "lane": book.lane.name,
            "is_redrive": self.is_redrive,
            **{name: getattr(book, name) for name in ("first", "end", "ranges", "files", "rows")},
            "refused": book.refused,
            "dropped_rows": book.dropped,
            "dropped_up_to": max(book.expired, default=None),
            "size_bytes": book.size_bytes,
            **{name: getattr(self, name) for name in own},
            "faults": list(book.faults),
        }


class Topics(Protocol):
    """Kafka's side of the comparison.

    Raises (each method):
        UnavailableError: no broker answers.
    """

    def states(self) -> list[PartitionOffsets]:
        """All partitions that the pipeline reads."""
        ...

    def records(self, partitions: Collection[Partition]) -> Iterator[Sequence[Message]]:
        """What is committed in them, from the first kept record to the end."""
        ...

    def letters(self) -> set[Place]:
        """Of which records there is a dead letter, whatever became of it."""
        ...


@dataclass(slots=True)
class Check:
    """``callsheet audit check``, for one pipeline. ``generations``: as in the sink's settings."""

    store: Store
    topics: Topics
    decoder: Decoder
    generations: Mapping[str, int]
    letters_kept_hours: float
    clock: Clock
    _comparisons: dict[Partition, Comparison] = field(init=False, default_factory=dict)

    def run(self) -> list[LaneReport]:
        """
        Raises:
            UnavailableError: Kafka or the store is away.
        """
        # Kafka's side first: a worker that goes on meanwhile is then ahead of it, never behind.
        before = self.topics.states()
        reports = self._examined([state.partition for state in before])
        letters = self.topics.letters()
        for name, messages in self._read(before, reports).items():
            self._explain(reports[name], messages, letters)
        for state in self.topics.states():
            if state.partition in self._comparisons:
                self._conclude(reports, state)
        return sorted(
            reports.values(), key=lambda each: (each.book.lane.topic, each.book.lane.partition)
        )

    # --- the audit's side -----------------------------------------------------------------------

    def _examined(self, partitions: Collection[Partition]) -> dict[str, LaneReport]:
        """By the lane's name: all that the log knows, and one for each partition of the topics."""
        found: dict[str, LaneReport] = {}
        examiner = Examiner(self.store)
        for name in RangeLog(self.store).lanes():
            book = examiner.lane(name)
            if book is not None:
                found[name] = LaneReport(book)
        for partition in partitions:
            lane = self._lane(partition)
            found.setdefault(lane.name, LaneReport(LaneBook(lane)))
        return found

    def _lane(self, partition: Partition) -> Lane:
        return Lane.of(partition, self.generations.get(partition.topic, 0))

    # --- Kafka's side ---------------------------------------------------------------------------

    def _read(
        self, states: Sequence[PartitionOffsets], reports: Mapping[str, LaneReport]
    ) -> dict[str, list[Message]]:
        """Records that should be rows and are not, by lane."""
        self._comparisons = {
            state.partition: Comparison(
                reports[self._lane(state.partition).name].book, state.committed or 0
            )
            for state in states
        }
        stray: dict[str, list[Message]] = {}
        for messages in self.topics.records(self._comparisons):
            for message in messages:
                partition = Partition(message.topic(), message.partition())
                missing = self._comparisons[partition].is_missing
                if message.value() is not None and missing(message.offset()):
                    stray.setdefault(self._lane(partition).name, []).append(message)
        return stray

    def _explain(
        self, report: LaneReport, messages: Sequence[Message], letters: Collection[Place]
    ) -> None:
        rest = [m for m in messages if place_of(m) not in letters]
        report.letters += len(messages) - len(rest)
        for start in range(0, len(rest), _DECODE_EVENTS):
            chunk = rest[start : start + _DECODE_EVENTS]
            decoded = self.decoder.decode(chunk)
            gone = of_dates(decoded, report.book.expired)
            report.dropped += len(gone)
            self._judge(report, [m for m in chunk if place_of(m) not in gone], verdicts(decoded))
        if report.dropped > report.book.dropped:
            report.book.fault(
                f"{report.dropped} records of expired dates are missing, retention took "
                f"{report.book.dropped}"
            )

    def _judge(
        self, report: LaneReport, messages: Sequence[Message], said: Mapping[Place | str, str]
    ) -> None:
        lost: Counter[str] = Counter()
        kept_s = self.letters_kept_hours * 3600
        for message in messages:
            verdict = said.get(place_of(message)) or said.get(message.topic())
            if verdict is None:
                report.no_change += 1
            elif verdict == _REFUSED and self._is_older(message, kept_s):
                report.expired += 1
            else:
                lost[verdict] += 1
        for verdict, count in lost.items():
            report.book.fault(f"{count} records are {verdict}")

    def _is_older(self, message: Message, seconds: float) -> bool:
        return message.timestamp()[1] / 1000 < self.clock.time() - seconds

    def _conclude(self, reports: Mapping[str, LaneReport], state: PartitionOffsets) -> None:
        comparison = self._comparisons[state.partition]
        report = reports[self._lane(state.partition).name]
        report.begin = state.begin or 0
        report.compared, report.waiting = comparison.found, comparison.waiting
        strangers = comparison.strangers(report.begin)
        if strangers:
            report.book.fault(
                f"{strangers} rows are of records that Kafka does not have: was the topic made "
                "anew, or compacted?"
            )


_LOST: Final = "in no file and no dead letter"
_REFUSED: Final = "not to be taken, and no dead letter says so"


def place_of(message: Message) -> Place:
    return Partition(message.topic(), message.partition()), message.offset()


def verdicts(decoded: Decoded) -> dict[Place | str, str]:
    """Of the records that must be somewhere; by place, or by topic where all of it is parked."""
    said: dict[Place | str, str] = {
        park.topic: f"in no file: their table is parked: {park.reason}" for park in decoded.parked
    }
    said |= {place_of(each.message): _REFUSED for each in decoded.poison}
    for batch in decoded.batches:
        said |= dict.fromkeys(map(place_of, batch.messages), _LOST)
        said |= dict.fromkeys(_refused(batch), _REFUSED)
    return said


def of_dates(decoded: Decoded, dates: Collection[str]) -> set[Place]:
    """Records whose rows would be of these dates."""
    if not dates:
        return set()
    day = pl.col("ts_us").cast(pl.Datetime("us")).dt.date().cast(pl.String)
    found: set[Place] = set()
    for batch in decoded.batches:
        rows = batch.frame.filter(day.is_in(list(dates))).select("partition", "offset")
        found |= {(Partition(batch.topic, number), offset) for number, offset in rows.iter_rows()}
    return found


def _refused(batch: Batch) -> list[Place]:
    renderer = Renderer(TableLayout(batch.topic, batch.schema))
    return [(each.partition, each.offset) for each in renderer.refused(batch)]
