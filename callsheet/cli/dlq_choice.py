"""Which letters a command line means."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from callsheet.errors import Reason, UsageError
from callsheet.kafka.letters import Choice

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def chosen_by(
    letters: Sequence[int] | None,
    reasons: Sequence[str] | None,
    tables: Sequence[str] | None,
    since: str | None,
) -> Choice:
    """Raises:
    UsageError: a reason that there is not, or no time.
    """
    for reason in reasons or ():
        if reason not in set(Reason):
            raise UsageError(
                f"--reason {reason}: there is no such reason",
                hint=f"one of {', '.join(sorted(Reason))}",
            )
    return Choice(
        frozenset(letters or ()),
        frozenset(reasons or ()),
        frozenset(tables or ()),
        since_ms(since, datetime.now(UTC)) if since else 0,
    )


def selected(
    letters: Sequence[int] | None,
    reasons: Sequence[str] | None,
    tables: Sequence[str] | None,
    since: str | None,
    every: bool,
) -> Choice:
    """Never everything by oversight.

    Raises:
        UsageError: nothing says which letters.
    """
    choice = chosen_by(letters, reasons, tables, since)
    if not choice and not every:
        raise UsageError(
            "which letters?", hint="their numbers, --reason, --table, --since, or --all"
        )
    if letters and every:
        raise UsageError(
            "numbers of letters and --all contradict each other",
            hint="give either the numbers or --all",
        )
    return choice


def since_ms(text: str, now: datetime) -> int:
    """Raises:
    UsageError: neither a duration nor a time.
    """
    if text[-1:] in _UNITS and text[:-1].isascii() and text[:-1].isdecimal():
        start = now - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        return round(start.timestamp() * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--since {text}: not understood", hint="30m, 12h, 7d, or 2026-11-23T08:00:00Z"
        ) from error
    if moment.tzinfo is None:
        raise UsageError(f"--since {text}: in which time zone?", hint=f"for UTC write {text}Z")
    return round(moment.timestamp() * 1000)
