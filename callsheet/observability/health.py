"""Is a worker alive, and is it ready? What it publishes for those who ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from callsheet.ports import Clock

if TYPE_CHECKING:
    from callsheet.observability.relay import FamilySnapshot


@dataclass(frozen=True, slots=True)
class ParkedTable:
    topic: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker as it sees itself. Times are monotonic, which all processes of a machine share."""

    started_s: float = 0.0
    turned_s: float = 0.0
    assigned: tuple[tuple[str, int], ...] = ()
    """Topic and number of each partition that it owns."""
    has_joined: bool = False
    """The group gave it an assignment, even an empty one."""
    committed: dict[str, int | None] = field(default_factory=dict)
    """Per partition (``topic[n]``) the first uncommitted offset, None while unknown."""
    in_hand_events: int = 0
    is_paused: bool = False
    held_since_s: float | None = None
    held_cause: str = ""
    parked: tuple[ParkedTable, ...] = ()


@dataclass(frozen=True, slots=True)
class HealthLimits:
    turn_s: float
    """A loop that has not turned for so long hangs."""
    held_s: float = 120.0
    """So long may a destination be away before the worker counts as not ready."""


@dataclass(frozen=True, slots=True)
class Verdict:
    is_well: bool
    detail: str


class Pulse:
    """Where the loop leaves its state; read by another thread. Each write is one assignment."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._status = WorkerStatus(started_s=clock.monotonic())
        self._turned_s = clock.monotonic()
        self.balance: Sequence[FamilySnapshot] = ()
        """The counters and gauges of the conservation law, all of one moment between two turns."""

    def beat(self) -> None:
        """The loop turned."""
        self._turned_s = self._clock.monotonic()

    def publish(self, status: WorkerStatus, balance: Sequence[FamilySnapshot] = ()) -> None:
        self._status = replace(status, started_s=self._status.started_s)
        self.balance = balance

    def read(self) -> WorkerStatus:
        return replace(self._status, turned_s=self._turned_s)


def liveness(status: WorkerStatus, limits: HealthLimits, now_s: float) -> Verdict:
    """Alive: the loop turned lately. An outage of a neighbour does not make a worker dead."""
    silent_s = now_s - status.turned_s
    if silent_s > limits.turn_s:
        return Verdict(is_well=False, detail=f"the loop has not turned for {silent_s:.0f} s")
    return Verdict(is_well=True, detail="the loop turns")


def readiness(status: WorkerStatus, limits: HealthLimits, now_s: float) -> Verdict:
    """Ready: alive, a member of its group, and not held for too long."""
    live = liveness(status, limits, now_s)
    if not live.is_well:
        return live
    if not status.has_joined:
        return Verdict(is_well=False, detail=status.held_cause or "not assigned yet")
    if status.held_since_s is not None and now_s - status.held_since_s > limits.held_s:
        held_s = now_s - status.held_since_s
        return Verdict(is_well=False, detail=f"held for {held_s:.0f} s: {status.held_cause}")
    if status.parked:
        return Verdict(is_well=True, detail="parked: " + ", ".join(p.topic for p in status.parked))
    return Verdict(is_well=True, detail="delivering")
