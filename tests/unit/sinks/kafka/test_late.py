"""What a redrive may write to a compacted topic, and what has to stay out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from callsheet.errors import Reason, RetryableError
from callsheet.event import OFFSET_BITS
from callsheet.kafka.newest import note_newest
from callsheet.ports import Deadline, SystemClock
from callsheet.sink import Counts, SinkContext, Transaction
from sinks.kafka.settings import KafkaSinkSettings
from sinks.kafka.sink import KafkaSink
from sinks.kafka.subjects import Subjects
from tests.support.batches import RawMessage, a_batch, delete, upsert
from tests.support.clock import FakeClock
from tests.unit.sinks.kafka.test_sink import FakeProducer, FakeTopics, answer

VERSION = 1 << OFFSET_BITS
OLD_HOURS = 24.0 * 365 * 100


@dataclass
class FakePast:
    """``held``: versions in the topic."""

    held: dict[bytes, int] = field(default_factory=dict)
    is_reading: bool = False
    confirmed: list[Mapping[bytes, int]] = field(default_factory=list)

    def newest(
        self, topic: str, keys: Collection[bytes], header: str, deadline: Deadline
    ) -> Mapping[bytes, int]:
        assert header == "callsheet-version"
        if self.is_reading:
            raise RetryableError("still being read")
        return {key: version for key, version in self.held.items() if key in keys}

    def confirm(
        self, topic: str, sent: Mapping[bytes, int], header: str, deadline: Deadline
    ) -> None:
        self.confirmed.append(sent)


@dataclass
class Scene:
    past: FakePast = field(default_factory=FakePast)
    producer: FakeProducer = field(default_factory=FakeProducer)

    def sink(self, mode: str = "latest", kept_hours: float = OLD_HOURS) -> KafkaSink:
        settings = KafkaSinkSettings.model_validate(
            {"registry": {"url": "http://r"}, "mode": mode, "tombstones_kept_hours": kept_hours}
        )
        transaction = Transaction(self.producer, FakeTopics(), lambda _: False, self.past)
        sink = KafkaSink(settings, SinkContext("p", FakeClock(), transaction=transaction))
        sink._subjects = Subjects(
            settings.registry, verify=True, transport=httpx.MockTransport(answer)
        )
        sink.open()
        return sink

    def keys(self) -> list[bytes | None]:
        return [key for key, _, _ in self.producer.sent]


def within(seconds: float = 1) -> Deadline:
    return Deadline.after(SystemClock(), seconds)


def test_only_what_is_newer_than_the_topic_is_written() -> None:
    scene = Scene(FakePast({b"1": VERSION + 100, b"2": VERSION + 1, b"3": VERSION}))
    sink = scene.sink()
    rows = [upsert(1, name="old"), upsert(2, name="same"), upsert(3, name="new"), upsert(4)]
    sink.write(a_batch(rows, first_version=VERSION), within())
    assert sink.progress().counts == Counts(written=2, stale=2)
    assert scene.keys() == [b"3", b"4"]
    assert scene.past.confirmed == [{b"3": VERSION + 2, b"4": VERSION + 3}]


def test_in_log_mode_the_older_change_is_appended_as_what_it_is() -> None:
    scene = Scene(FakePast({b"1": VERSION + 100}))
    sink = scene.sink("log")
    sink.write(a_batch([upsert(1, name="old")], first_version=VERSION), within())
    assert sink.progress().counts == Counts(written=1)
    ((_, _, headers),) = scene.producer.sent
    assert ("callsheet-version", str(VERSION).encode()) in headers
    assert scene.past.confirmed == []


def test_what_might_be_deleted_by_now_is_handed_back() -> None:
    """Older than tombstones are kept, and nothing is known of the ID; a delete harms nobody."""
    scene = Scene(FakePast({b"2": VERSION}))
    sink = scene.sink(kept_hours=0.1)
    rows = [upsert(1, name="a"), upsert(2, name="b"), delete(3)]
    sink.write(a_batch(rows, first_offset=40, first_version=VERSION), within())
    progress = sink.progress()
    assert scene.keys() == [b"2", b"3"]
    [refused] = progress.rejections
    assert (refused.offset, refused.reason) == (40, Reason.REJECTED)
    assert "cannot be told" in refused.detail
    assert max(progress.durable.values()) == 43


def test_a_topic_that_is_not_read_to_its_end_leaves_no_trace() -> None:
    scene = Scene(FakePast(is_reading=True))
    sink = scene.sink()
    batch = a_batch([upsert(1, name="a")], first_version=VERSION)
    with pytest.raises(RetryableError):
        sink.write(batch, within())
    assert (scene.producer.sent, sink.progress().durable) == ([], {})
    scene.past.is_reading = False
    sink.write(batch, within())
    assert sink.progress().counts == Counts(written=1)


def records(*given: tuple[bytes | None, Any]) -> Iterable[RawMessage]:
    for key, version in given:
        headers = () if version is None else (("callsheet-version", version),)
        yield RawMessage("t", 0, 0, key, b"", headers)


def test_the_newest_of_a_key_is_the_highest_not_the_last() -> None:
    found: dict[bytes, int] = {}
    given = records(
        (b"a", b"7"), (b"b", b"9"), (b"a", b"5"), (None, b"1"), (b"a", None), (b"a", b"x"),
        (b"other", b"3"),
    )  # fmt: skip
    note_newest(found, given, {b"a", b"b"}, "callsheet-version")
    assert found == {b"a": 7, b"b": 9}
