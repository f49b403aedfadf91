"""One column under its rule: what it becomes, and the expression that makes it so."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import polars as pl

from callsheet.config.fields import MaskSettings
from callsheet.fields.literals import literal
from callsheet.schema import Column, Kind, Rule

HASH_DIGITS: Final = 64
_REMEMBERED: Final = 16_384
UNHASHABLE: Final = frozenset({Kind.FLOAT, Kind.JSON, Kind.GEOMETRY, Kind.VECTOR})
"""Their values have no one text: MySQL's JSON comes with other spaces from a snapshot than from
the binlog.
"""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A column at the destination.

    Attributes:
        source: its name in the source.
        column: as the destination sees it.
        make: from the source's cells to the destination's.
        can_fail: a null that ``make`` gives for a value means that the value does not fit.
    """

    source: str
    column: Column
    make: Callable[[pl.Expr], pl.Expr]
    can_fail: bool = False


def kept(column: Column) -> Rewrite:
    return Rewrite(column.name, column, lambda cell: cell)


def renamed(rewrite: Rewrite, name: str) -> Rewrite:
    return replace(rewrite, column=replace(rewrite.column, name=name))


# --- mask ---------------------------------------------------------------------------------------


def masked(column: Column, rule: MaskSettings, dtype: pl.DataType | None) -> Rewrite:
    """``dtype``: of the cells; None where nothing will be computed.

    Raises:
        ValueError: the rule does not suit the column's kind.
    """
    column, given = replace(column, rule=Rule.MASK), rule.model_fields_set
    if column.kind is Kind.STRING:
        if "value" in given:
            raise ValueError("text is masked by `mark` and `keep_last`, not by `value`")
        return _masked_text(column, rule)
    if given & {"mark", "keep_last"}:
        raise ValueError(
            f"`mark` and `keep_last` are for text; this is {column.kind.value}: give `value`, or "
            "nothing for null"
        )
    if rule.value is None:
        nullable = replace(column, nullable=True)
        return Rewrite(column.name, nullable, lambda cell: pl.when(pl.lit(False)).then(cell))  # noqa: FBT003
    value = literal(column, rule.value)
    constant = pl.lit(value, dtype=dtype)
    return Rewrite(column.name, column, lambda cell: pl.when(cell.is_not_null()).then(constant))


def _masked_text(column: Column, rule: MaskSettings) -> Rewrite:
    longest, kept_characters = len(rule.mark) + rule.keep_last, rule.keep_last
    if column.length is not None:
        column = replace(column, length=max(column.length, longest))

    def make(cell: pl.Expr) -> pl.Expr:
        mark = pl.when(cell.is_not_null()).then(pl.lit(rule.mark))
        if not kept_characters:
            return mark
        is_long = cell.str.len_chars() >= 2 * kept_characters
        return pl.when(is_long).then(mark + cell.str.tail(kept_characters)).otherwise(mark)

    return Rewrite(column.name, column, make)


# --- hash ---------------------------------------------------------------------------------------


class KeyedHash:
    """HMAC-SHA-256 (RFC 2104) of a value's canonical text in UTF-8, as 64 hexadecimal digits."""

    def __init__(self, key: str) -> None:
        secret = key.encode()

        def of(text: str) -> str:
            return hmac.digest(secret, text.encode(), "sha256").hex()

        # The same value stands in both images of a row, and a key's in the ID too.
        self.of = lru_cache(_REMEMBERED)(of)

    def of_all(self, texts: pl.Series) -> pl.Series:
        of = self.of
        hashes = [None if text is None else of(text) for text in texts.to_list()]
        return pl.Series(texts.name, hashes, dtype=pl.String)


def hashed(column: Column, keyed: KeyedHash) -> Rewrite:
    """Raises:
    ValueError: values of this kind have no one text.
    """
    if column.kind in UNHASHABLE:
        raise ValueError(f"a {column.kind.value} column cannot be hashed: mask or exclude it")
    result = Column(column.name, Kind.STRING, column.nullable, length=HASH_DIGITS, rule=Rule.HASH)
    text = _CANONICAL.get(column.kind, _plain)

    def make(cell: pl.Expr) -> pl.Expr:
        return text(cell).map_batches(keyed.of_all, return_dtype=pl.String())

    return Rewrite(column.name, result, make)


# --- cast ---------------------------------------------------------------------------------------


def cast(column: Column, target: str) -> Rewrite:
    """Raises:
    ValueError: there is no exact way from this kind to that.
    """
    name, numbers = target.partition("(")[0], [int(n) for n in re.findall(r"\d+", target)]
    make = _CASTS[name](column, numbers)
    if make is None:
        raise ValueError(f"a {column.kind.value} column cannot be cast to {target}")
    result = Column(column.name, _KINDS[name], column.nullable)
    if numbers:
        result = replace(result, precision=numbers[0], scale=numbers[1])
    return Rewrite(column.name, result, make, can_fail=name != "text")


_Make = Callable[[pl.Expr], pl.Expr]


def _plain(cell: pl.Expr) -> pl.Expr:
    return cell.cast(pl.String)


def _iso_time(cell: pl.Expr) -> pl.Expr:
    return cell.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f")


def _iso_date(cell: pl.Expr) -> pl.Expr:
    return cell.dt.to_string("%Y-%m-%d")


def _hex(cell: pl.Expr) -> pl.Expr:
    return cell.bin.encode("hex")


_CANONICAL: Final[Mapping[Kind, _Make]] = {
    Kind.DATE: _iso_date,
    Kind.DATETIME: _iso_time,
    Kind.BYTES: _hex,
    Kind.BITS: _hex,
}
"""Kinds whose canonical text (:func:`callsheet.event.id_part`) is not what a plain cast gives."""

_TEXTUAL: Final = frozenset({Kind.STRING, Kind.ENUM})
_NO_TEXT: Final = frozenset(
    {Kind.FLOAT, Kind.TIME, Kind.BYTES, Kind.BITS, Kind.GEOMETRY, Kind.VECTOR}
)


def _to_text(column: Column, _: list[int]) -> _Make | None:
    return None if column.kind in _NO_TEXT else _CANONICAL.get(column.kind, _plain)


def _to_integer(column: Column, _: list[int]) -> _Make | None:
    if column.kind in _TEXTUAL:
        # Signs, spaces, exponents, other scripts' digits: what a parser forgives is not exact.
        return lambda cell: _only(cell, r"^-?(0|[1-9][0-9]{0,18})$").cast(pl.Int64, strict=False)
    if column.kind is Kind.DECIMAL and not _is_wide(column):
        return lambda cell: _exact(cell, pl.Int64(), _dtype(column))
    if column.kind in {Kind.INTEGER, Kind.UNSIGNED, Kind.BOOLEAN, Kind.YEAR}:
        return lambda cell: cell.cast(pl.Int64, strict=False)
    return None


def _to_decimal(column: Column, size: list[int]) -> _Make | None:
    precision, scale = size
    target = pl.Decimal(precision, scale)
    if column.kind in _TEXTUAL:
        fraction = rf"(\.[0-9]{{1,{scale}}})?" if scale else ""
        pattern = rf"^-?[0-9]{{1,{max(1, precision - scale)}}}{fraction}$"
        return lambda cell: _only(cell, pattern).cast(target, strict=False)
    if column.kind is Kind.DECIMAL and not _is_wide(column):
        return lambda cell: _exact(cell, target, _dtype(column))
    if column.kind in {Kind.INTEGER, Kind.UNSIGNED, Kind.YEAR}:
        return lambda cell: cell.cast(target, strict=False)
    return None


def _to_boolean(column: Column, _: list[int]) -> _Make | None:
    if column.kind not in {Kind.INTEGER, Kind.UNSIGNED}:
        return None
    return lambda cell: pl.when(cell.is_between(0, 1)).then(cell == 1)


def _to_date(column: Column, _: list[int]) -> _Make | None:
    if column.kind is Kind.DATETIME:
        return lambda cell: cell.dt.date()
    if column.kind is not Kind.STRING:
        return None
    pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
    return lambda cell: _only(cell, pattern).str.to_date("%Y-%m-%d", strict=False)


def _only(cell: pl.Expr, pattern: str) -> pl.Expr:
    return pl.when(cell.str.contains(pattern)).then(cell)


def _exact(cell: pl.Expr, target: pl.DataType, source: pl.DataType) -> pl.Expr:
    """The cast where it loses nothing: a decimal's cast rounds."""
    there = cell.cast(target, strict=False)
    return pl.when(there.cast(source, strict=False) == cell).then(there)


def _is_wide(column: Column) -> bool:
    return (column.precision or 0) > 38


def _dtype(column: Column) -> pl.Decimal:
    return pl.Decimal(column.precision or 38, column.scale or 0)


_KINDS: Final = {
    "text": Kind.STRING,
    "integer": Kind.INTEGER,
    "decimal": Kind.DECIMAL,
    "boolean": Kind.BOOLEAN,
    "date": Kind.DATE,
}
_CASTS: Final[Mapping[str, Callable[[Column, list[int]], _Make | None]]] = {
    "text": _to_text,
    "integer": _to_integer,
    "decimal": _to_decimal,
    "boolean": _to_boolean,
    "date": _to_date,
}
