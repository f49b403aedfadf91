"""The server's own ceiling: ready-made bulk bodies, plain HTTP, several clients.

The documents are those that the worker wrote, byte for byte as JSON, with their external versions,
into an index with the worker's own settings and mapping. Whatever the worker does beside sending
(reading Kafka, decoding, rendering, committing) is what lies between it and this number.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import orjson

from benchmarks.servers.elastic import Elastic
from callsheet.errors import FatalError

CLIENTS: Final = 4
SIZES: Final = (1000, 2500, 5000, 10000)
"""Documents a request; the best of them is the ceiling."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Every document's two bulk lines, in the order they came, and how to make the index."""

    lines: Sequence[bytes]
    index: Mapping[str, Any]

    def bodies(self, size: int) -> list[bytes]:
        return [
            b"".join(self.lines[first : first + size]) for first in range(0, len(self.lines), size)
        ]


def corpus(elastic: Elastic, pattern: str) -> Corpus:
    """From the one index that a worker filled."""
    (index,) = elastic.names(pattern)
    return Corpus([bulk_lines(hit) for hit in elastic.documents(index)], elastic.definition(index))


def bulk_lines(hit: Mapping[str, Any]) -> bytes:
    action = {"index": {"_id": hit["_id"], "version_type": "external", "version": hit["_version"]}}
    return orjson.dumps(action) + b"\n" + orjson.dumps(hit["_source"]) + b"\n"


def send(elastic: Elastic, index: str, bodies: Sequence[bytes], clients: int = CLIENTS) -> float:
    """Send all bodies to ``index``; returns the seconds from first byte to last answer.

    Raises:
        FatalError: an item was refused.
    """
    shares = [bodies[number::clients] for number in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        start = time.perf_counter()
        for _ in pool.map(lambda share: _client(elastic.another(), index, share), shares):
            pass
        return time.perf_counter() - start


def _client(elastic: Elastic, index: str, bodies: Sequence[bytes]) -> None:
    path = f"/{index}/_bulk?filter_path=errors"
    try:
        for body in bodies:
            status, answer = elastic.send("POST", path, body, "application/x-ndjson")
            if status != 200 or orjson.loads(answer)["errors"]:
                raise FatalError(f"The ceiling run was refused: {status} {answer[:200]!r}")
    finally:
        elastic.close()
