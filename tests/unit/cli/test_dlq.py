"""`callsheet dlq`: which letters a command line means, and that no value is shown unasked."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from callsheet.batch import Decoded, Message, Partition, Poison
from callsheet.cli import dlq, dlq_view
from callsheet.cli.dlq_choice import chosen_by, selected, since_ms
from callsheet.cli.dlq_preview import chosen, verdicts
from callsheet.cli.dlq_redrive import Outcome, Wish
from callsheet.errors import Reason, UsageError
from callsheet.kafka.letters import Choice, LetterBook, Record, State, StoredLetter
from tests.support.batches import a_batch, upsert

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRET = "tell nobody"


def a_letter(offset: int = 5, **more: Any) -> StoredLetter:
    known: dict[str, Any] = {"reason": "rejected", "attempts": 1, "state": State.OPEN} | more
    return StoredLetter(
        offset, 1_800_000_000_000, Partition("studio.finance.titles", 1), 40 + offset,
        (1, 1_800_000_000_000), known["reason"], "the server's words", "1", known["attempts"], 10,
        state=known["state"],
    )  # fmt: skip


class TextDecoder:
    """The value is the column's text; ``bad`` is poison."""

    def decode(self, messages: Sequence[Message]) -> Decoded:
        rows = [m for m in messages if m.value() != b"bad"]
        poison = [Poison(m, Reason.MALFORMED, "no sense") for m in messages if m.value() == b"bad"]
        if not rows:
            return Decoded([], {}, poison)
        made = a_batch([upsert(m.offset(), name=(m.value() or b"").decode()) for m in rows])
        return Decoded([_of(made, rows)], {}, poison)


def _of(batch: Any, rows: Sequence[Message]) -> Any:
    from dataclasses import replace

    return replace(batch, messages=rows)


def a_record(value: bytes) -> Record:
    headers = (("own", SECRET.encode()), ("callsheet.count", b"1"))
    return Record(
        Partition("studio.finance.titles", 1), 45, (1, 0), SECRET.encode(), value, headers
    )


def rendered(render: Any, *arguments: Any) -> str:
    out = io.StringIO()
    render(Console(file=out, width=200), *arguments)
    return out.getvalue()


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("30m", 0.5),
        ("12h", 12),
        ("7d", 168),
        ("2026-11-23T11:00:00Z", 1),
        ("2026-11-23T12:00+01:00", 1),
    ],
)
def test_since(text: str, hours: float) -> None:
    assert since_ms(text, NOW) == round((NOW.timestamp() - hours * 3600) * 1000)


@pytest.mark.parametrize("text", ["", "3x", "h", "²h", "yesterday", "2026-11-23T11:00:00"])
def test_since_is_not_guessed(text: str) -> None:
    with pytest.raises(UsageError):
        since_ms(text, NOW)


def test_everything_is_only_meant_when_it_is_said() -> None:
    with pytest.raises(UsageError, match="which letters"):
        selected((), (), (), None, every=False)
    assert selected((), (), (), None, every=True) == Choice()
    with pytest.raises(UsageError, match="contradict") as told:
        selected((1,), (), (), None, every=True)
    assert "either" in told.value.hint


def test_a_reason_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="--reason refused") as told:
        chosen_by((), ["refused"], (), None)
    assert "rejected" in told.value.hint


def test_a_state_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="--state shut") as told:
        dlq.list_(Path("p.yaml"), state="shut")
    assert told.value.hint.startswith("open, ")


def test_a_listing_counts_by_table_and_reason() -> None:
    letters = [
        a_letter(1), a_letter(2, attempts=3), a_letter(3, reason="malformed"),
        a_letter(4, state=State.DISCARDED),
    ]  # fmt: skip
    book = LetterBook({letter.offset: letter for letter in letters})
    data = dlq_view.listing(book, book.open(), limit=1)
    counts = [(c["reason"], c["letters"], c["most_attempts"]) for c in data["counts"]]
    assert counts == [("malformed", 1, 1), ("rejected", 2, 3)]
    assert data["states"] == {"open": 3, "discarded": 1}
    assert [each["letter"] for each in data["newest"]] == [3]
    text = rendered(dlq_view.render_listing, data, "open")
    assert "1 discarded, 3 open" in text
    assert "the server's words" in text


def test_an_empty_listing() -> None:
    text = rendered(dlq_view.render_listing, dlq_view.listing(LetterBook(), [], 20), "open")
    assert "no open letter" in text


@pytest.mark.parametrize("value", [SECRET.encode(), b"bad"])
def test_values_are_shown_only_when_asked_for(value: bytes) -> None:
    def details(*, with_values: bool) -> dict[str, Any]:
        record = a_record(value)
        return dlq_view.details(a_letter(), record, TextDecoder(), with_values=with_values)

    hidden = details(with_values=False)
    assert SECRET not in json.dumps(hidden)
    assert "id" not in hidden.get("event", {})
    assert SECRET not in rendered(dlq_view.render_details, hidden)
    assert SECRET in json.dumps(details(with_values=True))
    assert SECRET in rendered(dlq_view.render_details, details(with_values=True))


def test_what_does_not_decode_says_why() -> None:
    data = dlq_view.details(a_letter(), a_record(b"bad"), TextDecoder(), with_values=True)
    assert (data["decodes"], data["now"], data["value"]) == (False, "malformed: no sense", "bad")


def test_a_record_that_is_gone() -> None:
    data = dlq_view.details(a_letter(), None, TextDecoder(), with_values=True)
    assert data["record"] == "gone"


def test_bytes_that_are_no_text_are_base64() -> None:
    assert dlq_view._shown(b"\xff\x00") == "base64:/wA="


def test_what_would_be_redriven_and_what_the_guard_holds_back() -> None:
    letters = {n: a_letter(n, attempts=n) for n in (1, 2, 3, 4)}
    wish = Wish(Choice(), most_attempts=3)
    takes, held, begun = chosen(LetterBook(letters), wish)
    assert [letter.offset for letter in takes] == [1, 2]
    assert [letter.offset for letter in held] == [3, 4]
    assert begun == set()
    forced, held, _ = chosen(LetterBook(letters), Wish(Choice(), 3, is_forced=True))
    assert (len(forced), held) == (4, [])


def test_verdicts() -> None:
    class Source:
        def originals(self, letters: Sequence[StoredLetter]) -> dict[int, Record]:
            texts = {1: b"fine", 2: b"bad"}
            return {
                x.offset: Record(x.source, x.source_offset, (1, 0), b"k", texts[x.offset], ())
                for x in letters
                if x.offset in texts
            }

    found = verdicts(TextDecoder(), Source(), [a_letter(n) for n in (1, 2, 3)])  # type: ignore[arg-type]
    assert [verdict for _, verdict in found] == [
        "decodes (u)", "malformed: no sense", "its record is gone",
    ]  # fmt: skip


def test_an_outcome_adds_up() -> None:
    total = Outcome(redriven=1, failed_again={"rejected": 1})
    total.add(Outcome(redriven=2, written=2, failed_again={"rejected": 1, "foreign": 1}, gone=[9]))
    assert (total.redriven, total.failed_again) == (3, {"rejected": 2, "foreign": 1})
    text = rendered(dlq_view.render_outcome, total)
    assert "3 letters redriven: 2 written, 0 stale, 0 without a row, 3 failed again" in text
    assert "retention took them" in text
