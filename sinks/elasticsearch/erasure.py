"""One row's values taken out of an index: its document becomes a tombstone of the same version."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from elastic_transport import ApiError, TransportError
from elasticsearch import ConflictError, Elasticsearch, NotFoundError

from callsheet.errors import PreconditionError, RetryableError
from callsheet.ports import Clock
from callsheet.schema import TableSchema
from callsheet.sink import Holding
from sinks.elasticsearch import values
from sinks.elasticsearch.catalog import alias_of
from sinks.elasticsearch.client import connect, translated
from sinks.elasticsearch.fields import META
from sinks.elasticsearch.settings import ElasticsearchSettings

_KEPT: Final = ("ts", "version", "id")


class ElasticsearchEraser:
    """Implements :class:`callsheet.sink.Eraser`."""

    def __init__(
        self,
        settings: ElasticsearchSettings,
        clock: Clock,
        client: Elasticsearch | None = None,
        config_dir: str = "",
    ) -> None:
        self._settings, self._clock = settings, clock
        self._client = client or connect(settings, config_dir)

    def look(
        self, topic: str, schema: TableSchema, identifiers: Collection[str]
    ) -> Mapping[str, Holding]:
        alias = alias_of(self._settings.index, topic, schema)
        return {identifier: self._holding(alias, identifier) for identifier in identifiers}

    def _holding(self, alias: str, identifier: str) -> Holding:
        found = self._found(alias, identifier)
        if found is None:
            return Holding(has_values=False, version=None)
        is_deleted = found["_source"].get(META, {}).get("deleted", False)
        return Holding(has_values=not is_deleted, version=int(found["_version"]))

    def erase(self, topic: str, schema: TableSchema, identifiers: Collection[str]) -> None:
        alias = alias_of(self._settings.index, topic, schema)
        for identifier in identifiers:
            self._erase(alias, identifier)

    def _erase(self, alias: str, identifier: str) -> None:
        found = self._found(alias, identifier)
        if found is None or found["_source"].get(META, {}).get("deleted"):
            return
        meta = found["_source"].get(META, {})
        kept = {name: meta[name] for name in _KEPT if name in meta}
        deleted_at = values.instant_text(int(self._clock.time() * 1_000_000))
        try:
            with self._told():
                self._client.index(
                    index=alias,
                    id=found["_id"],
                    document={META: {**kept, "deleted": True, "deleted_at": deleted_at}},
                    version=found["_version"],
                    # Over itself, but never over what a worker has written since we looked.
                    version_type="external_gte",
                    require_alias=True,
                    refresh=True,
                )
        except ConflictError as error:
            raise RetryableError(
                f"a newer state came to {alias} meanwhile",
                hint="is the row deleted at the source? Then run the command again",
            ) from error

    def _found(self, alias: str, identifier: str) -> Any:
        """The document as it is now, whatever has been refreshed; None where there is none."""
        try:
            with self._told():
                return self._client.get(index=alias, id=values.document_id(identifier))
        except NotFoundError:
            return None

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (ConflictError, NotFoundError):
            raise
        except (ApiError, TransportError) as error:
            found = translated(error, self._clock)
            if isinstance(found, RetryableError):
                raise found from error
            raise PreconditionError(found.message, hint=found.hint) from error
