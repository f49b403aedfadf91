"""Carries planned transactions out at a steady rate, through lost connections and back."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from callsheet.errors import FatalError, UnavailableError
from finance.database import is_connection_lost, is_worth_repeating
from finance.simulate.change import Change
from finance.simulate.planner import Planner
from finance.simulate.schedule import Schedule, Until
from finance.simulate.studio import Studio
from finance.simulate.summary import Progress, Summary, Tally

PROGRESS_EVERY_S: Final = 1.0
_BACKOFF_FIRST_S: Final = 0.2
_BACKOFF_MOST_S: Final = 5.0
_CONFLICTS_IN_A_ROW: Final = 20


class Simulator:
    """A studio at work, on one connection; good for one run.

    The same seed on equal databases makes the same transactions, whatever the rate (unless a
    connection is lost or someone else writes). It begins with what the database holds, so another
    one can go on where this one ended.

    `commit_changes`: rows of a large transaction. `patience_s`: how long MySQL may be away.
    `stop`: set it, from a signal handler say, and the run ends after the transaction in hand.
    """

    def __init__(  # noqa: PLR0913 - what may differ is injected, and each has a default
        self,
        engine: sa.Engine,
        seed: int,
        *,
        commit_changes: int = 20,
        patience_s: float = 60.0,
        stop: threading.Event | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._seed = seed
        self._planner = Planner(random.Random(seed), commit_changes)  # noqa: S311 - no secret
        self._jitter = random.Random()  # noqa: S311 - its own, so that waiting changes no plan
        self._patience_s = patience_s
        self._stop = stop or threading.Event()
        self._clock_s = clock_s
        self._on_progress = on_progress
        self._tally = Tally()
        self._reported_s = 0.0
        self._away_since_s: float | None = None
        self._failures = 0

    def run(self, rate_per_s: float, until: Until) -> Summary:
        """Changes the database at `rate_per_s` rows a second until then, or until stopped.

        Raises UnavailableError when MySQL stays away longer than `patience_s`, FatalError when
        every transaction collides with someone else's.
        """
        schedule = Schedule(rate_per_s, until, self._clock_s)
        while not self._is_over(schedule):
            try:
                self._work(schedule)
            except DBAPIError as error:
                self._recover(error)
        return self._tally.summary(self._seed, schedule.elapsed_s)

    def _is_over(self, schedule: Schedule) -> bool:
        return self._stop.is_set() or schedule.is_over(self._tally.changes)

    def _work(self, schedule: Schedule) -> None:
        """Reads what exists, then changes it until the run is over or an error ends the session.

        After any error the state is read anew: what was planned is in memory already, and
        whether it is in MySQL too may not be known.
        """
        with self._engine.connect() as connection:
            studio = Studio.read(connection)
            connection.rollback()
            while not self._is_over(schedule):
                ahead_s = schedule.ahead_s(self._tally.changes)
                if ahead_s > 0 and (self._stop.wait(ahead_s) or self._is_over(schedule)):
                    return
                transaction = self._planner.next_transaction(studio)
                self._carry_out(connection, transaction)
                self._tally.add(transaction)
                self._away_since_s, self._failures = None, 0
                self._report(schedule)

    def _carry_out(self, connection: sa.Connection, transaction: Sequence[Change]) -> None:
        for change in transaction:
            connection.execute(change.statement, change.parameters)
        try:
            connection.commit()
        except DBAPIError as error:
            self._tally.unconfirmed += is_connection_lost(error)
            raise

    def _recover(self, error: DBAPIError) -> None:
        """Returns when it is worth going on; raises when it is not."""
        self._failures += 1
        if is_connection_lost(error):
            self._tally.reconnects += 1
            self._wait_for_mysql(error)
        elif is_worth_repeating(error) or isinstance(error, IntegrityError):
            self._tally.conflicts += 1
            if self._failures >= _CONFLICTS_IN_A_ROW:
                raise FatalError(
                    f"{self._failures} transactions in a row collided with someone else's.",
                    hint="Let one simulation at a time change a database.",
                ) from error
        else:
            raise error

    def _wait_for_mysql(self, error: DBAPIError) -> None:
        now_s = self._clock_s()
        if self._away_since_s is None:
            self._away_since_s = now_s
        if now_s - self._away_since_s >= self._patience_s:
            raise UnavailableError(
                f"MySQL has been away for {self._patience_s:g} s.",
                hint="See `callsheet stack status`; the simulation goes on from what is stored "
                "when it is started again.",
            ) from error
        limit_s = min(_BACKOFF_MOST_S, _BACKOFF_FIRST_S * 2 ** min(self._failures, 10))
        self._stop.wait(self._jitter.uniform(0, limit_s))

    def _report(self, schedule: Schedule) -> None:
        elapsed_s = schedule.elapsed_s
        if elapsed_s - self._reported_s < PROGRESS_EVERY_S:
            return
        self._reported_s = elapsed_s
        tally = self._tally
        behind_s = max(0.0, -schedule.ahead_s(tally.changes))
        self._on_progress(Progress(tally.changes, tally.transactions, elapsed_s, behind_s))
