"""`callsheet offsets reset` of a replica: skipped is skipped, and who still writes is fenced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from callsheet import cli
from callsheet.batch import Partition
from callsheet.errors import FencedError
from callsheet.ports import SystemClock
from callsheet.sink import SinkContext
from sinks.sql.progress import SqlOffsets
from tests.support.batches import a_batch, upsert
from tests.support.downstream_job import DownstreamJob, Supervised
from tests.support.envelopes import JsonTable, an_envelope
from tests.support.kafka import a_cluster, eventually
from tests.support.sql import Opened, Replica, put, within

P0, P1 = (Partition("studio.finance.titles", number) for number in (0, 1))


@pytest.fixture
def offsets(replica: Replica) -> Iterator[SqlOffsets]:
    made = SqlOffsets(replica.settings(), SinkContext("test", SystemClock()))
    yield made
    made.close()


def test_it_goes_on_where_it_is_told_and_a_zombie_does_not(
    opened: Opened, offsets: SqlOffsets
) -> None:
    assert offsets.ends([P0]) == {}
    offsets.move({P0: 9})
    zombie = opened()
    assert zombie.assigned([P0, P1]) == {}
    put(zombie, a_batch([upsert(1, name="a")]))
    assert offsets.ends([P0, P1]) == {P0: 1}
    offsets.move({P0: 9, P1: 4})
    with pytest.raises(FencedError):
        put(zombie, a_batch([upsert(2, name="b")], first_offset=1))
    assert opened().assigned([P0, P1]) == {P0: 9, P1: 4}
    offsets.move({P0: 0})
    assert opened().assigned([P0]) == {P0: 0}


def test_another_pipelines_offsets_are_its_own(opened: Opened, offsets: SqlOffsets) -> None:
    other = opened("other", table="other_{table}")
    other.assigned([P0])
    other.write(a_batch([upsert(1, name="a")]), within(30))
    other.flush(within(30))
    offsets.move({P0: 9})
    assert opened("other", table="other_{table}").assigned([P0]) == {P0: 1}


@pytest.fixture
def job(stack_env: dict[str, str], live_stack: object, tmp_path: Path) -> Iterator[DownstreamJob]:
    with a_cluster(stack_env) as cluster:
        topic, letters = cluster.topic(1), cluster.topic(suffix="letters")
        yield DownstreamJob(cluster, tmp_path, stack_env["CALLSHEET_REGISTRY_URL"], topic, letters)


def test_records_are_passed_over_and_read_again_as_it_was_said(
    job: DownstreamJob, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = replica.settings().password.get_secret_value()
    monkeypatch.setenv("CALLSHEET_TEST_REPLICA_PASSWORD", secret)
    file = _replicating(job, replica)
    _change(job, 3)
    with Supervised(job, file):
        _wait(job)
    assert _ids(replica) == [0, 1, 2]

    _change(job, 2)
    moves = _reset(file, "latest")
    assert [(m["before"], m["destination"], m["after"]) for m in moves] == [(3, 3, 5)]
    _change(job, 1)
    with Supervised(job, file):
        _wait(job)
    assert _ids(replica) == [0, 1, 2, 5], "those between were to be passed over"

    _reset(file, "earliest")
    with Supervised(job, file):
        _wait(job)
    assert _ids(replica) == [0, 1, 2, 3, 4, 5]


def _replicating(job: DownstreamJob, replica: Replica) -> Path:
    file = job.write()
    document = json.loads(file.read_text())
    settings = replica.settings()
    document["sink"] = {
        "type": "sql", "url": settings.url, "username": settings.username,
        "password": "${env:CALLSHEET_TEST_REPLICA_PASSWORD}",
    }  # fmt: skip
    file.write_text(json.dumps(document))
    return file


def _change(job: DownstreamJob, count: int) -> None:
    producer = Producer({"bootstrap.servers": job.cluster.connection.bootstrap_servers})
    table = JsonTable(("id",), topic=job.topic)
    for _ in range(count):
        number = len(job.changes)
        job.changes.append(f"name {number}")
        row = {"id": number, "name": job.changes[-1]}
        message = table.message(an_envelope("u", after=row, pos=100 + number))
        producer.produce(job.topic, message.value(), message.key(), partition=0)
    assert producer.flush(30) == 0


def _wait(job: DownstreamJob) -> None:
    eventually(job.is_drained, "the replica has them")


def _reset(file: Path, to: str) -> list[dict[str, Any]]:
    cli.mount()
    done = CliRunner().invoke(cli.app, ["offsets", "reset", str(file), "--to", to, "--json"])
    assert done.exit_code == 0, done.output
    moves: list[dict[str, Any]] = json.loads(done.stdout)["moves"]
    return moves


def _ids(replica: Replica) -> list[int]:
    return [row["id"] for row in replica.rows("titles")]
