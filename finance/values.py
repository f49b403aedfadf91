"""Reads single values out of a film's row. Each odd one becomes a Finding, never an exception."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from finance.findings import Finding, FindingKind

CENT: Final = Decimal("0.01")
MONEY_LIMIT: Final = Decimal(10) ** 13
"""DECIMAL(15,2) holds less than this."""

FIRST_YEAR: Final = 1901
"""MySQL's YEAR begins here, and hardly any film is older."""

_DATE_FORMATS: Final = ("%b %d %Y", "%Y-%m-%d", "%d-%b-%Y", "%B %d %Y", "%b %d, %Y")
# What a date becomes when an export writes "unknown" as second zero, in UTC or west of it.
_EPOCH: Final = frozenset({date(1970, 1, 1), date(1969, 12, 31)})


class RowReader:
    """Reads the fields of one row and collects what it finds.

    `horizon` is the day after which the file cannot know anything: a later release is one whose
    century was lost when its year had two digits.
    """

    def __init__(self, row: int, fields: Mapping[str, Any], horizon: date) -> None:
        self._row = row
        self._fields = fields
        self._horizon = horizon
        self.findings: list[Finding] = []
        self.absent: Counter[str] = Counter()

    def found(self, field: str, kind: FindingKind, action: str) -> None:
        value = self._fields.get(field)
        self.findings.append(Finding(self._row, field, kind, value, action))

    def text(self, field: str, limit: int, placeholders: Sequence[str] = ()) -> str | None:
        value = self._value(field)
        if value is None:
            return None
        if not isinstance(value, str):
            self.found(field, FindingKind.TEXT_NOT_TEXT, f'stored as the text "{value}"')
            value = str(value)
        text = self._decoded(field, value).strip()
        if not text or text in placeholders:
            self.found(field, FindingKind.TEXT_PLACEHOLDER, "left empty")
            return None
        if len(text) > limit:
            self.found(field, FindingKind.TEXT_TOO_LONG, f"cut to {limit} characters")
        return text[:limit]

    def choice(self, field: str, allowed: Sequence[str]) -> str | None:
        value = self._value(field)
        if value is None or value in allowed:
            return None if value is None else str(value)
        self.found(field, FindingKind.CHOICE_UNKNOWN, "left empty")
        return None

    def money(self, field: str, *, is_expected: bool) -> Decimal | None:
        """An exact amount >= 0, or None. `is_expected`: a null is worth a finding."""
        value = self._value(field, counts=not is_expected)
        if value is None:
            if is_expected:
                self.found(field, FindingKind.MONEY_MISSING, "left empty")
            return None
        amount = _exact(value)
        if amount is None or not 0 <= amount < MONEY_LIMIT or amount != amount.quantize(CENT):
            self.found(field, FindingKind.MONEY_UNREADABLE, "left empty")
            return None
        if amount == 0:
            self.found(field, FindingKind.MONEY_ZERO, "stored as 0.00, nothing booked")
        return amount.quantize(CENT)

    def number(self, field: str, low: Decimal, high: Decimal, step: Decimal) -> Decimal | None:
        """A number from low to high in multiples of `step`, or None."""
        value = self._value(field)
        if value is None:
            return None
        number = _exact(value)
        if number is None or not low <= number <= high or number % step:
            self.found(field, FindingKind.NUMBER_UNREADABLE, "left empty")
            return None
        return number

    def day(self, field: str) -> tuple[date | None, int]:
        """The date, and the year to book under even where the date is not to be believed."""
        value = self._value(field, counts=False)
        parsed = _parsed_date(value)
        if parsed is None or not FIRST_YEAR <= parsed.year < self._horizon.year + 100:
            self.found(field, FindingKind.DATE_UNREADABLE, "left empty")
            return None, self._horizon.year
        if parsed in _EPOCH:
            action = f"left empty; budget lines booked under {parsed.year}"
            self.found(field, FindingKind.DATE_EPOCH, action)
            return None, parsed.year
        if parsed > self._horizon:
            earlier = _century_earlier(parsed)
            self.found(field, FindingKind.DATE_CENTURY, f"stored as {earlier}")
            parsed = earlier
        return parsed, parsed.year

    def _value(self, field: str, *, counts: bool = True) -> Any:
        value = self._fields.get(field)
        if value is None and counts:
            self.absent[field] += 1
        return value

    def _decoded(self, field: str, text: str) -> str:
        repaired = _repaired(text)
        if repaired != text:
            self.found(field, FindingKind.TEXT_MISENCODED, f'stored as "{repaired}"')
        return repaired


def _repaired(text: str) -> str:
    """Undoes Windows text that was read as Mac text: "LÈon" is "Léon".

    Only where that is the whole story: every character must exist in both alphabets.
    """
    try:
        return text.encode("mac_roman").decode("cp1252")
    except UnicodeError:
        return text


def _exact(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    return number if number.is_finite() else None


def _parsed_date(value: Any) -> date | None:
    if not isinstance(value, str):
        return None
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime(value.strip(), form).replace(tzinfo=UTC).date()
        except ValueError:
            continue
    return None


def _century_earlier(day: date) -> date:
    try:
        return day.replace(year=day.year - 100)
    except ValueError:  # 29 February of a leap year; the century before had none
        return day.replace(year=day.year - 100, day=28)
