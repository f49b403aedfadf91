"""The indices: made from a table's schema, extended by it, never bent.

Per table one alias, behind it one index: ``finance-titles`` and ``finance-titles-v1``. Everything
is written and read through the alias; a rebuild makes ``-v2`` and swaps it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from elastic_transport import ApiError, TransportError
from elasticsearch import BadRequestError, Elasticsearch, NotFoundError
from structlog.typing import FilteringBoundLogger

from callsheet.errors import ParkTableError
from callsheet.ports import Clock, Deadline
from callsheet.schema import TableSchema
from sinks.elasticsearch import fields
from sinks.elasticsearch.client import reason_of, translated
from sinks.elasticsearch.overrides import Override, unmet
from sinks.elasticsearch.settings import ElasticsearchSettings

_FORBIDDEN: Final = re.compile(r"[\\/*?\"<>| ,#:\x00-\x1f]|^[-_+.]")
_LONGEST_NAME: Final = 240
_LEAST_TIMEOUT_S: Final = 0.05


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
        table = _Table(
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


class _Table:
    """One table's index while it is being looked at."""

    def __init__(  # noqa: PLR0913 - its parts, each used
        self,
        client: Elasticsearch,
        settings: ElasticsearchSettings,
        override: Override,
        *,
        deadline: Deadline,
        topic: str,
        alias: str,
        schema: TableSchema,
        wanted: Mapping[str, Any],
    ) -> None:
        self._any_client, self._deadline = client, deadline
        self._settings, self._override = settings, override
        self._topic, self._alias, self._schema = topic, alias, schema
        self._wanted = wanted
        self.first_index = f"{alias}-v1"

    @property
    def _client(self) -> Elasticsearch:
        """Each request gets what those before it have left of the deadline."""
        left_s = max(_LEAST_TIMEOUT_S, self._deadline.remaining_s())
        return self._any_client.options(
            request_timeout=min(self._settings.request_timeout_seconds, left_s)
        )

    def parked(self, reason: str, detail: str, *, hint: str) -> ParkTableError:
        return ParkTableError(self._topic, reason, detail, hint=hint)

    def find(self) -> tuple[str, Mapping[str, Any]] | None:
        """The index behind the alias with its definition; None where there is no alias."""
        try:
            found = dict(self._client.indices.get(index=self._alias))
        except NotFoundError:
            return None
        if self._alias in found:
            raise self.parked(
                "name taken",
                f"{self._alias} is an index, where an alias was expected",
                hint="move the index away, or set sink.index to another template",
            )
        if len(found) > 1:
            found = {n: d for n, d in found.items() if _is_write_index(d, self._alias)}
        if len(found) != 1:
            raise self.parked(
                "ambiguous alias",
                f"the alias {self._alias} has several indices and no single write index",
                hint="leave one index behind the alias",
            )
        return next(iter(found.items()))

    def create(self) -> bool:
        """False when the index is there already."""
        self._check_budget(self._wanted)
        try:
            self._client.indices.create(
                index=self.first_index,
                settings=self._index_settings(),
                mappings={"dynamic": "strict", "_meta": self._meta(), "properties": self._wanted},
                aliases={self._alias: {"filter": fields.LIVE}},
            )
        except BadRequestError as error:
            if "resource_already_exists_exception" in reason_of(error):
                return False
            raise self._refused(error) from error
        return True

    def check_and_extend(self, index: str, definition: Mapping[str, Any]) -> None:
        """Add the columns that are new.

        Raises:
            ParkTableError: a column or the key changed in a way that needs a new index.
        """
        mappings = definition["mappings"]
        self._check_identity(index, mappings)
        existing: Mapping[str, Any] = mappings.get("properties", {})
        self._check_columns(existing)
        missing = {n: d for n, d in self._wanted.items() if n not in existing}
        if not fields.META_FIELD["properties"].keys() <= existing[fields.META]["properties"].keys():
            missing[fields.META] = fields.META_FIELD  # the index is of an older Callsheet
        self._check_budget({**existing, **missing})
        self._adjust(index, definition["settings"]["index"])
        if missing:
            self._extend(index, missing)

    def _check_identity(self, index: str, mappings: Mapping[str, Any]) -> None:
        meta = mappings.get("_meta", {}).get("callsheet")
        if meta is None:
            raise self.parked(
                "foreign index",
                f"{index} was not made by Callsheet",
                hint="move it away, or set sink.index to another template",
            )
        mine = self._meta()["callsheet"]
        for part, what in (("database", "table"), ("table", "table"), ("key", "key")):
            if meta.get(part) != mine[part]:
                raise self.parked(
                    f"{what} changed",
                    f"{index} was made for {part} {meta.get(part)}, now it is {mine[part]}",
                    hint="rebuild the index: IDs of the old key would stay for ever",
                )

    def _check_columns(self, existing: Mapping[str, Any]) -> None:
        conflicts = [
            conflict
            for column in self._schema.columns
            if column.name in existing
            and (
                conflict := fields.conflict(
                    column, existing[column.name], self._wanted[column.name]
                )
            )
        ]
        if conflicts:
            raise self.parked(
                "incompatible schema",
                "; ".join(conflicts),
                hint="rebuild the index from the table (docs/elasticsearch.md)",
            )

    def _check_budget(self, properties: Mapping[str, Any]) -> None:
        needed = fields.count(properties)
        if needed > self._settings.field_budget:
            raise self.parked(
                "field budget",
                f"the index needs {needed} fields, {self._settings.field_budget} are allowed",
                hint="raise sink.field_budget, or leave columns out of the capture",
            )

    def _adjust(self, index: str, existing: Mapping[str, Any]) -> None:
        """Bring the settings that may change at any time to what the pipeline says."""
        limit = existing.get("mapping", {}).get("total_fields", {}).get("limit", "1000")
        wanted = {
            "refresh_interval": self._refresh_interval(),
            "mapping.total_fields.limit": max(int(limit), self._settings.field_budget),
        }
        has = {
            "refresh_interval": existing.get("refresh_interval"),
            "mapping.total_fields.limit": int(limit),
        }
        changed = {k: v for k, v in wanted.items() if has[k] != v}
        if changed:
            self._client.indices.put_settings(index=index, settings={"index": changed})

    def _extend(self, index: str, missing: Mapping[str, Any]) -> None:
        try:
            self._client.indices.put_mapping(index=index, properties=missing, meta=self._meta())
        except BadRequestError as error:
            raise self._refused(error) from error

    def _refused(self, error: BadRequestError) -> ParkTableError:
        return self.parked(
            "mapping refused",
            reason_of(error),
            hint=f"correct mappings/{self._schema.qualified_name}.json, if there is one",
        )

    def _refresh_interval(self) -> str:
        return f"{round(self._settings.refresh_interval_seconds * 1000)}ms"

    def _index_settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "number_of_shards": self._settings.shards,
            "auto_expand_replicas": "0-1",
            "refresh_interval": self._refresh_interval(),
            "mapping.total_fields.limit": self._settings.field_budget,
        }
        if any(d.get("type") == "dense_vector" for d in self._wanted.values()):
            settings["mapping.exclude_source_vectors"] = False  # _source is the exact copy
        return settings | self._override.settings

    def _meta(self) -> dict[str, Any]:
        return {
            "callsheet": {
                "source": self._schema.source,
                "database": self._schema.database,
                "table": self._schema.table,
                "key": list(self._schema.key),
                "fingerprint": self._schema.fingerprint,
            }
        }


def _is_write_index(definition: Mapping[str, Any], alias: str) -> bool:
    return bool(definition["aliases"].get(alias, {}).get("is_write_index"))
