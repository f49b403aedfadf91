"""The judgement, on literals: seconds on the left, what is seen, what is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from callsheet.errors import FatalError, UnavailableError
from connectors.progress import BinlogPosition, has_moved, measure
from connectors.responses import SourceOffset, State
from connectors.supervisor import (
    Action,
    Decision,
    Health,
    History,
    Observation,
    Policy,
    decide,
    supervise,
)
from tests.unit.connectors.builders import FakeClock, a_progress, a_status, at
from tests.unit.connectors.test_traces import PURGED, REFUSED

POLICY = Policy(stall_s=60, snapshot_stall_s=600, calm_s=600)
UNKNOWN = "java.lang.IllegalStateException: huh"


def seen(position: int = 100, source: int | None = 100, **status: object) -> Observation:
    return Observation(
        status=a_status(**status),  # type: ignore[arg-type]
        progress=a_progress(position),
        source=None if source is None else at(source),
    )


def failed(trace: str) -> Observation:
    return seen(task=State.FAILED, trace=trace)


def play(*scenes: tuple[float, Observation], policy: Policy = POLICY) -> list[Decision]:
    history, decisions = History.begin(0.0), []
    for now_s, observation in scenes:
        decision, history = decide(observation, history, now_s, policy)
        decisions.append(decision)
    return decisions


def healths(decisions: Sequence[Decision]) -> list[Health]:
    return [decision.health for decision in decisions]


def actions(decisions: Sequence[Decision]) -> list[Action]:
    return [decision.action for decision in decisions]


def test_progress_is_health() -> None:
    found = play((0, seen(100)), (5, seen(100)), (10, seen(200)), (100, seen(300)))
    assert healths(found) == [Health.MOVING, Health.WAITING, Health.MOVING, Health.MOVING]
    assert set(actions(found)) == {Action.NONE}


def test_running_without_progress_while_mysql_advances_is_restarted() -> None:
    found = play((0, seen(100, 100)), (59, seen(100, 900)), (60, seen(100, 900)))
    assert healths(found) == [Health.MOVING, Health.WAITING, Health.STALLED]
    assert actions(found)[-1] is Action.RESTART_ALL
    assert "MySQL is at binlog.000007:900" in found[-1].reason


def test_silence_itself_is_a_symptom_where_a_heartbeat_is_promised() -> None:
    scenes = ((0.0, seen(100, 100)), (60.0, seen(100, 100)))
    assert play(*scenes)[-1].action is Action.RESTART_ALL
    idle = play(*scenes, policy=Policy(stall_s=60, heartbeats=False))
    assert idle[-1].health is Health.WAITING


def test_after_a_stall_it_gets_its_full_time_and_then_waits_ever_longer() -> None:
    stuck = seen(100, 900)
    found = play((0, stuck), (60, stuck), (100, stuck), (121, stuck), (181, stuck), (240, stuck))
    assert actions(found) == [
        Action.NONE,
        Action.RESTART_ALL,
        Action.NONE,
        Action.NONE,  # stalled again, but the second restart comes 2 minutes after the first
        Action.RESTART_ALL,
        Action.NONE,
    ]


def test_a_quiet_snapshot_gets_more_time_because_a_restart_begins_it_anew() -> None:
    def snapshot(written: int) -> Observation:
        return Observation(a_status(), a_progress(4, written=written, snapshot=True), at(900))

    found = play(
        (0, snapshot(10)), (500, snapshot(10)), (550, snapshot(11)), (1149, snapshot(11)),
        (1150, snapshot(11)),
    )  # fmt: skip
    assert actions(found)[:-1] == [Action.NONE] * 4
    assert found[2].reason == "is taking its snapshot"
    assert found[-1].action is Action.RESTART_ALL


def test_no_restart_brings_mysql_back_and_its_absence_is_no_stall() -> None:
    away = seen(100, None)
    found = play((0, seen(100)), (100, away), (5000, away), (5059, seen(100, 900)))
    assert healths(found)[1:] == [Health.SOURCE_AWAY, Health.SOURCE_AWAY, Health.WAITING]


@pytest.mark.parametrize("state", [State.PAUSED, State.STOPPED])
def test_a_pause_is_deliberate_and_no_stall_afterwards(state: State) -> None:
    resting = seen(100, 900, state=state)
    found = play((0, seen(100)), (10, resting), (5000, resting), (5050, seen(100, 900)))
    assert healths(found)[1:] == [Health.PAUSED, Health.PAUSED, Health.WAITING]


def test_a_failed_task_is_restarted_at_once_and_then_ever_later() -> None:
    scenes = [(float(s), failed(REFUSED)) for s in (0, 60, 119, 120, 479, 480, 1199, 1200)]
    assert [now for now, d in zip((s for s, _ in scenes), play(*scenes), strict=True)
            if d.action is Action.RESTART_FAILED] == [0, 120, 480, 1200]  # fmt: skip


def test_the_backoff_is_n_times_n_plus_n_minutes_capped() -> None:
    assert [POLICY.backoff_s(n) / 60 for n in range(10)] == [0, 2, 6, 12, 20, 30, 42, 56, 60, 60]


def test_what_would_fail_again_waits_for_a_person() -> None:
    (decision,) = play((0, failed(PURGED)))
    assert decision.health is Health.NEEDS_A_PERSON
    assert decision.action is Action.NONE
    assert "offsets reset" in decision.hint


def test_a_failure_that_nobody_knows_is_tried_a_few_times() -> None:
    found = play(*((n * 10_000.0, failed(UNKNOWN)) for n in range(7)))
    assert actions(found) == [Action.RESTART_FAILED] * 5 + [Action.NONE] * 2
    assert found[-1].health is Health.NEEDS_A_PERSON


def test_after_a_calm_time_the_next_failure_is_the_first_again() -> None:
    found = play(
        (0, failed(REFUSED)), (10, seen(200)), (700, seen(300)), (710, failed(REFUSED)),
        (830, failed(REFUSED)),
    )  # fmt: skip
    assert actions(found)[3] is Action.RESTART_FAILED
    assert actions(found)[4] is Action.RESTART_FAILED  # 2 minutes later: the second, not the third


def test_a_connector_that_keeps_failing_does_not_become_calm() -> None:
    found = play((0, failed(REFUSED)), (10, seen(200)), (60, failed(REFUSED)))
    assert found[-1].action is Action.NONE
    assert "next restart in 60 s" in found[-1].reason


def test_a_missing_connector_is_told_and_is_no_stall() -> None:
    gone = Observation(None, a_progress(100), at(900))
    found = play((0, seen(100)), (500, gone), (550, seen(100, 900)))
    assert healths(found)[1:] == [Health.MISSING, Health.WAITING]


# --- the loop -----------------------------------------------------------------------------------


@dataclass
class FakeWatch:
    scenes: list[Observation | Exception]
    name: str = "finance-mysql"
    restarts: list[Action] = field(default_factory=list)
    refuses: bool = False

    def observe(self) -> Observation:
        scene = self.scenes.pop(0)
        if isinstance(scene, Exception):
            raise scene
        return scene

    def restart(self, action: Action) -> None:
        if self.refuses:
            raise UnavailableError("Connect went away")
        self.restarts.append(action)


def run(watch: FakeWatch, every_s: float = 5.0) -> list[Decision]:
    heard: list[Decision] = []
    supervise(
        [watch],
        POLICY,
        FakeClock(),
        report=lambda _, decision: heard.append(decision),
        stopped=lambda: not watch.scenes,
        every_s=every_s,
    )
    return heard


def test_the_loop_carries_out_what_is_decided() -> None:
    watch = FakeWatch([failed(REFUSED), seen(200)])
    assert healths(run(watch)) == [Health.FAILED, Health.MOVING]
    assert watch.restarts == [Action.RESTART_FAILED]


def test_connects_own_absence_is_nobodys_stall() -> None:
    away = UnavailableError("Kafka Connect does not answer")
    watch = FakeWatch([seen(100), *[away] * 50, seen(100, 900)])
    found = run(watch)
    assert healths(found)[1:51] == [Health.CONNECT_AWAY] * 50
    assert found[-1].health is Health.WAITING
    assert watch.restarts == []


def test_a_restart_that_could_not_be_sent_is_not_counted() -> None:
    watch = FakeWatch([failed(REFUSED), failed(REFUSED)], refuses=True)
    assert healths(run(watch)) == [Health.CONNECT_AWAY] * 2


def test_an_error_that_waiting_does_not_mend_is_told_and_the_loop_goes_on() -> None:
    watch = FakeWatch([FatalError("Connect is broken"), seen(100)])
    assert healths(run(watch)) == [Health.NEEDS_A_PERSON, Health.MOVING]


def test_a_defect_of_ours_ends_the_loop() -> None:
    with pytest.raises(ZeroDivisionError):
        run(FakeWatch([ZeroDivisionError()]))


# --- progress -----------------------------------------------------------------------------------


def offset(pos: int, **more: object) -> SourceOffset:
    return SourceOffset({"server": "studio"}, {"file": "binlog.000009", "pos": pos, **more})


def test_progress_from_recorded_offsets() -> None:
    nothing = measure([], {})
    assert nothing.snapshotting
    assert nothing.position is None
    snapshot = measure([offset(4, snapshot="INITIAL")], {"a": 5})
    assert snapshot.snapshotting
    streaming = measure([offset(9, gtids="x:1-3", event=3)], {"a": 5, "b": 1})
    assert not streaming.snapshotting
    assert (streaming.position, streaming.written) == (at(9, 9), 6)
    assert has_moved(nothing, snapshot)
    assert not has_moved(streaming, measure([offset(9, event=3, gtids="x:1-3")], {"a": 6}))
    assert has_moved(streaming, measure([offset(9, gtids="x:1-3", event=4)], {"a": 5, "b": 1}))


def test_a_reset_offset_is_no_position() -> None:
    assert measure([SourceOffset({"server": "studio"}, None)], {}).position is None


def test_positions_are_ordered_by_ordinal_beyond_six_digits() -> None:
    def parse(name: str) -> BinlogPosition:
        return BinlogPosition.parse(name, 4)

    assert parse("binlog.999999") < parse("binlog.1000000") < parse("binlog.1000001")
    assert BinlogPosition.parse("binlog.000009", 5) > BinlogPosition.parse("binlog.000009", 4)
