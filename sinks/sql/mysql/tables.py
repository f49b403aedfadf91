"""The replica's tables: what is there, and the DDL that makes it hold what the source has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from callsheet.schema import Column, Kind, TableSchema
from sinks.sql.dialect import Plan, Unfit
from sinks.sql.mysql.literals import quoted_name
from sinks.sql.mysql.types import SqlType, fitted, parsed, wanted

_ROW_BYTES: Final = 60_000
_KEY_BYTES: Final = 3_072
_TEXTUAL: Final = frozenset({Kind.STRING, Kind.ENUM, Kind.SET, Kind.BYTES})

# The binary collation without padding: what the source calls different IDs stays different here,
# and 'a' after an UPDATE to 'A' (a delete and a create, in no order) is not deleted as 'a'.
_TEXT: Final = "CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin"
_OPTIONS: Final = "ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin"


@dataclass(frozen=True, slots=True)
class Found:
    """One column of a table that is there."""

    type: SqlType
    is_nullable: bool
    has_default: bool
    is_generated: bool
    collation: str


def wanted_types(schema: TableSchema) -> dict[str, SqlType]:
    """Per column. The longest texts move out of the row until it fits.

    Raises:
        Unfit: the key is too long for an index.
    """
    told = [wanted(schema.column(name)) for name in schema.key]
    open_ended = sum(each.name in {"longtext", "longblob"} for each in told)
    taken = sum(each.bytes_in_row for each in told if each.name not in {"longtext", "longblob"})
    characters = max(1, (_KEY_BYTES - taken) // 4 // open_ended - 1) if open_ended else 0
    types = {
        column.name: wanted(column, key_characters=characters if column.name in schema.key else 0)
        for column in schema.columns
    }
    if sum(types[name].bytes_in_row for name in schema.key) > _KEY_BYTES + 2 * len(schema.key):
        raise Unfit("key", "its columns are too long for an index of MySQL (3072 bytes)")
    movable = [name for name in types if name not in schema.key]
    movable.sort(key=lambda name: types[name].bytes_in_row, reverse=True)
    total = sum(each.bytes_in_row for each in types.values())
    for name in movable:
        if total <= _ROW_BYTES:
            break
        total -= types[name].bytes_in_row - 20
        types[name] = SqlType("longtext" if types[name].is_text else "longblob")
    return types


def _definition(column: Column, kind: SqlType, *, is_key: bool) -> str:
    text = f" {_TEXT}" if kind.is_text else ""
    null = "NOT NULL" if is_key else "NULL"
    return f"{quoted_name(column.name)} {kind}{text} {null}"


def create(table: str, schema: TableSchema, types: Mapping[str, SqlType]) -> str:
    columns = [
        _definition(column, types[column.name], is_key=column.name in schema.key)
        for column in schema.columns
    ]
    key = ", ".join(map(quoted_name, schema.key))
    body = ", ".join([*columns, f"PRIMARY KEY ({key})"])
    return f"CREATE TABLE IF NOT EXISTS {quoted_name(table)} ({body}) {_OPTIONS}"


def create_versions(table: str) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {quoted_name(table)} ("
        "id VARBINARY(255) NOT NULL PRIMARY KEY, version BIGINT NOT NULL, "
        "is_deleted TINYINT NOT NULL, kafka_partition INT NOT NULL, kafka_offset BIGINT NOT NULL, "
        f"long_id LONGBLOB NULL) {_OPTIONS}"
    )


def plan(connection: sa.Connection, table: str, schema: TableSchema) -> Plan:
    types = wanted_types(schema)
    found = _columns(connection, table)
    if not found:
        return Plan((create(table, schema, types),), is_new=True)
    _check_keys(connection, table, schema, found)
    changes = [
        change
        for column in schema.columns
        if (change := _change(column, types[column.name], found.get(column.name), schema))
    ]
    known = {column.name for column in schema.columns}
    changes += [
        _loosened(name, each)
        for name, each in found.items()
        if name not in known and not (each.is_nullable or each.has_default or each.is_generated)
    ]
    statements = (f"ALTER TABLE {quoted_name(table)} {', '.join(changes)}",) if changes else ()
    name = quoted_name(table)
    is_filled = connection.exec_driver_sql(f"SELECT 1 FROM {name} LIMIT 1").first()  # noqa: S608
    return Plan(
        statements,
        is_new=False,
        added=frozenset(known - found.keys()),
        has_rows=is_filled is not None,
    )


def _columns(connection: sa.Connection, table: str) -> dict[str, Found]:
    rows = connection.execute(
        sa.text(
            "SELECT column_name, column_type, is_nullable, column_default, extra, collation_name "
            "FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = :table ORDER BY ordinal_position"
        ),
        {"table": table},
    )
    return {
        str(name): Found(
            type=parsed(_text_of(kind)),
            is_nullable=nullable == "YES",
            has_default=default is not None or "auto_increment" in str(extra),
            is_generated="GENERATED" in str(extra) and "DEFAULT_GENERATED" not in str(extra),
            collation=collation or "",
        )
        for name, kind, nullable, default, extra, collation in rows
    }


def _text_of(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _check_keys(
    connection: sa.Connection, table: str, schema: TableSchema, found: Mapping[str, Found]
) -> None:
    indices: dict[str, list[str]] = {}
    for name, column in connection.execute(
        sa.text(
            "SELECT index_name, column_name FROM information_schema.statistics WHERE "
            "table_schema = DATABASE() AND table_name = :table AND non_unique = 0 "
            "ORDER BY index_name, seq_in_index"
        ),
        {"table": table},
    ):
        indices.setdefault(str(name), []).append(str(column))
    key = indices.pop("PRIMARY", [])
    if set(key) != set(schema.key):
        raise Unfit(
            "key",
            f"the replica's primary key is ({', '.join(key)}), the source's ID "
            f"({', '.join(schema.key)})",
            hint="rebuild this table: docs/sql.md says how",
        )
    if indices:
        raise Unfit(
            "unique index",
            f"{', '.join(sorted(indices))}: rows reach a replica in no order among different IDs, "
            "so for a moment two may share a value",
            hint="drop it, or make it a plain index",
        )
    for name in schema.key:
        _check_collation(name, found[name])


def _check_collation(name: str, found: Found) -> None:
    if found.type.is_text and not found.collation.endswith("_0900_bin"):
        raise Unfit(
            "key",
            f"{name} is collated {found.collation}, which takes different IDs for equal ones",
            hint=f"ALTER it to {_TEXT}",
        )


def _change(
    column: Column, needed: SqlType, found: Found | None, schema: TableSchema
) -> str | None:
    """One clause of an ALTER TABLE; None where the column fits."""
    is_key = column.name in schema.key
    if found is None:
        return f"ADD COLUMN {_definition(column, needed, is_key=is_key)}"
    if found.is_generated:
        raise Unfit("generated column", f"{column.name} is computed by the replica")
    if found.type.is_text and not found.collation.startswith("utf8mb4"):
        raise Unfit("character set", f"{column.name} is collated {found.collation}, not utf8mb4")
    try:
        merged = fitted(found.type, needed)
    except Unfit as misfit:
        raise Unfit(
            misfit.reason,
            f"{column.name} {misfit.detail}",
            hint="change the replica's column by hand, or rebuild this table: docs/sql.md says how",
        ) from None
    if merged == found.type and (is_key or found.is_nullable):
        return None
    return f"MODIFY COLUMN {_modified(column, merged, found, is_key=is_key)}"


def _modified(column: Column, merged: SqlType, found: Found, *, is_key: bool) -> str:
    definition = _definition(column, merged, is_key=is_key)
    if merged.is_text and found.collation:  # a collation that somebody chose stays
        chosen = f"CHARACTER SET utf8mb4 COLLATE {found.collation}"
        definition = definition.replace(_TEXT, chosen)
    return definition


def _loosened(name: str, found: Found) -> str:
    """A column that the source no longer has must not be asked for."""
    text = f" CHARACTER SET utf8mb4 COLLATE {found.collation}" if found.type.is_text else ""
    return f"MODIFY COLUMN {quoted_name(name)} {found.type}{text} NULL"


def names(columns: Sequence[str]) -> str:
    return ", ".join(map(quoted_name, columns))
