"""Whatever breaks, the replica holds each change once: offsets and rows move together."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from callsheet.batch import Batch, Partition
from callsheet.errors import FencedError, RetryableError
from callsheet.event import Op
from callsheet.sink import Counts
from callsheet.testing import Ledger
from sinks.sql.store import Step
from tests.support.batches import Row, a_batch, a_schema, delete, upsert
from tests.support.elastic import wait_until
from tests.support.sql import Opened, Replica, a_replica_behind_a_proxy, put, within
from tests.support.sql_log import a_log, batches, partitions, state_after

CHECKOUT = Path(__file__).parents[3]
SCHEMA = a_schema()
TOPIC = "studio.finance.titles"
LENGTH = 200


def names(replica: Replica) -> dict[str, str]:
    return {str(row["id"]): row["name"] for row in replica.rows("titles")}


def offsets(replica: Replica) -> dict[int, int]:
    found = replica.ask(
        "SELECT kafka_partition, COALESCE(next_offset, 0) "
        f"FROM `{replica.name}`.callsheet_offsets WHERE pipeline = 'test'"
    )
    return {int(number): int(end) for number, end in found}


# --- a process that dies --------------------------------------------------------------------------


def run_child(replica: Replica, step: str, number: int) -> int:
    settings = replica.settings()
    given = settings.model_dump(mode="json") | {"password": settings.password.get_secret_value()}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.sql_log", step, str(number), str(LENGTH)],
        input=json.dumps(given).encode(),
        cwd=CHECKOUT,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.returncode


@pytest.mark.parametrize("step", list(Step))
def test_killed_in_mid_transaction(replica: Replica, opened: Opened, step: Step) -> None:
    log = a_log(LENGTH)
    assert run_child(replica, step, 3) == -9
    reached = offsets(replica)
    assert names(replica) == state_after(log, reached), "rows and offsets are of one moment"
    assert sum(reached.values()) == 25 * (3 if step is Step.COMMITTED else 2)

    assert run_child(replica, step, 1) == -9, "and again, right at the beginning"
    assert names(replica) == state_after(log, offsets(replica))

    sink = opened()
    starts = {place.number: start for place, start in sink.assigned(partitions(SCHEMA)).items()}
    assert starts == offsets(replica)
    progress = put(sink, *batches(log, starts, 30, SCHEMA))
    assert progress.counts.stale == 0, "nothing was read twice"
    assert names(replica) == state_after(log, dict.fromkeys(range(2), LENGTH))


# --- replay ---------------------------------------------------------------------------------------


def test_a_replay_from_the_beginning_leaves_the_same(replica: Replica, opened: Opened) -> None:
    log = a_log(LENGTH)
    sink = opened()
    put(sink, *batches(log, {}, 40, SCHEMA))
    rows, versions = replica.rows("titles"), replica.versions("titles")

    again = put(sink, *batches(log, {}, 17, SCHEMA))
    assert again.counts.written == 0
    assert again.counts.stale + again.counts.superseded == LENGTH
    half = opened("test")
    half.assigned(partitions(SCHEMA))
    put(half, *batches(log[:90], {}, 11, SCHEMA))
    assert (replica.rows("titles"), replica.versions("titles")) == (rows, versions)


def test_a_topic_made_again_with_lower_offsets_is_taken(replica: Replica, opened: Opened) -> None:
    """Offsets say where to go on; what is newer is said by versions alone."""
    sink = opened()
    put(sink, a_batch([upsert(1, name="a")], SCHEMA, first_offset=5_000))
    put(sink, a_batch([upsert(1, name="b", version=7)], SCHEMA, first_offset=0))
    assert names(replica) == {"1": "b"}
    assert offsets(replica) == {0: 1}


def test_every_row_has_its_position_and_every_partition_its_watermark(
    replica: Replica, opened: Opened
) -> None:
    rows = [upsert(1, 10, name="a"), upsert(2, 12, name="b"), delete(3, 11)]
    put(opened(), a_batch([*rows, replace(upsert(4, 9, name="c"), partition=1)], SCHEMA))
    assert replica.versions("titles") == {
        "1": (10, False), "2": (12, False), "3": (11, True), "4": (9, False),
    }  # fmt: skip
    marks = replica.ask(
        f"SELECT kafka_partition, version FROM `{replica.name}`.callsheet_offsets ORDER BY 1"
    )
    assert marks == [(0, 12), (1, 9)]


# --- two workers ----------------------------------------------------------------------------------


def test_two_workers_share_a_table(replica: Replica, opened: Opened) -> None:
    """Each with a partition of it, at the same time, in a table so small that scans would tempt."""
    log = a_log(1_200, ids=40)
    members = [opened(), opened()]
    for member, place in zip(members, partitions(SCHEMA), strict=True):
        member.assigned([place])
    ledgers = [Ledger(member) for member in members]
    for number, member in enumerate(members):
        own = [row for row in log if row.partition == number]
        for batch in batches(own, {}, 15, SCHEMA):
            member.write(batch, within(20))
    for member, ledger in zip(members, ledgers, strict=True):
        member.flush(within(60))
        ledger.look()
    assert names(replica) == state_after(log, dict.fromkeys(range(2), len(log)))
    assert sum(ledger.total() for ledger in ledgers) == len(log)
    assert [ledger.counts.stale for ledger in ledgers] == [0, 0]


def test_a_transaction_that_takes_its_time_holds_up_no_other_partition(
    replica: Replica, opened: Opened
) -> None:
    in_transaction, may_go_on = threading.Event(), threading.Event()

    def at(step: Step) -> None:
        if step is Step.OFFSETS and slow_one.is_set():
            in_transaction.set()
            may_go_on.wait(30)

    slow_one = threading.Event()
    rows = [replace(upsert(n, name="a"), partition=n % 2) for n in range(60)]
    put(opened(), a_batch(rows, SCHEMA))
    slow, quick = replica.sink("test", at), opened()
    slow.open()
    try:
        mine, other = partitions(SCHEMA)
        slow.assigned([mine])
        slow_one.set()
        slow.write(_changed(rows[::2]), within(5))
        assert in_transaction.wait(20)
        quick.assigned([other])
        assert put(quick, _changed(rows[1::2])).counts == Counts(written=30)
    finally:
        may_go_on.set()
        slow.close()


def _changed(rows: list[Row]) -> Batch:
    """Half of them updated, half deleted."""
    newer = [replace(row, version=1_000 + n, offset=100 + n) for n, row in enumerate(rows)]
    gone = [replace(row, op=Op.DELETE, after=None) for row in newer[::2]]
    return a_batch([*newer[1::2], *gone], SCHEMA)


# --- zombies --------------------------------------------------------------------------------------


def test_a_zombie_is_fenced(replica: Replica, opened: Opened) -> None:
    zombie, heir = opened(), opened()
    place = Partition(TOPIC, 0)
    assert zombie.assigned([place]) == {}
    put(zombie, a_batch([upsert(1, name="old")], SCHEMA))
    assert heir.assigned([place]) == {place: 1}

    late = a_batch([upsert(1, name="late", version=50)], SCHEMA, first_offset=1)
    zombie.write(late, within(5))
    with pytest.raises(FencedError):
        zombie.flush(within(20))
    with pytest.raises(FencedError):
        zombie.progress()
    assert names(replica) == {"1": "old"}
    put(heir, a_batch([upsert(1, name="new", version=9)], SCHEMA, first_offset=1))
    assert names(replica) == {"1": "new"}

    zombie.revoked([place], lost=True)  # it has learnt it: a member like any other again
    assert zombie.progress().durable == {}
    other = Partition(TOPIC, 1)
    zombie.assigned([other])
    more = a_batch([replace(upsert(7, name="x"), partition=1)], SCHEMA)
    assert put(zombie, more).durable == {other: 1}


def test_a_zombie_that_wakes_in_mid_transaction_holds_its_heir_up_and_then_loses_nothing(
    replica: Replica, opened: Opened
) -> None:
    """The heir waits for the lock; where it starts is what the zombie's commit came to."""
    in_transaction, may_go_on = threading.Event(), threading.Event()

    def at(step: Step) -> None:
        if step is Step.ROWS:
            in_transaction.set()
            may_go_on.wait(30)

    place = Partition(TOPIC, 0)
    zombie = replica.sink("test", at)
    zombie.open()
    try:
        zombie.assigned([place])
        zombie.write(a_batch([upsert(1, name="old")], SCHEMA), within(5))
        assert in_transaction.wait(20)
        threading.Timer(0.5, may_go_on.set).start()
        assert opened().assigned([place]) == {place: 1}
        assert names(replica) == {"1": "old"}
    finally:
        may_go_on.set()
        zombie.close()


# --- servers that do not answer -------------------------------------------------------------------


def disturbed(stack_env: dict[str, str], disturb: Callable[[Replica], None]) -> Counts:
    """One batch whose first transaction is disturbed just before its commit."""
    seen: list[Step] = []
    with a_replica_behind_a_proxy(stack_env) as (replica, proxy):

        def at(step: Step) -> None:
            if step is Step.OFFSETS and Step.OFFSETS not in seen:
                seen.append(step)
                if disturb is freeze:
                    proxy.freeze()
                else:
                    disturb(replica)

        sink = replica.sink("test", at, answer_timeout_seconds=1, connect_timeout_seconds=1)
        sink.open()
        try:
            ledger = Ledger(sink)
            sink.assigned(partitions(SCHEMA))
            batch = a_batch([upsert(n, name="a") for n in range(50)], SCHEMA)
            sink.write(batch, within(5))
            wait_until(lambda: ledger.look().trouble is not None or ledger.total() == 50)
            proxy.thaw()
            sink.flush(within(40))
            assert ledger.look().trouble is None
            assert ledger.durable == batch.next_offsets()
            assert len(replica.rows("titles")) == 50
            [(writes,)] = replica.ask(
                f"SELECT writes FROM `{replica.name}`.callsheet_offsets WHERE kafka_partition = 0"
            )
            assert writes == 1, "it took place once"
            return ledger.counts
        finally:
            sink.close()


def freeze(_replica: Replica) -> None:
    """The commit is on its way and is carried out, but nobody hears the answer."""


def cut(replica: Replica) -> None:
    """The session is gone before its commit."""
    sessions = replica.ask(
        f"SELECT id FROM information_schema.processlist WHERE db = '{replica.name}'"
    )
    for (session,) in sessions:
        replica.ask_nothing(f"KILL {session}")


@pytest.mark.parametrize("disturb", [freeze, cut])
def test_the_offsets_decide_what_became_of_a_commit(
    stack_env: dict[str, str], disturb: Callable[[Replica], None]
) -> None:
    assert disturbed(stack_env, disturb) == Counts(written=50)


def test_a_frozen_server_is_told_of_in_time(stack_env: dict[str, str]) -> None:
    with a_replica_behind_a_proxy(stack_env) as (replica, proxy):
        sink = replica.sink(answer_timeout_seconds=1, claim_timeout_seconds=1)
        sink.open()
        try:
            put(sink, a_batch([upsert(1, name="a")], SCHEMA))
            proxy.freeze()
            batch = a_batch([upsert(1, name="b", version=9)], SCHEMA, first_offset=1)
            sink.write(batch, within(1))
            wait_until(lambda: sink.progress().trouble is not None)
            with pytest.raises(RetryableError, match="does not answer"):
                sink.flush(within(0.2))
            with pytest.raises(RetryableError, match="does not answer"):
                sink.assigned([Partition(TOPIC, 1)])
            proxy.thaw()
            sink.flush(within(30))
            assert sink.progress().trouble is None
            assert names(replica) == {"1": "b"}
        finally:
            proxy.thaw()
            sink.close()
