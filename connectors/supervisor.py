"""Keep connectors moving: restart what failed, and what claims to run but does not.

`decide` is the whole judgement, a pure function of an observation, the history so far and the
time; `supervise` feeds it and carries out what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from callsheet.errors import CallsheetError, UnavailableError
from callsheet.ports import Clock
from connectors.progress import BinlogPosition, Progress, has_moved
from connectors.responses import ConnectorStatus, State
from connectors.traces import Kind, root_cause


class Action(StrEnum):
    NONE = "none"
    RESTART_FAILED = "restart failed"
    """Only what is FAILED; the tasks that work go on."""
    RESTART_ALL = "restart all"
    """Connector and tasks, whatever they claim."""


class Health(StrEnum):
    MOVING = "moving"
    WAITING = "waiting"
    """No progress yet, and not for long enough to matter."""
    STALLED = "stalled"
    FAILED = "failed"
    NEEDS_A_PERSON = "needs a person"
    """It would fail again: no restart."""
    PAUSED = "paused"
    SOURCE_AWAY = "source away"
    """MySQL does not answer; Debezium keeps trying by itself."""
    CONNECT_AWAY = "connect away"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Policy:
    stall_s: float = 60.0
    """RUNNING without progress for so long is STALLED. Several heartbeats long."""
    snapshot_stall_s: float = 1800.0
    """The same in a snapshot: a restart begins it anew, so it must not come lightly."""
    backoff_minute_s: float = 60.0
    backoff_max_s: float = 3600.0
    unknown_restarts: int = 5
    """How often a failure that nobody knows is tried again."""
    calm_s: float = 600.0
    """After so long without trouble, the next failure is the first again."""
    heartbeats: bool = True
    """Whether the connector writes a heartbeat row: then silence itself is a symptom."""

    def backoff_s(self, restarts: int) -> float:
        """0, 2, 6, 12, 20, 30, 42, 56, 60 ... minutes: n * n + n, capped."""
        return min((restarts * restarts + restarts) * self.backoff_minute_s, self.backoff_max_s)


@dataclass(frozen=True, slots=True)
class Observation:
    status: ConnectorStatus | None
    progress: Progress
    source: BinlogPosition | None
    """Where MySQL's binlog ends; None if MySQL does not answer."""


@dataclass(frozen=True, slots=True)
class History:
    """What is remembered of one connector; ``begin`` is the first."""

    moved_at_s: float
    progress: Progress | None = None
    source: BinlogPosition | None = None
    """MySQL's position when the connector last moved."""
    restarts: int = 0
    restarted_at_s: float | None = None

    @classmethod
    def begin(cls, now_s: float) -> History:
        return cls(moved_at_s=now_s)


@dataclass(frozen=True, slots=True)
class Decision:
    health: Health
    reason: str
    action: Action = Action.NONE
    hint: str = ""


def decide(
    seen: Observation, history: History, now_s: float, policy: Policy
) -> tuple[Decision, History]:
    """What to do now, and what to remember. ``now_s`` is monotonic."""
    status = seen.status
    if status is None:
        # Also while a worker that has just started reads its topics: that is no stall either.
        decision = Decision(Health.MISSING, "Connect does not know it")
        return decision, replace(history, moved_at_s=now_s)
    if status.state in {State.PAUSED, State.STOPPED}:
        # Deliberate. The time that it takes does not count as a stall afterwards.
        decision = Decision(Health.PAUSED, f"is {status.state.value}")
        return decision, replace(history, moved_at_s=now_s)
    if status.failed:
        return _on_failure(status, history, now_s, policy)
    if history.progress is None or has_moved(history.progress, seen.progress):
        return _on_movement(seen, history, now_s, policy)
    return _on_silence(seen, history, now_s, policy)


def _on_failure(
    status: ConnectorStatus, history: History, now_s: float, policy: Policy
) -> tuple[Decision, History]:
    cause = root_cause(status.traces[0] if status.traces else "")
    worn_out = cause.kind is Kind.UNKNOWN and history.restarts >= policy.unknown_restarts
    if cause.kind is Kind.PERMANENT or worn_out:
        return Decision(Health.NEEDS_A_PERSON, cause.text, hint=cause.hint), history
    wanted = Decision(Health.FAILED, cause.text, Action.RESTART_FAILED)
    return _restart(wanted, history, now_s, policy)


def _on_movement(
    seen: Observation, history: History, now_s: float, policy: Policy
) -> tuple[Decision, History]:
    known = history.restarted_at_s
    calm = known is None or now_s - known >= policy.calm_s
    remembered = replace(
        history,
        moved_at_s=now_s,
        progress=seen.progress,
        source=seen.source or history.source,
        restarts=0 if calm else history.restarts,
    )
    at = seen.progress.position
    what = "is taking its snapshot" if seen.progress.snapshotting else f"is at {at}"
    return Decision(Health.MOVING, what), remembered


def _on_silence(
    seen: Observation, history: History, now_s: float, policy: Policy
) -> tuple[Decision, History]:
    if seen.source is None:
        # A restart cannot bring MySQL back; once it is, the connector gets its full time.
        decision = Decision(Health.SOURCE_AWAY, "MySQL does not answer")
        return decision, replace(history, moved_at_s=now_s)
    silent_s = now_s - history.moved_at_s
    limit_s = policy.snapshot_stall_s if seen.progress.snapshotting else policy.stall_s
    advanced = history.source is None or seen.source > history.source
    if silent_s < limit_s or not (advanced or policy.heartbeats):
        return Decision(Health.WAITING, f"no progress for {silent_s:.0f} s"), history
    why = f"MySQL is at {seen.source}" if advanced else "not even a heartbeat came"
    state = seen.status.state.value if seen.status else State.UNKNOWN.value
    text = f"{state}, but no progress for {silent_s:.0f} s: {why}"
    wanted = Decision(Health.STALLED, text, Action.RESTART_ALL)
    return _restart(wanted, history, now_s, policy)


def _restart(
    wanted: Decision, history: History, now_s: float, policy: Policy
) -> tuple[Decision, History]:
    """What is wanted, if its turn has come: the first at once, the next ones ever later."""
    if history.restarted_at_s is not None:
        left_s = history.restarted_at_s + policy.backoff_s(history.restarts) - now_s
        if left_s > 0:
            reason = f"{wanted.reason} (next restart in {left_s:.0f} s)"
            return replace(wanted, action=Action.NONE, reason=reason), history
    remembered = replace(
        history,
        moved_at_s=now_s,  # it gets its full time to show progress
        restarts=history.restarts + 1,
        restarted_at_s=now_s,
    )
    return wanted, remembered


class Watch(Protocol):
    """Observes and restarts one connector."""

    @property
    def name(self) -> str: ...
    def observe(self) -> Observation:
        """Raises UnavailableError while Connect or Kafka does not answer."""
        ...

    def restart(self, action: Action) -> None: ...


def supervise(  # noqa: PLR0913  (the outside world, injected)
    watches: Sequence[Watch],
    policy: Policy,
    clock: Clock,
    *,
    report: Callable[[str, Decision], None],
    stopped: Callable[[], bool],
    every_s: float = 5.0,
) -> None:
    """Look at each connector in turn until ``stopped``; ``report`` hears every decision."""
    histories = {watch.name: History.begin(clock.monotonic()) for watch in watches}
    while not stopped():
        for watch in watches:
            decision, histories[watch.name] = _look(watch, histories[watch.name], policy, clock)
            report(watch.name, decision)
        clock.sleep(every_s)


def _look(watch: Watch, history: History, policy: Policy, clock: Clock) -> tuple[Decision, History]:
    try:
        seen = watch.observe()
        decision, remembered = decide(seen, history, clock.monotonic(), policy)
        if decision.action is not Action.NONE:
            watch.restart(decision.action)
    except UnavailableError as error:
        # Nobody can be restarted while Connect is away, and its absence is nobody's stall.
        decision = Decision(Health.CONNECT_AWAY, error.message, hint=error.hint)
        return decision, replace(history, moved_at_s=clock.monotonic())
    except CallsheetError as error:
        return Decision(Health.NEEDS_A_PERSON, error.message, hint=error.hint), history
    return decision, remembered
