"""One table's index: found, made, checked, extended by what is new, never bent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from elasticsearch import BadRequestError, Elasticsearch, NotFoundError

from callsheet.errors import ParkTableError
from callsheet.ports import Deadline
from callsheet.schema import TableSchema
from sinks.elasticsearch import fields
from sinks.elasticsearch.client import reason_of
from sinks.elasticsearch.overrides import Override
from sinks.elasticsearch.settings import ElasticsearchSettings

_LEAST_TIMEOUT_S: Final = 0.05


class TableIndex:
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
