"""Elasticsearch over plain HTTP: what the benchmarks observe and compare with."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

import orjson

from callsheet.errors import FatalError, UnavailableError

TIMEOUT_S: Final = 120.0
_PAGE: Final = 5000
_KEEP_ALIVE: Final = "2m"


class Elastic:
    """One connection, kept open; not for use from two threads."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 9200
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)

    def close(self) -> None:
        self._connection.close()

    def another(self) -> Elastic:
        """A client of its own for another thread."""
        return Elastic(f"http://{self._host}:{self._port}")

    def send(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[int, bytes]:
        """One request, status and body as they come.

        Raises:
            UnavailableError: the server is away; the next call connects anew.
        """
        headers = {"Content-Type": kind} if body is not None else {}
        try:
            try:
                return self._exchange(method, path, body, headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # A connection kept open since before the server was restarted: no sign of trouble.
                self._connection.close()
                return self._exchange(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise UnavailableError(f"Elasticsearch does not answer: {error}.") from error

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """http.client connects by itself where the connection is closed."""
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """JSON in, JSON out; anything but success is an error."""
        status, answer = self.send(method, path, None if body is None else orjson.dumps(body))
        if status >= 300:
            raise FatalError(f"Elasticsearch: {method} {path}: {status}: {answer[:300]!r}")
        return orjson.loads(answer)

    # --- indices --------------------------------------------------------------------------------

    def version(self) -> str:
        return str(self.call("GET", "/")["version"]["number"])

    def exists(self, name: str) -> bool:
        return self.send("HEAD", f"/{name}")[0] == 200

    def names(self, pattern: str) -> list[str]:
        """Indices that match, as they are called themselves, not by alias."""
        path = f"/_cat/indices/{pattern}?format=json&h=index&expand_wildcards=all"
        status, answer = self.send("GET", path)
        if status == 404:
            return []
        return sorted(entry["index"] for entry in orjson.loads(answer))

    def delete(self, pattern: str) -> None:
        for name in self.names(pattern):
            self.call("DELETE", f"/{name}")

    def indexed(self, pattern: str) -> int:
        """Operations that the primary shards carried out so far: needs no refresh."""
        path = f"/{pattern}/_stats/indexing?filter_path=_all.primaries.indexing.index_total"
        status, answer = self.send("GET", path)
        if status == 404:
            return 0
        found = orjson.loads(answer).get("_all", {}).get("primaries", {})
        return int(found.get("indexing", {}).get("index_total", 0))

    def refresh(self, name: str) -> None:
        self.call("POST", f"/{name}/_refresh")

    def count(self, name: str) -> int:
        return int(self.call("GET", f"/{name}/_count")["count"])

    def settle(self, patience_s: float = 60.0) -> None:
        """Wait until no merge runs: the run before must not be paid for by the next one."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            stats = self.call("GET", "/_stats/merge?filter_path=_all.total.merges.current")
            if not stats.get("_all", {}).get("total", {}).get("merges", {}).get("current", 0):
                return
            time.sleep(0.2)

    def definition(self, name: str) -> dict[str, Any]:
        """Settings and mapping of an index, as a body that makes another one like it."""
        (index,) = self.call("GET", f"/{name}").values()
        settings = {
            key: value
            for key, value in index["settings"]["index"].items()
            if key not in {"creation_date", "uuid", "version", "provided_name", "routing"}
        }
        return {"settings": {"index": settings}, "mappings": index["mappings"]}

    # --- documents ------------------------------------------------------------------------------

    def document(self, index: str, identifier: str) -> Mapping[str, Any] | None:
        """GET by ``_id``: realtime, needs no refresh. None while the index or the document is not
        there yet, or the index is only just being made (503).
        """
        status, answer = self.send("GET", f"/{index}/_doc/{quote(identifier, safe='')}")
        if status in {404, 503}:
            return None
        if status != 200:
            raise FatalError(f"Elasticsearch: GET {identifier}: {status}: {answer[:300]!r}")
        found: Mapping[str, Any] = orjson.loads(answer)
        return found

    def search(self, index: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """No hits while the index is not there yet."""
        status, answer = self.send("POST", f"/{index}/_search", orjson.dumps(body))
        if status in {404, 503}:
            return {"hits": {"hits": []}}
        if status != 200:
            raise FatalError(f"Elasticsearch: search: {status}: {answer[:300]!r}")
        found: Mapping[str, Any] = orjson.loads(answer)
        return found

    def documents(
        self, index: str, query: Mapping[str, Any] | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Every hit of a point in time, with its version, page by page."""
        opened = self.call("POST", f"/{index}/_pit?keep_alive={_KEEP_ALIVE}")
        point, after = opened["id"], None
        try:
            while True:
                body: dict[str, Any] = {
                    "size": _PAGE,
                    "pit": {"id": point, "keep_alive": _KEEP_ALIVE},
                    "sort": ["_shard_doc"],
                    "track_total_hits": False,
                    "version": True,
                    "query": query or {"match_all": {}},
                }
                if after is not None:
                    body["search_after"] = after
                page = self.call("POST", "/_search", body)
                point, hits = page["pit_id"], page["hits"]["hits"]
                if not hits:
                    return
                yield from hits
                after = hits[-1]["sort"]
        finally:
            self.call("DELETE", "/_pit", {"id": point})
