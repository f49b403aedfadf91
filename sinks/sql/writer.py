"""A thread that carries accepted batches into the database, and keeps at it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from random import Random
from typing import Final

from structlog.typing import FilteringBoundLogger

from callsheet.backoff import Backoff
from callsheet.batch import Batch, Park, Partition
from callsheet.errors import (
    CallsheetError,
    FatalError,
    FencedError,
    ParkTableError,
    RetryableError,
)
from callsheet.ports import Clock, Deadline
from callsheet.sink import Progress
from sinks.sql.dialect import Trouble
from sinks.sql.ledger import Entry, Ledger
from sinks.sql.store import Store, Work, Written
from sinks.sql.trouble import Failed, Fenced

_QUIET_ATTEMPTS: Final = 3
"""Deadlocks in a row before they count as trouble."""
_LATE: Final = (
    "nothing is lost: what is not committed is tried again; if it stays so, look at the replica's "
    "disk, its log and its longest transactions"
)


class Writer:
    """The lock around a :class:`Ledger`, and the thread that works it off."""

    def __init__(  # noqa: PLR0913 - its parts, each used
        self,
        store: Store,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        address: str,
        most_bytes: int,
        most_events: int,
    ) -> None:
        self._store, self._clock, self._log, self._address = store, clock, log, address
        self._most_bytes, self._most_events = most_bytes, most_events
        self._backoff, self._random = Backoff(), Random()  # noqa: S311 - jitter, no secret
        self._ledger = Ledger()
        self._generations: dict[Partition, int] = {}
        self._fenced: set[Partition] = set()
        self._parked: dict[str, ParkTableError] = {}
        self._fatal: CallsheetError | None = None
        self._is_stopping = False
        lock = threading.RLock()
        self._work = threading.Condition(lock)
        """The thread waits here."""
        self._answers = threading.Condition(lock)
        """The worker waits here."""
        self._thread = threading.Thread(target=self._run, name="replica", daemon=True)

    # --- the worker's side ----------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self, wait_s: float) -> None:
        """Begin no other transaction. One under way is given ``wait_s``."""
        with self._work:
            self._is_stopping = True
            self._work.notify_all()
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    def own(self, generations: Mapping[Partition, int]) -> None:
        with self._work:
            self._generations |= generations
            self._fenced -= generations.keys()

    def accept(self, batch: Batch, deadline: Deadline) -> None:
        """Raises RetryableError when there is no room before the deadline."""
        with self._answers:
            self._check()
            if (park := self._parked.get(batch.topic)) is not None:
                raise ParkTableError(park.topic, park.reason, park.detail, hint=park.hint)
            held = self._ledger
            while held.size_bytes and held.size_bytes + batch.size_bytes > self._most_bytes:
                self._wait(deadline, "the line to the replica stayed full")
            held.accept(batch)
            self._work.notify()

    def progress(self) -> Progress:
        with self._answers:
            self._check()
            return self._ledger.take()

    def flush(self, deadline: Deadline) -> None:
        with self._answers:
            self._check()
            while self._ledger.line:
                self._wait(deadline, "the replica did not take all events in time")

    def forget(self, partitions: Collection[Partition]) -> None:
        with self._work:
            self._ledger.forget(partitions)
            for partition in partitions:
                self._generations.pop(partition, None)
            self._fenced -= set(partitions)
            self._work.notify()

    def _wait(self, deadline: Deadline, late: str) -> None:
        if deadline.expired():
            trouble = self._ledger.trouble
            raise RetryableError(f"{late}: {trouble.message}" if trouble else late, hint=_LATE)
        self._answers.wait(deadline.remaining_s())
        self._check()

    def _check(self) -> None:
        if self._fatal is not None:
            raise self._fatal
        if self._fenced:
            raise FencedError(
                f"another worker writes {', '.join(map(str, sorted(self._fenced)))} by now",
                hint="nothing is lost; this worker was taken for dead, and begins anew",
            )

    # --- the thread's side ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (group := self._next()) is not None:
                self._carry(group)
        except BaseException as error:
            self._end(
                error
                if isinstance(error, CallsheetError)
                else FatalError(
                    f"the replica's thread broke: {type(error).__name__}",
                    hint="this is a defect of Callsheet; the offsets are kept",
                )
            )
            if not isinstance(error, CallsheetError):
                raise

    def _end(self, error: CallsheetError) -> None:
        with self._answers:
            self._fatal = error
            self._answers.notify_all()

    def _next(self) -> list[Entry] | None:
        """Wait for something to write; None when stopping."""
        with self._work:
            while not self._is_stopping:
                if self._ledger.line:
                    return self._ledger.next_group(self._most_events)
                self._work.wait()
            return None

    def _carry(self, group: list[Entry]) -> None:
        """Until the group is committed, or nothing of it is ours. The group stays the same from
        try to try: only so can the outcome of a commit that nobody answered be found out.
        """
        attempt = 0
        while True:
            works, generations = self._still_ours(group)
            if not works or self._is_stopping:
                return
            try:
                written = self._store.write([work for _, work in works], generations)
            except Failed as failure:
                self._suffer(failure, attempt)
                attempt += 1
            except Fenced as fenced:
                self._fence(fenced, generations)
            except ParkTableError as park:
                self._park(park)
                return
            else:
                self._settle(works, written)
                return

    def _still_ours(
        self, group: list[Entry]
    ) -> tuple[list[tuple[Entry, Work]], dict[Partition, int]]:
        with self._answers:
            works: list[tuple[Entry, Work]] = []
            for entry in group:
                work = entry.work()
                if work is not None:
                    works.append((entry, work))
                elif entry in self._ledger.line:
                    self._ledger.drop(entry)
            self._answers.notify_all()
            return works, dict(self._generations)

    def _settle(self, works: list[tuple[Entry, Work]], written: Written) -> None:
        with self._answers:
            for (entry, work), outcome in zip(works, written.outcomes, strict=True):
                self._ledger.settle(entry, outcome, work.ends())
                for partition in work.ends():
                    if not entry.is_gone(partition):
                        self._generations[partition] = written.generations[partition]
            self._ledger.trouble = None
            self._answers.notify_all()

    def _suffer(self, failure: Failed, attempt: int) -> None:
        error = failure.as_error(self._address)
        if isinstance(error, FatalError):
            raise error
        is_trouble = failure.trouble is Trouble.AWAY or attempt >= _QUIET_ATTEMPTS
        if is_trouble and self._ledger.trouble is None:
            self._log.warning("replica in trouble", cause=failure.detail)
        with self._work:
            if is_trouble:
                self._ledger.trouble = error
            if not self._is_stopping:
                self._work.wait(self._backoff.delay_s(attempt, self._random))

    def _fence(self, fenced: Fenced, generations: Mapping[Partition, int]) -> None:
        """The worker is told, unless we have learnt meanwhile that these are no longer ours, or
        have claimed them anew: then it was we who fenced what was under way.
        """
        self._log.warning("fenced", partitions=str(fenced))
        with self._answers:
            ours = {
                place
                for place in fenced.partitions
                if place in generations and self._generations.get(place) == generations[place]
            }
            self._ledger.forget(ours)
            self._fenced |= ours
            self._answers.notify_all()

    def _park(self, park: ParkTableError) -> None:
        with self._answers:
            self._parked[park.topic] = park
            self._ledger.park(Park(park.topic, park.reason, park.detail))
            self._answers.notify_all()
