"""Every kind of column on the real server: taken, kept exactly in ``_source``, and found."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from elasticsearch import Elasticsearch

from callsheet.schema import Column, Kind
from tests.support.batches import a_batch, upsert
from tests.support.elastic_real import Opened, Place, of_table, put

EVERY_KIND: dict[str, tuple[Column, Any, Any, dict[str, Any]]] = {
    # kind: column, value, what _source shows, a query that finds it
    "whole": (Column("c", Kind.INTEGER), -(2**63), -(2**63), {"term": {"c": -(2**63)}}),
    "unsigned": (Column("c", Kind.UNSIGNED), 2**64 - 1, 2**64 - 1, {"term": {"c": 2**64 - 1}}),
    "money": (
        Column("c", Kind.DECIMAL, precision=15, scale=2),
        Decimal("9999999999999.99"),
        "9999999999999.99",
        {"range": {"c": {"gt": "9999999999999.98", "lt": "10000000000000"}}},
    ),
    "long decimal": (
        Column("c", Kind.DECIMAL, precision=38, scale=10),
        Decimal("1234567890123456789012345678.0123456789"),
        "1234567890123456789012345678.0123456789",
        {"term": {"c.exact": "1234567890123456789012345678.0123456789"}},
    ),
    "float": (Column("c", Kind.FLOAT, source_type="FLOAT"), 0.1, 0.1, {"term": {"c": 0.1}}),
    "double": (Column("c", Kind.FLOAT), 1e300, 1e300, {"range": {"c": {"gte": 1e300}}}),
    "boolean": (Column("c", Kind.BOOLEAN), True, True, {"term": {"c": True}}),
    "text": (Column("c", Kind.STRING), "Ünï 😀\x00", "Ünï 😀\x00", {"match": {"c": "ünï"}}),
    "long text": (
        Column("c", Kind.STRING),
        "word " * 20_000,
        "word " * 20_000,
        {"match": {"c": "word"}},
    ),
    "one long word": (Column("c", Kind.STRING), "é" * 40_000, "é" * 40_000, {"match_all": {}}),
    "enum": (Column("c", Kind.ENUM), "film", "film", {"term": {"c": "film"}}),
    "set": (Column("c", Kind.SET), "a,b", ["a", "b"], {"term": {"c": "b"}}),
    "json": (
        Column("c", Kind.JSON),
        '{"a": {"b": [1, "x"]}}',
        {"a": {"b": [1, "x"]}},
        {"term": {"c.a.b": "x"}},
    ),
    "json array": (Column("c", Kind.JSON), "[1]", {"value": [1]}, {"term": {"c.value": "1"}}),
    "deep json": (
        Column("c", Kind.JSON),
        '{"a":' * 60 + "1" + "}" * 60,
        json.loads('{"a":' * 60 + "1" + "}" * 60),
        {"exists": {"field": "c"}},
    ),
    "json with a long value": (
        Column("c", Kind.JSON),
        json.dumps({"a": "é" * 20_000}),
        {"a": "é" * 20_000},
        {"match_all": {}},
    ),
    "date": (
        Column("c", Kind.DATE),
        date(1, 1, 1),
        "0001-01-01",
        {"range": {"c": {"lt": "1000-01-01"}}},
    ),
    "time": (
        Column("c", Kind.TIME),
        -3_020_399_000_000,
        "-838:59:59",
        {"term": {"c": "-838:59:59"}},
    ),
    "datetime": (
        Column("c", Kind.DATETIME, fraction=6),
        datetime(9999, 12, 31, 23, 59, 59, 999_999),  # noqa: DTZ001
        "9999-12-31T23:59:59.999999",
        {"range": {"c": {"gte": "9999-12-31"}}},
    ),
    "timestamp": (
        Column("c", Kind.TIMESTAMP),
        "2026-11-23T00:15:13.123456Z",
        "2026-11-23T00:15:13.123456Z",
        {"range": {"c": {"gte": "2026-11-23T00:15:13.123Z", "lt": "2026-11-23T00:15:13.124Z"}}},
    ),
    "year": (Column("c", Kind.YEAR), 2155, 2155, {"term": {"c": 2155}}),
    "bytes": (Column("c", Kind.BYTES), b"\x00\xff", "AP8=", {"match_all": {}}),
    "bits": (Column("c", Kind.BITS), b"\x05\x00", "BQA=", {"match_all": {}}),
    "geometry": (
        Column("c", Kind.GEOMETRY),
        {"wkb": struct.pack("<BIdd", 1, 1, 200.5, -99), "srid": 0},
        {"type": "Point", "coordinates": [200.5, -99]},
        {"match_all": {}},
    ),
    "vector": (Column("c", Kind.VECTOR), [0.1, -0.5], [0.1, -0.5], {"match_all": {}}),
    "null": (
        Column("c", Kind.STRING),
        None,
        None,
        {"bool": {"must_not": {"exists": {"field": "c"}}}},
    ),
}


def test_every_kind_is_taken_kept_exactly_and_found(
    client: Elasticsearch, place: Place, opened: Opened
) -> None:
    destination = place()
    sink = opened(destination)
    made: list[tuple[str, Any, dict[str, Any]]] = []
    columns, rows = [], []
    for n, (name, (column, value, shown, query)) in enumerate(EVERY_KIND.items()):
        own = f"c{n}"
        columns.append(_renamed(column, own))
        rows.append(upsert(n, **{own: value}))
        made.append((name, shown, json.loads(json.dumps(query).replace('"c', f'"{own}'))))
    progress = put(sink, a_batch(rows, of_table(destination, *columns)))
    assert [r.detail for r in progress.rejections] == []
    documents = destination.documents()
    for n, (name, shown, query) in enumerate(made):
        assert documents[str(n)][f"c{n}"] == shown, name
        both = {"bool": {"must": [query, {"term": {"id": n}}]}}
        assert client.count(index=destination.alias, query=both)["count"] == 1, name


def _renamed(column: Column, name: str) -> Column:
    return replace(column, name=name)
