"""What an index still shows of a table: asked through its alias, which hides deleted rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from elastic_transport import ApiError, TransportError
from elasticsearch import Elasticsearch, NotFoundError

from callsheet.errors import PreconditionError, RetryableError
from callsheet.ports import Clock
from callsheet.schema import TableSchema
from sinks.elasticsearch.catalog import alias_of
from sinks.elasticsearch.client import connect, translated
from sinks.elasticsearch.fields import META
from sinks.elasticsearch.settings import ElasticsearchSettings

PAGE_ROWS: Final = 1_000
_KEPT: Final = "2m"
"""Between two pages, however long the whole takes."""


class ElasticsearchInventory:
    """Implements :class:`callsheet.sink.Inventory`."""

    def __init__(
        self,
        settings: ElasticsearchSettings,
        clock: Clock,
        client: Elasticsearch | None = None,
        config_dir: str = "",
    ) -> None:
        self._settings, self._clock = settings, clock
        self._client = client or connect(settings, config_dir)

    def alive(self, topic: str, schema: TableSchema) -> int:
        alias = alias_of(self._settings.index, topic, schema)
        with self._told():
            return int(self._client.count(index=alias)["count"]) if self._is_there(alias) else 0

    def older(self, topic: str, schema: TableSchema, version: int) -> Iterator[Sequence[str]]:
        alias = alias_of(self._settings.index, topic, schema)
        with self._told():
            if not self._is_there(alias):
                return
            point = self._client.open_point_in_time(index=alias, keep_alive=_KEPT)["id"]
            try:
                yield from self._pages(point, version)
            finally:
                with suppress(ApiError, TransportError):  # it ends by itself
                    self._client.close_point_in_time(id=point)

    def _is_there(self, alias: str) -> bool:
        """And all that was written to it can be seen from now on."""
        try:
            self._client.indices.refresh(index=alias)
        except NotFoundError:
            return False
        return True

    def _pages(self, point: str, version: int) -> Iterator[Sequence[str]]:
        after: Sequence[Any] | None = None
        while True:
            answer = self._client.search(**request(point, version, after))
            hits = answer["hits"]["hits"]
            if not hits:
                return
            yield [_identifier(hit) for hit in hits]
            point, after = answer["pit_id"], hits[-1]["sort"]

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (ApiError, TransportError) as error:
            found = translated(error, self._clock)
            if isinstance(found, RetryableError):
                raise found from error
            raise PreconditionError(found.message, hint=found.hint) from error


def request(point: str, version: int, after: Sequence[Any] | None) -> Mapping[str, Any]:
    """One page of the rows older than ``version``, from a point in time on."""
    page = {"search_after": list(after)} if after is not None else {}
    return {
        "pit": {"id": point, "keep_alive": _KEPT},
        "query": {
            "bool": {
                "filter": [{"range": {f"{META}.version": {"lt": version}}}],
                "must_not": [{"term": {f"{META}.deleted": True}}],
            }
        },
        "sort": ["_shard_doc"],
        "size": PAGE_ROWS,
        "source": [f"{META}.id"],
        "track_total_hits": False,
        **page,
    }


def _identifier(hit: Mapping[str, Any]) -> str:
    """A long ID stands in the document; its ``_id`` is a hash."""
    meta = hit.get("_source", {}).get(META, {})
    return str(meta.get("id") or hit["_id"])
