"""Which place in the log counts as a table's watermark."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from callsheet.batch import Message, Offset, Partition
from callsheet.sweep.marks import Marks
from callsheet.sweep.raw import json_values
from callsheet.sweep.watermark import Cause, Place, Watermark
from tests.support.envelopes import FakeMessage, an_envelope, compact

TITLES, TALENT, BEAT = "finance.titles", "finance.talent", "finance.callsheet_heartbeat"
EVERY = (TITLES, TALENT, BEAT)
NOW = Place("binlog.000009", 4)


class Timed(FakeMessage):
    """A record whose time is its offset."""

    def timestamp(self) -> tuple[int, int]:
        return (1, self.offset_)


class Topics:
    """Implements :class:`callsheet.sweep.marks.Scan`; counts what was read."""

    def __init__(self) -> None:
        self.records: dict[str, list[Message]] = {}
        self.read: list[str] = []
        self._time = 0

    def put(self, topic: str, record: Mapping[str, Any], key: bytes | None = b"{}") -> None:
        self._time += 1
        made = Timed(compact(record), key, topic, 0, self._time)
        self.records.setdefault(topic, []).append(made)

    def topic(self, name: str) -> Iterator[Message]:
        return self.since(name, 0, {})

    def since(
        self, name: str, time_ms: int, after: Mapping[Partition, Offset]
    ) -> Iterator[Message]:
        first = max(time_ms, after.get(Partition(name, 0), 0))
        for message in self.records.get(name, []):
            if message.offset() >= first:
                self.read.append(name)
                yield message

    # --- what a connector does ------------------------------------------------------------------

    def snapshot(
        self, place: Place, *, tables: tuple[str, ...] = EVERY, rows: tuple[str, ...] = (BEAT,)
    ) -> None:
        for table in tables:
            database, name = table.split(".")
            self.put("studio", {
                "source": {"snapshot": "true", "file": place.file, "pos": place.pos},
                "databaseName": database, "ddl": f"CREATE TABLE {name}",
                "tableChanges": [{"type": "CREATE", "id": f'"{database}"."{name}"', "table": {}}],
            })  # fmt: skip
        for table in rows:
            self.row(table, place, snapshot="last")

    def row(self, table: str, place: Place, *, snapshot: str = "false", op: str = "r") -> None:
        key = None if op == "t" else b'{"id":1}'
        record = an_envelope(op, file=place.file, pos=place.pos, snapshot=snapshot)
        self.put(f"studio.{table}", record, key)


def mark_of(topics: Topics, table: str = TITLES, *, truncatable: tuple[str, ...] = ()) -> Any:
    marks = marks_over(topics, truncatable)
    return marks.of(table, marks.snapshots(), NOW)


def marks_over(topics: Topics, truncatable: tuple[str, ...] = ()) -> Marks:
    heartbeats = {"callsheet_heartbeat"}
    return Marks(
        topics, json_values(), prefix="studio", heartbeats=heartbeats, truncatable=truncatable
    )


def taken(file: str, pos: int) -> Watermark:
    return Watermark(Cause.SNAPSHOT, Place(file, pos))


def test_the_last_snapshot_counts_also_for_a_table_that_it_found_empty() -> None:
    topics = Topics()
    topics.snapshot(Place("binlog.000002", 157), rows=(TITLES, BEAT))
    topics.snapshot(Place("binlog.000010", 99), rows=(BEAT,))
    marks = marks_over(topics)
    settled = Place("binlog.000010", 99)
    assert marks.of(TITLES, marks.snapshots(), settled) == taken("binlog.000010", 99)
    assert marks.of("finance.unknown", marks.snapshots(), settled) is None


def test_nothing_is_known_without_a_snapshot() -> None:
    topics = Topics()
    topics.row(TITLES, Place("binlog.000001", 4), op="c")
    assert mark_of(topics) is None


def test_a_snapshot_of_descriptions_alone_says_nothing_of_rows() -> None:
    """`snapshot.mode` recovery and no_data: every row would be an orphan. And what came before it
    may have been interrupted.
    """
    topics = Topics()
    topics.snapshot(Place("binlog.000002", 157))
    topics.snapshot(Place("binlog.000003", 157), rows=())
    assert mark_of(topics) is None


def test_a_snapshot_of_single_tables_does_not_count() -> None:
    topics = Topics()
    topics.snapshot(Place("binlog.000002", 157))
    topics.snapshot(Place("binlog.000003", 157), tables=(TITLES,), rows=(TITLES,))
    assert mark_of(topics) == taken("binlog.000002", 157)


def test_rows_of_an_incremental_snapshot_are_no_watermark() -> None:
    topics = Topics()
    topics.snapshot(Place("binlog.000002", 157))
    topics.row(TITLES, Place("binlog.000004", 9), snapshot="incremental")
    assert mark_of(topics) == taken("binlog.000002", 157)


def test_of_a_snapshot_that_began_again_the_later_one_counts() -> None:
    topics = Topics()
    topics.snapshot(Place("binlog.000002", 157), rows=(BEAT, TITLES))
    topics.snapshot(Place("binlog.000002", 4_000), rows=(BEAT, TITLES))
    assert mark_of(topics) == taken("binlog.000002", 4_000)


def test_a_source_that_was_replaced_begins_anew() -> None:
    """Its log is at file 1 again: the higher place is the older one."""
    topics = Topics()
    topics.snapshot(Place("binlog.000042", 157))
    topics.row(TITLES, Place("binlog.000043", 9), op="t")
    topics.snapshot(Place("binlog.000001", 157))
    marks = marks_over(topics, (TITLES,))
    found = marks.of(TITLES, marks.snapshots(), Place("binlog.000050", 4))
    assert found == taken("binlog.000001", 157)


def test_what_lies_beyond_the_connector_does_not_count() -> None:
    topics = Topics()
    topics.snapshot(Place("binlog.000009", 5))
    assert mark_of(topics) is None


def test_a_truncate_counts_where_it_is_allowed() -> None:
    topics = Topics()
    topics.snapshot(Place("binlog.000002", 157))
    topics.row(TITLES, Place("binlog.000003", 9), op="t")
    topics.row(TALENT, Place("binlog.000003", 50), op="t")
    topics.row(TITLES, Place("binlog.000003", 70), op="c")
    truncated = Watermark(Cause.TRUNCATE, Place("binlog.000003", 9))
    assert mark_of(topics, truncatable=(TITLES,)) == truncated
    assert mark_of(topics, TALENT, truncatable=(TITLES,)) == taken("binlog.000002", 157)
    assert mark_of(topics) == taken("binlog.000002", 157)
    topics.snapshot(Place("binlog.000003", 99))
    assert mark_of(topics, truncatable=(TITLES,)) == taken("binlog.000003", 99)


def test_what_was_looked_through_is_not_read_again() -> None:
    topics = Topics()
    topics.snapshot(Place("binlog.000002", 157))
    for pos in range(100, 200):
        topics.row(TITLES, Place("binlog.000003", pos), op="c")
    marks = marks_over(topics, (TITLES,))
    assert marks.of(TITLES, marks.snapshots(), NOW) == taken("binlog.000002", 157)
    topics.read.clear()
    topics.row(TITLES, Place("binlog.000003", 900), op="t")
    found = marks.of(TITLES, marks.snapshots(), NOW)
    assert found == Watermark(Cause.TRUNCATE, Place("binlog.000003", 900))
    assert topics.read.count(f"studio.{TITLES}") == 1


def test_a_record_that_is_none_of_the_connectors_is_passed_over() -> None:
    topics = Topics()
    topics.put("studio", {"source": "me"})
    topics.put("studio", json.loads('{"source": {"snapshot": "true", "file": 7, "pos": "x"}}'))
    topics.records["studio"].append(Timed(b"\x00garbage", b"", "studio", 0, 9))
    topics.records["studio"].append(Timed(None, b"", "studio", 0, 10))
    topics.snapshot(Place("binlog.000002", 157))
    assert mark_of(topics) == taken("binlog.000002", 157)
