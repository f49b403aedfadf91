"""When a sink has caught up again."""

from __future__ import annotations

import pytest

from benchmarks.soak import Kill, caught_up_s


@pytest.mark.parametrize(
    ("lag", "found"),
    [
        ([], None),
        ([(1.0, 10)], 1.0),
        ([(1.0, 10), (2.0, 5000), (3.0, 9000), (4.0, 999), (5.0, 1200)], 4.0),
        ([(1.0, 10), (2.0, 5000), (3.0, 9000), (4.0, 1000)], None),
    ],
)
def test_it_is_after_it_was_furthest_behind(
    lag: list[tuple[float, int]], found: float | None
) -> None:
    assert caught_up_s(lag) == found


def test_what_another_kill_caused_does_not_count() -> None:
    lag = [(9.0, 9999), (10.0, 20), (11.0, 3000), (12.5, 30), (20.0, 50_000)]
    told = Kill("worker", 10.0, 0.1).as_dict(lag, until_s=20.0)
    assert told["caught_up_after_s"] == 2.5
