"""The sink without a destination keeps the worker's books all the same."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from callsheet.batch import Partition
from callsheet.ports import Deadline
from callsheet.sink import Counts, SinkContext
from sinks import plugin
from tests.support.batches import a_batch, upsert
from tests.support.clock import FakeClock


def test_what_it_took_is_durable_until_the_partition_goes() -> None:
    clock = FakeClock()
    found = plugin("discard")
    sink = found.build(found.settings.model_validate({}), SinkContext("p", clock))
    sink.open()
    batch = a_batch([upsert(1), upsert(2)])
    (partition,) = batch.next_offsets()
    assert sink.assigned([partition]) == {}
    sink.write(batch, Deadline.after(clock, 1))
    progress = sink.progress()
    assert progress.durable == batch.next_offsets()
    assert progress.counts == Counts(written=len(batch))
    assert sink.progress().counts == Counts()
    sink.revoked([partition, Partition("another", 0)], lost=False)
    assert sink.progress().durable == {}


def test_it_has_no_settings() -> None:
    with pytest.raises(ValidationError):
        plugin("discard").settings.model_validate({"path": "/dev/null"})
