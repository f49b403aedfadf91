"""What is known to be wrong with field rules before anything runs, from the declared schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from callsheet.codec.declared import DeclaredSchema, load_declared
from callsheet.codec.layout import layout_of
from callsheet.config.document import parse
from callsheet.config.fields import is_pattern
from callsheet.config.loading import Pipeline, read
from callsheet.config.source import SourceSettings
from callsheet.errors import ConfigError, Fault
from callsheet.fields.columns import KeyedHash
from callsheet.fields.projection import UnfitRulesError, projection, rules_of
from callsheet.schema import TableSchema


def rule_faults(pipeline: Pipeline) -> Iterator[Fault]:
    """Rules that do not fit a table whose schema is declared in ``cdc-config/schemas``, under this
    connector's name or another's. A table that is declared nowhere is checked at its first record.
    """
    fields, source = pipeline.settings.fields, pipeline.settings.source
    if not fields.tables:
        return
    file = Path(pipeline.file)
    document = parse(read(file), pipeline.file)
    for number, rules in enumerate(fields.tables):
        if not is_pattern(rules.table) and _is_never_read(rules.table, source):
            message = "no topic of this pipeline carries such a table"
            yield document.fault(("fields", "tables", number, "table"), message)
    for schema in _known(pipeline):
        found = rules_of(fields.tables, schema.qualified_name)
        if found is None:
            continue
        try:
            projection(found, schema, KeyedHash(""), {})
        except UnfitRulesError as error:
            place = ("fields", "tables", fields.tables.index(found))
            for text in error.faults:
                yield document.fault(place, f"{schema.qualified_name}: {text}")


def _is_never_read(table: str, source: SourceSettings) -> bool:
    """Told only where all topics are named as Debezium names them: prefix.database.table."""
    prefix = f"{source.topic_prefix}."
    if not (source.topic_prefix and all(t.startswith(prefix) for t in source.topics)):
        return False
    return bool(source.topics) and prefix + table not in source.topics


def _known(pipeline: Pipeline) -> Iterator[TableSchema]:
    source = pipeline.settings.source
    try:
        declared = load_declared(pipeline.config_dir / source.schemas_dir)
    except ConfigError:
        return  # told where the schemas themselves are checked
    own: dict[str, TableSchema] = {}
    other: dict[str, TableSchema] = {}
    for topic, found in declared.items():
        schema = _schema(topic, found, source)
        if source.reads(topic):
            own[schema.qualified_name] = schema
        elif source.topic_prefix and source.reads(f"{source.topic_prefix}.{schema.qualified_name}"):
            other[schema.qualified_name] = schema
    merged: Mapping[str, TableSchema] = {**other, **own}
    yield from (merged[name] for name in sorted(merged))


def _schema(topic: str, declared: DeclaredSchema, source: SourceSettings) -> TableSchema:
    *rest, database, table = ["", *topic.split(".")]
    name = f"{database}.{table}."
    booleans = frozenset(c.removeprefix(name) for c in source.boolean_columns if c.startswith(name))
    layout = layout_of(declared.tree, declared.key, booleans)
    columns = tuple(field.column for field in layout.fields)
    return TableSchema(".".join(rest[1:]), database, table, columns, declared.key or (), topic)
