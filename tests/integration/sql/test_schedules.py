"""Random schedules of writes, crashes, takeovers and zombies, against the real server.

After every single step the table must hold exactly what the offsets beside it say; nothing may be
applied twice, and what a zombie tries must change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

import hypothesis.strategies as st
import structlog
from hypothesis import HealthCheck, given, settings

from callsheet.batch import Partition
from callsheet.schema import TableSchema
from sinks.sql.catalog import Catalog
from sinks.sql.control import Offsets
from sinks.sql.mysql.dialect import MySql
from sinks.sql.store import Step, Store, Work
from sinks.sql.trouble import Fenced
from tests.support.batches import Row, a_batch, a_schema
from tests.support.examples import examples
from tests.support.sql import Replica
from tests.support.sql_log import PARTITIONS, a_log, state_after

LENGTH = 60
_numbers = count()


class Crash(BaseException):
    """Nothing that follows takes place in this process."""


@dataclass(slots=True)
class Member:
    """A worker's view: what it believes it owns, and where it believes to be."""

    replica: Replica
    schema: TableSchema
    generations: dict[Partition, int] = field(default_factory=dict)
    places: dict[Partition, int] = field(default_factory=dict)
    crash_at: Step | None = None
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new process: it knows nothing."""
        self.generations, self.places, self.crash_at = {}, {}, None
        dialect = MySql(self.replica.settings(), "")
        engine = dialect.engine(answer_timeout_s=20)
        log = structlog.get_logger()
        catalog = Catalog(dialect, engine, pipeline="test", template="{table}", log=log)
        self.store = Store(dialect, engine, catalog, Offsets("test"), self._at)
        self.store.open()

    def _at(self, step: Step) -> None:
        if step is self.crash_at:
            raise Crash

    def claim(self, partition: Partition) -> None:
        for place, found in self.store.claim([partition]).items():
            self.generations[place] = found.generation
            self.places[place] = found.next_offset or 0

    def write(self, log: list[Row], size: int, pieces: int) -> int:
        """The next rows of what it believes to own; returns how many were applied."""
        rest = [row for row in log if self._is_next(row)]
        rows = rest[: size * pieces]
        batches = [a_batch(rows[n : n + size], self.schema) for n in range(0, len(rows), size)]
        works = [Work(batch, batch.frame) for batch in batches]
        if not works:
            return 0
        written = self.store.write(works, self.generations)
        assert sum(outcome.counts.stale for outcome in written.outcomes) == 0, "applied twice"
        for batch in batches:
            self.places |= batch.next_offsets()
        return len(rows)

    def _is_next(self, row: Row) -> bool:
        place = Partition(f"studio.finance.{self.schema.table}", row.partition)
        return place in self.places and (row.offset or 0) >= self.places[place]


def look(replica: Replica, table: str) -> tuple[dict[str, str], Mapping[int, int]]:
    """Rows and offsets."""
    exists = replica.ask(
        "SELECT 1 FROM information_schema.tables "
        f"WHERE table_schema = '{replica.name}' AND table_name = '{table}'"
    )
    rows = {str(row["id"]): row["name"] for row in replica.rows(table)} if exists else {}
    found = replica.ask(
        f"SELECT kafka_partition, COALESCE(next_offset, 0) FROM `{replica.name}`.callsheet_offsets "
        f"WHERE topic = 'studio.finance.{table}'"
    )
    return rows, {int(number): int(end) for number, end in found}


STEPS = st.one_of(
    st.tuples(st.just("claim"), st.integers(0, 1), st.integers(0, PARTITIONS - 1)),
    st.tuples(st.just("write"), st.integers(0, 1), st.sampled_from([None, None, None, *Step])),
    st.tuples(st.just("restart"), st.integers(0, 1), st.none()),
)


@settings(
    max_examples=examples(25),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    schedule=st.lists(STEPS, max_size=14),
    seed=st.integers(0, 10_000),
    size=st.integers(1, 12),
    pieces=st.integers(1, 3),
)
def test_every_schedule_ends_in_the_same_state(
    replica: Replica,
    schedule: list[tuple[str, int, object]],
    seed: int,
    size: int,
    pieces: int,
) -> None:
    schema = a_schema(table=f"t{next(_numbers)}")
    log = a_log(LENGTH, seed, ids=6)
    members = [Member(replica, schema), Member(replica, schema)]
    owner: dict[Partition, Member] = {}
    for action, number, argument in schedule:
        member = members[number]
        if action == "restart":
            member.start()
        elif action == "claim":
            partition = Partition(f"studio.finance.{schema.table}", int(str(argument)))
            member.claim(partition)
            owner[partition] = member
        else:
            step = argument if isinstance(argument, Step) else None
            _try_to_write(member, log, size, pieces, step, owner)
        rows, ends = look(replica, schema.table)
        assert rows == state_after(log, ends), "rows and offsets are of one moment"

    heir = Member(replica, schema)
    for number in range(PARTITIONS):
        heir.claim(Partition(f"studio.finance.{schema.table}", number))
    while heir.write(log, size, pieces):
        pass
    whole = state_after(log, dict.fromkeys(range(PARTITIONS), LENGTH))
    assert look(replica, schema.table)[0] == whole


def _try_to_write(
    member: Member,
    log: list[Row],
    size: int,
    pieces: int,
    step: Step | None,
    owner: Mapping[Partition, Member],
) -> None:
    is_zombie = any(owner.get(place) is not member for place in member.places)
    before = look(member.replica, member.schema.table)
    member.crash_at = step
    try:
        member.write(log, size, pieces)
    except Crash:
        member.start()
    except Fenced as fenced:
        assert is_zombie, "nobody else has claimed these"
        assert look(member.replica, member.schema.table) == before
        for place in fenced.partitions:
            member.places.pop(place)
            member.generations.pop(place)
    finally:
        member.crash_at = None
