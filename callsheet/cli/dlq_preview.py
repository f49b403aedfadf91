"""What letters hold, and what would become of them: nothing here changes anything."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from callsheet.batch import Decoded, Message, Offset
from callsheet.cli.dlq_redrive import Wish
from callsheet.kafka.letters import LetterBook, Record, StoredLetter
from callsheet.kafka.letters_redrive import Originals
from callsheet.ports import Decoder


def verdicts(
    decoder: Decoder, log: Originals, letters: Sequence[StoredLetter]
) -> Iterator[tuple[StoredLetter, str]]:
    """What the decoder and the field rules say of each by now. The destination is not asked."""
    for start in range(0, len(letters), 100):
        chunk = letters[start : start + 100]
        records = log.originals(chunk)
        said = _said(decoder.decode([records[x.offset] for x in chunk if x.offset in records]))
        for letter in chunk:
            record = records.get(letter.offset)
            yield letter, "its record is gone" if record is None else _verdict(record, said)


def _said(decoded: Decoded) -> dict[Any, str]:
    said: dict[Any, str] = {
        park.topic: f"parked: {park.reason}: {park.detail}" for park in decoded.parked
    }
    said |= {_place(p.message): f"{p.reason.value}: {p.detail}" for p in decoded.poison}
    for batch in decoded.batches:
        for message, op in zip(batch.messages, batch.frame["op"].to_list(), strict=True):
            said[_place(message)] = f"decodes ({op})"
    return said


def _verdict(record: Record, said: Mapping[Any, str]) -> str:
    return said.get(_place(record)) or said.get(record.topic()) or "carries no row change"


def _place(message: Message) -> tuple[str, int, Offset]:
    return message.topic(), message.partition(), message.offset()


def chosen(
    book: LetterBook, wish: Wish
) -> tuple[list[StoredLetter], list[StoredLetter], Collection[Offset]]:
    """Letters to redrive in their order, those that the loop guard holds back, and which of the
    first an unfinished redrive names.
    """
    begun = {offset for run in book.unfinished() for offset in run.letters}
    takes = [x for x in book.open() if x.offset in begun or wish.takes(x)]
    held = [
        x
        for x in book.open()
        if x.offset not in begun and wish.choice.takes(x) and wish.is_guarded(x)
    ]
    return sorted(takes, key=lambda letter: letter.place), held, begun
