"""Deleted rows are remembered, then forgotten.

Elasticsearch forgets the version of a deleted document after ``index.gc_deletes`` (a minute), and a
replay later than that would bring the row back. So a delete leaves a tombstone: a versioned
document without the row's values, which no search through the alias finds. Once no older event of
the row can be replayed any more (topic and dead letters have dropped it), the tombstone may go.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from elastic_transport import ApiError, TransportError
from elasticsearch import Elasticsearch
from structlog.typing import FilteringBoundLogger

from callsheet.ports import Clock
from sinks.elasticsearch import values
from sinks.elasticsearch.client import translated
from sinks.elasticsearch.fields import META


class Purger:
    """A thread that starts a delete-by-query now and then; the server works it off by itself."""

    def __init__(
        self,
        client: Elasticsearch,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        kept_s: float,
        every_s: float,
    ) -> None:
        self._client, self._clock, self._log = client, clock, log
        self._kept_s, self._every_s = kept_s, every_s
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, indices: Mapping[str, str]) -> None:
        """``indices``: alias to concrete index, of the tables written to; it grows meanwhile.

        The concrete ones are meant: through the alias a tombstone is not found.
        """
        thread = threading.Thread(target=self._run, args=(indices,), name="purge", daemon=True)
        self._thread = thread
        thread.start()

    def stop(self, wait_s: float) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(wait_s)

    def _run(self, indices: Mapping[str, str]) -> None:
        while not self._stopping.wait(self._every_s):
            self.purge(tuple(indices.values()))

    def purge(self, indices: Collection[str], *, is_waiting: bool = False) -> int:
        """Remove tombstones older than ``kept_s``; returns how many, if told to wait for it.

        Never at the cost of a row: a document that was written since the query saw it conflicts,
        and is left alone.
        """
        horizon = values.instant_text(int((self._clock.time() - self._kept_s) * 1_000_000))
        removed = 0
        for index in indices:
            try:
                removed += self._purge(index, horizon, is_waiting=is_waiting)
            except (ApiError, TransportError) as error:
                cause = translated(error, self._clock).message
                self._log.warning("purge failed; tried again later", index=index, cause=cause)
        return removed

    def _purge(self, index: str, horizon: str, *, is_waiting: bool) -> int:
        answer = self._client.delete_by_query(
            index=index,
            query={
                "bool": {
                    "filter": [
                        {"term": {f"{META}.deleted": True}},
                        {"range": {f"{META}.deleted_at": {"lt": horizon}}},
                    ]
                }
            },
            conflicts="proceed",
            wait_for_completion=is_waiting,
            requests_per_second=1000 if not is_waiting else -1,
        )
        return int(answer.get("deleted", 0))
