from __future__ import annotations

from dataclasses import replace

from callsheet.observability.health import (
    HealthLimits,
    ParkedTable,
    Pulse,
    WorkerStatus,
    liveness,
    readiness,
)
from tests.support.clock import FakeClock

LIMITS = HealthLimits(turn_s=60.0, held_s=120.0)
WELL = WorkerStatus(started_s=0.0, turned_s=100.0, has_joined=True)


def test_alive_is_who_turned_lately() -> None:
    assert liveness(WELL, LIMITS, 160.0).is_well
    verdict = liveness(WELL, LIMITS, 161.0)
    assert (verdict.is_well, verdict.detail) == (False, "the loop has not turned for 61 s")
    assert not readiness(WELL, LIMITS, 161.0).is_well


def test_ready_is_who_has_joined_and_is_not_held_for_long() -> None:
    assert readiness(WELL, LIMITS, 100.0).detail == "delivering"
    assert not readiness(replace(WELL, has_joined=False), LIMITS, 100.0).is_well
    held = replace(WELL, held_since_s=90.0, held_cause="away", turned_s=210.0)
    assert readiness(held, LIMITS, 210.0).is_well
    late = readiness(replace(held, turned_s=211.0), LIMITS, 211.0)
    assert (late.is_well, late.detail) == (False, "held for 121 s: away")
    assert liveness(replace(held, turned_s=211.0), LIMITS, 211.0).is_well


def test_a_worker_that_cannot_open_its_sink_says_why() -> None:
    waiting = replace(WELL, has_joined=False, held_cause="no destination")
    assert readiness(waiting, LIMITS, 100.0).detail == "no destination"


def test_parked_tables_are_listed_and_do_not_make_unready() -> None:
    parked = replace(WELL, parked=(ParkedTable("studio.finance.titles", "truncated", ""),))
    verdict = readiness(parked, LIMITS, 100.0)
    assert (verdict.is_well, verdict.detail) == (True, "parked: studio.finance.titles")


def test_the_pulse_keeps_its_beginning() -> None:
    clock = FakeClock(10.0)
    pulse = Pulse(clock)
    clock.advance(5.0)
    pulse.publish(WorkerStatus(in_hand_events=3))
    pulse.beat()
    status = pulse.read()
    assert (status.started_s, status.turned_s, status.in_hand_events) == (10.0, 15.0, 3)
