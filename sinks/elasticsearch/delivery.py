"""What to send next, and what an answer means for the lanes, the ledger and the pressure.

No threads, no I/O: :mod:`sender` has both. Not thread-safe; the sender's lock guards it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from structlog.typing import FilteringBoundLogger

from callsheet.batch import Batch, Park, Partition
from callsheet.errors import (
    CallsheetError,
    ParkTableError,
    Reason,
    RetryableError,
    ThrottledError,
)
from callsheet.ports import Clock
from callsheet.sink import Progress
from sinks.elasticsearch.lanes import MERGE_BELOW_BYTES, Chunk, Lane, Lanes, Request
from sinks.elasticsearch.ledger import Entry, Ledger
from sinks.elasticsearch.outcome import Item, Outcome
from sinks.elasticsearch.pressure import Pressure
from sinks.elasticsearch.render import Rendered
from sinks.elasticsearch.suspicion import Suspicion, Verdict, Witness


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The server takes no request of that size (HTTP 413)."""


Answer = Sequence[Item] | None | CallsheetError | TooLarge
"""Item by item; None: all written; or what went wrong with the whole request."""


_TAKEN: Final = frozenset({Outcome.WRITTEN, Outcome.STALE})
_SENTENCES: Final = {
    Verdict.HOLD: Outcome.FAILED,
    Verdict.POISON: Outcome.REJECTED,
    Verdict.PARK: Outcome.PARK,
}


@dataclass(slots=True)
class Delivery:
    """All that was accepted and has no final answer yet."""

    lanes: Lanes
    pressure: Pressure
    clock: Clock
    log: FilteringBoundLogger
    ledger: Ledger = field(default_factory=Ledger)
    witness: Witness = field(default_factory=Witness)
    fatal: CallsheetError | None = None
    halted: dict[str, Park] = field(default_factory=dict)
    """By topic the tables whose index cannot be written."""
    in_flight: int = 0
    _untold: list[Park] = field(default_factory=list)
    _in_flight_bytes: int = 0

    @property
    def held_bytes(self) -> int:
        return self.lanes.waiting_bytes + self._in_flight_bytes

    def check(self, topic: str) -> None:
        """Raise what stands in the way of another batch of this topic."""
        if self.fatal is not None:
            raise self.fatal
        if topic in self.halted:
            park = self.halted[topic]
            raise ParkTableError(
                topic,
                park.reason,
                park.detail,
                hint="rebuild the index, or give back the right to write it; restart the worker",
            )

    def accept(self, batch: Batch, alias: str, rendered: Rendered) -> None:
        """The whole batch is ours from here on.

        Raises:
            ParkTableError: the table was halted meanwhile. Accepted now, the batch would become
                durable over the head of those that were dropped.
        """
        self.check(batch.topic)
        entry = Entry(
            topic=batch.topic,
            alias=alias,
            schema=batch.schema,
            messages=batch.messages,
            ends=batch.next_offsets(),
            remaining=rendered.operations,
            superseded=rendered.superseded,
        )
        for refusal in rendered.refusals:
            self.ledger.refuse(entry, refusal.row, refusal.reason, refusal.detail)
        self.ledger.accept(entry)
        for piece in rendered.pieces:
            self.lanes.add(piece.lane, Chunk(entry, piece.rows, piece.body))

    def progress(self) -> Progress:
        durable, rejections, counts = self.ledger.take()
        parked, self._untold = self._untold, []
        return Progress(durable, rejections, counts, self.lanes.trouble(), parked)

    def forget(self, partitions: Collection[Partition]) -> None:
        """Send nothing more of these. A request in flight cannot be called back."""
        self.ledger.forget(partitions)
        self._drop_forgotten()

    @property
    def is_ripe(self) -> bool:
        """Is what waits worth a request now?

        Little of it waits while a request is under way: a request costs more than its bytes, and
        what arrives meanwhile goes along (as small TCP segments do, RFC 896).
        """
        if self.in_flight >= self.pressure.in_flight:
            return False
        worth = min(MERGE_BELOW_BYTES, self.pressure.request_bytes)
        return not self.in_flight or self.lanes.waiting_bytes >= worth

    def take(self, now_s: float) -> Request | None:
        """The next request, if one may go now."""
        if not self.is_ripe:
            return None
        request = self.lanes.take(now_s, self.pressure.request_bytes)
        if request is not None:
            self.in_flight += 1
            self._in_flight_bytes += request.size_bytes
        return request

    def settle(self, request: Request, answer: Answer) -> Mapping[str, int]:
        """Book the answer, give back what must go again; returns what was written, by alias."""
        self.in_flight -= 1
        self._in_flight_bytes -= request.size_bytes
        for load in request.loads:
            load.lane.is_busy = False
        match answer:
            case TooLarge():
                self._too_large(request)
            case RetryableError():
                self._refused(request, answer)
            case CallsheetError():
                self._stopped(request, answer)
            case _:
                return self._answered(request, answer)
        return {}

    def _stopped(self, request: Request, error: CallsheetError) -> None:
        self.fatal = self.fatal or error
        for load in request.loads:
            self.lanes.give_back(load.lane, load.chunks)

    def _refused(self, request: Request, error: RetryableError) -> None:
        self.pressure.refused()
        self.log.warning("bulk request failed", cause=error.message)
        for load in request.loads:
            for chunk in load.chunks:
                chunk.attempts += 1
            self._again(load.lane, load.chunks, error)

    def _too_large(self, request: Request) -> None:
        size = request.size_bytes
        if request.operations > 1:
            self.pressure.too_large(size)
            for load in request.loads:
                self.lanes.give_back(load.lane, load.chunks)
            return
        for chunk in request.chunks:
            detail = f"the server takes no request of {size:,} bytes (HTTP 413)"
            self.ledger.reject(chunk.entry, chunk.rows[0], Reason.OVERSIZE, detail)

    def _answered(self, request: Request, items: Sequence[Item] | None) -> Mapping[str, int]:
        at, is_refused = 0, False
        written: Counter[str] = Counter()
        items = self._judged(request, items)
        for load in request.loads:
            back: list[Chunk] = []
            start = at
            for chunk in load.chunks:
                mine = None if items is None else items[at : at + len(chunk.rows)]
                at += len(chunk.rows)
                back += self._book(chunk, mine, written)
            load.lane.trouble, load.lane.not_before_s = None, 0.0
            if back:
                is_refused = True
                self._again(load.lane, back, _put_off((items or ())[start:at]))
        if is_refused:
            self.pressure.refused()
        else:
            self.pressure.passed()
        if self.halted:
            self._drop_forgotten()
        return written

    def _judged(self, request: Request, items: Sequence[Item] | None) -> Sequence[Item] | None:
        """The answer, once it is decided what operations are on which the server broke."""
        taken: set[str] = set()
        at = 0
        for chunk in request.chunks:
            mine = () if items is None else items[at : at + len(chunk.rows)]
            at += len(chunk.rows)
            if items is None or any(item.outcome in _TAKEN for item in mine):
                taken.add(chunk.entry.alias)
        for alias in taken:
            self.witness.took(alias)
        if items is None or not any(item.outcome is Outcome.FAILED for item in items):
            return items
        judged: list[Item] = []
        for chunk in request.chunks:
            mine = items[len(judged) : len(judged) + len(chunk.rows)]
            judged += self._sentenced(chunk, mine, with_others=chunk.entry.alias in taken)
        return judged

    def _sentenced(
        self, chunk: Chunk, items: Sequence[Item], *, with_others: bool
    ) -> Sequence[Item]:
        if not any(item.outcome is Outcome.FAILED for item in items):
            return items
        alias = chunk.entry.alias
        verdict = self.witness.broke(chunk.suspicion, alias, with_others=with_others)
        final = _SENTENCES[verdict]
        return [Item(final, i.detail) if i.outcome is Outcome.FAILED else i for i in items]

    def _book(
        self, chunk: Chunk, items: Sequence[Item] | None, written: Counter[str]
    ) -> list[Chunk]:
        """Returns what has to go again."""
        if items is None:
            written[chunk.entry.alias] += len(chunk.rows)
            self.ledger.settle(chunk.entry, written=len(chunk.rows))
            return []
        counts: Counter[Outcome] = Counter()
        for place, item in enumerate(items):
            match item.outcome:
                case Outcome.AGAIN | Outcome.FAILED:
                    pass
                case Outcome.REJECTED:
                    row = chunk.rows[place]
                    self.ledger.reject(chunk.entry, row, Reason.REJECTED, item.detail)
                case Outcome.PARK:
                    self._halt(chunk.entry, item.detail)
                    self.ledger.drop(chunk.entry, 1)
                case outcome:
                    counts[outcome] += 1
        written[chunk.entry.alias] += counts[Outcome.WRITTEN]
        self.ledger.settle(
            chunk.entry, written=counts[Outcome.WRITTEN], stale=counts[Outcome.STALE]
        )
        return _unanswered(chunk, items)

    def _halt(self, entry: Entry, detail: str) -> None:
        if entry.topic not in self.halted:
            park = Park(entry.topic, "index not writable", detail)
            self.halted[entry.topic] = park
            self._untold.append(park)
            self.log.error("table parked", topic=entry.topic, detail=detail)
            self.ledger.halt(entry.topic)

    def _again(self, lane: Lane, chunks: Sequence[Chunk], trouble: RetryableError) -> None:
        attempt = min(chunk.attempts for chunk in chunks) - 1
        asked = trouble.retry_after_s if isinstance(trouble, ThrottledError) else None
        lane.not_before_s = self.clock.monotonic() + self.pressure.delay_s(attempt, asked)
        lane.trouble = trouble
        self.lanes.give_back(lane, chunks)
        self._drop_forgotten(only=chunks)

    def _drop_forgotten(self, only: Sequence[Chunk] | None = None) -> None:
        if only is not None and not any(chunk.entry.forgotten for chunk in only):
            return
        for entry, operations in self.lanes.sift(lambda e, row: not e.is_forgotten(row)):
            self.ledger.drop(entry, operations)


def _unanswered(chunk: Chunk, items: Sequence[Item]) -> list[Chunk]:
    """What goes again; apart, because nothing is held against what was only put off for load."""
    broken = [p for p, item in enumerate(items) if item.outcome is Outcome.FAILED]
    put_off = [p for p, item in enumerate(items) if item.outcome is Outcome.AGAIN]
    rests: list[Chunk] = []
    if broken:
        rests.append(chunk.select(broken, chunk.attempts + 1))
    if put_off:
        rest = chunk.select(put_off, chunk.attempts + 1)
        rest.suspicion = Suspicion()
        rests.append(rest)
    return rests


def _put_off(items: Sequence[Item]) -> RetryableError:
    broken = next((item for item in items if item.outcome is Outcome.FAILED), None)
    if broken is None:
        return RetryableError("Elasticsearch put documents off")
    return RetryableError(
        f"Elasticsearch breaks on documents (HTTP 500): {broken.detail}",
        hint="look at its log; what breaks is tried again until others of its index are taken",
    )
