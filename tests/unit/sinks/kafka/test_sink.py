"""What the sink keeps in mind, without a broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import orjson
import pytest

from callsheet.batch import Partition
from callsheet.errors import ConfigError, Reason, RetryableError
from callsheet.event import OFFSET_BITS
from callsheet.kafka.topics import Topic, TopicState
from callsheet.ports import Deadline, OutgoingRecord, SystemClock
from callsheet.sink import Counts, SinkContext, Transaction
from sinks.kafka.latest import Versions, latest_rows
from sinks.kafka.settings import KafkaSinkSettings
from sinks.kafka.sink import KafkaSink
from sinks.kafka.subjects import Subjects
from tests.support.batches import a_batch, a_schema, delete, upsert

CLOCK = SystemClock()
VERSION = 1 << OFFSET_BITS


def within(seconds: float) -> Deadline:
    return Deadline.after(CLOCK, seconds)


@dataclass
class FakeProducer:
    is_full: bool = False
    sent: list[OutgoingRecord] = field(default_factory=list)
    too_large: Sequence[int] = ()

    def open(self, deadline: Deadline) -> None: ...

    def make_room(self, size_bytes: int, deadline: Deadline) -> None:
        if self.is_full:
            raise RetryableError("full")

    def send(self, topic: str, records: Iterable[OutgoingRecord]) -> Sequence[int]:
        self.sent += records
        return self.too_large


class FakeTopics:
    def __init__(self) -> None:
        self.made: list[Topic] = []

    def describe(self, names: Iterable[str]) -> Mapping[str, TopicState]:
        return {}

    def create(self, topics: Sequence[Topic]) -> None:
        self.made += topics

    def alter(self, name: str, config: Mapping[str, str]) -> None: ...


def answer(request: httpx.Request) -> httpx.Response:
    if request.url.path.endswith("latest"):
        return httpx.Response(404, json={"error_code": 40401})
    return httpx.Response(200, json={"id": 5})


@dataclass
class Scene:
    producer: FakeProducer = field(default_factory=FakeProducer)
    topics: FakeTopics = field(default_factory=FakeTopics)
    own: frozenset[str] = frozenset()

    def sink(self, **given: Any) -> KafkaSink:
        settings = KafkaSinkSettings.model_validate({"registry": {"url": "http://r"}, **given})
        transaction = Transaction(self.producer, self.topics, self.own.__contains__)
        sink = KafkaSink(settings, SinkContext("p", CLOCK, transaction=transaction))
        sink._subjects = Subjects(
            settings.registry, verify=True, transport=httpx.MockTransport(answer)
        )
        sink.open()
        return sink


def test_a_batch_for_which_there_is_no_room_leaves_no_trace() -> None:
    scene = Scene(FakeProducer(is_full=True))
    sink = scene.sink(mode="latest")
    batch = a_batch([upsert(1, name="a"), upsert(1, name="b")], first_version=VERSION)
    for _ in range(2):
        with pytest.raises(RetryableError):
            sink.write(batch, within(1))
    assert sink.progress().durable == {}
    scene.producer.is_full = False
    sink.write(batch, within(1))
    assert sink.progress().counts == Counts(written=1, superseded=1)
    assert len(scene.producer.sent) == 1


def test_what_a_lost_transaction_held_is_written_again() -> None:
    scene = Scene()
    for mode in ("log", "latest"):
        sink = scene.sink(mode=mode)
        batch = a_batch([upsert(1, name="a")], first_version=VERSION)
        sink.write(batch, within(1))
        sink.revoked([Partition(batch.topic, 0)], lost=True)
        sink.write(batch, within(1))
        assert sink.progress().counts == Counts(written=2)


def test_a_record_that_no_broker_takes_is_handed_back_by_its_place() -> None:
    scene = Scene(FakeProducer(too_large=[1]))
    sink = scene.sink(mode="latest")
    rows = [upsert(1, name="a"), upsert(2, name="b"), upsert(1, name="c")]
    sink.write(a_batch(rows, first_offset=40, first_version=VERSION), within(1))
    progress = sink.progress()
    assert [(r.offset, r.reason) for r in progress.rejections] == [(42, Reason.OVERSIZE)]
    assert progress.counts == Counts(written=1, superseded=1)


def test_two_tables_never_share_a_topic() -> None:
    sink = Scene().sink()
    sink.write(a_batch([upsert(1, name="a")], topic="one", first_version=VERSION), within(1))
    with pytest.raises(ConfigError, match="one would both go to"):
        sink.write(a_batch([upsert(1, name="a")], topic="two", first_version=VERSION), within(1))


def test_a_route_into_the_pipelines_own_topics_is_refused_at_start() -> None:
    with pytest.raises(ConfigError, match="reads itself"):
        Scene(own=frozenset({"letters"})).sink(routes={"finance.titles": "letters"})


def test_a_route_by_a_rule_is_refused_when_its_topic_is_known() -> None:
    scene = Scene(own=frozenset({"letters.titles"}))
    sink = scene.sink(routes={"finance.*": "letters.{table}"})
    with pytest.raises(ConfigError, match=r"write to letters\.titles, which it reads itself"):
        sink.write(a_batch([upsert(1, name="a")], first_version=VERSION), within(1))


def test_two_tables_that_a_rule_sends_to_one_topic_are_refused() -> None:
    sink = Scene().sink(routes={"*.titles": "all.{table}"})
    row, other = upsert(1, name="a"), replace(a_schema(), database="hr")
    sink.write(a_batch([row], topic="studio.finance.titles", first_version=VERSION), within(1))
    with pytest.raises(ConfigError, match=r"would both go to all\.titles"):
        sink.write(a_batch([row], other, topic="studio.hr.titles"), within(1))


def test_a_preview_needs_no_broker() -> None:
    settings = KafkaSinkSettings.model_validate({"registry": {"url": "http://r"}})
    sink = KafkaSink(settings, SinkContext("p", CLOCK))
    (line,) = sink.preview(a_batch([upsert(7, name="a")], first_version=VERSION))
    shown = orjson.loads(line)
    assert (shown["topic"], shown["key"]) == ("downstream.finance.titles", "7")
    assert shown["event"]["after"]["name"] == "a"


def test_only_so_many_ids_are_remembered_the_latest_used() -> None:
    versions = Versions(2)

    def news(*rows: Any) -> list[int]:
        return versions.news(a_batch(rows))

    assert news(upsert(1, 5), upsert(2, 5)) == [0, 1]
    assert news(upsert(1, 4), upsert(3, 5)) == [1]  # 1 was used last, so 2 is forgotten
    assert news(upsert(1, 5), upsert(2, 4)) == [1]


def test_the_latest_row_of_an_id_is_that_of_the_highest_version() -> None:
    rows = [upsert(1, 9), upsert(1, 4), upsert(2, 1), delete(2, 1), upsert(3, 1)]
    assert latest_rows(a_batch(rows)) == [0, 3, 4]
