"""Lanes, ledger and pressure together, without threads and without a server."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import hypothesis.strategies as st
import pytest
import structlog
from hypothesis import given, settings

from callsheet.batch import Batch, Park, Partition
from callsheet.errors import FatalError, ParkTableError, Reason, RetryableError, ThrottledError
from callsheet.event import Op
from callsheet.ports import SystemClock
from callsheet.sink import Counts
from sinks.elasticsearch.delivery import Delivery, TooLarge
from sinks.elasticsearch.lanes import Lanes, Request
from sinks.elasticsearch.outcome import Item, Outcome
from sinks.elasticsearch.pressure import Pressure
from sinks.elasticsearch.render import Renderer
from sinks.elasticsearch.suspicion import PARK_FAILURES, POISON_FAILURES
from tests.support.batches import Row, a_batch, upsert
from tests.support.examples import examples

FAR = 1e12
AGAIN = Item(Outcome.AGAIN, "busy")
WRITTEN = Item(Outcome.WRITTEN)


class Still:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Desk:
    """A delivery, and shorthands."""

    def __init__(self, lanes: int = 4, request_bytes: int = 1 << 20) -> None:
        self.clock = Still()
        pressure = Pressure(lanes, request_bytes, random=Random(1))
        log = structlog.get_logger()
        self.delivery = Delivery(Lanes(lanes), pressure, self.clock, log)
        self.renderer = Renderer(lanes, request_bytes, SystemClock())

    def accept(self, batch: Batch) -> None:
        self.delivery.accept(batch, "titles", self.renderer.render(batch, "titles"))

    def take(self) -> Request:
        request = self.delivery.take(self.clock.now_s)
        assert request is not None
        return request

    def wait_for_backoff(self) -> None:
        self.clock.now_s += 1000

    def settle(self, request: Request, outcomes: Sequence[Item] | None) -> None:
        self.delivery.settle(request, outcomes)

    def work_off(self) -> None:
        while (request := self.delivery.take(FAR)) is not None:
            self.settle(request, None)


def one_lane(rows: int, first: int = 0) -> Batch:
    changes = [upsert(n, name="x") for n in range(first, first + rows)]
    return a_batch(changes, first_offset=first)


def test_only_what_was_put_off_goes_again() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(5))
    request = desk.take()
    desk.settle(request, [WRITTEN, AGAIN, WRITTEN, AGAIN, WRITTEN])
    assert desk.delivery.take(desk.clock.now_s) is None, "not before the backoff"
    desk.wait_for_backoff()
    (chunk,) = desk.take().chunks
    assert list(chunk.rows) == [1, 3]
    assert chunk.body.count(b"\n") == 4
    assert chunk.attempts == 1


def test_later_operations_wait_behind_what_goes_again() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(2))
    request = desk.take()
    desk.accept(one_lane(2, first=2))
    assert desk.delivery.take(desk.clock.now_s) is None, "the lane has a request in flight"
    desk.settle(request, [AGAIN, WRITTEN])
    desk.wait_for_backoff()
    assert [list(chunk.rows) for chunk in desk.take().chunks] == [[0], [0, 1]]


def test_offsets_advance_in_order_though_batches_complete_out_of_it() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(1))
    first = desk.take()
    desk.settle(first, [AGAIN])
    desk.accept(one_lane(1, first=1))
    desk.wait_for_backoff()
    desk.settle(desk.take(), [AGAIN, WRITTEN])
    durable, _, counts = desk.delivery.ledger.take()
    assert (durable, counts.written) == ({}, 1)
    desk.work_off()
    assert desk.delivery.ledger.take()[0] == {Partition("studio.finance.titles", 0): 2}


def test_trouble_is_told_until_it_is_over() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(2))
    desk.delivery.settle(desk.take(), RetryableError("away"))
    assert str(desk.delivery.lanes.trouble()) == "away"
    desk.wait_for_backoff()
    desk.settle(desk.take(), None)
    assert desk.delivery.lanes.trouble() is None


def test_retry_after_is_kept() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(1))
    desk.delivery.settle(desk.take(), ThrottledError("slow down", retry_after_s=30))
    desk.clock.now_s = 29.9
    assert desk.delivery.take(desk.clock.now_s) is None
    desk.clock.now_s = 31
    desk.take()


BROKEN = Item(Outcome.FAILED, "null_pointer_exception: null")


def test_a_document_on_which_the_server_breaks_while_it_takes_others_is_handed_back() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(2))
    desk.settle(desk.take(), [WRITTEN, BROKEN])
    for n in range(1, POISON_FAILURES):
        assert desk.delivery.ledger.pending == 1
        desk.wait_for_backoff()
        desk.accept(one_lane(1, first=n + 1))
        desk.settle(desk.take(), [BROKEN, WRITTEN])
    durable, rejections, counts = desk.delivery.ledger.take()
    assert [(r.offset, r.reason) for r in rejections] == [(1, Reason.REJECTED)]
    assert durable == {Partition("studio.finance.titles", 0): POISON_FAILURES + 1}
    assert counts == Counts(written=POISON_FAILURES)


def test_others_in_other_requests_count_as_well() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(1))
    for n in range(POISON_FAILURES):
        desk.settle(desk.take(), [BROKEN])
        desk.delivery.witness.took("titles")
        assert desk.delivery.ledger.pending == (n < POISON_FAILURES - 1), n
        desk.wait_for_backoff()


def test_a_server_that_breaks_on_everything_has_an_outage() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(5))
    desk.settle(desk.take(), [WRITTEN, WRITTEN, BROKEN, BROKEN, AGAIN])
    desk.accept(one_lane(50, first=5))
    for _ in range(100):
        desk.wait_for_backoff()
        request = desk.take()
        desk.settle(request, [BROKEN] * request.operations)
    assert "breaks on documents" in str(desk.delivery.lanes.trouble())
    desk.wait_for_backoff()
    desk.work_off()
    durable, rejections, counts = desk.delivery.ledger.take()
    assert (rejections, counts, desk.delivery.progress().parked) == ([], Counts(written=55), [])
    assert durable == {Partition("studio.finance.titles", 0): 55}


def test_an_index_that_breaks_while_others_work_parks_its_table_and_loses_nothing() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(3))
    for _ in range(PARK_FAILURES):
        desk.settle(desk.take(), [BROKEN] * 3)
        desk.delivery.witness.took("budgets")
        desk.wait_for_backoff()
    progress = desk.delivery.progress()
    assert [park.topic for park in progress.parked] == ["studio.finance.titles"]
    assert (progress.durable, progress.rejections, progress.counts) == ({}, [], Counts())
    assert desk.delivery.ledger.pending == 0


def test_load_does_not_count_against_a_document() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(3))
    desk.settle(desk.take(), [BROKEN, AGAIN, BROKEN])
    for _ in range(POISON_FAILURES - 2):
        desk.wait_for_backoff()
        desk.settle(desk.take(), [BROKEN, BROKEN, AGAIN])
        desk.delivery.witness.took("titles")
    desk.wait_for_backoff()
    desk.settle(desk.take(), [BROKEN, BROKEN, BROKEN])
    durable, rejections, _ = desk.delivery.ledger.take()
    assert (durable, sorted(r.offset for r in rejections)) == ({}, [0, 2])


def test_an_outage_before_does_not_count_against_a_document() -> None:
    desk = Desk()
    desk.accept(one_lane(1))
    for _ in range(2 * POISON_FAILURES):
        desk.delivery.settle(desk.take(), RetryableError("away"))
        desk.wait_for_backoff()
    desk.settle(desk.take(), [Item(Outcome.FAILED, "node_closed_exception: on its way down")])
    desk.wait_for_backoff()
    desk.settle(desk.take(), None)
    durable, rejections, counts = desk.delivery.ledger.take()
    assert (rejections, counts) == ([], Counts(written=1))
    assert durable == {Partition("studio.finance.titles", 0): 1}


def test_a_request_that_is_too_large_is_halved_down_to_the_document() -> None:
    desk = Desk(lanes=1)
    changes = [upsert(n, name="x" * (9000 if n == 3 else 100)) for n in range(8)]
    desk.accept(a_batch(changes))
    sizes = []
    while (request := desk.delivery.take(FAR)) is not None:
        size = len(request.body())
        sizes.append(size)
        desk.delivery.settle(request, TooLarge() if size > 5000 else None)
        assert len(sizes) < 50
    durable, rejections, counts = desk.delivery.ledger.take()
    assert [(r.offset, r.reason) for r in rejections] == [(3, Reason.OVERSIZE)]
    assert counts == Counts(written=7)
    assert list(durable.values()) == [8]


def test_a_fatal_answer_keeps_everything() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(3))
    desk.delivery.settle(desk.take(), FatalError("no"))
    assert desk.delivery.fatal is not None
    assert desk.delivery.ledger.pending == 3
    assert desk.delivery.ledger.take()[0] == {}


def test_a_table_whose_index_is_gone_stops_alone() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(2))
    other = a_batch([upsert(9, name="x")], topic="studio.finance.talent")
    desk.accept(other)
    gone = Item(Outcome.PARK, "index_not_found_exception: no such index […]")
    desk.settle(desk.take(), [gone, gone, WRITTEN])
    with pytest.raises(ParkTableError, match="no such index"):
        desk.accept(one_lane(2, first=2))
    desk.accept(a_batch([upsert(8, name="x")], topic=other.topic, first_offset=1))
    desk.work_off()
    progress = desk.delivery.progress()
    assert progress.parked == [Park("studio.finance.titles", "index not writable", gone.detail)]
    assert desk.delivery.ledger.pending == 0
    assert progress.durable == {Partition("studio.finance.talent", 0): 2}
    assert progress.rejections == []
    assert desk.delivery.progress().parked == [], "told once"


def test_what_is_halted_stays_uncommitted_and_what_was_durable_stays_so() -> None:
    desk = Desk(lanes=1)
    desk.accept(one_lane(2))
    desk.work_off()
    desk.accept(one_lane(2, first=2))
    desk.settle(desk.take(), [Item(Outcome.PARK, "gone")] * 2)
    assert desk.delivery.ledger.take()[0] == {Partition("studio.finance.titles", 0): 2}


def test_forgotten_operations_do_not_go_again() -> None:
    desk = Desk(lanes=1)
    changes = [Row(Op.UPDATE, str(n), {"id": n}, partition=n % 2) for n in range(6)]
    batch = a_batch(changes)
    desk.accept(batch)
    request = desk.take()
    desk.delivery.forget([Partition(batch.topic, 1)])
    desk.settle(request, [AGAIN] * 5 + [Item(Outcome.REJECTED, "bad")])
    desk.wait_for_backoff()
    (chunk,) = desk.take().chunks
    assert list(chunk.rows) == [0, 2, 4]
    assert desk.delivery.ledger.take()[1] == [], "no rejection of a partition that is gone"


# --- requests -------------------------------------------------------------------------------------


def test_light_traffic_shares_one_request_heavy_traffic_does_not() -> None:
    desk = Desk(lanes=4)
    desk.accept(one_lane(20))
    assert desk.take().operations == 20
    assert desk.delivery.take(FAR) is None
    desk = Desk(lanes=4, request_bytes=200_000)
    desk.accept(a_batch([upsert(n, name="x" * 5000) for n in range(400)]))
    requests = [desk.take() for _ in range(4)]
    assert [len(request.loads) for request in requests] == [1, 1, 1, 1]
    assert desk.delivery.take(FAR) is None


def test_lanes_that_share_a_request_stay_within_what_the_server_takes() -> None:
    desk = Desk(lanes=4, request_bytes=70_000)
    desk.accept(a_batch([upsert(n, name="x" * 1000) for n in range(300)]))
    sizes = []
    while (request := desk.delivery.take(FAR)) is not None:
        sizes.append(request.size_bytes)
        desk.settle(request, None)
    assert sum(sizes) > 300_000
    assert max(sizes) < 71_000  # no lane adds an operation of its own to a full request


def test_pressure_falls_fast_and_rises_slowly() -> None:
    pressure = Pressure(8, 1 << 20)
    pressure.refused()
    pressure.refused()
    assert (pressure.in_flight, pressure.request_bytes) == (2, 1 << 18)
    pressure.passed()
    assert pressure.in_flight == 2
    for _ in range(200):
        pressure.passed()
    assert (pressure.in_flight, pressure.request_bytes) == (8, 1 << 20)
    for _ in range(20):
        pressure.refused()
    assert (pressure.in_flight, pressure.request_bytes) == (1, 64 << 10)


def test_refusals_lower_the_number_of_requests() -> None:
    desk = Desk(lanes=4)
    desk.accept(one_lane(40))
    desk.delivery.settle(desk.take(), RetryableError("busy"))
    desk.delivery.pressure.refused()
    desk.wait_for_backoff()
    desk.take()
    assert desk.delivery.take(FAR) is None


# --- whatever happens -----------------------------------------------------------------------------

FATES = st.sampled_from([*Outcome])


@settings(max_examples=examples(100))
@given(st.data())
def test_every_operation_gets_one_answer_and_no_id_two_requests(data: st.DataObject) -> None:
    desk = Desk(lanes=data.draw(st.integers(1, 4)), request_bytes=2_000)
    total = rejected = 0
    flying: list[Request] = []
    written_before: dict[str, int] = {}
    for _ in range(data.draw(st.integers(1, 25))):
        action = data.draw(st.sampled_from(["accept", "take", "answer", "answer", "fail"]))
        if action == "accept":
            ids = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=8))
            changes = [upsert(i, name="x" * 80) for i in ids]
            desk.accept(a_batch(changes, first_offset=total, first_version=total + 1))
            total += len(ids)
        elif action == "take":
            request = desk.delivery.take(FAR)
            flying += [] if request is None else [request]
            seen = [i for each in flying for i in set(ids_of(each))]
            assert len(seen) == len(set(seen)), "an ID in two requests"
        elif flying:
            request = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            if action == "fail":
                desk.delivery.settle(request, RetryableError("away"))
            else:
                fates = [
                    data.draw(FATES.filter(lambda f: f is not Outcome.PARK))
                    for _ in range(request.operations)
                ]
                desk.settle(request, [Item(fate) for fate in fates])
        durable, rejections, _ = desk.delivery.ledger.take()
        rejected += len(rejections)
        for partition, offset in durable.items():
            assert offset >= written_before.get(str(partition), 0)
            written_before[str(partition)] = offset
    for request in flying:
        desk.settle(request, None)
    desk.work_off()
    durable, rejections, _ = desk.delivery.ledger.take()
    assert desk.delivery.ledger.pending == desk.delivery.held_bytes == 0
    if total:
        assert list(durable.values()) == [total]


def ids_of(request: Request) -> list[bytes]:
    return [line for chunk in request.chunks for line in _ids(chunk.body)]


def _ids(body: bytes) -> list[bytes]:
    return [line.split(b'"_id":"')[1].split(b'"')[0] for line in body.split(b"\n")[:-1:2]]


@pytest.mark.parametrize("attempt", [0, 3, 400])
def test_backoff_is_bounded(attempt: int) -> None:
    assert 0 <= Pressure(4, 1 << 20).delay_s(attempt) <= 15
