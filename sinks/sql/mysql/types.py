"""Column types: which one holds a kind exactly, and whether one that is there holds another's."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from callsheet.schema import Column, Kind
from sinks.sql.dialect import Unfit

_INTEGERS: Final = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_INTEGER_DIGITS: Final = {"tinyint": 3, "smallint": 5, "mediumint": 8, "int": 10, "bigint": 20}
_TEXTS: Final = {"tinytext": 63, "text": 16_383, "mediumtext": 4_194_303, "longtext": 1 << 30}
"""By the characters of four bytes that fit."""
_BLOBS: Final = {"tinyblob": 255, "blob": 65_535, "mediumblob": (1 << 24) - 1, "longblob": 1 << 32}
_LIKE: Final = {
    "char": "varchar", "binary": "varbinary", "integer": "int", "numeric": "decimal",
    "geomcollection": "geometry", "bool": "tinyint", "boolean": "tinyint",
}  # fmt: skip
_TYPE: Final = re.compile(r"(?P<name>[a-z]+)(?:\((?P<sizes>[\d,]+)\))?(?P<rest>.*)")

LONGEST_TEXT: Final = 16_000
"""Characters of a VARCHAR; a row holds 65,535 bytes in all."""
_ENUM_CHARACTERS: Final = 255
_MOST_DIGITS, _MOST_SCALE = 65, 30
_MOST_VECTOR: Final = 16_383


@dataclass(frozen=True, slots=True)
class SqlType:
    """``size`` is characters, bytes, bits, digits of a number or of a second, by ``name``."""

    name: str
    size: int = 0
    scale: int = 0
    unsigned: bool = False

    def __str__(self) -> str:
        sign = " unsigned" if self.unsigned else ""
        if self.name == "decimal":
            return f"decimal({self.size},{self.scale}){sign}"
        if self.name in {"varchar", "varbinary", "bit", "vector"} or (
            self.size and self.name in {"time", "datetime", "timestamp"}
        ):
            return f"{self.name}({self.size})"
        return self.name + sign

    @property
    def is_text(self) -> bool:
        return self.name == "varchar" or self.name in _TEXTS

    @property
    def is_binary(self) -> bool:
        return self.name == "varbinary" or self.name in _BLOBS

    @property
    def bytes_in_row(self) -> int:
        """At most; what is stored beside the row takes a pointer."""
        match self.name:
            case "varchar":
                return 4 * self.size + 2
            case "varbinary":
                return self.size + 2
            case "decimal":
                return self.size // 2 + 4
            case _:
                return 20


def parsed(text: str) -> SqlType:
    """As information_schema spells it: ``decimal(15,2) unsigned``, ``varchar(80)``."""
    found = _TYPE.match(text.lower())
    if found is None:
        return SqlType(text.lower())
    name = _LIKE.get(found["name"], found["name"])
    sizes = [int(size) for size in (found["sizes"] or "").split(",") if size]
    if name in _INTEGERS or name in {"float", "double", "year"}:
        sizes = []  # display width
    size = sizes[0] if sizes else (1 if name in {"varchar", "varbinary", "bit"} else 0)
    return SqlType(name, size, sizes[1] if len(sizes) > 1 else 0, "unsigned" in found["rest"])


# --- what a column needs --------------------------------------------------------------------------


def wanted(  # noqa: C901, PLR0911, PLR0912 - one line per kind
    column: Column, *, key_characters: int = 0
) -> SqlType:
    """The type that holds every value of the column exactly.

    ``key_characters``: of a key column whose length is not told; an index is no place for LONGTEXT.
    """
    source, length = column.source_type.lower(), column.length
    match column.kind:
        case Kind.INTEGER:
            return _integer(source)
        case Kind.UNSIGNED:
            return SqlType("bigint", unsigned=True)
        case Kind.DECIMAL:
            return SqlType("decimal", column.precision or _MOST_DIGITS, column.scale or 0)
        case Kind.FLOAT:
            return SqlType("float" if source.startswith("float") else "double")
        case Kind.BOOLEAN:
            return SqlType("bit", 1) if source.startswith("bit") else SqlType("tinyint")
        case Kind.STRING:
            is_short = source.startswith(("varchar", "char")) and length is not None
            return _text(length if is_short else None, key_characters)
        case Kind.ENUM:
            return _text(_ENUM_CHARACTERS, key_characters)
        case Kind.SET:
            return _text(None, key_characters)
        case Kind.JSON | Kind.DATE | Kind.YEAR | Kind.GEOMETRY:
            return SqlType(column.kind.value)
        case Kind.TIME | Kind.DATETIME | Kind.TIMESTAMP:
            return SqlType(column.kind.value, 6 if column.fraction is None else column.fraction)
        case Kind.BYTES:
            is_short = source.startswith(("varbinary", "binary")) and length is not None
            return _bytes(length if is_short else None, 4 * key_characters)
        case Kind.BITS:
            return SqlType("bit", length if length and length <= 64 else 64)
        case Kind.VECTOR:
            return SqlType("vector", length or _MOST_VECTOR)


def _integer(source: str) -> SqlType:
    found = parsed(source) if source else SqlType("bigint")
    return SqlType(found.name, unsigned=found.unsigned) if found.name in _INTEGERS else (
        SqlType("bigint")
    )  # fmt: skip


def _text(length: int | None, key_characters: int) -> SqlType:
    if length is None and key_characters:
        length = key_characters
    if length is None or length > LONGEST_TEXT:
        return SqlType("longtext")
    return SqlType("varchar", max(1, length))


def _bytes(length: int | None, key_bytes: int) -> SqlType:
    if length is None and key_bytes:
        length = key_bytes
    if length is None or length > LONGEST_TEXT:
        return SqlType("longblob")
    return SqlType("varbinary", max(1, length))


# --- does it fit? ---------------------------------------------------------------------------------


def fitted(found: SqlType, needed: SqlType) -> SqlType:
    """``found`` if it holds every value of ``needed``, else the narrowest type that holds both.

    Raises:
        Unfit: there is none that would keep every value as it is.
    """
    merged = _merged(found, needed)
    if merged is None:
        raise Unfit("column type", f"is {found}, and {needed} does not fit into it")
    return merged


def _merged(found: SqlType, needed: SqlType) -> SqlType | None:  # noqa: PLR0911 - a table
    if found == needed:
        return found
    if found.name in _INTEGERS and needed.name in _INTEGERS:
        return _integers(found, needed)
    if found.name == "decimal" or needed.name == "decimal":
        return _decimals(found, needed)
    if found.is_text and (needed.is_text or needed.name == "json"):
        return _longer(found, needed, _TEXTS)
    if found.is_binary and needed.is_binary:
        return _longer(found, needed, _BLOBS)
    pair = (found.name, needed.name)
    if pair in {("double", "float"), ("datetime", "date")}:
        return found
    if pair in {("float", "double"), ("date", "datetime")}:
        return needed
    if found.name == needed.name and found.name in {
        "time", "datetime", "timestamp", "bit", "vector",
    }:  # fmt: skip
        return found if found.size >= needed.size else needed
    is_flag = {found.name, needed.name} <= {"bit", "tinyint"} and 1 in {found.size, needed.size}
    return found if is_flag and found.name == "tinyint" else None


def _integers(found: SqlType, needed: SqlType) -> SqlType | None:
    bits = {"found": _INTEGERS[found.name], "needed": _INTEGERS[needed.name]}
    if found.unsigned == needed.unsigned:
        return found if bits["found"] >= bits["needed"] else needed
    signed, unsigned = (needed, found) if found.unsigned else (found, needed)
    least = max(_INTEGERS[signed.name], _INTEGERS[unsigned.name] + 1)
    if signed is found and _INTEGERS[found.name] >= least:
        return found
    return next((SqlType(name) for name, has in _INTEGERS.items() if has >= least), None)


def _decimals(found: SqlType, needed: SqlType) -> SqlType | None:
    sizes = [_as_decimal(each) for each in (found, needed)]
    if None in sizes:
        return None
    (f, n) = (size for size in sizes if size is not None)
    scale = max(f.scale, n.scale)
    digits = max(f.size - f.scale, n.size - n.scale) + scale
    if digits > _MOST_DIGITS or scale > _MOST_SCALE:
        return None
    if found.name == "decimal" and (digits, scale) == (found.size, found.scale):
        return replace(found, unsigned=False) if found.unsigned else found
    return SqlType("decimal", digits, scale)


def _as_decimal(each: SqlType) -> SqlType | None:
    if each.name == "decimal":
        return each
    digits = _INTEGER_DIGITS.get(each.name)
    return None if digits is None else SqlType("decimal", digits)


def _longer(found: SqlType, needed: SqlType, unbounded: dict[str, int]) -> SqlType:
    longest = next(reversed(unbounded))
    room = unbounded.get(found.name, found.size)
    if needed.name == "json":
        return found if found.name == longest else SqlType(longest)
    return found if room >= unbounded.get(needed.name, needed.size) else needed
