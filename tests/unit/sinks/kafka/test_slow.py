"""Brokers and a registry that do not answer: a write ends at its deadline, the next one does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx
import pytest

from callsheet.errors import RetryableError
from callsheet.event import OFFSET_BITS
from callsheet.kafka.topics import Topic, TopicState
from callsheet.ports import Deadline
from callsheet.sink import Counts, SinkContext, Transaction
from sinks.kafka.settings import KafkaSinkSettings
from sinks.kafka.sink import KafkaSink
from sinks.kafka.subjects import Subjects
from tests.support.batches import a_batch, upsert
from tests.support.clock import FakeClock
from tests.unit.sinks.kafka.test_sink import FakeProducer, answer

BATCH = a_batch([upsert(1, name="a")], first_version=1 << OFFSET_BITS)


@dataclass
class SlowTopics:
    clock: FakeClock
    takes_s: float = 0.0
    found: dict[str, TopicState] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def describe(self, names: Iterable[str]) -> Mapping[str, TopicState]:
        self._pass("describe")
        return self.found

    def create(self, topics: Sequence[Topic]) -> None:
        self._pass("create")

    def alter(self, name: str, config: Mapping[str, str]) -> None:
        self._pass("alter")

    def _pass(self, call: str) -> None:
        self.asked.append(call)
        self.clock.advance(self.takes_s)


@dataclass
class Scene:
    clock: FakeClock = field(default_factory=FakeClock)
    producer: FakeProducer = field(default_factory=FakeProducer)
    is_silent: bool = False
    """Of the registry: each request lasts as long as it may."""
    requests: int = 0

    def __post_init__(self) -> None:
        self.topics = SlowTopics(self.clock)

    def sink(self) -> KafkaSink:
        settings = KafkaSinkSettings.model_validate({"registry": {"url": "http://r"}})
        transaction = Transaction(self.producer, self.topics, lambda _: False)
        sink = KafkaSink(settings, SinkContext("p", self.clock, transaction=transaction))
        registry = httpx.MockTransport(self.answer)
        sink._subjects = Subjects(settings.registry, verify=True, transport=registry)
        sink.open()
        return sink

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if not self.is_silent:
            return answer(request)
        timeout = request.extensions["timeout"]
        self.clock.advance(timeout["connect"] + timeout["read"])
        raise httpx.ReadTimeout("no answer", request=request)

    def within(self, seconds: float) -> Deadline:
        return Deadline.after(self.clock, seconds)


@pytest.mark.parametrize("budget_s", [0.2, 3.0, 12.0])
def test_a_registry_that_is_silent_holds_a_write_no_longer_than_its_deadline(
    budget_s: float,
) -> None:
    scene = Scene(is_silent=True)
    sink = scene.sink()
    deadline = scene.within(budget_s)
    with pytest.raises(RetryableError, match="does not answer: no answer in time") as raised:
        sink.write(BATCH, deadline)
    assert raised.value.hint
    assert scene.clock.monotonic() == pytest.approx(deadline.at_s)
    assert sink.progress().durable == {}
    scene.is_silent = False
    sink.write(BATCH, scene.within(1))
    assert sink.progress().counts == Counts(written=1)


def test_brokers_that_are_slow_are_asked_nothing_behind_the_deadline() -> None:
    scene = Scene()
    scene.topics.takes_s = 5.0
    sink = scene.sink()
    with pytest.raises(
        RetryableError, match=r"downstream\.finance\.titles is not ready in time"
    ) as e:
        sink.write(BATCH, scene.within(4))
    assert (scene.topics.asked, scene.requests) == (["describe"], 0)
    assert e.value.hint
    with pytest.raises(RetryableError, match="registry at http://r is too slow"):
        sink.write(BATCH, scene.within(9))
    assert scene.topics.asked == ["describe", "describe", "create"]
    assert scene.requests == 0
    scene.topics.takes_s = 0.0
    sink.write(BATCH, scene.within(1))
    assert sink.progress().counts == Counts(written=1)


def test_behind_the_deadline_nobody_is_asked() -> None:
    scene = Scene()
    sink = scene.sink()
    with pytest.raises(RetryableError):
        sink.write(BATCH, scene.within(0))
    assert (scene.topics.asked, scene.requests) == ([], 0)


def test_a_table_that_is_known_asks_nobody_again() -> None:
    scene = Scene()
    sink = scene.sink()
    sink.write(BATCH, scene.within(1))
    before = (list(scene.topics.asked), scene.requests)
    sink.write(BATCH, scene.within(1))
    assert (scene.topics.asked, scene.requests) == before
