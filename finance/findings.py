"""What was odd in a file of films, and what became of it: data for people and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FindingKind(StrEnum):
    """A closed set, so that two loads can be compared by count."""

    ROW_NOT_AN_OBJECT = "row_not_an_object"
    FIELD_MISSING = "field_missing"
    FIELD_UNKNOWN = "field_unknown"
    NAME_MISSING = "name_missing"
    TEXT_NOT_TEXT = "text_not_text"
    TEXT_MISENCODED = "text_misencoded"
    TEXT_TOO_LONG = "text_too_long"
    TEXT_PLACEHOLDER = "text_placeholder"
    DATE_UNREADABLE = "date_unreadable"
    DATE_CENTURY = "date_century"
    DATE_EPOCH = "date_epoch"
    MONEY_MISSING = "money_missing"
    MONEY_ZERO = "money_zero"
    MONEY_UNREADABLE = "money_unreadable"
    BUDGET_IMPLAUSIBLE = "budget_implausible"
    GROSS_CONTRADICTORY = "gross_contradictory"
    NUMBER_UNREADABLE = "number_unreadable"
    CHOICE_UNKNOWN = "choice_unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One dirty value. `row` counts from 1; `action` says what was stored in its place."""

    row: int
    field: str
    kind: FindingKind
    value: Any
    action: str


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did. Every row of the file is inserted, unchanged, kept or skipped."""

    file: str
    rows: int
    inserted: int
    unchanged: int
    """Titles that were there, equal to the file."""
    kept: int
    """Titles that were there and have changed since: the database wins, nothing is overwritten."""
    skipped: int
    """Rows that are no film at all; each has a finding."""
    inserted_rows: Mapping[str, int]
    """By table."""
    findings: Sequence[Finding]
    absent: Mapping[str, int]
    """How often an optional field was null. No fault, but a number to look at."""
    seconds: float

    @property
    def counts(self) -> Mapping[str, int]:
        """Findings by kind, most frequent first."""
        return dict(Counter(finding.kind.value for finding in self.findings).most_common())

    def as_dict(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "rows": self.rows,
            "inserted": self.inserted,
            "unchanged": self.unchanged,
            "kept": self.kept,
            "skipped": self.skipped,
            "inserted_rows": dict(self.inserted_rows),
            "counts": dict(self.counts),
            "findings": list(self.findings),
            "absent": dict(self.absent),
            "seconds": round(self.seconds, 3),
        }
