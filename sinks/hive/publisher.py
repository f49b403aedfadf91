"""The thread that publishes sealed ranges: one after the other, each lane's in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from structlog.typing import FilteringBoundLogger

from callsheet.backoff import Outage
from callsheet.batch import Offset
from callsheet.errors import FencedError, RetryableError
from callsheet.ports import Clock, Deadline
from sinks.hive.publication import Ownership, Publication, PublishStep, SealedRange
from sinks.hive.ranges import RangeLog
from sinks.hive.stores.port import Store

_LOOK_S: Final = 0.25
"""How often a waiting thread looks at its deadline; whatever happens wakes it at once."""


@dataclass(frozen=True, slots=True)
class Published:
    """What has happened since it was last asked; ``trouble``: what is the matter now."""

    rows: int
    trouble: RetryableError | None


@dataclass(slots=True)
class _State:
    queue: deque[SealedRange] = field(default_factory=deque)
    is_busy: bool = False
    is_closing: bool = False
    rows: int = 0
    trouble: RetryableError | None = None
    ended_by: BaseException | None = None


class Publisher:
    """``at``: called after each step, from the publisher's thread."""

    def __init__(  # noqa: PLR0913 - a neighbour each
        self,
        store: Store,
        clock: Clock,
        outage: Outage,
        log: FilteringBoundLogger,
        *,
        most_waiting: int,
        at: Callable[[PublishStep], None] = lambda _: None,
    ) -> None:
        self._store, self._clock, self._outage, self._log = store, clock, outage, log
        self._most_waiting, self._at, self._ranges = most_waiting, at, RangeLog(store)
        self._state, self._changed = _State(), threading.Condition()
        self._thread = threading.Thread(target=self._run, name="hive-publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    # --- called by the sink ---------------------------------------------------------------------

    def make_room(self, deadline: Deadline) -> None:
        """Wait until another range may be submitted.

        Raises:
            RetryableError: the deadline came first.
        """
        self._await(lambda state: len(state.queue) < self._most_waiting, deadline)

    def submit(self, sealed: SealedRange) -> None:
        with self._changed:
            self._state.queue.append(sealed)
            self._changed.notify_all()

    def drain(self, deadline: Deadline) -> None:
        """Wait until all that was submitted is published.

        Raises:
            RetryableError: the deadline came first.
        """
        self._await(lambda state: not state.queue and not state.is_busy, deadline)

    def forget(self, owners: Collection[Ownership]) -> None:
        """Nothing more of theirs is begun. What is on its way cannot be called back: the claim of
        the next owner either shuts it out or comes after it.
        """
        with self._changed:
            for owner in owners:
                owner.is_over = True
            waiting = self._state.queue
            self._state.queue = deque(sealed for sealed in waiting if not sealed.owner.is_over)
            for sealed in waiting:
                if sealed.owner.is_over:
                    sealed.release()
            self._changed.notify_all()

    def take(self) -> Published:
        """
        Raises:
            FencedError, FatalError: nothing more can be published.
        """
        with self._changed:
            self._check()
            taken = Published(self._state.rows, self._state.trouble)
            self._state.rows = 0
            return taken

    def durable(self, owner: Ownership) -> Offset | None:
        with self._changed:
            return owner.durable

    def stop(self, wait_s: float) -> None:
        """What waits is dropped: it was never durable."""
        with self._changed:
            self._state.is_closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(wait_s)
        with self._changed:
            while self._state.queue:
                self._state.queue.popleft().release()

    def _await(self, is_done: Callable[[_State], bool], deadline: Deadline) -> None:
        with self._changed:
            while True:
                self._check()
                if is_done(self._state):
                    return
                if deadline.expired():
                    cause = self._state.trouble
                    raise RetryableError(
                        cause.message if cause else "the audit's store did not answer in time",
                        hint=cause.hint if cause else "is it slow, or away?",
                    )
                self._changed.wait(min(_LOOK_S, deadline.remaining_s()))

    def _check(self) -> None:
        if self._state.ended_by is not None:
            raise self._state.ended_by

    # --- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (sealed := self._next()) is not None:
                try:
                    self._deliver(sealed)
                finally:
                    sealed.release()
        except BaseException as error:  # noqa: BLE001 - the sink raises it in the worker's thread
            with self._changed:
                self._state.ended_by, self._state.is_busy = error, False
                self._changed.notify_all()

    def _next(self) -> SealedRange | None:
        with self._changed:
            self._state.is_busy = False
            self._changed.notify_all()
            while not self._state.queue and not self._state.is_closing:
                self._changed.wait()
            if self._state.is_closing:
                return None
            self._state.is_busy = True
            return self._state.queue.popleft()

    def _deliver(self, sealed: SealedRange) -> None:
        """Until it is published, or its lane no longer ours, or the sink closed."""
        publication = Publication(sealed, self._store, self._ranges, self._at)
        while self._is_wanted(sealed):
            try:
                entry = publication.proceed()
            except RetryableError as error:
                self._suffer(error)
            except FencedError:
                if self._is_wanted(sealed):
                    raise
            else:
                with self._changed:
                    sealed.owner.last, sealed.owner.durable = entry, entry.end
                    self._state.trouble = None
                    self._state.rows += 0 if sealed.owner.is_over else entry.rows
                self._outage.over()
                self._log.info(
                    "range published",
                    lane=entry.lane.name,
                    first=entry.first,
                    end=entry.end,
                    rows=entry.rows,
                    files=len(entry.files),
                )
                return

    def _is_wanted(self, sealed: SealedRange) -> bool:
        with self._changed:
            return not (sealed.owner.is_over or self._state.is_closing)

    def _suffer(self, error: RetryableError) -> None:
        self._outage.failed(error)
        with self._changed:
            self._state.trouble = error
            self._changed.notify_all()
            while not self._state.is_closing and (rest_s := self._outage.wait_s()):
                self._changed.wait(min(_LOOK_S, rest_s))
