"""Rows of a compressed transaction share a place: they are told from all that may share one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from callsheet.batch import Decoded
from callsheet.codec.binding import JsonDialect
from callsheet.codec.columnar import load_native
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.declared import declared_schema
from callsheet.codec.places import OwnPlaces
from callsheet.event import SWEEP
from tests.support.envelopes import FakeMessage, an_envelope, compact, envelope_schema, nullable

TOPIC = "studio.finance.titles"
COLUMNS = {"id": "long", "rate": nullable("double")}
DECLARED = declared_schema(json.dumps(envelope_schema(COLUMNS) | {"callsheet.key": ["id"]}))
GARBAGE = b"{"


@pytest.fixture(params=["native", "rows"])
def decoder(request: pytest.FixtureRequest) -> DebeziumDecoder:
    native = load_native() if request.param == "native" else None
    if request.param == "native" and native is None:
        pytest.skip("callsheet_native is not installed")
    return DebeziumDecoder(JsonDialect({TOPIC: DECLARED}), native=native, judge=OwnPlaces())


def a_row(identifier: int, rate: float | None = None) -> dict[str, Any]:
    return {"id": identifier, "rate": rate}


def created(identifier: int, **source: Any) -> dict[str, Any]:
    return an_envelope("c", after=a_row(identifier), **source)


def updated(identifier: int, rate: float, **source: Any) -> dict[str, Any]:
    return an_envelope("u", before=a_row(identifier), after=a_row(identifier, rate), **source)


def deleted(identifier: int, **source: Any) -> dict[str, Any]:
    return an_envelope("d", before=a_row(identifier), **source)


def decoded(
    decoder: DebeziumDecoder, envelopes: Sequence[dict[str, Any]], partitions: Sequence[int] = ()
) -> Decoded:
    """Behind enough good rows that the columnar path takes them."""
    good = [created(1_000 + n, pos=1_000 + n) for n in range(100)]
    places = [0] * len(good) + list(partitions or [0] * len(envelopes))
    return decoder.decode(
        [
            message(envelope, place, offset)
            for offset, (envelope, place) in enumerate(
                zip([*good, *envelopes], places, strict=True)
            )
        ]
    )


def message(envelope: dict[str, Any], partition: int, offset: int) -> FakeMessage:
    key = {"id": (envelope["after"] or envelope["before"])["id"]}
    return FakeMessage(compact(envelope), compact(key), TOPIC, partition, offset)


@pytest.mark.parametrize(
    "envelopes",
    [
        [updated(1, 1.0), updated(1, 2.0)],
        [created(1), updated(1, 1.0)],
        [updated(1, 1.0), deleted(1)],
        [created(1), created(2)],
        [created(1), created(2), updated(1, 1.0)],
        [deleted(1), created(2), updated(2, 1.0)],
        [deleted(1), created(1)],
    ],
)
def test_different_changes_at_one_place_park_their_table(
    decoder: DebeziumDecoder, envelopes: Sequence[dict[str, Any]]
) -> None:
    found = decoded(decoder, envelopes)
    assert [(park.topic, park.reason) for park in found.parked] == [(TOPIC, "shared place")]
    assert "binlog.000001:4901" in found.parked[0].detail
    assert (found.batches, found.poison) == ([], [])


@pytest.mark.parametrize(
    ("envelopes", "partitions"),
    [
        # The source repeats itself, at once or from earlier on.
        ([updated(1, 1.0), updated(1, 1.0)], ()),
        ([updated(1, 1.0), updated(1, 2.0, pos=5_000), updated(1, 1.0)], ()),
        # A statement of many rows: each has its own number.
        ([created(1, row=0), created(2, row=1)], ()),
        # A change of a primary key, also repeated.
        ([deleted(1), created(2)], ()),
        ([deleted(1), created(2), deleted(1), created(2)], ()),
        # Different rows in different partitions have no order, and need none.
        ([created(1), created(2)], (0, 1)),
        # A snapshot has one place.
        ([an_envelope("r", after=a_row(n), snapshot="true") for n in (1, 2)], ()),
        # And so has a sweep.
        (
            [
                an_envelope("d", before=a_row(n), transaction=(f"{SWEEP}:snapshot:b.1:4", 1))
                for n in (1, 2)
            ],
            (),
        ),
    ],
)
def test_what_may_share_a_place_flows(
    decoder: DebeziumDecoder, envelopes: Sequence[dict[str, Any]], partitions: Sequence[int]
) -> None:
    found = decoded(decoder, envelopes, partitions)
    assert found.parked == []
    assert sum(len(batch) for batch in found.batches) == 100 + len(envelopes)


def test_what_does_not_decode_beside_it_is_read_again_too(decoder: DebeziumDecoder) -> None:
    messages = [message(updated(1, float(n)), 0, n) for n in range(2)]
    found = decoder.decode([*messages, FakeMessage(GARBAGE, None, TOPIC, 0, 2)])
    assert len(found.parked) == 1
    assert (found.batches, found.poison) == ([], [])


def polled(
    decoder: DebeziumDecoder, polls: Sequence[Sequence[dict[str, Any]]], first_offset: int = 0
) -> list[Decoded]:
    """Each poll behind or before enough good rows that the columnar path takes them."""
    found: list[Decoded] = []
    offset = first_offset
    for number, envelopes in enumerate(polls):
        good = [created(1_000 + n, pos=1_000 + n) for n in range(100)]
        later = [created(2_000 + n, pos=9_000 + n) for n in range(100)]
        whole = [*good, *envelopes] if not number else [*envelopes]
        whole += later if number and number == len(polls) - 1 else []
        found.append(decoder.decode([message(each, 0, offset + n) for n, each in enumerate(whole)]))
        offset += len(whole)
    return found


@pytest.mark.parametrize(
    "polls",
    [
        [[updated(1, 1.0)], [updated(1, 2.0)]],
        [[created(1)], [deleted(1)]],
        # A key that changes, and something else besides.
        [[deleted(1)], [created(2), updated(2, 1.0)]],
        [[deleted(1), created(2)], [updated(2, 1.0)]],
        [[deleted(1)], [created(2)], [updated(2, 1.0)]],
        # A repetition does not make it forget.
        [[updated(1, 1.0)], [updated(1, 1.0)], [updated(1, 2.0)]],
        # Rows that are not looked at come between.
        [
            [updated(1, 1.0)],
            [an_envelope("r", after=a_row(9), snapshot="incremental"), updated(1, 2.0)],
        ],
    ],
)
def test_a_poll_that_ends_between_two_changes_at_one_place_hides_neither(
    decoder: DebeziumDecoder, polls: Sequence[Sequence[dict[str, Any]]]
) -> None:
    *before, last = polled(decoder, polls)
    assert [found.parked for found in before] == [[]] * len(before)
    assert [(park.topic, park.reason) for park in last.parked] == [(TOPIC, "shared place")]
    assert last.batches == []


@pytest.mark.parametrize(
    "polls",
    [
        [[updated(1, 1.0)], [updated(1, 1.0)]],
        [[deleted(1)], [created(2)]],
        [[deleted(1), created(2)], [deleted(1), created(2)]],
        [[deleted(1)], [created(2), deleted(1)], [created(2)]],
        [[created(1, row=0)], [created(2, row=1)]],
        [[updated(1, 1.0)], [updated(1, 2.0, pos=5_000)]],
    ],
)
def test_a_poll_may_end_between_what_may_share_a_place(
    decoder: DebeziumDecoder, polls: Sequence[Sequence[dict[str, Any]]]
) -> None:
    assert [found.parked for found in polled(decoder, polls)] == [[]] * len(polls)


def test_what_parked_its_table_parks_it_whenever_it_is_read_again(
    decoder: DebeziumDecoder,
) -> None:
    first, second, third = ([message(updated(1, float(n)), 0, n)] for n in range(3))
    assert decoder.decode(first).parked == []
    for _ in range(3):
        assert len(decoder.decode(second).parked) == 1
        assert decoder.decode(first).parked == []
    assert len(decoder.decode([*first, *second]).parked) == 1
    assert len(decoder.decode(third).parked) == 1


def test_a_record_that_is_read_over_and_over_is_kept_once() -> None:
    judge = OwnPlaces()
    decoder = DebeziumDecoder(JsonDialect({TOPIC: DECLARED}), native=load_native(), judge=judge)
    for _ in range(10):
        assert decoder.decode([message(updated(1, 1.0), 0, 7)]).parked == []
    _, kept = judge._ends[TOPIC][0]
    assert len(kept) == 1
