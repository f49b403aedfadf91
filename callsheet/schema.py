"""What a table's columns are, independent of the wire format that told us.

``codec/`` builds a :class:`TableSchema` from a Debezium Avro schema (from the registry, or declared
in ``cdc-config/schemas/`` for JSON without schemas); sinks derive their own from it: an
Elasticsearch mapping, Parquet columns, SQL DDL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """A column's kind, and beside each the polars type that holds it in a batch's images.

    The same kinds, in the same types, come out of every decoder: a sink never asks which wire
    format a batch came from.
    """

    INTEGER = "integer"
    """Int64. TINYINT(1) too, unless the configuration declares the column boolean."""
    UNSIGNED = "unsigned"
    """UInt64: BIGINT UNSIGNED, exact to 2^64-1."""
    DECIMAL = "decimal"
    """Decimal(precision, scale) to 38 digits; beyond that String in plain notation, exact."""
    FLOAT = "float"
    """Float32 or Float64: FLOAT and DOUBLE, never money."""
    BOOLEAN = "boolean"
    """Boolean: BIT(1), and what is declared boolean."""
    STRING = "string"
    """String: CHAR, VARCHAR, TEXT, in any collation, unchanged."""
    ENUM = "enum"
    """String."""
    SET = "set"
    """String: the members in declaration order, joined by commas, as MySQL has them."""
    JSON = "json"
    """String: JSON text."""
    DATE = "date"
    """Date."""
    TIME = "time"
    """Int64, microseconds; may be negative or exceed 24 hours."""
    DATETIME = "datetime"
    """Datetime("us") without zone: wall-clock time, as the source's row has it."""
    TIMESTAMP = "timestamp"
    """String: ISO-8601 in UTC with a Z, as Debezium writes it."""
    YEAR = "year"
    """Int64."""
    BYTES = "bytes"
    """Binary: BINARY, VARBINARY, BLOB."""
    BITS = "bits"
    """Binary, little-endian: BIT(n), n > 1."""
    GEOMETRY = "geometry"
    """Struct{wkb: Binary, srid: Int32}."""
    VECTOR = "vector"
    """List(Float32)."""


class Rule(StrEnum):
    """Which field rule wrote a column's values, where they are not those of the source."""

    MASK = "mask"
    HASH = "hash"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``precision`` and ``scale`` are of a DECIMAL; ``fraction`` is the number of
    digits of a second that a temporal column keeps, where the source told it.
    """

    name: str
    kind: Kind
    nullable: bool = True
    precision: int | None = None
    scale: int | None = None
    fraction: int | None = None
    length: int | None = None
    allowed: tuple[str, ...] = ()
    source_type: str = ""
    """As the source spells it (``TINYINT UNSIGNED``), where it told; empty where not."""
    # Fingerprints are made of the repr: those of columns without a rule are to stay as they were.
    rule: Rule | None = field(default=None, repr=False)
    """None: the values are the source's own."""


@dataclass(frozen=True, slots=True)
class TableSchema:
    """One version of one table.

    Attributes:
        source: the connector's logical name (Debezium's topic prefix).
        database, table: as the source names them.
        columns: in the source's order.
        key: names of the columns that make the ID, in the key's order; never empty.
        fingerprint: equal for equal schemas, different for different ones; the same in every
            process (a registry id, or a digest of the declared schema).
    """

    source: str
    database: str
    table: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    fingerprint: str

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def qualified_name(self) -> str:
        return f"{self.database}.{self.table}"
