"""All that is known of one table under one pair of schemas, and both ways to read its records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from callsheet.codec.avro_schema import SchemaError
from callsheet.codec.binding import Shape
from callsheet.codec.columnar import ColumnarTable, NativeModule
from callsheet.codec.envelope import Change, EnvelopeReader, Truncated, foreign
from callsheet.codec.fields import Field
from callsheet.codec.layout import Identity, Layout
from callsheet.codec.plan import debezium_plan
from callsheet.codec.topics import DecoderOptions
from callsheet.codec.values import Convert
from callsheet.schema import TableSchema


@dataclass(frozen=True, slots=True)
class Table:
    """One (topic, signature). ``columnar`` is None where only the row path serves."""

    identity: Identity
    layout: Layout
    schema: TableSchema
    shape: Shape
    reader: EnvelopeReader
    columnar: ColumnarTable | None

    def row(self, value: bytes, key: bytes | None) -> Change | Truncated:
        """The careful reading of one record.

        Raises:
            PoisonRecordError: it cannot be decoded.
        """
        raw = self.shape.raw(value, key)
        result = self.reader.read(raw.value, raw.key)
        if result.identity != self.identity:
            raise foreign(f"the topic's other records are of {self.schema.qualified_name}")
        return result


@dataclass(frozen=True, slots=True)
class TableMaker:
    """What all tables of a pipeline have in common."""

    convert: Callable[[Field], Convert]
    native: NativeModule | None
    epochs: Mapping[str, int]
    options: DecoderOptions

    def table(self, identity: Identity, shape: Shape) -> Table:
        """Compiles a table's readers.

        Raises:
            SchemaError: a column that Callsheet cannot carry, or a key that makes no ID.
        """
        layout = shape.layout(self.options.booleans(identity.database, identity.table))
        return Table(
            identity=identity,
            layout=layout,
            schema=layout.schema(identity),
            shape=shape,
            reader=EnvelopeReader(layout, self.convert, self._epoch_of),
            columnar=self._columnar(layout, identity, shape),
        )

    def _columnar(self, layout: Layout, identity: Identity, shape: Shape) -> ColumnarTable | None:
        if self.native is None or not layout.key:
            return None
        try:
            plan, absent = debezium_plan(
                layout, identity, self._epoch_of(identity.source), shape.wire
            )
        except SchemaError:
            return None  # a layout that the native decoder does not serve
        return ColumnarTable(self.native, plan, absent)

    def _epoch_of(self, source: str) -> int:
        return self.epochs.get(source, 0)
