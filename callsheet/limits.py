"""Bounds of one worker, and what it does at a TRUNCATE."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TruncatePolicy(StrEnum):
    PARK = "park"
    """The table waits for a human."""
    SKIP = "skip"
    """The record is counted and passed over; the destination keeps the rows."""
    SWEEP = "sweep"
    """The record is counted and passed over, for tables that allow it: ``callsheet sweep`` writes
    a delete for each row that was there. The other tables are parked."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``docs/configuration.md`` explains each under ``delivery``."""

    poll_events: int = 4_000
    in_hand_events: int = 12_000
    in_hand_bytes: int = 48 * 1024 * 1024
    write_budget_s: float = 60.0
    revoke_budget_s: float = 30.0
    stop_budget_s: float = 30.0
    letters_budget_s: float = 30.0
    commit_interval_s: float = 1.0
    commit_budget_s: float = 60.0
    """A commit without an answer for so long has failed."""
    pause_after_s: float = 5.0
    """How long a full hand is sat out before the assignment is paused."""
    idle_poll_s: float = 0.25
    busy_poll_s: float = 0.02
    """While something is in hand: its progress wants to be looked at."""
    linger_s: float = 0.005
    """After a poll that was not full, while something is in hand: what arrives meanwhile shares the
    cost of the next turn. Nothing in hand: the next record is taken up at once."""
    sweepable: frozenset[str] = frozenset()
    """Tables (database.table) that a policy of SWEEP is meant for."""
    nap_s: float = 0.002
    """Between two looks at a full hand."""
    status_interval_s: float = 0.5
