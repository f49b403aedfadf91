"""The ``fields:`` block of a pipeline: what of a row its destination may see, and how.

What can be told without a table's schema is checked here; the rest by
:func:`callsheet.fields.projection.projection`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Final, Self

from pydantic import (
    Field,
    SecretStr,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from callsheet.config.section import Section

MINIMUM_KEY: Final = 32
_CAST: Final = re.compile(r"text|integer|boolean|date|decimal\((\d{1,2}),(\d{1,2})\)")
_PATTERN: Final = re.compile(r"[^.\s]+\.[^.\s]+")

Name = Annotated[str, Field(min_length=1, max_length=64)]
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr


class MaskSettings(Section):
    """How a column is masked. A null stays null, and the column keeps its type."""

    mark: str = Field(
        default="***", description="For text: what stands in its place, or before what is kept."
    )
    keep_last: int = Field(
        default=0,
        ge=0,
        le=16,
        description="For text: how many last characters stay. Nothing stays of a text that is "
        "shorter than twice as long.",
    )
    value: Scalar | None = Field(
        default=None,
        description="For all that is no text: the constant that stands in place of each value, "
        "written as the column's kind has it; null if not given.",
    )


class TableRules(Section):
    """The rules of those tables that ``table`` matches. Columns are named as the source names
    them; for each at most one of mask, hash and cast.
    """

    table: str = Field(
        description="`database.table`; `*`, `?` and `[...]` match as in file names. A table takes "
        "the first entry that matches it, and no other."
    )
    include: tuple[Name, ...] = Field(
        default=(),
        description="Only these columns, and those of the key: a column that is added later stays "
        "home until it is named.",
    )
    exclude: tuple[Name, ...] = Field(default=(), description="All columns but these.")
    rename: Mapping[Name, Name] = Field(
        default_factory=dict, description="Source name to the name at the destination."
    )
    mask: Mapping[Name, MaskSettings] = Field(
        default_factory=dict,
        description="Column to how it is masked: `{}`, or `mark`, `keep_last`, `value`.",
    )
    hash: tuple[Name, ...] = Field(
        default=(),
        description="Columns that become the HMAC-SHA-256 of their value under `hash_key`. Of a "
        "key column: the ID changes with it.",
    )
    constant: Mapping[Name, StrictBool | StrictInt | StrictStr] = Field(
        default_factory=dict, description="New columns with the same value in every row."
    )
    cast: Mapping[Name, str] = Field(
        default_factory=dict,
        description="Column to `text`, `integer`, `decimal(P,S)`, `boolean` or `date`. A value "
        "that does not fit exactly makes its record a dead letter.",
    )
    may_be_absent: frozenset[Name] = Field(
        default=frozenset(),
        description="Columns of these rules that a version of the table may lack. Any other that "
        "is missing parks the table.",
    )

    @field_validator("table")
    @classmethod
    def _is_pattern(cls, table: str) -> str:
        if not _PATTERN.fullmatch(table):
            raise ValueError("must be of the form database.table, `*` allowed in either")
        return table

    @field_validator("cast")
    @classmethod
    def _are_casts(cls, casts: Mapping[str, str]) -> Mapping[str, str]:
        for target in casts.values():
            match = _CAST.fullmatch(target)
            if match is None:
                raise ValueError("must be text, integer, decimal(P,S), boolean or date")
            if match[1] and not (1 <= int(match[1]) <= 38 and int(match[2]) <= int(match[1])):
                raise ValueError("a decimal has 1 to 38 digits, and no more of them behind the dot")
        return casts

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.include and self.exclude:
            raise ValueError("give either include or exclude")
        _no_repeats("include", self.include)
        _no_repeats("exclude", self.exclude)
        changed = [*self.mask, *self.hash, *self.cast]
        _no_repeats("mask, hash and cast together", changed)
        touched = {*changed, *self.rename}
        if gone := sorted(touched.intersection(self.exclude)):
            raise ValueError(f"{gone[0]} is excluded, so no other rule can name it")
        if self.include and (missing := sorted(touched.difference(self.include))):
            raise ValueError(f"{missing[0]} has a rule, but is not in include")
        _no_repeats("the new names of rename and constant", [*self.rename.values(), *self.constant])
        if stray := sorted(self.may_be_absent.difference(self.named)):
            raise ValueError(f"may_be_absent: no rule names {stray[0]}")
        return self

    @property
    def named(self) -> frozenset[str]:
        """Every source column that a rule names."""
        changed = (*self.mask, *self.hash, *self.cast)
        return frozenset((*self.include, *self.exclude, *self.rename, *changed))


class FieldSettings(Section):
    """What of a row the destination gets: docs/fields.md."""

    hash_key: SecretStr | None = Field(
        default=None,
        description=f"The secret of all hashes, at least {MINIMUM_KEY} characters. Another key "
        "gives other hashes: rebuild the destination then.",
    )
    tables: tuple[TableRules, ...] = Field(
        default=(), description="Rules by table; a table that none of them matches stays as it is."
    )

    @field_validator("hash_key")
    @classmethod
    def _is_long(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < MINIMUM_KEY:
            raise ValueError(f"must have at least {MINIMUM_KEY} characters")
        return key

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        _no_repeats("tables", [rules.table for rules in self.tables])
        for number, rules in enumerate(self.tables):
            first = next(
                (r for r in self.tables[:number] if fnmatchcase(rules.table, r.table)), None
            )
            if first is not None and not is_pattern(rules.table):
                raise ValueError(f"{rules.table} comes too late: {first.table} matches it before")
        if self.hash_key is None and (hashing := [r.table for r in self.tables if r.hash]):
            raise ValueError(f"{hashing[0]} hashes columns, which needs a hash_key")
        return self


def is_pattern(table: str) -> bool:
    """Does it match more than the one table that it spells?"""
    return any(sign in table for sign in "*?[")


def _no_repeats(where: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{where}: {name} is there twice")
        seen.add(name)
