"""Few groups, each partition's order kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callsheet.codec.grouping import Records, groups_of
from tests.support.envelopes import FakeMessage

LOGS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("AB")), max_size=12)


def grouped(log: list[tuple[int, str]]) -> list[tuple[str, list[int]]]:
    records = Records()
    for offset, (partition, signature) in enumerate(log):
        message = FakeMessage(b"", partition_=partition, offset_=offset)
        records.add(message, signature.encode(), None)
    groups = groups_of(records, lambda index: log[index][1])
    return [(str(g.signature), [m.offset() for m in g.records.messages]) for g in groups]


def test_partitions_share_groups() -> None:
    assert grouped([(0, "A"), (1, "A"), (0, "B"), (1, "A"), (1, "B")]) == [
        ("A", [0, 1, 3]),
        ("B", [2, 4]),
    ]


def test_alternation_within_a_partition_splits() -> None:
    assert grouped([(0, "A"), (0, "B"), (0, "A")]) == [("A", [0]), ("B", [1]), ("A", [2])]


@given(LOGS)
def test_every_record_once_and_in_its_partitions_order(log: list[tuple[int, str]]) -> None:
    groups = grouped(log)
    order = [offset for _, offsets in groups for offset in offsets]

    assert sorted(order) == list(range(len(log)))
    for partition in {number for number, _ in log}:
        own = [offset for offset in order if log[offset][0] == partition]
        assert own == sorted(own)
    for signature, offsets in groups:
        assert all(log[offset][1] == signature for offset in offsets)
        assert offsets


def test_records_leave_by_index() -> None:
    records = Records()
    for n in range(4):
        records.add(FakeMessage(b""), bytes([n]), None if n == 1 else b"kk")

    assert records.without({0, 3}).values == [b"\x01", b"\x02"]
    assert records.since(3).values == [b"\x03"]
    assert records.without(()) is records is records.since(0)
    assert records.size_bytes == 4 + 3 * 2
