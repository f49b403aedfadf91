"""Events made from a batch's rows, and their UUIDs."""

from __future__ import annotations

import pytest

from callsheet.codec.events import events, uuids
from callsheet.errors import PoisonRecordError
from callsheet.event import Op, Position
from tests.support.decoder_bench import Bench, a_title
from tests.support.envelopes import (
    FakeMessage,
    an_envelope,
)


def test_events_and_uuids_of_a_batch(bench: Bench) -> None:
    envelope = an_envelope("u", before=a_title(name=None), after=a_title(), transaction=("t", 1))
    message = bench.message(envelope, partition=3, offset=44)
    decoder = bench.decoder(epochs={"studio": 2})

    [batch] = decoder.decode([message, message]).batches
    event, again = events(batch)

    assert event == again == decoder.decode_event(message)
    assert uuids(batch).to_list() == [str(event.uuid)] * 2
    assert (event.op, event.id, event.position) == (Op.UPDATE, "1|eu", Position(2, 1, 4901, 0))
    assert event.uuid.version == 8
    assert (event.origin.partition, event.origin.offset) == (3, 44)
    assert event.before == a_title(name=None)


def test_uuids_differ_where_changes_do(bench: Bench) -> None:
    changes = [
        an_envelope("d", before=a_title()),
        an_envelope("c", after=a_title(2)),
        an_envelope("c", after=a_title(2), row=1),
        an_envelope("r", after=a_title(2), snapshot="true", gtid=None),
        an_envelope("r", after=a_title(3), snapshot="true", gtid=None),
    ]

    decoded = bench.decoder().decode([bench.message(change) for change in changes])

    found = [uuid for batch in decoded.batches for uuid in uuids(batch)]
    assert len(set(found)) == len(changes)


def test_what_is_no_event_is_refused_one_by_one() -> None:
    bench = Bench("avro", None)
    for message in (FakeMessage(None), bench.message(an_envelope("t"))):
        with pytest.raises(PoisonRecordError):
            bench.decoder().decode_event(message)
