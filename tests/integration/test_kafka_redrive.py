"""Letters of a transactional pipeline, redriven on a real broker while its worker runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka import Message, Producer

from callsheet.app import connection_of
from callsheet.cli.dlq_redrive import Outcome, Redrive, Wish
from callsheet.cli.dlq_workshop import Operator, bench_of, letter_log, workshop
from callsheet.config.loading import load
from callsheet.delivery import Step
from callsheet.kafka.letters import Choice, LetterBook
from callsheet.kafka.letters_turn import RedriveTurn
from callsheet.kafka.newest import TopicPast
from callsheet.ports import Deadline, SystemClock
from sinks import plugin
from tests.support.downstream import a_producer, headers_of, records
from tests.support.downstream_job import DownstreamJob, Supervised
from tests.support.envelopes import JsonTable, an_envelope, envelope_schema
from tests.support.kafka import Cluster, a_cluster, eventually

OPERATOR = Operator("me", 30.0, structlog.get_logger())
EVERYTHING = Wish(Choice(), most_attempts=3)
TEN_YEARS_HOURS = 87_600.0


class Killed(BaseException):
    """A crash: nothing after it is done."""


class Desk:
    """Rows without a name are letters, until the declared schema allows them."""

    def __init__(self, job: DownstreamJob, mode: str, prefix: str = "") -> None:
        self.job, prefix = job, prefix or job.name
        self.target = f"{prefix}.finance.titles"
        sink = {"mode": mode, "tombstones_kept_hours": TEN_YEARS_HOURS, "prefix": prefix}
        self.file = job.write(sink=sink)
        self.declare("string")
        self.pipeline = load(self.file, os.environ, plugin)

    def declare(self, name: Any) -> None:
        schema = {**envelope_schema({"id": "long", "name": name}), "callsheet.key": ["id"]}
        path = self.job.folder / "schemas" / f"{self.job.topic}.avsc"
        path.write_text(json.dumps(schema))

    def change(self, *rows: tuple[str, int, str | None, int]) -> None:
        """(operation, id, name, position)."""
        bootstrap = self.job.cluster.connection.bootstrap_servers
        producer = Producer({"bootstrap.servers": bootstrap})
        table = JsonTable(("id",), topic=self.job.topic)
        for op, identifier, name, position in rows:
            row = {"id": identifier, "name": name}
            images: dict[str, Any] = {"before": row} if op == "d" else {"after": row}
            message = table.message(an_envelope(op, pos=position, **images))
            producer.produce(self.job.topic, message.value(), message.key(), partition=0)
        assert producer.flush(30) == 0
        eventually(self.job.is_drained, "the worker has them")

    def redrive(self, dies_at: Step | None = None) -> Outcome:
        def at(step: Step) -> None:
            if step is dies_at:
                raise Killed

        settings, log = self.pipeline.settings, letter_log(self.pipeline.settings)
        turn_of = RedriveTurn(connection_of(settings), settings.group_id, log.topic)
        with turn_of as turn, bench_of(self.pipeline, log, OPERATOR) as bench:
            shop = replace(workshop(self.pipeline, bench, OPERATOR), at=at)
            return Redrive(shop, turn, "me", 30.0).run(EVERYTHING)

    def book(self) -> LetterBook:
        return letter_log(self.pipeline.settings).book()

    def downstream(self) -> list[tuple[bytes | None, int, bool]]:
        """(ID, position, has a value), in the order of the topic's partitions."""
        address = self.job.cluster.connection.bootstrap_servers
        return [_told(message) for message in records(address, self.target)]

    def state(self) -> dict[bytes | None, tuple[int, bool]]:
        """What a reader of the compacted topic keeps."""
        return {key: (position, is_there) for key, position, is_there in self.downstream()}


def _told(message: Message) -> tuple[bytes | None, int, bool]:
    version = headers_of(message)["callsheet-version"] or b"0"
    key = message.key()
    assert isinstance(key, bytes)
    return key, int(version) & 0xFFFFFFFF, message.value() is not None


@pytest.fixture
def job(stack_env: dict[str, str], live_stack: object, tmp_path: Path) -> Iterator[DownstreamJob]:
    with a_cluster(stack_env) as cluster:
        topic, letters = cluster.topic(3), cluster.topic(suffix="letters")
        made = DownstreamJob(cluster, tmp_path, stack_env["CALLSHEET_REGISTRY_URL"], topic, letters)
        yield made
        if made.target in cluster.admin.list_topics(timeout=20).topics:
            cluster.made.append(made.target)


def test_in_log_mode_each_letter_is_appended_once_whatever_dies(job: DownstreamJob) -> None:
    """And the pipeline's own worker, which runs meanwhile, is not replaced."""
    desk = Desk(job, "log")
    with Supervised(job, desk.file) as running:
        desk.change(("u", 1, None, 100), ("u", 2, None, 110), ("u", 1, "new", 120))
        assert len(desk.book().open()) == 2
        assert desk.downstream() == [(b"1", 120, True)]
        desk.declare(["null", "string"])
        for step in (Step.FETCHED, Step.WRITTEN, Step.COMMITTING, Step.COMMITTED):
            with suppress(Killed):
                desk.redrive(dies_at=step)
        outcome = desk.redrive()
        assert outcome.remaining == 0
        assert sorted(desk.downstream()) == [
            (b"1", 100, True),
            (b"1", 120, True),
            (b"2", 110, True),
        ]
        assert (desk.book().open(), desk.book().unfinished()) == ([], [])
        desk.declare("string")
        desk.change(("u", 3, "goes on", 130))
        assert (b"3", 130, True) in desk.downstream()
        assert running.states()[0].restarts == 0
    assert running.error is None


def test_in_latest_mode_no_older_state_comes_back(job: DownstreamJob) -> None:
    desk = Desk(job, "latest")
    with Supervised(job, desk.file):
        desk.change(
            ("u", 1, None, 100), ("u", 2, None, 110), ("u", 3, None, 120),
            ("u", 1, "new", 130), ("u", 4, "before", 90), ("u", 4, None, 140),
        )  # fmt: skip
        desk.change(("d", 3, "", 150))
    desk.declare(["null", "string"])
    outcome = desk.redrive()
    assert (outcome.redriven, outcome.written, outcome.stale) == (4, 2, 2)
    assert desk.state() == {
        b"1": (130, True), b"2": (110, True), b"3": (150, False), b"4": (140, True),
    }  # fmt: skip
    assert desk.redrive() == Outcome()


@pytest.mark.parametrize("ours_is_first", [True, False])
def test_a_newer_state_that_comes_in_meanwhile(
    stack_env: dict[str, str], live_stack: object, ours_is_first: bool
) -> None:
    """Between the look at the topic and our record: even in a transaction that is open still."""
    with a_cluster(stack_env) as cluster:
        topic, clock = cluster.topic(2), SystemClock()
        soon = Deadline.after(clock, 30.0)
        mine, other = (_named(cluster, name) for name in ("mine", "other"))
        past = TopicPast(cluster.connection, mine)
        assert past.newest(topic, {b"k"}, "callsheet-version", soon) == {}
        writes = [(mine, b"5"), (other, b"7")]
        for producer, version in writes if ours_is_first else reversed(writes):
            producer.open(soon)
            producer.send(topic, [(b"k", b"v", [("callsheet-version", version)])])
            producer.flush(soon)
        past.confirm(topic, {b"k": 5}, "callsheet-version", soon)
        # Where ours stands first the other's wins by itself; to be careful costs a repetition.
        assert "a newer state" in mine.failure
        mine.start_over()
        assert other.commit({}, None, soon)
        assert past.newest(topic, {b"k"}, "callsheet-version", soon) == {b"k": 7}
        mine.close()
        other.close()


def _named(cluster: Cluster, name: str) -> Any:
    return a_producer(cluster.connection.bootstrap_servers, f"{cluster.name}-{name}")
