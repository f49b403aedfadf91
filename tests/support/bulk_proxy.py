"""An HTTP proxy before a real Elasticsearch that refuses chosen items of a bulk request for load.

A refused item does not reach the server, and stands in the answer where it belongs: as a node
whose write queue is full answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
import orjson

Refuses = Callable[[dict[str, Any]], bool]
"""Of an item's action, as ``{"_index": ..., "_id": ...}``: refuse it this time?"""

_REFUSED: Final = {
    "type": "es_rejected_execution_exception",
    "reason": "rejected execution of coordinating operation",
}
_HOP: Final = {"connection", "content-length", "transfer-encoding", "content-encoding", "host"}


class BulkProxy:
    """Use as a context manager; ``url`` is where it listens."""

    def __init__(self, target: str, refuses: Refuses) -> None:
        self.target, self.refuses = target, refuses
        self.refused = 0
        self.lock = threading.Lock()
        self.upstream = httpx.Client(base_url=target, timeout=60, trust_env=False)
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.upstream.close()

    def forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> httpx.Response:
        return self.upstream.request(method, path, headers=headers, content=body)

    def bulk(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        lines = body.rstrip(b"\n").split(b"\n")
        pairs = [(lines[at], lines[at + 1]) for at in range(0, len(lines), 2)]
        actions = [orjson.loads(head)["index"] for head, _ in pairs]
        with self.lock:
            gone = {at for at, action in enumerate(actions) if self.refuses(action)}
            self.refused += len(gone)
        kept = b"".join(h + b"\n" + s + b"\n" for at, (h, s) in enumerate(pairs) if at not in gone)
        if not gone:
            return self.forward(method, path, headers, body)
        taken: list[Any] = []
        if kept:
            answer = self.forward(method, path, headers, kept)
            if answer.status_code != httpx.codes.OK:
                return answer
            taken = orjson.loads(answer.content)["items"]
        rest = iter(taken)
        items = [
            {"index": {**action, "status": 429, "error": _REFUSED}} if at in gone else next(rest)
            for at, action in enumerate(actions)
        ]
        content = orjson.dumps({"took": 1, "errors": True, "items": items})
        product = {"x-elastic-product": "Elasticsearch", "content-type": "application/json"}
        return httpx.Response(200, content=content, headers=product)


class _Handler(BaseHTTPRequestHandler):
    owner: BulkProxy
    protocol_version = "HTTP/1.1"

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
        headers["accept-encoding"] = "identity"
        is_bulk = urlsplit(self.path).path.endswith("/_bulk")
        forward = self.owner.bulk if is_bulk else self.owner.forward
        answer = forward(self.command, self.path, headers, body)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        content = answer.content
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _do  # noqa: N815 - named by the protocol

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
        del format, args
