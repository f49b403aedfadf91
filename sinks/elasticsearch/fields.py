"""From a column to the field that holds it: what is searched. ``_source`` keeps the exact value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from callsheet.schema import Column, Kind, TableSchema

META: Final = "_callsheet"
"""The one field of every document that is ours; no MySQL table has such a column in practice."""

META_FIELD: Final[Mapping[str, Any]] = {
    "dynamic": "strict",
    "properties": {
        "ts": {"type": "date", "format": "strict_date_optional_time"},
        # ``_version`` cannot be asked for by range; who looks for rows that a new snapshot no
        # longer holds, or that stood before a TRUNCATE, must.
        "version": {"type": "long", "doc_values": False},
        "id": {"type": "keyword", "ignore_above": 8191},
        "wrapped": {"type": "keyword"},
        "deleted": {"type": "boolean"},
        "deleted_at": {"type": "date", "format": "strict_date_optional_time"},
    },
}

LIVE: Final[Mapping[str, Any]] = {"bool": {"must_not": {"term": {f"{META}.deleted": True}}}}
"""The alias' filter: who searches through the alias never meets a deleted row."""

SCALED_DIGITS: Final = 15
"""scaled_float multiplies as a double: exact to 15 digits, an overflow beyond 18."""

LONGEST_TERM: Final = 8191
"""Characters: Lucene refuses a term over 32,766 bytes, and UTF-8 takes up to four for one."""


def field(column: Column, server_types: Collection[str]) -> dict[str, Any]:  # noqa: C901, PLR0911, PLR0912 - one case per kind is the clearest table
    """The mapping of one column on a server that has these optional types."""
    match column.kind:
        case Kind.INTEGER:
            return {"type": "long"}
        case Kind.YEAR:
            return {"type": "integer"}
        case Kind.UNSIGNED if "unsigned_long" in server_types:
            return {"type": "unsigned_long"}
        case Kind.UNSIGNED:
            return {"type": "keyword", "fields": {"number": {"type": "double"}}}
        case Kind.DECIMAL:
            return _decimal(column, server_types)
        case Kind.FLOAT:
            return {"type": "double"}
        case Kind.BOOLEAN:
            return {"type": "boolean"}
        case Kind.STRING:
            exact = {"type": "keyword", "ignore_above": LONGEST_TERM}
            return {"type": "text", "fields": {"keyword": exact}}
        case Kind.ENUM | Kind.SET | Kind.TIME:
            return {"type": "keyword", "ignore_above": LONGEST_TERM}
        case Kind.DATE | Kind.DATETIME | Kind.TIMESTAMP:
            # One format for all three: a DATE that becomes a DATETIME needs no new index.
            return {"type": "date", "format": "strict_date_optional_time"}
        case Kind.JSON if "flattened" in server_types:
            # MySQL nests to 100 levels, and a term that is too long would refuse the document.
            return {"type": "flattened", "depth_limit": 100, "ignore_above": LONGEST_TERM}
        case Kind.GEOMETRY if "geo_shape" in server_types:
            # A planar shape (SRID 0) is no place on earth: kept in _source, not indexed.
            return {"type": "geo_shape", "ignore_malformed": True}
        case Kind.JSON | Kind.GEOMETRY:
            return {"type": "object", "enabled": False}
        case Kind.BYTES | Kind.BITS:
            return {"type": "binary"}
        case Kind.VECTOR:
            # dense_vector refuses what differs in length or has no direction; VECTOR may.
            return {"type": "float", "index": False, "doc_values": False}


def _decimal(column: Column, server_types: Collection[str]) -> dict[str, Any]:
    precision = column.precision or 65
    if "scaled_float" in server_types and precision <= SCALED_DIGITS:
        return {"type": "scaled_float", "scaling_factor": float(10 ** (column.scale or 0))}
    return {"type": "double", "fields": {"exact": {"type": "keyword"}}}


def properties(schema: TableSchema, server_types: Collection[str]) -> dict[str, Any]:
    """All fields of a table's index, ours included."""
    fields = {column.name: field(column, server_types) for column in schema.columns}
    return {META: META_FIELD, **fields}


def count(fields: Mapping[str, Any]) -> int:
    """Fields as the server counts them against its limit: objects and subfields too."""
    return sum(
        1 + count(definition.get("properties", {})) + len(definition.get("fields", {}))
        for definition in fields.values()
    )


# --- may this column be written into that field? -----------------------------------------------

_TEXTS: Final = frozenset({Kind.STRING, Kind.ENUM, Kind.SET, Kind.TIME})
_INTEGERS: Final = frozenset({Kind.INTEGER, Kind.YEAR})
_DATES: Final = frozenset({Kind.DATE, Kind.DATETIME, Kind.TIMESTAMP})
_SCALARS: Final = _TEXTS | _INTEGERS | _DATES | {Kind.UNSIGNED, Kind.DECIMAL, Kind.BOOLEAN}

HOLDS: Final[Mapping[str, frozenset[Kind]]] = {
    "text": _TEXTS,
    "match_only_text": _TEXTS,
    "search_as_you_type": _TEXTS,
    "completion": _TEXTS,
    "keyword": _SCALARS,
    "wildcard": _TEXTS,
    "long": _INTEGERS,
    "integer": _INTEGERS,
    "short": _INTEGERS,
    "byte": _INTEGERS,
    "unsigned_long": frozenset({Kind.UNSIGNED}),
    "scaled_float": frozenset({Kind.DECIMAL}),
    "double": frozenset({Kind.DECIMAL, Kind.FLOAT}),
    "float": frozenset({Kind.FLOAT, Kind.VECTOR}),
    "boolean": frozenset({Kind.BOOLEAN}),
    "date": _DATES,
    "date_nanos": _DATES,
    "binary": frozenset({Kind.BYTES, Kind.BITS}),
    "flattened": frozenset({Kind.JSON}),
    "object": frozenset({Kind.JSON, Kind.GEOMETRY}),
    "nested": frozenset({Kind.JSON}),
    "geo_shape": frozenset({Kind.GEOMETRY}),
    "geo_point": frozenset({Kind.GEOMETRY}),
    "dense_vector": frozenset({Kind.VECTOR}),
}


def conflict(column: Column, existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Why the column no longer fits the field that the index has; empty where it does."""
    has, wants = existing.get("type", "object"), wanted.get("type", "object")
    if has == "keyword" and wants != "keyword" and column.kind not in _TEXTS:
        return ""  # keywords hold any scalar exactly, they only compare as text
    if column.kind not in HOLDS.get(has, {column.kind} if has == wants else frozenset()):
        return f"{column.name}: the index has {has}, {_spelled(column)} needs {wants}"
    if has == wants == "scaled_float":
        had, needs = existing.get("scaling_factor", 0), wanted.get("scaling_factor", 0)
        if float(had) < float(needs):
            return (
                f"{column.name}: the index keeps scaled_float by {float(had):.0f}, "
                f"{_spelled(column)} needs {float(needs):.0f}"
            )
    return ""


def _spelled(column: Column) -> str:
    if column.source_type:
        return column.source_type
    digits = f"({column.precision},{column.scale})" if column.precision else ""
    return f"{column.kind.value}{digits}"
