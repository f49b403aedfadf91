"""A table as it was, against the obvious way to tell it, over random changes in any order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.batch import Partition
from callsheet.errors import UsageError
from callsheet.event import Op
from sinks.hive.archive import Archive
from sinks.hive.history import history
from sinks.hive.state import state
from tests.support.batches import Row, a_batch, a_schema
from tests.support.examples import examples
from tests.support.hive import a_sink, memory_store, within

SCHEMA = a_schema(table="plans")
TOPIC = "studio.finance.plans"
START = datetime(2027, 1, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)

Told = tuple[int, int, bool]
"""ID, hours after the start, whether it is a deletion; its place in the list is its version."""


def a_row(version: int, told: Told) -> Row:
    identifier, hours, is_deletion = told
    after = None if is_deletion else {"id": identifier, "name": f"v{version}"}
    ts_us = round((START + hours * HOUR).timestamp()) * 1_000_000
    op = Op.DELETE if is_deletion else Op.UPDATE
    return Row(op, str(identifier), after, version, ts_us=ts_us)


def expected(changes: list[Told], hours: int) -> dict[int, str]:
    last: dict[int, tuple[int, bool]] = {}
    for version, (identifier, at, is_deletion) in enumerate(changes, 1):
        if at <= hours:
            last[identifier] = version, is_deletion
    return {key: f"v{version}" for key, (version, is_gone) in last.items() if not is_gone}


@settings(max_examples=examples(60))
@given(
    changes=st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 60), st.booleans()), min_size=1, max_size=15
    ),
    order=st.randoms(use_true_random=False),
    repeated=st.integers(0, 5),
    cuts=st.integers(1, 4),
    hours=st.integers(0, 60),
)
def test_a_state_is_the_last_change_of_each_row_up_to_then(
    changes: list[Told], order: random.Random, repeated: int, cuts: int, hours: int
) -> None:
    """Whatever the order of arrival, and however often the source repeats itself."""
    rows = [a_row(version, told) for version, told in enumerate(changes, 1)]
    rows += rows[:repeated]
    order.shuffle(rows)
    store = memory_store()
    for first in range(0, len(rows), cuts):
        sink = a_sink(store)
        sink.open()
        sink.assigned([Partition(TOPIC, 0)])
        sink.write(a_batch(rows[first : first + cuts], SCHEMA, first_offset=first), within())
        sink.flush(within())
        sink.close()
    table = Archive(store).table("plans")
    wanted = expected(changes, hours)
    try:
        found = dict(state(table, START + hours * HOUR).frame.rows())
    except UsageError:
        assert all(at > hours for _, at, _ in changes)
    else:
        assert found == wanted
    for identifier in {told[0] for told in changes}:
        versions = [v for v, told in enumerate(changes, 1) if told[0] == identifier]
        assert [each.version for each in history(table, str(identifier))] == versions
