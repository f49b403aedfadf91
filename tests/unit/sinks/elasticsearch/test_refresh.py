"""Light and heavy traffic, on a clock that the test moves."""

from __future__ import annotations

from sinks.elasticsearch.refresh import Traffic
from sinks.elasticsearch.settings import AdaptiveSettings

SETTINGS = AdaptiveSettings(light_below_events=100, heavy_above_events=200, share_of_time=0.25)


def test_light_traffic_is_refreshed_at_once() -> None:
    traffic = Traffic(SETTINGS)
    assert traffic.due_s(5.0) is None, "nothing was written"
    traffic.written(5.0, 1)
    assert traffic.due_s(5.0) == 5.0


def test_heavy_traffic_is_left_to_the_interval() -> None:
    traffic = Traffic(SETTINGS)
    for n in range(201):
        traffic.written(n / 1000, 1)
    assert traffic.due_s(0.3) is None


def test_between_the_marks_it_stays_what_it_was() -> None:
    light, heavy = Traffic(SETTINGS), Traffic(SETTINGS)
    heavy.written(0.0, 201)
    light.written(1.5, 150)
    heavy.written(1.5, 150)
    assert light.is_light
    assert not heavy.is_light
    assert heavy.due_s(1.6) is None
    assert heavy.due_s(2.6) == 2.6, "a second later nothing is left in the window"


def test_refreshing_takes_its_share_of_the_time_at_most() -> None:
    traffic = Traffic(SETTINGS)
    traffic.written(0.0, 1)
    traffic.refreshed(1.0, took_s=0.1)
    traffic.written(1.0, 1)
    due = traffic.due_s(1.0)
    assert due is not None
    assert abs(due - 1.3) < 1e-9, "0.1 s of work, 0.3 s of rest"
