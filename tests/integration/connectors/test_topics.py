"""Topics on the real Kafka."""

from __future__ import annotations

import pytest

from callsheet.errors import (
    PreconditionError,
    UnavailableError,
)
from callsheet.kafka.admin import KafkaTopics
from callsheet.kafka.topics import Topic
from tests.support.capture import Capture
from tests.support.polling import until


def test_topics_are_created_altered_and_never_repartitioned(capture: Capture) -> None:
    wanted = Topic(f"{capture.name}.t", 2, config={"retention.ms": "60000"})
    capture.topics.create([wanted])
    capture.topics.create([Topic(wanted.name, 5)])  # somebody was quicker: left as it is
    capture.topics.alter(wanted.name, {"retention.ms": "70000"})
    until(
        lambda: (
            capture.topics.describe([wanted.name])[wanted.name].config["retention.ms"] == "70000"
        ),
        "the new retention",
    )
    found = capture.topics.describe([wanted.name, f"{capture.name}.nope"])
    assert [(state.partitions, state.replication_factor) for state in found.values()] == [(2, 1)]
    assert capture.topics.end_offsets([wanted.name, f"{capture.name}.nope"]) == {wanted.name: 0}


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        (Topic("@@.r", 1, replication_factor=3), "too few|replicat"),
        (Topic("@@.c", 1, config={"retention.ms": "soon"}), "retention.ms"),
    ],
)
def test_what_kafka_refuses_is_a_precondition(capture: Capture, topic: Topic, said: str) -> None:
    named = Topic(
        topic.name.replace("@@", capture.name),
        topic.partitions,
        topic.replication_factor,
        topic.config,
    )
    with pytest.raises(PreconditionError, match=said):
        capture.topics.create([named])


def test_an_absent_kafka_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1 does not answer"):
        KafkaTopics({"bootstrap.servers": "127.0.0.1:1"}, timeout_s=2).describe(["x"])
