"""What HiveServer2 is told: statements as texts, made from the schemas that the audit's files have.

Columns are matched by name, so a table has the union of all its files' columns. A column whose type
has changed gets one that holds the values of both.
"""

# ruff: noqa: S608 - names come from our own log, and are quoted; DDL takes no parameters

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sinks.hive.layout import MAX_PRECISION, PARTITION_COLUMN
from sinks.hive.schemas import StoredSchema

_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_INTEGERS: Final = frozenset({"INT", "BIGINT"})
_WHOLE: Final = {"INT": (10, 0), "BIGINT": (19, 0)}
LOCATION_PROPERTY: Final = "callsheet.location"
"""Tells our tables from others of that name, and from those of another audit."""

Columns = Mapping[str, str]
"""Names and types, in order."""
Comments = Mapping[str, str]
"""Of the columns that have one, by name."""

_RULED: Final[Mapping[str, str]] = {"mask": "masked", "hash": "hashed"}
"""How a field rule is told of a column; others by their own name."""
_NONE: Final[Comments] = {}


# --- columns --------------------------------------------------------------------------------------


def columns_of(schemas: Iterable[StoredSchema]) -> dict[str, str]:
    """All columns that any of the files has."""
    found: dict[str, str] = {}
    for schema in schemas:
        for column in schema.columns:
            known = found.get(column.name)
            found[column.name] = column.hive if known is None else common(known, column.hive)
    return found


def comments_of(schemas: Iterable[StoredSchema]) -> dict[str, str]:
    """Which columns are not as the source has them in any of the files, and what they are: the
    audit's readers are to see it in the schema.
    """
    found: dict[str, set[str]] = {}
    for schema in schemas:
        for column in schema.columns:
            if column.rule:
                found.setdefault(column.name, set()).add(_RULED.get(column.rule, column.rule))
    return {name: ", ".join(sorted(words)) for name, words in found.items()}


def common(one: str, other: str) -> str:
    """A type that holds the values of both exactly; STRING where there is none."""
    if one == other:
        return one
    if {one, other} == _INTEGERS:
        return "BIGINT"
    first, second = _digits(one), _digits(other)
    if first and second:
        scale = max(first[1], second[1])
        whole = max(first[0] - first[1], second[0] - second[1])
        if whole + scale <= MAX_PRECISION:
            return f"DECIMAL({whole + scale},{scale})"
    return "STRING"


def _digits(hive: str) -> tuple[int, int] | None:
    """Precision and scale of an exact number."""
    match = _DECIMAL.fullmatch(hive)
    return (int(match[1]), int(match[2])) if match else _WHOLE.get(hive)


# --- statements -----------------------------------------------------------------------------------


def create_table(name: str, columns: Columns, location: str, comments: Comments = _NONE) -> str:
    listed = ",\n  ".join(_column(c, kind, comments) for c, kind in columns.items())
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {name} (\n  {listed}\n)\n"
        f"PARTITIONED BY ({quoted(PARTITION_COLUMN)} DATE)\nSTORED AS PARQUET\n"
        f"LOCATION {literal(location)}\n"
        f"TBLPROPERTIES ('external.table.purge'='false', "
        f"{literal(LOCATION_PROPERTY)}={literal(location)})"
    )


def alter_columns(
    name: str,
    known: Columns,
    wanted: Columns,
    comments: Comments = _NONE,
    known_comments: Comments = _NONE,
) -> list[str]:
    """New columns, also for the partitions that there are; wider types; and comments of columns
    that a field rule writes by now. A type that Hive has already for both is left alone, and so is
    a comment where we have none.
    """
    added = [_column(c, kind, comments) for c, kind in wanted.items() if c not in known]
    found = [f"ALTER TABLE {name} ADD COLUMNS ({', '.join(added)}) CASCADE"] if added else []
    for column, kind in wanted.items():
        if column not in known:
            continue
        wider, comment = common(known[column], kind), comments.get(column, "")
        if wider != known[column] or comment not in {"", known_comments.get(column, "")}:
            changed = f"{quoted(column)} {_column(column, wider, comments)}"
            found.append(f"ALTER TABLE {name} CHANGE COLUMN {changed} CASCADE")
    return found


def _column(name: str, kind: str, comments: Comments) -> str:
    comment = comments.get(name, "")
    return f"{quoted(name)} {kind}" + (f" COMMENT {literal(comment)}" if comment else "")


def add_partitions(name: str, places: Mapping[str, str]) -> str:
    """``places``: per date where its files are; empty: in the table's own folder."""
    parts = " ".join(
        _partition(date) + (f" LOCATION {literal(place)}" if place else "")
        for date, place in places.items()
    )
    return f"ALTER TABLE {name} ADD IF NOT EXISTS {parts}"


def drop_partitions(name: str, dates: Sequence[str]) -> str:
    """The files stay: the table is external."""
    return f"ALTER TABLE {name} DROP IF EXISTS {', '.join(map(_partition, dates))}"


def describe_partition(name: str, date: str) -> str:
    return f"DESCRIBE FORMATTED {name} {_partition(date)}"


def move_partition(name: str, date: str, place: str) -> str:
    return f"ALTER TABLE {name} {_partition(date)} SET LOCATION {literal(place)}"


def _partition(date: str) -> str:
    return f"PARTITION ({quoted(PARTITION_COLUMN)}={literal(date)})"


def views(name: str, schema: str, columns: Columns) -> dict[str, str]:
    """The three views of a table, by their names without the database's."""
    source = f"{schema}.{quoted(name)}"
    once = _once(source, [*columns, PARTITION_COLUMN])
    after = [column for column in columns if column.startswith("after_")]
    row = ", ".join(f"{quoted(c)} AS {quoted(c.removeprefix('after_'))}" for c in after)
    selects = {
        f"{name}_history": f"SELECT {_list([*columns, PARTITION_COLUMN])} FROM {once}",
        f"{name}_latest": f"SELECT {row} FROM (SELECT *, {_LATEST} FROM {once}) l "
        "WHERE callsheet_rank = 1 AND `type` <> 'd'",
        f"{name}_as_of": f"SELECT {row}, `ts` AS `valid_from`, `valid_to` FROM "
        f"(SELECT *, {_UNTIL} FROM {once}) a WHERE `type` <> 'd'",
    }
    return {
        view: f"CREATE OR REPLACE VIEW {schema}.{quoted(view)} AS {select}"
        for view, select in selects.items()
    }


_ORDER: Final = "`version`, NOT `is_snapshot`, `kafka_offset`"
_LATEST: Final = (
    "ROW_NUMBER() OVER (PARTITION BY `id` ORDER BY `version` DESC, `is_snapshot`, "
    "`kafka_offset` DESC) AS callsheet_rank"
)
# Not simply the next one's time: where the source's clock stood still or went back, a change ends
# with the first of all that follow it. So there is one row of each ID at any time.
_UNTIL: Final = (
    f"MIN(`ts`) OVER (PARTITION BY `id` ORDER BY {_ORDER} "
    "ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS `valid_to`"
)


def _once(source: str, columns: Sequence[str]) -> str:
    """Each UUID once: a source without exactly-once tells some changes again."""
    return (
        f"(SELECT {_list(columns)} FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY `uuid` "
        f"ORDER BY `kafka_partition`, `kafka_offset`) AS callsheet_copy FROM {source}) c "
        "WHERE callsheet_copy = 1) u"
    )


def _list(columns: Iterable[str]) -> str:
    return ", ".join(quoted(column) for column in columns)


def quoted(name: str) -> str:
    """The layout has taken out of names what cannot be quoted."""
    return f"`{name}`"


def literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
