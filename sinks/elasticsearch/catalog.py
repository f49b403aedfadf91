"""The indices: made from a table's schema, extended by it, never bent.

Per table one alias, behind it one index: ``finance-titles`` and ``finance-titles-v1``. Everything
is written and read through the alias; a rebuild makes ``-v2`` and swaps it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from elastic_transport import ApiError, TransportError
from elasticsearch import Elasticsearch
from structlog.typing import FilteringBoundLogger

from callsheet.errors import ParkTableError
from callsheet.ports import Clock, Deadline
from callsheet.schema import TableSchema
from sinks.elasticsearch import fields
from sinks.elasticsearch.client import translated
from sinks.elasticsearch.index import TableIndex
from sinks.elasticsearch.overrides import Override, unmet
from sinks.elasticsearch.settings import ElasticsearchSettings

_FORBIDDEN: Final = re.compile(r"[\\/*?\"<>| ,#:\x00-\x1f]|^[-_+.]")
_LONGEST_NAME: Final = 240


class Catalog:
    """Makes sure that a table's index exists and fits, once per schema version and process."""

    def __init__(  # noqa: PLR0913 - its parts, each used
        self,
        client: Elasticsearch,
        settings: ElasticsearchSettings,
        overrides: Mapping[str, Override],
        *,
        server_types: frozenset[str],
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._client, self._settings, self._overrides = client, settings, overrides
        self._server_types, self._clock, self._log = server_types, clock, log
        self._ready: dict[tuple[str, str], str] = {}
        self.indices: dict[str, str] = {}
        """Alias to concrete index, of the tables that were written to."""

    def target(self, topic: str, schema: TableSchema, deadline: Deadline) -> str:
        """The alias to write to.

        Raises:
            ParkTableError: the index does not fit the table, field by field why.
            RetryableError, FatalError: the server is away, or refuses us.
        """
        alias = self._ready.get((topic, schema.fingerprint))
        if alias is None:
            try:
                alias = self._ensure(topic, schema, deadline)
            except (ApiError, TransportError) as error:
                raise translated(error, self._clock) from error
            self._ready[topic, schema.fingerprint] = alias
        return alias

    def _ensure(self, topic: str, schema: TableSchema, deadline: Deadline) -> str:
        alias = alias_of(self._settings.index, topic, schema)
        if any(column.name == fields.META for column in schema.columns):
            raise ParkTableError(
                topic,
                "column name",
                f"a column is named {fields.META}, as Callsheet's own field is",
                hint="rename the column, or leave it out of the capture (column.exclude.list)",
            )
        override = self._overrides.get(schema.qualified_name, Override())
        wanted = override.applied(fields.properties(schema, self._server_types))
        table = TableIndex(
            self._client,
            self._settings,
            override,
            deadline=deadline,
            topic=topic,
            alias=alias,
            schema=schema,
            wanted=wanted,
        )
        found = table.find()
        if found is None and not table.create():
            found = table.find()  # another worker was quicker
            if found is None:
                raise table.parked(
                    "index without alias",
                    f"the index {table.first_index} exists, its alias {alias} does not",
                    hint="add the alias with its filter, or delete the index to rebuild it",
                )
        if found is not None:
            table.check_and_extend(*found)
            self._warn_if_outdated(*found, override)
        self.indices[alias] = found[0] if found is not None else table.first_index
        self._log.info("index ready", alias=alias, index=self.indices[alias], is_new=found is None)
        return alias

    def _warn_if_outdated(
        self, index: str, definition: Mapping[str, Any], override: Override
    ) -> None:
        """No reason to hold the table, its rows are right; but searches silently find less."""
        if lacking := unmet(definition["mappings"].get("properties", {}), override):
            self._log.warning(
                "index older than its mapping file",
                index=index,
                fields=lacking,
                hint="rebuild it (docs/elasticsearch.md)",
            )


def alias_of(template: str, topic: str, schema: TableSchema) -> str:
    """The name that a table's documents are written and searched under.

    Raises:
        ParkTableError: Elasticsearch allows no such name.
    """
    name = template.format(
        source=schema.source, database=schema.database, table=schema.table
    ).lower()
    if _FORBIDDEN.search(name) or len(name.encode()) > _LONGEST_NAME:
        raise ParkTableError(
            topic,
            "index name",
            f"{name!r} is not allowed as a name in Elasticsearch",
            hint="rename the table, or set sink.index to another template",
        )
    return name
