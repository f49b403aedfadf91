from __future__ import annotations

from collections.abc import Collection

import pytest

from callsheet.batch import Offset, Partition
from callsheet.errors import UsageError
from callsheet.kafka.groups import PartitionOffsets
from callsheet.kafka.offsets import Move, Target, planned, refuse_gaps, refuse_if_running
from callsheet.runtime import RunRecord

P0, P1 = Partition("titles", 0), Partition("titles", 1)


class Groups:
    """Two partitions: one half read, one never."""

    def offsets(self, group_id: str, partitions: Collection[Partition]) -> list[PartitionOffsets]:
        known = {P0: PartitionOffsets(P0, 50, 10, 100), P1: PartitionOffsets(P1, None, 0, 7)}
        return [known[p] for p in partitions]

    def at_time(self, partitions: Collection[Partition], time_ms: int) -> dict[Partition, Offset]:
        return {P0: 60} if time_ms == 1_000 else {}


def moves(to: str, partitions: Collection[Partition] = (P0, P1)) -> dict[Partition, Offset]:
    found = planned(Groups(), "g", list(partitions), Target.parse(to))
    return {move.partition: move.after for move in found}


def test_the_four_targets() -> None:
    assert moves("earliest") == {P0: 10, P1: 0}
    assert moves("latest") == {P0: 100, P1: 7}
    assert moves("1970-01-01T00:00:01Z") == {P0: 60, P1: 7}
    assert moves("1970-01-01T01:00:01+01:00") == {P0: 60, P1: 7}
    assert moves("titles:0=42") == {P0: 42}
    assert moves("titles:0=42, titles:1=7") == {P0: 42, P1: 7}


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("yesterday", "not understood"),
        ("2026-11-23T08:00:00", "which time zone"),
        ("titles=4", "TOPIC:PARTITION=OFFSET"),
        ("titles:0=-1", "TOPIC:PARTITION=OFFSET"),
        ("titles:0=9", "outside of the log"),
        ("titles:0=101", "outside of the log"),
        ("budgets:0=1", "does not read"),
    ],
)
def test_what_cannot_be_is_refused(to: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        moves(to)


def test_nothing_to_move_is_said() -> None:
    with pytest.raises(UsageError, match="no partition"):
        moves("earliest", ())


@pytest.mark.parametrize(
    ("committed", "begin", "end", "lag"),
    [
        (50, 10, 100, 50),
        (100, 10, 100, 0),
        (101, 10, 100, 0),  # a marker behind the last stable record
        (None, 10, 100, 90),
        (None, None, 100, None),
        (50, 10, None, None),
    ],
)
def test_lag_is_never_invented(
    committed: int | None, begin: int | None, end: int | None, lag: int | None
) -> None:
    assert PartitionOffsets(P0, committed, begin, end).lag == lag


def test_a_running_group_is_not_moved() -> None:
    record = RunRecord("search", "f", "g", 1, 42, 0.0, "http://x", "here:9092")
    refuse_if_running("other", "here:9092", [record])
    refuse_if_running("g", "elsewhere:9092", [record])
    with pytest.raises(UsageError, match="search runs"):
        refuse_if_running("g", "here:9092", [record])


@pytest.mark.parametrize(("end", "begin", "after"), [(50, 0, 50), (50, 0, 3), (0, 10, 10)])
def test_a_destination_without_gaps_may_be_read_again(end: int, begin: int, after: int) -> None:
    refuse_gaps([Move(P0, 50, after)], {P0: end}, {P0: begin}, "why")


@pytest.mark.parametrize(("end", "begin", "after"), [(50, 0, 51), (0, 10, 11), (5, 10, 10)])
def test_a_destination_without_gaps_is_not_led_past_records(
    end: int, begin: int, after: int
) -> None:
    with pytest.raises(UsageError, match=f"ends at {end}, and {after} would leave a gap") as raised:
        refuse_gaps([Move(P0, 50, after)], {P0: end}, {P0: begin}, "why")
    assert raised.value.hint == "why"
