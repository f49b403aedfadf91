"""Where a partition is read from: never beyond what might still be lost."""

from __future__ import annotations

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_INVALID, TopicPartition

from callsheet.batch import Partition
from callsheet.kafka.places import placed


@pytest.mark.parametrize(
    ("committed", "own", "start"),
    [
        (7, {}, 7),
        (OFFSET_INVALID, {}, OFFSET_BEGINNING),
        (7, {Partition("t", 0): 9}, 7),  # a dead letter of 7 may not be acknowledged
        (7, {Partition("t", 0): 3}, 3),  # the destination was restored
        (OFFSET_INVALID, {Partition("t", 0): 9}, OFFSET_BEGINNING),
        (7, {Partition("t", 1): 3}, 7),
    ],
)
def test_the_earlier_of_the_groups_and_the_sinks(
    committed: int, own: dict[Partition, int], start: int
) -> None:
    found = placed(TopicPartition("t", 0, committed), own)
    assert (found.topic, found.partition, found.offset) == ("t", 0, start)
