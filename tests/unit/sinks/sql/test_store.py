"""A commit that nobody answered, in a database in memory: the bookkeeping is the real one."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Literal, cast

import polars as pl
import pytest
import sqlalchemy as sa

from callsheet.batch import Batch, Partition
from callsheet.schema import TableSchema
from callsheet.sink import Counts
from sinks.sql.catalog import Catalog, Target
from sinks.sql.control import OFFSETS, Claim, Offsets
from sinks.sql.dialect import Diagnosis, Dialect, Server, Statement, Trouble
from sinks.sql.store import Store, Work
from sinks.sql.trouble import Failed
from tests.support.batches import a_batch, upsert

TOPIC = "studio.finance.titles"
HERE, THERE = Partition(TOPIC, 0), Partition(TOPIC, 1)


class SmallDialect:
    """SQL that SQLite takes; of a row only its id."""

    def server(self, _connection: sa.Connection) -> Server:
        return Server("1", "me", 1 << 20)

    def diagnosis(self, _error: sa.exc.DBAPIError) -> Diagnosis:
        return Diagnosis(Trouble.AWAY, "lost")

    def refusals(self, _schema: TableSchema, rows: pl.DataFrame) -> pl.Series:
        return pl.Series([None] * rows.height, dtype=pl.String)

    def upserts(self, _table: str, _schema: TableSchema, rows: pl.DataFrame) -> Iterator[Statement]:
        values = ", ".join(f"({identifier})" for identifier in rows["id"])
        yield Statement(f"REPLACE INTO titles VALUES {values}", 0, rows.height)

    def known_versions(self, _table: str, ids: pl.Series) -> Iterator[str]:
        wanted = ", ".join(f"'{identifier.decode()}'" for identifier in ids)
        yield f"SELECT CAST(id AS BLOB), version FROM versions WHERE id IN ({wanted})"

    def note_versions(self, _table: str, rows: pl.DataFrame, *, are_new: bool) -> Iterator[str]:
        del are_new
        for identifier, version in rows.select("id", "version").iter_rows():
            yield f"REPLACE INTO versions VALUES ('{identifier.decode()}', {version})"

    def attempt(self, _connection: sa.Connection) -> nullcontext[None]:
        return nullcontext()


class OneTable:
    def target(self, _topic: str, _schema: TableSchema) -> Target:
        return Target("titles", "versions")


class Replica:
    """A store, and a server whose next commit can be disturbed."""

    def __init__(self) -> None:
        self.engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
        self._next: Literal["commit", "rollback"] | None = None
        """What the next commit comes to, without an answer."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE titles (id INTEGER PRIMARY KEY)")
            connection.exec_driver_sql("CREATE TABLE versions (id TEXT PRIMARY KEY, version)")
        self.store = self.a_store()
        sa.event.listen(self.engine, "commit", self._on_commit)

    def a_store(self) -> Store:
        dialect, catalog = cast("Dialect", SmallDialect()), cast("Catalog", OneTable())
        store = Store(dialect, self.engine, catalog, Offsets("test"))
        store.open()
        return store

    def _on_commit(self, connection: sa.Connection) -> None:
        end, self._next = self._next, None
        if end is not None:
            getattr(connection.connection.dbapi_connection, end)()
            raise sa.exc.OperationalError("COMMIT", None, Exception("gone"))

    def fail(self, works: Sequence[Work], mine: dict[Partition, int], *, is_done: bool) -> None:
        """Nobody hears of this transaction's commit; ``is_done``: it took place all the same."""
        self._next = "commit" if is_done else "rollback"
        with pytest.raises(Failed):
            self.store.write(works, mine)

    def claim(self, *places: Partition, store: Store | None = None) -> dict[Partition, int]:
        claims: dict[Partition, Claim] = (store or self.store).claim(places)
        return {place: claim.generation for place, claim in claims.items()}

    def ids(self) -> list[int]:
        with self.engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT id FROM titles ORDER BY id")
            return [row[0] for row in found]

    def place(self, partition: Partition) -> tuple[int | None, int]:
        """Next offset, and transactions so far."""
        asked = sa.select(OFFSETS.c.next_offset, OFFSETS.c.writes)
        with self.engine.connect() as connection:
            row = connection.execute(asked.where(OFFSETS.c.kafka_partition == partition.number))
            next_offset, writes = row.one()
            return next_offset, writes


@pytest.fixture
def replica() -> Iterator[Replica]:
    made = Replica()
    yield made
    made.engine.dispose()


def all_of(*batches: Batch) -> list[Work]:
    return [Work(batch, batch.frame) for batch in batches]


@pytest.mark.parametrize("is_done", [True, False])
def test_the_same_works_are_told_from_the_writes(replica: Replica, is_done: bool) -> None:
    works = all_of(a_batch([upsert(1)]), a_batch([upsert(2)], first_offset=1))
    mine = replica.claim(HERE)
    replica.fail(works, mine, is_done=is_done)
    written = replica.store.write(works, mine)
    assert [outcome.counts for outcome in written.outcomes] == [Counts(written=1)] * 2
    assert written.generations == mine
    assert (replica.ids(), replica.place(HERE)) == ([1, 2], (2, 1)), "it took place once"


@pytest.mark.parametrize("is_done", [True, False])
def test_a_partition_that_went_in_between_leaves_the_rest_told(
    replica: Replica, is_done: bool
) -> None:
    """Of the first batch nothing is ours any more, of the second one row."""
    gone = a_batch([replace(upsert(1), partition=1)])
    mixed = a_batch([upsert(2), replace(upsert(3), partition=1, offset=1)])
    mine = replica.claim(HERE, THERE)
    replica.fail(all_of(gone, mixed), mine, is_done=is_done)
    heir = replica.a_store()
    replica.claim(THERE, store=heir)
    rest = Work(mixed, mixed.frame.filter(pl.col("partition") == 0))
    written = replica.store.write([rest], {HERE: mine[HERE]})
    count = Counts(written=2 if is_done else 1)
    assert [outcome.counts for outcome in written.outcomes] == [count], "of what took place"
    assert replica.ids() == ([1, 2, 3] if is_done else [2])
    assert replica.place(HERE) == (1, 1)


def test_a_new_batch_in_the_place_of_a_freed_one_is_written(replica: Replica) -> None:
    """The partition is revoked while a commit is in doubt, and comes back with the next records."""
    works = all_of(a_batch([upsert(1)]))
    replica.fail(works, replica.claim(HERE), is_done=True)
    place_in_memory = id(works[0].batch)
    new = a_batch([upsert(2, 2)], first_offset=1)
    del works
    gc.collect()
    batch = _one_at(place_in_memory, new)
    written = replica.store.write(all_of(batch), replica.claim(HERE))
    assert [outcome.counts for outcome in written.outcomes] == [Counts(written=1)]
    assert (replica.ids(), replica.place(HERE)) == ([1, 2], (2, 2))


def test_a_new_batch_of_another_partition_is_written(replica: Replica) -> None:
    works = all_of(a_batch([upsert(1)]))
    replica.fail(works, replica.claim(HERE), is_done=True)
    place_in_memory = id(works[0].batch)
    new = a_batch([replace(upsert(2), partition=1)])
    del works
    gc.collect()
    replica.store.write(all_of(_one_at(place_in_memory, new)), replica.claim(THERE))
    assert (replica.ids(), replica.place(THERE)) == ([1, 2], (1, 1))


def test_a_batch_of_a_doubtful_commit_and_one_more_are_written(replica: Replica) -> None:
    """What it brought already is stale; no outcome of it is told for the other."""
    known, more = a_batch([upsert(1)]), a_batch([upsert(2, 2)], first_offset=1)
    mine = replica.claim(HERE)
    replica.fail(all_of(known), mine, is_done=True)
    written = replica.store.write(all_of(known, more), mine)
    assert [outcome.counts for outcome in written.outcomes] == [Counts(stale=1), Counts(written=1)]
    assert (replica.ids(), replica.place(HERE)) == ([1, 2], (2, 2))


def test_other_works_under_the_same_claim_are_written(replica: Replica) -> None:
    mine = replica.claim(HERE)
    replica.fail(all_of(a_batch([upsert(1)])), mine, is_done=True)
    replica.store.write(all_of(a_batch([upsert(2, 2)], first_offset=1)), mine)
    assert (replica.ids(), replica.place(HERE)) == ([1, 2], (2, 2))


def test_the_transactions_of_an_owner_in_between_prove_nothing(replica: Replica) -> None:
    """Ours did not take place, and another's did; then the partition and its batch are ours."""
    batch = a_batch([upsert(1), upsert(2)])
    replica.fail(all_of(batch), replica.claim(HERE), is_done=False)
    heir = replica.a_store()
    heir.write(all_of(a_batch([upsert(1)])), replica.claim(HERE, store=heir))
    written = replica.store.write(all_of(batch), replica.claim(HERE))
    assert [outcome.counts for outcome in written.outcomes] == [Counts(written=1, stale=1)]
    assert (replica.ids(), replica.place(HERE)) == ([1, 2], (2, 2))


def test_a_doubt_is_settled_once(replica: Replica) -> None:
    """The same batch a second time is a replay, and is looked at as one."""
    works, mine = all_of(a_batch([upsert(1)])), replica.claim(HERE)
    replica.fail(works, mine, is_done=True)
    assert replica.store.write(works, mine).outcomes[0].counts == Counts(written=1)
    assert replica.store.write(works, mine).outcomes[0].counts == Counts(stale=1)


def _one_at(place_in_memory: int, like: Batch) -> Batch:
    """One that is where another one was, if that place is free."""
    tried = [replace(like)]
    while id(tried[-1]) != place_in_memory and len(tried) < 20_000:
        tried.append(replace(like))
    return tried[-1]
