"""Records that do not decode, among others that do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from callsheet.errors import Reason
from tests.support.decoder_bench import Bench, a_title, reasons
from tests.support.envelopes import (
    FakeMessage,
    an_envelope,
)

POISON: dict[str, tuple[Callable[[Bench], FakeMessage], Reason]] = {
    "empty": (lambda b: FakeMessage(b"", b"k"), Reason.MALFORMED),
    "cut short": (lambda b: _changed(b, lambda v: v[:-1]), Reason.MALFORMED),
    "spare bytes": (lambda b: _changed(b, lambda v: v + b"\x01\x01"), Reason.MALFORMED),
    "glued": (lambda b: _changed(b, lambda v: v + v), Reason.MALFORMED),
    "no key": (lambda b: dataclasses.replace(_sound(b), key_=None), Reason.MISSING_KEY),
    "another row's key": (
        lambda b: dataclasses.replace(
            _sound(b), key_=b.message(an_envelope(after=a_title(77))).key_
        ),
        Reason.KEY_MISMATCH,
    ),
    "an operation that is none": (
        lambda b: b.message(an_envelope("m", after=a_title())),
        Reason.FOREIGN,
    ),
    "a create of nothing": (
        lambda b: dataclasses.replace(b.message(an_envelope("c")), key_=_sound(b).key_),
        Reason.FOREIGN,
    ),
    "another connector": (
        lambda b: b.message(an_envelope(after=a_title(), connector="postgresql")),
        Reason.FOREIGN,
    ),
    "another table": (
        lambda b: b.message(an_envelope(after=a_title(), table="talent")),
        Reason.FOREIGN,
    ),
    "no binlog file": (
        lambda b: b.message(an_envelope(after=a_title(), file="binlog")),
        Reason.FOREIGN,
    ),
    "an unknown snapshot mark": (
        lambda b: b.message(an_envelope(after=a_title(), snapshot="perhaps")),
        Reason.FOREIGN,
    ),
    "oversize": (
        lambda b: b.message(an_envelope(after=a_title(name="x" * 5000))),
        Reason.OVERSIZE,
    ),
}


def _sound(bench: Bench) -> FakeMessage:
    return bench.message(an_envelope(after=a_title(3)))


def _changed(bench: Bench, change: Callable[[bytes], bytes]) -> FakeMessage:
    sound = _sound(bench)
    return dataclasses.replace(sound, value_=change(sound.value_ or b""))


@pytest.mark.parametrize(
    ("name", "where"),
    # The first record says which table a topic is of: there, no table is another one.
    [(name, n) for name in POISON for n in (0, 2, 4) if (name, n) != ("another table", 0)],
)
def test_poison_is_isolated_wherever_it_stands(bench: Bench, name: str, where: int) -> None:
    make, reason = POISON[name]
    good = bench.titles(4)
    bad = make(bench)

    decoded = bench.decoder(max_value_bytes=4000).decode([*good[:where], bad, *good[where:]])

    assert reasons(decoded) == [reason]
    assert decoded.poison[0].message is bad
    assert [m for batch in decoded.batches for m in batch.messages] == good
    assert [i for b in decoded.batches for i in b.frame["id"]] == ["0|eu", "1|eu", "2|eu", "3|eu"]


def test_a_poll_of_poison_alone(bench: Bench) -> None:
    decoded = bench.decoder().decode([FakeMessage(b"\x01"), FakeMessage(b"")])

    assert reasons(decoded) == [Reason.MALFORMED] * 2
    assert decoded.batches == []


def test_nothing_of_a_row_is_in_a_detail(bench: Bench) -> None:
    secret = a_title(name="Confidential", is_public=99)
    decoder = bench.decoder(boolean_columns={"finance.titles": ["is_public"]})

    decoded = decoder.decode([bench.message(an_envelope(after=secret))])

    assert "Confidential" not in decoded.poison[0].detail
    assert "99" not in decoded.poison[0].detail
