"""What `callsheet dlq redrive` does: runs of letters, each through a worker of its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random

from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from callsheet.backoff import Backoff, Outage
from callsheet.batch import Offset
from callsheet.delivery import Step, Surroundings
from callsheet.fuse import Fuse, FuseRating
from callsheet.kafka.letters import Choice, Deed, LetterBook, Mark, Run, StoredLetter
from callsheet.kafka.letters_redrive import (
    LetterConsumer,
    Letters,
    MarkStore,
    RedriveLetters,
    Surety,
    Turn,
    planned,
)
from callsheet.limits import Limits, TruncatePolicy
from callsheet.observability.health import ParkedTable, Pulse
from callsheet.observability.metrics import Metrics
from callsheet.ports import Clock, DeadLetters, Deadline, Decoder
from callsheet.sink import Sink
from callsheet.worker import Worker

_LOOK_S = 0.25
_REST_S = 1.0
"""Before a lost transaction is tried again."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which letters are to be redriven; ``is_forced``: also those that failed too often."""

    choice: Choice
    most_attempts: int
    is_forced: bool = False

    def takes(self, letter: StoredLetter) -> bool:
        return self.choice.takes(letter) and not self.is_guarded(letter)

    def is_guarded(self, letter: StoredLetter) -> bool:
        """The loop guard: it has failed as often as it may."""
        return letter.attempts >= self.most_attempts and not self.is_forced


@dataclass(slots=True)
class Outcome:
    """What a redrive came to, in letters."""

    redriven: int = 0
    written: int = 0
    stale: int = 0
    """The destination had this state already, or a newer one."""
    without_row: int = 0
    failed_again: dict[str, int] = field(default_factory=dict)
    """By reason; each is a new letter."""
    parked: list[ParkedTable] = field(default_factory=list)
    gone: list[Offset] = field(default_factory=list)
    """Letters whose record nobody has any more."""
    guarded: int = 0
    remaining: int = 0
    """Chosen, and open still."""
    away: str = ""
    """Why it was given up."""

    def add(self, other: Outcome) -> None:
        for name in ("redriven", "written", "stale", "without_row", "remaining"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failed_again = dict(Counter(self.failed_again) + Counter(other.failed_again))
        self.parked += other.parked
        self.gone += other.gone
        self.away = self.away or other.away


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the workers of a redrive are made of. ``sink``: a new one for each run."""

    log: Letters
    marks: MarkStore
    letters: DeadLetters
    decoder: Decoder
    sink: Callable[[], Sink]
    limits: Limits
    truncate: TruncatePolicy
    logger: FilteringBoundLogger
    clock: Clock
    at: Callable[[Step], None] = lambda _: None


class Redrive:
    """One `callsheet dlq redrive`, while it has the turn."""

    def __init__(self, shop: Workshop, turn: Turn, by: str, patience_s: float) -> None:
        self._shop, self._turn, self._by, self._patience_s = shop, turn, by, patience_s
        self._worker: Worker | None = None
        self._is_stopped = False

    def stop(self) -> None:
        """Finish what is in hand, then return; from any thread or signal."""
        self._is_stopped = True
        self._finish()

    def _finish(self) -> None:
        if self._worker is not None:
            self._worker.stop()

    def run(self, wish: Wish) -> Outcome:
        """First what an earlier redrive left unfinished, then what is wished for."""
        total = Outcome()
        book = self._shop.log.book()
        for run in book.unfinished():
            self._take(run, book, total)
        book = self._shop.log.book()
        begun = {offset for run in book.unfinished() for offset in run.letters}
        fresh = [letter for letter in book.open() if letter.offset not in begun]
        total.guarded = sum(wish.choice.takes(x) and wish.is_guarded(x) for x in fresh)
        for letters in planned([letter for letter in fresh if wish.takes(letter)]):
            if self._is_stopped or total.away:
                total.remaining += len(letters)
            else:
                self._take(self._begun(letters), book, total)
        return total

    def _begun(self, letters: Sequence[StoredLetter]) -> Run:
        """The run, stored: from here on a crash does not change its order."""
        offsets = tuple(letter.offset for letter in letters)
        mark = self._signed(Deed.BEGUN, offsets, 0)
        return Run(self._shop.marks.store(mark, self._soon()), offsets)

    def _soon(self) -> Deadline:
        return Deadline.after(self._shop.clock, self._shop.limits.letters_budget_s)

    def _signed(self, deed: Deed, letters: Sequence[Offset], run: Offset) -> Mark:
        return Mark(deed, tuple(letters), self._by, now_text(), run=run)

    def _take(self, run: Run, book: LetterBook, total: Outcome) -> None:
        """Until it is done or patience ends. Of a transaction that is lost nobody knows whether it
        was committed, but the marks: so the book is read anew before the rest is tried again.
        """
        until = Deadline.after(self._shop.clock, self._patience_s)
        while True:
            before = _open_of(run, book)
            outcome, lost = self._attempt(run, book)
            if not lost:
                total.add(outcome)
                return
            book = self._shop.log.book()
            outcome.redriven = before - _open_of(run, book)
            outcome.remaining = _open_of(run, book)
            is_over = not outcome.remaining or self._is_stopped or until.expired()
            if is_over:
                outcome.away = lost if outcome.remaining else ""
                total.add(outcome)
                return
            total.add(replace(outcome, remaining=0, gone=[], parked=[], away=""))
            self._shop.logger.warning("redrive repeated", cause=lost)
            self._shop.clock.sleep(_REST_S)

    def _attempt(self, run: Run, book: LetterBook) -> tuple[Outcome, str]:
        """What it came to, and why its transaction is lost: then only what is committed counts."""
        shop, metrics, pulse = self._shop, Metrics(CollectorRegistry()), Pulse(self._shop.clock)
        surety = Surety(shop.log, shop.marks, self._turn, shop.clock, self._signed)
        consumer = LetterConsumer(run, book, surety, self._finish)
        committed = Outcome()

        def at(step: Step) -> None:
            nonlocal committed
            if step is Step.COMMITTED:
                committed = _counted(metrics)
            shop.at(step)

        worker = Worker(
            self._world(run, consumer, metrics, pulse, at), (), shop.limits, shop.truncate
        )
        self._worker = worker
        if self._is_stopped:
            worker.stop()
        with self._patience(worker, pulse) as away:
            worker.run()
        shop.marks.wait(self._soon())
        while not consumer.lost and consumer.committed() is not None:
            pass
        outcome = committed if consumer.lost else _counted(metrics)
        _complete(outcome, consumer, pulse, away)
        return outcome, consumer.lost

    def _world(
        self,
        run: Run,
        consumer: LetterConsumer,
        metrics: Metrics,
        pulse: Pulse,
        at: Callable[[Step], None],
    ) -> Surroundings:
        shop = self._shop
        return Surroundings(
            consumer=consumer,
            decoder=shop.decoder,
            sink=shop.sink(),
            letters=RedriveLetters(shop.letters),
            # All of them have failed before: no share of failures says that the pipeline is wrong.
            fuse=Fuse(FuseRating(run_events=len(run.letters) + 1, ratio=1.0)),
            outage=Outage(shop.clock, Backoff(cap_s=5.0), Random()),  # noqa: S311 - jitter
            clock=shop.clock,
            metrics=metrics,
            pulse=pulse,
            log=shop.logger,
            at=at,
        )

    @contextmanager
    def _patience(self, worker: Worker, pulse: Pulse) -> Iterator[list[str]]:
        """Stops the worker when its destination has been away for too long; says why."""
        ended, causes = threading.Event(), list[str]()

        def watch() -> None:
            while not ended.wait(_LOOK_S):
                status = pulse.read()
                since_s = status.held_since_s
                if (
                    since_s is not None
                    and self._shop.clock.monotonic() > since_s + self._patience_s
                ):
                    causes.append(status.held_cause)
                    worker.stop()
                    return

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield causes
        finally:
            ended.set()
            thread.join()


def _open_of(run: Run, book: LetterBook) -> int:
    return len({letter.offset for letter in book.open()}.intersection(run.letters))


def _counted(metrics: Metrics) -> Outcome:
    """What became of the rows."""
    counted = _counts(metrics)
    reasons = {
        sample.labels["reason"]: round(sample.value)
        for family in metrics.dead_lettered.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.value
    }
    return Outcome(
        written=counted["written"],
        stale=counted["stale"] + counted["superseded"],
        without_row=counted["skipped"],
        failed_again=reasons,
    )


def _complete(
    outcome: Outcome, consumer: LetterConsumer, pulse: Pulse, away: Sequence[str]
) -> None:
    """What became of the letters."""
    outcome.redriven, outcome.remaining = consumer.marked, consumer.remaining
    outcome.parked = list(pulse.read().parked)
    outcome.gone = [letter.offset for letter in consumer.gone]
    outcome.away = away[0] if away else ""


def _counts(metrics: Metrics) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for name in ("written", "stale", "superseded", "skipped"):
        for family in getattr(metrics, name).collect():
            found[name] += sum(round(s.value) for s in family.samples if s.name.endswith("_total"))
    return found


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
