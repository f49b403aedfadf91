"""What keeps a long-lived audit quick, in the order that is safe: merge, show, clean, fold."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from callsheet.errors import PreconditionError, RetryableError, UnavailableError
from callsheet.ports import Clock
from sinks.hive.cleaning import clean, due
from sinks.hive.compaction import Candidate, Compaction, candidates
from sinks.hive.contents import Contents, View
from sinks.hive.expiry import Expired, expire, expired
from sinks.hive.folding import fold_lane
from sinks.hive.partitions import PartitionLog, PartitionState, is_claimed
from sinks.hive.ranges import RangeLog
from sinks.hive.settings import HiveSettings
from sinks.hive.spool import SpoolOptions

_HOUR_S: Final = 3_600
Show = Callable[[], object]
"""Makes Hive show what counts now."""


@dataclass(slots=True)
class Maintained:
    """What was done. ``hive_is_away``: it shows the old files, which therefore stay."""

    partitions: list[dict[str, object]] = field(default_factory=list)
    cleaned_files: int = 0
    folded_entries: int = 0
    hive_is_away: str = ""


class Maintenance:
    """``show``: None where no Hive is named. ``tables``: only these; empty: all.

    ``take_over``: a claim that looks alive is known to be that of a run that has crashed.
    """

    def __init__(  # noqa: PLR0913 - a neighbour each
        self,
        log: RangeLog,
        settings: HiveSettings,
        clock: Clock,
        *,
        show: Show | None = None,
        tables: Collection[str] = (),
        take_over: bool = False,
    ) -> None:
        self._log, self._settings, self._clock, self._show = log, settings, clock, show
        self._tables, self._take_over = tables, take_over
        self._options = SpoolOptions(
            settings.spool_dir, settings.compression, settings.row_group_rows
        )

    # --- what there is to do --------------------------------------------------------------------

    def compactable(self, older_than_days: int | None = None) -> list[Candidate]:
        """
        Raises:
            PreconditionError: somebody else is at work.
        """
        rules = self._settings.compaction
        days = rules.older_than_days if older_than_days is None else older_than_days
        before = self._today() - timedelta(days=days - 1)
        return candidates(self._view(), before, rules.spare_files, rules.target_bytes)

    def expirable(self, days: int) -> list[Expired]:
        """
        Raises:
            PreconditionError: somebody else is at work.
        """
        return expired(self._view(), self._today() - timedelta(days=days))

    def _view(self) -> View:
        view = Contents(self._log).view(self._tables or self._log.tables(), in_place=True)
        for states in view.states.values():
            for state in states.values():
                self._require_free(state)
        return view

    def _require_free(self, state: PartitionState) -> None:
        if is_claimed(state, self._now()) and not self._take_over:
            raise PreconditionError(
                f"somebody works on {state.place} since {state.claimed_at}",
                hint="one compaction or expiry at a time; if that one has crashed: --take-over, or "
                "wait until its claim is an hour old",
            )

    # --- doing it -------------------------------------------------------------------------------

    def compact(self, found: Collection[Candidate]) -> Maintained:
        done, compaction = Maintained(), Compaction(self._log, self._options, self._now)
        for candidate in found:
            state = compaction.run(candidate)
            done.partitions.append(described(candidate, state))
        self._finish(done)
        self._fold(done)
        return done

    def expire(self, found: Collection[Expired]) -> Maintained:
        done = Maintained()
        for each in found:
            expire(self._log, each, self._now())
            done.partitions.append(told(each))
        self._finish(done)
        return done

    def _finish(self, done: Maintained) -> None:
        """Also what an earlier run has left. Nothing is removed before Hive has let go of it."""
        view = Contents(self._log).view(self._tables or self._log.tables())
        grace_s = self._settings.compaction.grace_hours * _HOUR_S
        if self._show is not None:
            try:
                self._show()
            except (RetryableError, UnavailableError) as error:
                done.hive_is_away = error.message
                return
        for state in due(view, self._now(), grace_s):
            done.cleaned_files += clean(self._log, view, state)

    def _fold(self, done: Maintained) -> None:
        older_than_s = self._settings.compaction.grace_hours * _HOUR_S
        states = {
            table: PartitionLog(self._log.store).newest(table) for table in self._log.tables()
        }
        for lane in self._log.lanes():
            done.folded_entries += fold_lane(
                self._log, lane, states, self._now(), older_than_s=older_than_s
            )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)

    def _today(self) -> date:
        return self._now().date()


def described(candidate: Candidate, state: PartitionState | None = None) -> dict[str, object]:
    """For a report; without a state: what would be done."""
    before = sum(piece.file.size_bytes for piece in candidate.pieces)
    after = sum(each.file.size_bytes for each in state.files) if state else None
    return {
        "table": candidate.state.table,
        "date": candidate.state.date,
        "files": len(candidate.pieces),
        "merged_files": len(candidate.bundles),
        "rows": sum(bundle.rows for bundle in candidate.bundles),
        "size_bytes": before,
        "merged_bytes": after,
    }


def told(each: Expired) -> dict[str, object]:
    """For a report."""
    return {
        "table": each.state.table,
        "date": each.state.date,
        "files": len(each.pieces),
        "rows": each.rows,
        "size_bytes": sum(piece.file.size_bytes for piece in each.pieces),
    }
