from __future__ import annotations

from random import Random

import pytest

from callsheet.backoff import Backoff, Outage
from callsheet.errors import RetryableError, ThrottledError
from tests.support.clock import FakeClock


def an_outage(clock: FakeClock) -> Outage:
    return Outage(clock, Backoff(base_s=1.0, cap_s=8.0), Random(1))


@pytest.mark.parametrize(("attempt", "ceiling"), [(0, 1), (1, 2), (3, 8), (4, 8), (10_000, 8)])
def test_a_delay_is_anywhere_below_the_ceiling(attempt: int, ceiling: float) -> None:
    backoff, random = Backoff(base_s=1.0, cap_s=8.0), Random(7)
    delays = [backoff.delay_s(attempt, random) for _ in range(500)]
    assert max(delays) <= ceiling
    assert max(delays) > 0.9 * ceiling
    assert min(delays) < 0.1 * ceiling  # full jitter: down to nothing


def test_an_outage_has_a_beginning_and_an_end() -> None:
    clock = FakeClock()
    outage = an_outage(clock)
    assert (outage.is_on, outage.wait_s(), outage.cause) == (False, 0.0, "")
    outage.failed(RetryableError("away"))
    begun = clock.now_s
    clock.advance(10.0)
    outage.failed(RetryableError("still away"))
    assert (outage.is_on, outage.since_s, outage.cause) == (True, begun, "still away")
    clock.advance(5.0)
    assert outage.over() == 15.0
    assert (outage.is_on, outage.wait_s(), outage.cause) == (False, 0.0, "")
    assert outage.over() == 0.0


def test_what_the_neighbour_asks_for_is_waited() -> None:
    clock = FakeClock()
    outage = an_outage(clock)
    outage.failed(ThrottledError("slow down", retry_after_s=30.0))
    assert outage.wait_s() >= 30.0
    clock.advance(outage.wait_s())
    assert outage.wait_s() == 0.0
    assert outage.is_on  # until a try has succeeded
