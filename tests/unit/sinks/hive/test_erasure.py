"""A row's values leave the audit, its changes stay; a crash anywhere leaves either state whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO

import polars as pl
import pytest

from callsheet.batch import Partition
from callsheet.errors import PreconditionError, RetryableError
from callsheet.ports import SystemClock
from callsheet.schema import TableSchema
from callsheet.sink import Holding
from sinks.hive.archive import Archive, DamagedFileError
from sinks.hive.erasure import HiveEraser
from sinks.hive.partitions import PartitionLog, PartitionState, stamp
from sinks.hive.stores.port import Store
from tests.support.batches import Row, a_batch, delete, upsert
from tests.support.hive import Crash, Gate, a_sink, memory_store, settings, within

TOPIC = "studio.finance.titles"
TITLES = TableSchema("studio", "finance", "titles", (), (), "")
TABLE = "finance_titles"
P0 = Partition(TOPIC, 0)
DAY_US = 86_400_000_000
CHANGES = 15
"""Of the store, that erasing a row of two days takes."""
NOBODY = Holding(has_values=False, version=None)


class Audit:
    """Three ranges over two days: the row 42 is in both."""

    def __init__(self) -> None:
        self.store = memory_store()
        self.write(0, [upsert(42, name="secret"), upsert(7, name="other")])
        self.write(2, [upsert(42, name="secret too"), delete(42)], day=1)
        self.write(4, [upsert(8, name="third")])

    def write(self, first: int, rows: Sequence[Row], day: int = 0) -> None:
        sink = a_sink(self.store)
        sink.open()
        sink.assigned([P0])
        batch = a_batch(rows, first_offset=first, first_version=100 + first)
        moved = batch.frame.with_columns(pl.col("ts_us") + day * DAY_US)
        object.__setattr__(batch, "columns", moved)
        sink.write(batch, within())
        sink.flush(within())
        sink.close()

    def eraser(self, store: Store | None = None, **more: object) -> HiveEraser:
        return HiveEraser(settings(), SystemClock(), store or self.store, **more)  # type: ignore[arg-type]

    def look(self, *identifiers: str) -> dict[str, Holding]:
        return dict(self.eraser().look(TOPIC, TITLES, identifiers))

    def rows(self) -> list[tuple[int, str, str, str | None]]:
        """Offset, ID, type and name after, of what counts."""
        table = Archive(self.store).table(TABLE)
        parts = [table.read(file) for file in table.files()]
        found = pl.concat(parts, how="diagonal_relaxed").sort("kafka_offset")
        return found.select("kafka_offset", "id", "type", "after_name").rows()

    def everything(self) -> bytes:
        """Of all files, uncompressed as far as their columns go."""
        return repr([_content(self.store, path) for path in _paths(self.store, "")]).encode()


def _paths(store: Store, folder: str) -> list[str]:
    found: list[str] = []
    for name in store.names(folder):
        path = f"{folder}/{name}" if folder else name
        inner = _paths(store, path)
        found += inner or [path]
    return found


def _content(store: Store, path: str) -> object:
    content = store.read(path) or b""
    return pl.read_parquet(content).rows() if path.endswith(".parquet") else content


@pytest.fixture
def audit() -> Audit:
    return Audit()


def test_the_values_go_and_every_change_stays(audit: Audit) -> None:
    before = audit.rows()
    assert audit.look("42", "9") == {"42": Holding(has_values=True, version=103), "9": NOBODY}
    audit.eraser().erase(TOPIC, TITLES, ["42"])
    after = audit.rows()
    assert [row[:3] for row in after] == [row[:3] for row in before]
    assert {row[1]: row[3] for row in after} == {"42": None, "7": "other", "8": "third"}
    assert b"secret" not in audit.everything()
    assert audit.look("42") == {"42": Holding(has_values=False, version=103)}


def test_a_worker_goes_on_beside_it_and_a_replay_brings_nothing_back(audit: Audit) -> None:
    audit.eraser().erase(TOPIC, TITLES, ["42"])
    audit.write(0, [upsert(42, name="secret"), upsert(7, name="other")])
    audit.write(5, [upsert(9, name="later")])
    assert b"secret" not in audit.everything()
    assert [row[0] for row in audit.rows()] == [0, 1, 2, 3, 4, 5]


def test_it_is_erased_from_what_was_compacted_and_what_came_since(audit: Audit) -> None:
    audit.eraser().erase(TOPIC, TITLES, ["7"])  # so the first day is in a folder of a state's
    audit.write(5, [upsert(42, name="secret again")])
    assert audit.look("42")["42"].has_values
    audit.eraser().erase(TOPIC, TITLES, ["42"])
    assert b"secret" not in audit.everything()
    names = {row[1]: row[3] for row in audit.rows()}
    assert names == {"42": None, "7": None, "8": "third"}


def test_dates_without_the_row_are_left_alone(audit: Audit) -> None:
    audit.eraser().erase(TOPIC, TITLES, ["8"])
    states = PartitionLog(audit.store).newest(TABLE)
    assert len(states) == 1
    files = _paths(audit.store, "")
    audit.eraser().erase(TOPIC, TITLES, ["8", "unknown"])
    assert _paths(audit.store, "") == files, "done already is done"


@pytest.mark.parametrize("change", range(1, CHANGES + 1))
def test_a_crash_anywhere_loses_nothing_and_a_further_call_finishes(
    audit: Audit, change: int
) -> None:
    before = [row[:3] for row in audit.rows()]
    gate = Gate(audit.store, crash_in=change)
    with pytest.raises(Crash):
        audit.eraser(gate).erase(TOPIC, TITLES, ["42"])
    assert [row[:3] for row in audit.rows()] == before
    _forget_claims(audit)
    # What is left of the values is told, so that nobody takes it for done.
    assert (b"secret" in audit.everything()) <= audit.look("42")["42"].has_values
    audit.eraser().erase(TOPIC, TITLES, ["42"])
    assert [row[:3] for row in audit.rows()] == before
    assert b"secret" not in audit.everything()
    assert not audit.look("42")["42"].has_values


def _forget_claims(audit: Audit) -> None:
    """An hour later the claim of a run that crashed counts no more."""
    log = PartitionLog(audit.store)
    for state in log.newest(TABLE).values():
        if state.owner:
            log.add(state.following(owner=state.owner, claimed_at="2020-01-01T00:00:00.000Z"))


def test_a_partition_that_somebody_works_on_is_waited_for(audit: Audit) -> None:
    day = Archive(audit.store).table(TABLE).files()[0].date
    claim = PartitionState(TABLE, day, 1, owner="x", claimed_at=stamp(datetime.now(UTC)))
    PartitionLog(audit.store).add(claim)
    with pytest.raises(PreconditionError, match="somebody works on"):
        audit.eraser().erase(TOPIC, TITLES, ["42"])


def test_nothing_is_removed_that_hive_still_shows(audit: Audit) -> None:
    def away() -> None:
        raise RetryableError("hive is away")

    with pytest.raises(RetryableError, match="hive is away"):
        audit.eraser(show=away).erase(TOPIC, TITLES, ["42"])
    assert audit.look("42")["42"].has_values, "the old files are there still"
    assert {row[3] for row in audit.rows() if row[1] == "42"} == {None}
    shown: list[str] = []
    audit.eraser(show=lambda: shown.append("told")).erase(TOPIC, TITLES, ["42"])
    assert shown == ["told"]
    assert b"secret" not in audit.everything()


def test_a_damaged_file_is_told_by_its_name_and_nothing_is_removed(audit: Audit) -> None:
    path = Archive(audit.store).table(TABLE).files()[0].path
    audit.store.put(path, BytesIO((audit.store.read(path) or b"")[:-9]))
    before = _paths(audit.store, "")
    for ask in (
        lambda: audit.look("42"),
        lambda: audit.eraser().erase(TOPIC, TITLES, ["42"]),
    ):
        with pytest.raises(DamagedFileError, match=f"{path} cannot be read"):
            ask()
    assert _paths(audit.store, "") == before


def test_a_table_that_the_audit_never_had(audit: Audit) -> None:
    other = TableSchema("studio", "finance", "talent", (), (), "")
    eraser = audit.eraser()
    assert eraser.look("studio.finance.talent", other, ["1"]) == {"1": NOBODY}
    eraser.erase("studio.finance.talent", other, ["1"])
    eraser.close()
