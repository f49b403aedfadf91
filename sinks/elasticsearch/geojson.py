"""Well-known binary, as MySQL and Debezium carry geometries, to GeoJSON."""

from __future__ import annotations

import math
import struct
from typing import Any, Final

from callsheet.errors import PoisonRecordError, Reason

_KINDS: Final = {
    1: "Point",
    2: "LineString",
    3: "Polygon",
    4: "MultiPoint",
    5: "MultiLineString",
    6: "MultiPolygon",
    7: "GeometryCollection",
}
_DEEPEST: Final = 32


def geojson(wkb: bytes) -> dict[str, Any]:
    """Coordinates as stored, x before y: longitude before latitude where they are degrees.

    Raises:
        PoisonRecordError: the bytes are no two-dimensional geometry.
    """
    reader = _Reader(wkb)
    try:
        shape = reader.geometry(_DEEPEST)
    except struct.error as error:
        raise _malformed("it ends too early") from error
    if reader.at != len(wkb):
        raise _malformed("bytes are left over")
    return shape


def _malformed(detail: str) -> PoisonRecordError:
    return PoisonRecordError(Reason.SCHEMA_MISMATCH, f"the geometry is not readable: {detail}")


class _Reader:
    def __init__(self, wkb: bytes) -> None:
        self._wkb, self.at = wkb, 0

    def _take(self, layout: str) -> tuple[Any, ...]:
        taken = struct.unpack_from(layout, self._wkb, self.at)
        self.at += struct.calcsize(layout)
        return taken

    def geometry(self, depth: int) -> dict[str, Any]:
        order = "<" if self._take("B")[0] == 1 else ">"
        (code,) = self._take(f"{order}I")
        kind = _KINDS.get(code)
        if kind is None or depth == 0:
            raise _malformed(f"type {code}" if kind is None else "nested too deep")
        if kind == "GeometryCollection":
            return {"type": kind, "geometries": self._parts(order, depth)}
        if kind.startswith("Multi"):
            parts = self._parts(order, depth)
            if any(part["type"] != kind.removeprefix("Multi") for part in parts):
                raise _malformed(f"a {kind} of other parts")
            return {"type": kind, "coordinates": [part["coordinates"] for part in parts]}
        return {"type": kind, "coordinates": self._coordinates(kind, order)}

    def _parts(self, order: str, depth: int) -> list[dict[str, Any]]:
        return [self.geometry(depth - 1) for _ in range(self._count(order))]

    def _coordinates(self, kind: str, order: str) -> list[Any]:
        if kind == "Point":
            return self._point(order)
        if kind == "LineString":
            return self._points(order)
        return [self._points(order) for _ in range(self._count(order))]

    def _points(self, order: str) -> list[list[float]]:
        return [self._point(order) for _ in range(self._count(order))]

    def _point(self, order: str) -> list[float]:
        x, y = self._take(f"{order}dd")
        if not (math.isfinite(x) and math.isfinite(y)):
            raise _malformed("a coordinate is not finite")
        return [x, y]

    def _count(self, order: str) -> int:
        """Of parts that follow, each at least four bytes: a wild number must not allocate."""
        (count,) = self._take(f"{order}I")
        if count * 4 > len(self._wkb) - self.at:
            raise _malformed("it ends too early")
        return int(count)
