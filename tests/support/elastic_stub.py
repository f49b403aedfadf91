"""As much of Elasticsearch as the sink uses, in this process: quick, and it fails on command.

The answers are shaped like recorded ones of Elasticsearch 9.4. What it cannot do (parse types,
refresh, search) is tested on the real server.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

Item = dict[str, Any]
NEVER_A_TIME = "not a time"

CONFLICT: Item = {
    "status": 409,
    "error": {
        "type": "version_conflict_engine_exception",
        "reason": "[1]: version conflict, current version [2] is higher or equal to the one "
        "provided [1]",
    },
}
REFUSED: Item = {
    "status": 400,
    "error": {
        "type": "document_parsing_exception",
        "reason": "[1:87] failed to parse field [seen_at] of type [date] in document with id '1'. "
        f"Preview of field's value: '{NEVER_A_TIME}'",
        "caused_by": {"type": "illegal_argument_exception", "reason": "failed to parse date field"},
    },
}
OVERLOADED: Item = {
    "status": 429,
    "error": {
        "type": "es_rejected_execution_exception",
        "reason": "rejected execution of coordinating operation [coordinating_and_primary_bytes=0]",
    },
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a bulk request."""

    index: str
    id: str
    version: int
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, instead of the usual one."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


Fault = Callable[[Operation], Item | None]
"""What to answer for one operation; None: as usual."""


class ElasticStub:
    """Use as a context manager; ``url`` is where it listens."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.authorizations: set[str | None] = set()
        """What the requests were signed with."""
        self.indices: dict[str, dict[str, Any]] = {}
        self.documents: dict[tuple[str, str], tuple[int, Mapping[str, Any]]] = {}
        self.bulks: list[list[Operation]] = []
        """Every bulk request that was answered."""
        self.in_flight: list[frozenset[str]] = []
        self.most_in_flight = 0
        self.shared_ids: set[str] = set()
        """IDs that were in two requests at the same time: never any."""
        self.fault: Fault = lambda _: None
        self.replies: list[Reply] = []
        """Answers to the next bulk requests."""
        self.bulk_takes_s = 0.0
        self.requests: list[tuple[str, str]] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        stub = self

        class Handler(_Handler):
            owner = stub

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def freeze(self) -> None:
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.thaw()
        self._server.shutdown()
        self._server.server_close()

    def live(self, alias: str) -> dict[str, Mapping[str, Any]]:
        """Documents that a search through the alias finds."""
        return {
            identifier: document
            for (index, identifier), (_, document) in self.documents.items()
            if index == alias and not document["_callsheet"].get("deleted")
        }

    # --- answers ----------------------------------------------------------------------------------

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        self._flowing.wait()
        self.requests.append((method, path))
        match [method, *path.strip("/").split("/")]:
            case ["GET", ""]:
                return Reply(200, {"version": {"number": "9.4.3"}, "cluster_name": "stub"})
            case [_, "_bulk"]:
                return self._bulk(body)
            case ["POST", "_index_template", "_simulate"]:
                return Reply(200, {"template": {}})
            case ["PUT", index]:
                return self._create(index, json.loads(body))
            case ["GET", name]:
                return self._get(name)
            case ["PUT", index, "_mapping"]:
                return self._put_mapping(index, json.loads(body))
            case ["PUT", index, "_settings"]:
                return self._put_settings(index, json.loads(body))
            case ["POST", name, "_search"]:
                return self._get(name)
            case [_, _, "_refresh"]:
                return Reply(200, {})
            case _:
                return Reply(405, {"error": f"{method} {path}"})

    def _create(self, index: str, body: dict[str, Any]) -> Reply:
        with self._lock:
            if index in self.indices:
                return _error(400, "resource_already_exists_exception", f"index [{index}] exists")
            body["settings"] = {"index": {k: str(v) for k, v in body["settings"].items()}}
            limit = body["settings"]["index"].pop("mapping.total_fields.limit", "1000")
            body["settings"]["index"]["mapping"] = {"total_fields": {"limit": limit}}
            self.indices[index] = body
        return Reply(200, {"acknowledged": True})

    def _get(self, name: str) -> Reply:
        found = {i: d for i, d in self.indices.items() if i == name or name in d["aliases"]}
        if not found:
            return _error(404, "index_not_found_exception", f"no such index [{name}]")
        return Reply(200, found)

    def _put_mapping(self, index: str, body: dict[str, Any]) -> Reply:
        mappings = self.indices[index]["mappings"]
        mappings["properties"] |= body["properties"]
        mappings["_meta"] = body["_meta"]
        return Reply(200, {"acknowledged": True})

    def _put_settings(self, index: str, body: dict[str, Any]) -> Reply:
        settings = self.indices[index]["settings"]["index"]
        settings |= {k: str(v) for k, v in body["index"].items()}
        return Reply(200, {"acknowledged": True})

    def _bulk(self, body: bytes) -> Reply:
        lines = body.split(b"\n")
        assert lines.pop() == b"", "a bulk body ends in a newline"
        operations = [_operation(lines[at], lines[at + 1]) for at in range(0, len(lines), 2)]
        mine = frozenset(f"{op.index}/{op.id}" for op in operations)
        with self._lock:
            for other in self.in_flight:
                self.shared_ids |= other & mine
            self.in_flight.append(mine)
            self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        if self.bulk_takes_s:
            time.sleep(self.bulk_takes_s)
        with self._lock:
            self.in_flight.remove(mine)
            if self.replies:
                return self.replies.pop(0)
            self.bulks.append(operations)
            items = [self._apply(operation) for operation in operations]
        errors = any("error" in item for item in items)
        return Reply(200, {"errors": errors, "items": [{"index": item} for item in items]})

    def _apply(self, operation: Operation) -> Item:
        fault = self.fault(operation)
        if fault is not None:
            return fault
        if not any(operation.index in d["aliases"] for d in self.indices.values()):
            reason = f"no such index [{operation.index}] and [require_alias] request flag is [true]"
            return {"status": 404, "error": {"type": "index_not_found_exception", "reason": reason}}
        if operation.document.get("seen_at") == NEVER_A_TIME:
            return REFUSED
        key = operation.index, operation.id
        stored = self.documents.get(key)
        if stored is not None and stored[0] >= operation.version:
            return CONFLICT
        self.documents[key] = operation.version, operation.document
        return {"status": 201 if stored is None else 200}


def _operation(action: bytes, source: bytes) -> Operation:
    head = json.loads(action)["index"]
    assert head["version_type"] == "external"
    return Operation(head["_index"], head["_id"], head["version"], json.loads(source))


def _error(status: int, kind: str, reason: str) -> Reply:
    return Reply(status, {"error": {"type": kind, "reason": reason}, "status": status})


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    owner: ElasticStub
    protocol_version = "HTTP/1.1"

    def _do(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(size)
        self.owner.authorizations.add(self.headers.get("authorization"))
        reply = self.owner.answer(self.command, urlsplit(self.path).path, body)
        data = json.dumps(reply.body).encode()
        self.send_response(reply.status)
        self.send_header("x-elastic-product", "Elasticsearch")
        self.send_header("content-type", "application/vnd.elasticsearch+json;compatible-with=9")
        self.send_header("content-length", str(len(data)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _do  # noqa: N815 - named by the protocol

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
        del format, args


def all_operations(bulks: Sequence[Sequence[Operation]]) -> list[Operation]:
    return [operation for bulk in bulks for operation in bulk]
