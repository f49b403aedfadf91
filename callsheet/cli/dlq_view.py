"""How letters are shown. Values of rows only where they were asked for."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from callsheet.cli.dlq_redrive import Outcome
from callsheet.kafka.letters import LetterBook, Record, StoredLetter
from callsheet.ports import Decoder

if TYPE_CHECKING:
    from rich.console import Console


def row(letter: StoredLetter) -> dict[str, Any]:
    """What can be told of a letter without showing any of the row."""
    return {
        "letter": letter.offset,
        "written": _time(letter.written_ms),
        "topic": letter.source.topic,
        "partition": letter.source.number,
        "offset": letter.source_offset,
        "reason": letter.reason,
        "detail": letter.detail,
        "attempts": letter.attempts,
        "bytes": letter.cut.size_bytes if letter.cut else letter.size_bytes,
        "is_cut": letter.cut is not None,
        "state": letter.state.value,
        "by": letter.mark.by if letter.mark else None,
        "at": letter.mark.at if letter.mark else None,
        "why": letter.mark.why or None if letter.mark else None,
    }


def _time(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


# --- list ---------------------------------------------------------------------------------------


def listing(book: LetterBook, letters: Sequence[StoredLetter], limit: int) -> dict[str, Any]:
    groups: dict[tuple[str, str], list[StoredLetter]] = {}
    for letter in letters:
        groups.setdefault((letter.source.topic, letter.reason), []).append(letter)
    counts = [
        {
            "topic": topic,
            "reason": reason,
            "letters": len(members),
            "first": _time(min(x.written_ms for x in members)),
            "last": _time(max(x.written_ms for x in members)),
            "most_attempts": max(x.attempts for x in members),
        }
        for (topic, reason), members in sorted(groups.items())
    ]
    newest = sorted(letters, key=lambda letter: letter.offset, reverse=True)[:limit]
    return {
        "letters": len(letters),
        "counts": counts,
        "states": dict(Counter(x.state.value for x in book.letters.values())),
        "unfinished_redrives": len(book.unfinished()),
        "not_letters": book.strange,
        "newest": [row(letter) for letter in newest],
    }


def render_listing(out: Console, data: Mapping[str, Any], state: str) -> None:
    from rich.table import Table
    from rich.text import Text

    states = ", ".join(f"{n} {name}" for name, n in sorted(data["states"].items())) or "none"
    out.print(f"dead letters: {states}")
    if data["unfinished_redrives"]:
        out.print("[yellow]a redrive was not finished; the next one takes it up again[/]")
    if data["not_letters"]:
        out.print(f"{data['not_letters']} records of the topic are no letters of ours")
    if not data["letters"]:
        out.print("no letter to list" if state == "all" else f"no {state} letter to list")
        return
    table = Table("topic", "reason", "letters", "first", "last", "attempts", box=None)
    for each in data["counts"]:
        table.add_row(
            each["topic"], each["reason"], str(each["letters"]), each["first"], each["last"],
            str(each["most_attempts"]),
        )  # fmt: skip
    out.print(table)
    lines = Table("letter", "written", "record", "reason", "tries", "state", "detail", box=None)
    for each in data["newest"]:
        why = f"{each['why']} ({each['by']}, {each['at']})" if each["why"] else each["detail"]
        lines.add_row(
            str(each["letter"]), each["written"], _record(each), each["reason"],
            str(each["attempts"]), each["state"], Text(why),
        )  # fmt: skip
    if data["newest"]:
        out.print()
        out.print(lines)


def _record(each: Mapping[str, Any]) -> str:
    return f"{each['topic']}[{each['partition']}]@{each['offset']}"


# --- show ---------------------------------------------------------------------------------------


def details(
    letter: StoredLetter, record: Record | None, decoder: Decoder, *, with_values: bool
) -> dict[str, Any]:
    """The row is shown as the destination would see it, field rules applied; what does not decode,
    as the bytes are.
    """
    data: dict[str, Any] = row(letter) | {
        "version": letter.version,
        "record_time": _time(letter.timestamp[1]),
        "record": "gone" if record is None else "there",
    }
    if record is None:
        return data
    own = [h for h in record.headers() if not h[0].startswith("callsheet.")]
    data["headers"] = {name: _shown(value) if with_values else "…" for name, value in own}
    data |= _decoded(record, decoder, with_values=with_values)
    if with_values:
        data["key"] = _shown(record.key())
        if "event" not in data:
            data["value"] = _shown(record.value())
    return data


def _decoded(record: Record, decoder: Decoder, *, with_values: bool) -> dict[str, Any]:
    decoded = decoder.decode([record])
    for poison in decoded.poison:
        return {"decodes": False, "now": f"{poison.reason.value}: {poison.detail}"}
    for park in decoded.parked:
        return {"decodes": False, "now": f"parked: {park.reason}: {park.detail}"}
    for batch in decoded.batches:
        [event] = batch.frame.to_dicts()
        shown = {name: event[name] for name in ("op", "ts_us", "version", "snapshot")}
        shown["table"] = batch.schema.qualified_name
        shown["columns"] = [column.name for column in batch.schema.columns]
        if with_values:
            shown |= {name: event[name] for name in ("id", "before", "after")}
        return {"decodes": True, "now": "decodes", "event": shown}
    return {"decodes": True, "now": "carries no row change"}


def _shown(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(value).decode()}"


def render_details(out: Console, data: Mapping[str, Any]) -> None:
    from rich.markup import escape

    for name, value in data.items():
        if isinstance(value, Mapping):
            out.print(f"[bold]{name}[/]")
            for key, inner in value.items():
                out.print(f"  {escape(str(key))}: {escape(str(inner))}")
        elif value is not None:
            out.print(f"[bold]{name}[/]: {escape(str(value))}")


# --- redrive, discard ---------------------------------------------------------------------------


def render_preview(out: Console, data: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("letter", "record", "was", "tries", "by now", box=None)
    for each in data["letters"]:
        begun = " (of an unfinished redrive)" if each["begun"] else ""
        now = Text(each["verdict"] + begun)
        table.add_row(
            str(each["letter"]), _record(each), each["reason"], str(each["attempts"]), now
        )
    if data["letters"]:
        out.print(table)
    out.print(f"{len(data['letters'])} letters would be redriven, in this order")
    _guarded(out, len(data["guarded"]))
    out.print("Nothing was changed, and the destination was not asked.")


def render_outcome(out: Console, outcome: Outcome) -> None:
    from rich.text import Text

    out.print(
        f"{outcome.redriven} letters redriven: {outcome.written} written, {outcome.stale} stale, "
        f"{outcome.without_row} without a row, {sum(outcome.failed_again.values())} failed again"
    )
    for reason, number in sorted(outcome.failed_again.items()):
        out.print(f"[red]✗[/] {number} x {reason}: a new letter each")
    for table in outcome.parked:
        out.print(Text(f"parked: {table.topic}: {table.reason}: {table.detail}", "red"))
    if outcome.gone:
        out.print(
            f"the records of {len(outcome.gone)} letters are gone ({outcome.gone[0]}, ...): "
            "retention took them; discard the letters"
        )
    if outcome.remaining:
        out.print(f"{outcome.remaining} letters are open still")
    _guarded(out, outcome.guarded)


def _guarded(out: Console, number: int) -> None:
    if number:
        out.print(f"{number} letters have failed too often and were left out (--force)")


def render_discarded(out: Console, data: Mapping[str, Any]) -> None:
    from rich.markup import escape

    verb = "discarded" if data["changed"] else "would be discarded"
    if not data["letters"]:
        out.print("no open letter matches")
        return
    out.print(
        f"{len(data['letters'])} letters {verb} by {escape(data['by'])}: {escape(data['why'])}"
    )
