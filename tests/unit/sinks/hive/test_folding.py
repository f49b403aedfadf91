"""Old entries as one: what reads the log then, and who is shut out all the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from callsheet.errors import FatalError
from sinks.hive.check import Examiner
from sinks.hive.contents import Contents
from sinks.hive.entries import DataFile, Entry, Fold, Lane
from sinks.hive.folding import fold_lane
from sinks.hive.ranges import OWN_FOLDER, RangeLog
from sinks.hive.schemas import SourceTable
from sinks.hive.stores.port import Store
from sinks.hive.takeover import take_over
from tests.support.hive import Counting, memory_store

LANE = Lane("studio.finance.plans", 0)
TABLE = "finance_plans"
NOW = datetime(2027, 3, 1, tzinfo=UTC)
OLD, NEW = "2027-01-01T00:00:00Z", "2027-02-28T23:00:00Z"
DAY_S = 86_400.0


def following(before: Entry | None, written_at: str = OLD) -> Entry:
    """A range of ten offsets with one file, or a lane's first claim."""
    if before is None:
        return Entry(LANE, 0, 0, 0, 0, "w", OLD, is_claim=True)
    start, take = before.following()
    name = f"{LANE.name}-{start:020d}-{start + 10:020d}-0.parquet"
    path = f"{TABLE}/event_date=2027-01-01/{name}"
    file = DataFile(TABLE, "2027-01-01", path, f"_callsheet/staging/{name}", 10, 99, "print")
    end = start + 10
    return Entry(
        LANE, start, take, start, end, "w", written_at, 10, files=(file,), newest_version=end
    )


def a_chain(store: Store, ranges: int, young: int = 0) -> list[Entry]:
    """``young``: so many of the last are of within a day."""
    log, entries = RangeLog(store), [following(None)]
    log.append(entries[0])
    for n in range(ranges):
        entries.append(following(entries[-1], NEW if n >= ranges - young else OLD))
        log.append(entries[-1])
    log.set_mark(LANE.name, entries[-1].name)
    table = SourceTable("studio", "finance", "plans")
    store.create(f"{OWN_FOLDER}/tables/{TABLE}.json", msgspec.json.encode(table))
    return entries


def fold(store: Store, fewest: int = 1) -> int:
    return fold_lane(RangeLog(store), LANE.name, {}, NOW, older_than_s=DAY_S, fewest=fewest)


def entries_of(store: Store) -> list[Entry]:
    return list(RangeLog(store).entries(LANE.name))


def paths(entries: list[Entry]) -> list[str]:
    return [piece.file.path for entry in entries for piece in entry.pieces()]


@pytest.fixture
def store() -> Store:
    return memory_store()


def test_a_long_chain_is_read_at_once(store: Store) -> None:
    """For who starts, and for who reads all: by what the store is asked."""
    chain = a_chain(store, 400)
    before = Counting(store)
    pieces = Contents(RangeLog(before)).view([TABLE]).pieces
    assert (before.calls["read"], before.listed > 400) == (401, True)
    assert fold(store) == 400
    after = Counting(store)
    assert Contents(RangeLog(after)).view([TABLE]).pieces == pieces
    assert (after.calls["read"], after.listed) == (2, 3)
    starting = Counting(store)
    claim = take_over(starting, LANE, lambda: NEW)
    assert (claim.start, claim.newest_version) == (chain[-1].end, chain[-1].newest_version)
    assert (starting.calls["read"], starting.calls["create"], starting.listed) == (1, 1, 4)


def test_a_fold_is_what_its_entries_were(store: Store) -> None:
    chain = a_chain(store, 5, young=2)
    assert fold(store) == 4
    folded, *rest = entries_of(store)
    assert isinstance(folded, Fold)
    assert rest == chain[4:]
    assert (folded.first, folded.end, folded.rows, folded.ranges) == (0, 30, 30, 3)
    assert list(folded.pieces()) == [piece for entry in chain[:4] for piece in entry.pieces()]
    assert fold(store) == 0
    # A year later, some more: the fold takes the old fold in.
    take_over(store, LANE, lambda: OLD)
    assert fold_lane(RangeLog(store), LANE.name, {}, NOW, older_than_s=0, fewest=2) == 2
    assert paths(entries_of(store)) == paths(chain)
    assert store.names(f"{OWN_FOLDER}/folds/{LANE.name}") == ["00000000000000000050.000000.json"]


def test_few_entries_or_young_ones_are_not_folded(store: Store) -> None:
    chain = a_chain(store, 5, young=5)
    assert fold(store, fewest=2) == 0
    assert entries_of(store) == chain


def test_a_crash_before_the_entries_are_removed_leaves_nothing_twice(store: Store) -> None:
    chain = a_chain(store, 5)
    log = RangeLog(store)

    class Killed(BaseException):
        pass

    def die(_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        fold_lane(log, LANE.name, {}, NOW, older_than_s=0, fewest=1, at=die)
    assert len(store.names(f"{OWN_FOLDER}/ranges/{LANE.name}")) == 6
    assert paths(entries_of(store)) == paths(chain)
    fold(store)
    assert len(store.names(f"{OWN_FOLDER}/ranges/{LANE.name}")) == 2
    assert paths(entries_of(store)) == paths(chain)


def test_who_reads_while_it_is_folded_has_each_file_once(store: Store) -> None:
    chain = a_chain(store, 5)
    for at in range(1, 12):
        made = memory_store()
        a_chain(made, 5)
        counter = iter(range(1, 100))

        def before(_: str, at: int = at, made: Store = made, counter: Any = counter) -> None:
            if next(counter) == at:
                fold(made)

        log = RangeLog(Counting(made, before=before))
        assert paths(list(log.entries(LANE.name))) == paths(chain)


def test_who_slept_since_before_the_fold_publishes_nothing(store: Store) -> None:
    """The name that it needs was taken by another's claim, and is free now."""
    chain = a_chain(store, 2)
    sleeper = following(chain[-1])
    take_over(store, LANE, lambda: OLD)
    claim = take_over(store, LANE, lambda: OLD)
    log = RangeLog(store)
    log.append(following(claim))
    log.set_mark(LANE.name, following(claim).name)
    assert not log.append(sleeper)
    fold(store)
    before = paths(entries_of(store))
    assert not log.append(sleeper)
    assert paths(entries_of(store)) == before
    fold(store)
    assert sleeper.name not in store.names(f"{OWN_FOLDER}/ranges/{LANE.name}")


def test_a_reader_that_does_not_know_of_folds_stops(store: Store) -> None:
    a_chain(store, 5)
    fold(store)
    first = store.names(f"{OWN_FOLDER}/ranges/{LANE.name}")[0]
    with pytest.raises(FatalError, match="cannot be read") as caught:
        RangeLog(store).entry(LANE.name, first)  # as it would go through the chain
    assert "a newer Callsheet" in caught.value.hint


@pytest.mark.parametrize("what", ["fold", "entry behind it", "file"])
def test_what_is_gone_is_seen(store: Store, what: str) -> None:
    chain = a_chain(store, 5, young=3)
    fold(store)
    if what == "fold":
        store.remove(f"{OWN_FOLDER}/folds")
        with pytest.raises(FatalError, match="cannot be read"):
            entries_of(store)
    elif what == "entry behind it":
        store.remove(f"{OWN_FOLDER}/ranges/{LANE.name}/{chain[3].name}")
        with pytest.raises(FatalError, match="is torn between"):
            entries_of(store)
    else:
        book = Examiner(store).lane(LANE.name)
        assert book is not None
        assert len(book.faults) == 5
        assert book.ranges == 5
