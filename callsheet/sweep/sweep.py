"""The sweep itself: watermark, wait, ask the stores, look once more, write the deletes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from callsheet.batch import Batch, Message, Offset, Partition
from callsheet.errors import ParkTableError, PreconditionError
from callsheet.event import Op
from callsheet.kafka.groups import PartitionOffsets
from callsheet.ports import Clock, Deadline, Decoder, OutgoingRecord
from callsheet.sink import Inventory
from callsheet.sweep.keys import UnkeyedError
from callsheet.sweep.marks import Marks
from callsheet.sweep.orphans import Orphans
from callsheet.sweep.records import Deletes, Draft
from callsheet.sweep.tables import SweptTable
from callsheet.sweep.watermark import Cause, Place, Watermark

_POLL_S: Final = 0.5


class Capture(Protocol):
    def settled(self) -> Place:
        """Up to where the connector has captured.

        Raises:
            PreconditionError: it is taking a snapshot, or its snapshots leave out rows.
            UnavailableError: Kafka Connect is away.
        """
        ...


class Groups(Protocol):
    def partitions(self, topics: Iterable[str]) -> list[Partition]: ...
    def offsets(self, group_id: str, partitions: Sequence[Partition]) -> list[PartitionOffsets]: ...


class Log(Protocol):
    def append(self, topic: str, records: Iterable[OutgoingRecord]) -> None: ...


@dataclass(frozen=True, slots=True)
class Store:
    """One pipeline's destination. ``letters`` counts its open dead letters of a topic."""

    pipeline: str
    group_id: str
    epoch: int
    inventory: Inventory
    decoder: Decoder
    reads: Callable[[str], bool]
    letters: Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Rules:
    """
    Attributes:
        max_share: of the rows that a store shows, so much may go because of a snapshot.
        is_sure: more may.
        patience_s: how long to wait until a pipeline is beyond the watermark.
        is_dry: find, and write nothing.
    """

    max_share: float = 0.5
    is_sure: bool = False
    patience_s: float = 60.0
    is_dry: bool = False


class Verdict(StrEnum):
    CLEAN = "clean"
    """No store shows a row that it should not."""
    FOUND = "found"
    """Orphans; a dry run writes nothing."""
    SWEPT = "swept"
    REFUSED = "refused"
    NO_WATERMARK = "no watermark"
    """No snapshot and no TRUNCATE is known by which a row could be judged."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one store shows of a table."""

    pipeline: str
    rows: int
    orphans: int

    @property
    def share(self) -> float:
        return self.orphans / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """``deletes``: IDs over all stores; written, or in a dry run not."""

    table: str
    verdict: Verdict
    watermark: Watermark | None = None
    stores: Sequence[Found] = ()
    deletes: int = 0
    why: str = ""
    hint: str = ""


class _RefusedError(Exception):
    """The table is left as it is; the others go on."""

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why)
        self.why, self.hint = why, hint

    def of(self, outcome: Outcome) -> Outcome:
        return replace(outcome, verdict=Verdict.REFUSED, why=self.why, hint=self.hint)


@dataclass(slots=True)
class Sweep:
    """Of one connector's tables; run again, it does what has become necessary since."""

    capture: Capture
    marks: Marks
    stores: Sequence[Store]
    groups: Groups
    log: Log
    rules: Rules
    clock: Clock
    report: Callable[[str], None] = lambda _: None
    _done: dict[str, Watermark] = field(default_factory=dict)

    def run(self, tables: Sequence[SweptTable], *, is_again: bool = False) -> list[Outcome]:
        """``is_again``: tables are passed over whose watermark was dealt with in an earlier run.

        Raises:
            PreconditionError: the connector is taking a snapshot, or began one meanwhile.
            UnavailableError, RetryableError: a neighbour is away; what is written counts.
        """
        settled, taken = self.capture.settled(), self.marks.snapshots()
        outcomes = []
        for table in tables:
            watermark = self.marks.of(table.name, taken, settled)
            if is_again and watermark is not None and self._done.get(table.name) == watermark:
                continue
            outcomes.append(self._judged(table, watermark))
        return outcomes

    def _judged(self, table: SweptTable, watermark: Watermark | None) -> Outcome:
        if watermark is None:
            return Outcome(table.name, Verdict.NO_WATERMARK)
        try:
            outcome = self._swept(table, watermark)
        except _RefusedError as refusal:
            return refusal.of(Outcome(table.name, Verdict.REFUSED, watermark))
        if outcome.verdict in {Verdict.CLEAN, Verdict.SWEPT}:
            self._done[table.name] = watermark
        return outcome

    def _swept(self, table: SweptTable, watermark: Watermark) -> Outcome:
        stores = [store for store in self.stores if store.reads(table.topic)]
        self._wait(stores, table)
        deletes = Deletes(table.topic, table.schema, watermark, table.wire, self._now_us)
        with Orphans() as orphans:
            found = [self._asked(store, table, deletes, orphans) for store in stores]
            outcome = Outcome(table.name, Verdict.CLEAN, watermark, found, len(orphans))
            if not orphans:
                return outcome
            try:
                self._guard(stores, table, found, watermark)
            except _RefusedError as refusal:
                return refusal.of(outcome)
            if self.rules.is_dry:
                return replace(outcome, verdict=Verdict.FOUND)
            self._look_again(table, watermark)
            self._write(deletes, orphans)
            return replace(outcome, verdict=Verdict.SWEPT)

    def _now_us(self) -> int:
        return int(self.clock.time() * 1_000_000)

    # --- before anything is asked ---------------------------------------------------------------

    def _wait(self, stores: Sequence[Store], table: SweptTable) -> None:
        """Until each store has all that the topic has by now; the watermark lies before that."""
        places = self.groups.partitions([table.topic])
        ends = {o.partition: o.end or 0 for o in self.groups.offsets("callsheet-sweep", places)}
        deadline, is_told = Deadline.after(self.clock, self.rules.patience_s), False
        while behind := self._behind(stores, ends):
            if deadline.expired():
                raise _RefusedError(
                    f"{behind} has not come to the watermark: a row may still be on its way",
                    "does it run, is the table parked? `callsheet status`; or raise --patience",
                )
            if not is_told:
                self.report(f"{table.name}: waiting for {behind}")
            is_told = True
            self.clock.sleep(_POLL_S)

    def _behind(self, stores: Sequence[Store], ends: Mapping[Partition, Offset]) -> str:
        """The first pipeline that has not committed up to these ends; empty: none."""
        for store in stores:
            for found in self.groups.offsets(store.group_id, list(ends)):
                done = found.committed if found.committed is not None else found.begin or 0
                if done < ends[found.partition]:
                    return store.pipeline
        return ""

    # --- what the stores show -------------------------------------------------------------------

    def _asked(self, store: Store, table: SweptTable, deletes: Deletes, orphans: Orphans) -> Found:
        rows, count = store.inventory.alive(table.topic, table.schema), 0
        version = deletes.version(store.epoch)
        for page in store.inventory.older(table.topic, table.schema, version):
            self._verify(store, deletes, page, version)
            orphans.add(page)
            count += len(page)
        return Found(store.pipeline, rows, count)

    def _verify(self, store: Store, deletes: Deletes, page: Sequence[str], version: int) -> None:
        """The deletes must mean these rows, in the eyes of the pipeline that named them."""
        try:
            records = list(deletes.records(page))[::2]
            drafts: list[Message] = [
                Draft(deletes.topic, record, number) for number, record in enumerate(records)
            ]
            decoded = store.decoder.decode(drafts)
        except (UnkeyedError, ParkTableError) as fault:
            raise _unkeyed(store, str(fault)) from fault
        wanted = [(Op.DELETE.value, each, version) for each in page]
        if list(_meant(decoded.batches)) != wanted:
            raise _unkeyed(store, "what they would delete is something else")

    def _guard(
        self,
        stores: Sequence[Store],
        table: SweptTable,
        found: Sequence[Found],
        watermark: Watermark,
    ) -> None:
        """A TRUNCATE takes all rows, and its table is one that was allowed."""
        for store in stores:
            self._refuse_letters(store, table)
        if self.rules.is_sure or watermark.cause is Cause.TRUNCATE:
            return
        for each in found:
            if each.share > self.rules.max_share:
                raise _RefusedError(
                    f"{each.orphans:,} of the {each.rows:,} rows that {each.pipeline} shows would "
                    f"go: more than {self.rules.max_share:.0%}",
                    "look at them with --dry-run; say --yes if the source has really lost them",
                )

    def _refuse_letters(self, store: Store, table: SweptTable) -> None:
        """What the snapshot said of a row may lie there, and its old state would be an orphan."""
        if count := store.letters(table.topic):
            raise _RefusedError(
                f"{store.pipeline} has {count} open dead letters of it",
                "redrive or discard them first: `callsheet dlq list`",
            )

    # --- the deletes ----------------------------------------------------------------------------

    def _look_again(self, table: SweptTable, watermark: Watermark) -> None:
        settled, taken = self.capture.settled(), self.marks.snapshots()
        if self.marks.of(table.name, taken, settled) != watermark:
            raise PreconditionError(
                f"{table.name}: its watermark has moved since the stores were asked",
                hint="a snapshot was taken, or the table truncated: run the command again",
            )

    def _write(self, deletes: Deletes, orphans: Orphans) -> None:
        first = 1
        for page in orphans.pages():
            self.log.append(deletes.topic, deletes.records(page, first))
            first += len(page)


def _meant(batches: Iterable[Batch]) -> Iterator[tuple[str, str, int]]:
    for batch in batches:
        yield from batch.frame.select("op", "id", "version").iter_rows()


def _unkeyed(store: Store, why: str) -> _RefusedError:
    return _RefusedError(
        f"the IDs of {store.pipeline} do not lead back to the source's keys: {why}",
        "does a field rule hash a key column, or has the key changed? Such a store is rebuilt",
    )
