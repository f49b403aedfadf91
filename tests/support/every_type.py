"""A table with every kind of column, and rows of it as hypothesis draws them: raw, as Avro has them
and as JSON has them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.support.envelopes import (
    an_envelope,
    decimal,
    nullable,
    record,
    semantic,
    sourced,
    unscaled,
)

TIME = "io.debezium.time."
CONNECT = "org.apache.kafka.connect.data."
GEOMETRY = "io.debezium.data.geometry."


def as_it_is(value: Any) -> Any:
    return value


def as_base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def geometry_in_json(value: dict[str, Any]) -> dict[str, Any]:
    return value | {"wkb": as_base64(value["wkb"])}


@dataclass(frozen=True, slots=True)
class Drawn:
    """One column: its Avro type, the raw values it may have, and their form in JSON."""

    node: Any
    values: st.SearchStrategy[Any]
    in_json: Callable[[Any], Any] = as_it_is


def _integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _unscaled(digits: int, *, least: int | None = None) -> st.SearchStrategy[bytes]:
    most = 10**digits - 1
    return st.integers(-most if least is None else least, most).map(unscaled)


def plain_text(digits: int, scale: int) -> st.SearchStrategy[str]:
    return st.decimals(
        min_value=-(10 ** (digits - scale)) + 1,
        max_value=10 ** (digits - scale) - 1,
        places=scale,
        allow_nan=False,
        allow_infinity=False,
    ).map(lambda value: format(value, "f"))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
MILLIS = st.integers(-62_135_596_800_000, 253_402_300_799_999)
UTC_TEXT = st.datetimes().map(lambda moment: moment.isoformat() + "Z")
POINT = record("Point", {"x": "double", "y": "double", "wkb": "bytes", "srid": ["null", "int"]})
SHAPE = record("Geometry", {"wkb": "bytes", "srid": ["null", "int"]})

EVERY: dict[str, Drawn] = {
    "id": Drawn("long", _integers(64)),
    "code": Drawn("string", TEXT),
    "tiny": Drawn(nullable(sourced("int", "TINYINT", length="1")), st.integers(0, 1)),
    "whole": Drawn(nullable("int"), _integers(32)),
    "big": Drawn(nullable("long"), _integers(64)),
    "unsigned": Drawn(
        nullable(sourced(decimal(20, 0), "BIGINT UNSIGNED")),
        st.integers(0, 2**64 - 1).map(unscaled),
        as_base64,
    ),
    "unsigned_long": Drawn(nullable(sourced("long", "BIGINT UNSIGNED")), st.integers(0, 2**63 - 1)),
    "money": Drawn(nullable(decimal(15, 2)), _unscaled(15), as_base64),
    "exact": Drawn(nullable(decimal(38, 12)), _unscaled(38), as_base64),
    "wide": Drawn(nullable(decimal(65, 30)), _unscaled(65), as_base64),
    "price": Drawn(
        nullable(sourced("string", "DECIMAL", length="12", scale="3")), plain_text(12, 3)
    ),
    "single": Drawn(nullable("float"), st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "double": Drawn(nullable("double"), FLOATS),
    "bit": Drawn(nullable("boolean"), st.booleans()),
    "kind": Drawn(
        nullable(semantic("string", "io.debezium.data.Enum", allowed="a,b\\,c")),
        st.sampled_from(["a", "b,c", "b\\,c"]),
    ),
    "day": Drawn(nullable(semantic("int", TIME + "Date")), st.integers(-719_162, 2_932_896)),
    "clock": Drawn(nullable(semantic("int", CONNECT + "Time")), _integers(32)),
    "clock_us": Drawn(nullable(semantic("long", TIME + "MicroTime")), _integers(64)),
    "clock_ns": Drawn(
        nullable(semantic("long", TIME + "NanoTime")), _integers(50).map(lambda n: n * 1000)
    ),
    "at_ms": Drawn(nullable(semantic("long", TIME + "Timestamp")), MILLIS),
    "at_us": Drawn(
        nullable(semantic("long", TIME + "MicroTimestamp")), MILLIS.map(lambda n: n * 1000 + 7)
    ),
    "at_ns": Drawn(
        nullable(semantic("long", TIME + "NanoTimestamp")), _integers(50).map(lambda n: n * 1000)
    ),
    "moment": Drawn(nullable(semantic("string", TIME + "ZonedTimestamp")), UTC_TEXT),
    "year": Drawn(nullable(semantic("int", TIME + "Year")), st.integers(1901, 2155)),
    "document": Drawn(nullable(semantic("string", "io.debezium.data.Json")), TEXT),
    "bits": Drawn(
        nullable(semantic("bytes", "io.debezium.data.Bits", length="12")),
        st.binary(max_size=2),
        as_base64,
    ),
    "raw": Drawn(nullable("bytes"), st.binary(max_size=30), as_base64),
    "place": Drawn(
        nullable(POINT | {"connect.name": GEOMETRY + "Point"}),
        st.fixed_dictionaries(
            {
                "x": FLOATS,
                "y": FLOATS,
                "wkb": st.binary(max_size=21),
                "srid": st.none() | _integers(32),
            }
        ),
        geometry_in_json,
    ),
    "shape": Drawn(
        nullable(SHAPE | {"connect.name": GEOMETRY + "Geometry"}),
        st.fixed_dictionaries({"wkb": st.binary(max_size=21), "srid": st.none() | _integers(32)}),
        geometry_in_json,
    ),
    "vector": Drawn(
        nullable(
            {"type": "array", "items": "float", "connect.name": "io.debezium.data.FloatVector"}
        ),
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=4),
    ),
}
COLUMNS = {name: drawn.node for name, drawn in EVERY.items()}
KEY = ("id", "code")


def rows() -> st.SearchStrategy[dict[str, Any]]:
    """Rows as Avro has them; null where the column may be."""
    return st.fixed_dictionaries(
        {
            name: drawn.values if name in KEY else st.none() | drawn.values
            for name, drawn in EVERY.items()
        }
    )


def in_json(row: dict[str, Any]) -> dict[str, Any]:
    """The same row as Connect's JsonConverter writes it."""
    return {
        name: None if value is None else EVERY[name].in_json(value) for name, value in row.items()
    }


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    """Envelopes of all operations, snapshot and stream."""
    row = draw(rows())
    op = draw(st.sampled_from("crud"))
    before = None if op in "cr" else row | {"whole": draw(st.none() | _integers(32))}
    source: dict[str, Any] = {
        "file": draw(st.sampled_from(["binlog.000001", "a.b.7", "x.2147483647"])),
        "pos": draw(st.integers(0, 2**32 - 2**16)),
        "row": draw(st.integers(0, 2**15)),
        "gtid": draw(st.none() | TEXT),
        "ts_us": draw(st.none() | st.integers(0, 2**60)),
        "snapshot": draw(st.sampled_from([None, "false", "true", "last", "incremental"])),
    }
    block = draw(st.none() | st.tuples(TEXT, st.integers(0, 2**31)))
    after = None if op == "d" else row
    return an_envelope(op, before=before, after=after, transaction=block, **source)


def change_in_json(change: dict[str, Any]) -> dict[str, Any]:
    images = {name: change[name] and in_json(change[name]) for name in ("before", "after")}
    return change | images
