"""Well-known binary to GeoJSON, in both byte orders, and no wild allocation."""

from __future__ import annotations

import contextlib
import struct

import hypothesis.strategies as st
import pytest
from hypothesis import given

from callsheet.errors import PoisonRecordError
from sinks.elasticsearch.geojson import geojson


def head(kind: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}BI", 1 if order == "<" else 0, kind)


def points(*xy: float, order: str = "<", counted: bool = True) -> bytes:
    count = struct.pack(f"{order}I", len(xy) // 2) if counted else b""
    return count + struct.pack(f"{order}{len(xy)}d", *xy)


@pytest.mark.parametrize("order", ["<", ">"])
def test_each_kind_of_shape(order: str) -> None:
    def count(number: int) -> bytes:
        return struct.pack(f"{order}I", number)

    point = head(1, order) + points(1, 2, order=order, counted=False)
    line = head(2, order) + points(1, 2, 3, 4, order=order)
    ring = points(0, 0, 1, 0, 1, 1, 0, 0, order=order)
    polygon = head(3, order) + count(1) + ring
    corners = [[0, 0], [1, 0], [1, 1], [0, 0]]
    assert geojson(point) == {"type": "Point", "coordinates": [1, 2]}
    assert geojson(line) == {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}
    assert geojson(polygon) == {"type": "Polygon", "coordinates": [corners]}
    for kind, name, part in ((4, "MultiPoint", point), (5, "MultiLineString", line),
                             (6, "MultiPolygon", polygon)):  # fmt: skip
        many = geojson(head(kind, order) + count(2) + part + part)
        assert many == {"type": name, "coordinates": [geojson(part)["coordinates"]] * 2}
    collection = geojson(head(7, order) + count(2) + point + line)
    assert collection == {
        "type": "GeometryCollection",
        "geometries": [geojson(point), geojson(line)],
    }


@pytest.mark.parametrize(
    "wkb",
    [
        b"",
        head(1),
        head(1) + struct.pack("<d", 1),
        head(1) + struct.pack("<ddd", 1, 2, 3),
        head(1) + struct.pack("<dd", float("nan"), 2),
        head(2) + struct.pack("<I", 0xFFFFFFFF),
        head(8) + struct.pack("<dd", 1, 2),
        (head(7) + struct.pack("<I", 1)) * 50,
        head(4) + struct.pack("<I", 1) + head(7) + struct.pack("<I", 0),
        head(6) + struct.pack("<I", 1) + head(2) + points(1, 2, 3, 4),
    ],
)
def test_what_is_no_shape_is_poison(wkb: bytes) -> None:
    with pytest.raises(PoisonRecordError, match="geometry is not readable"):
        geojson(wkb)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_shape_or_poison(wkb: bytes) -> None:
    with contextlib.suppress(PoisonRecordError):
        assert geojson(wkb)["type"]
