"""What the audit keeps of each table's schemas, beside the files that were written under them."""

from __future__ import annotations

import msgspec

from sinks.hive.entries import FORMAT
from sinks.hive.layout import TableLayout


class StoredSchemaColumn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column of a stored schema; ``source`` is empty for the event's own columns, ``rule``
    where no field rule wrote its values.
    """

    name: str
    hive: str
    source: str
    source_type: str
    rule: str = ""


class StoredSchema(msgspec.Struct, frozen=True):
    """What files of one fingerprint hold, for DDL and for rebuilding the source's table."""

    table: str
    fingerprint: str
    source: str
    database: str
    source_table: str
    key: tuple[str, ...]
    columns: tuple[StoredSchemaColumn, ...]
    format: int = FORMAT


class SourceTable(msgspec.Struct, frozen=True):
    """Which table of which source a Hive table is of."""

    source: str
    database: str
    table: str


def stored_schema(table: str, layout: TableLayout) -> StoredSchema:
    schema = layout.schema
    types = {column.name: column.source_type or column.kind.value for column in schema.columns}
    rules = {column.name: column.rule.value for column in schema.columns if column.rule}
    return StoredSchema(
        table=table,
        fingerprint=schema.fingerprint,
        source=schema.source,
        database=schema.database,
        source_table=schema.table,
        key=schema.key,
        columns=tuple(
            StoredSchemaColumn(
                each.name,
                each.hive,
                each.source,
                types.get(each.source, ""),
                rules.get(each.source, ""),
            )
            for each in layout.columns
        ),
    )
