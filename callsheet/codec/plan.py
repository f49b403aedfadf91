"""The native decoder's program for one table: what to read, what to skip, where values go.

Compiled from the same :class:`Layout` that the row path reads by, so the native decoder knows no
schema language and no Debezium types; its side is ``native/src/plan.rs``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from callsheet.batch import FRAME_SCHEMA
from callsheet.codec.avro_schema import SchemaError, fields_of, optional
from callsheet.codec.fields import Field, Unit
from callsheet.codec.layout import Identity, Layout
from callsheet.schema import Kind

PLAN_VERSION: Final = 6
"""As in ``native/src/lib.rs``: raised with every change of what a plan may say, or of what
Python calls.
"""

Node = dict[str, Any]
_TEXT: Final = ("string",)
_WHOLE: Final = ("int", "long")
_MOST_DIGITS: Final = 65
"""Of MySQL's longest DECIMAL; the native decoder has room for little more."""
_SCALES: Final = {Unit.MILLIS: (1000, 1), Unit.MICROS: (1, 1), Unit.NANOS: (1, 1000)}
_SOURCE_CELLS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "ts_us": ("integer", _WHOLE),
    "ts_ms": ("integer", _WHOLE),
    "snapshot": ("snapshot", _TEXT),
    "gtid": ("repeated_text", _TEXT),
    "file": ("repeated_text", _TEXT),
    "pos": ("integer", _WHOLE),
    "row": ("integer", _WHOLE),
    "server_id": ("integer", _WHOLE),
}
_BLOCK_CELLS: Final = {
    "id": ("transaction_id", "repeated_text", _TEXT),
    "total_order": ("transaction_order", "integer", _WHOLE),
}
_PLAIN_CELLS: Final[Mapping[Kind, str]] = {
    Kind.INTEGER: "integer",
    Kind.YEAR: "integer",
    Kind.UNSIGNED: "unsigned",
    Kind.STRING: "text",
    Kind.ENUM: "text",
    Kind.SET: "text",
    Kind.JSON: "text",
    Kind.TIMESTAMP: "utc",
    Kind.BYTES: "binary",
    Kind.BITS: "binary",
    Kind.DATE: "date",
    Kind.VECTOR: "vector",
}
_JSON_SOURCE: Final[Mapping[str, Any]] = {
    "connector": {"type": "string"},
    "name": {"type": "string"},
    "db": {"type": "string"},
    "table": {"type": "string"},
    "ts_ms": {"type": "long"},
    "ts_us": [{"type": "null"}, {"type": "long"}],
    "snapshot": [{"type": "null"}, {"type": "string"}],
    "gtid": [{"type": "null"}, {"type": "string"}],
    "server_id": [{"type": "null"}, {"type": "long"}],
    "file": {"type": "string"},
    "pos": {"type": "long"},
    "row": {"type": "long"},
}
_JSON_BLOCK: Final[Mapping[str, Any]] = {
    "id": {"type": "string"},
    "total_order": {"type": "long"},
}


def avro_format(value_id: int, key_id: int) -> Node:
    return {"avro": {"value_id": value_id, "key_id": key_id}}


JSON_FORMAT: Final = "json"


def debezium_plan(
    layout: Layout, identity: Identity, epoch: int, wire: Node | str
) -> tuple[str, tuple[str, ...]]:
    """The program's text, and the frame columns that it does not give (they are null throughout).

    Raises:
        SchemaError: the native decoder does not serve this layout; the row path does.
    """
    parts = fields_of(layout.tree) if wire != JSON_FORMAT else _json_parts(layout)
    row_branch = optional(parts["after"]).null_branch
    given: set[str] = {"id", "partition", "offset", "version"}
    program: list[Node] = []
    for name, node in parts.items():
        match name:
            case "before" | "after":
                image = _row(layout.fields, optional(node).null_branch)
                program.append(_field(name, image))
            case "source":
                program.append(_field(name, _source(node, identity, given)))
            case "transaction":
                program.append(_field(name, _block(node, given)))
            case "op":
                given.add("op")
                program.append(_field(name, _cell(node, "op", _TEXT)))
            case _:
                program.append(_field(name, _skip(node)))
    needed = {"op", "ts_us", "ts_ms", "file", "pos", "row"}
    if row_branch is None or not needed <= given:
        raise SchemaError("an envelope of another form")
    frame = [name for name in (*FRAME_SCHEMA, "before", "after") if name in {*given, *parts}]
    plan = {
        "format": wire,
        "value": _record(program, None),
        "envelope": {
            "key": _record(_columns(layout.key), None, is_closed=True, is_ordered=True),
            "key_columns": [field.column.name for field in layout.key],
            "epoch": epoch,
        },
        "output": frame,
    }
    return json.dumps(plan), tuple(name for name in FRAME_SCHEMA if name not in given)


def normalized_plan(
    tree: Mapping[str, Any], fields: Sequence[Field], output: Sequence[str], value_id: int
) -> str:
    """The program for Callsheet's own events (``normalized_schema.py``): fields as they are."""
    cells = {
        "uuid": ("uuid", "uuid", _TEXT),
        "type": ("op", "op", _TEXT),
        "id": ("id", "text", _TEXT),
        "ts": ("ts_us", "integer", _WHOLE),
    }
    program: list[Node] = []
    for name, node in fields_of(tree).items():
        if name in cells:
            column, cell, wires = cells[name]
            program.append(_field(name, _cell(node, cell, wires), column))
        elif name in {"before", "after"}:
            program.append(_field(name, _row(fields, optional(node).null_branch)))
        else:
            inner = [_field(n, _plain_cell(n, t)) for n, t in fields_of(node).items()]
            program.append(_field(name, _record(inner, None)))
    plan = {
        "format": avro_format(value_id, 0),
        "value": _record(program, None),
        "envelope": None,
        "output": list(output),
    }
    return json.dumps(plan)


def _plain_cell(name: str, node: Any) -> Node:
    wire = optional(node).node["type"]
    cells = {"string": "repeated_text", "int": "integer", "long": "integer", "boolean": "boolean"}
    if name == "partition":
        return _cell(node, "integer32", ("int",))
    return _cell(node, cells[wire], (wire,))


def _json_parts(layout: Layout) -> dict[str, Any]:
    """JSON has no writer's schema: what the row path would accept, whatever the declared says."""
    given = fields_of(layout.tree)
    nullable_row = [{"type": "null"}, optional(given["after"]).node]
    return {
        "before": nullable_row,
        "after": nullable_row,
        "source": {"type": "record", "fields": _listed(_JSON_SOURCE)},
        "transaction": [{"type": "null"}, {"type": "record", "fields": _listed(_JSON_BLOCK)}],
        "op": {"type": "string"},
    }


def _listed(fields: Mapping[str, Any]) -> list[Node]:
    return [{"name": name, "type": node} for name, node in fields.items()]


def _source(node: Any, identity: Identity, given: set[str]) -> Node:
    constants = {
        "connector": identity.connector,
        "name": identity.source,
        "db": identity.database,
        "table": identity.table,
    }
    program: list[Node] = []
    for name, inner in fields_of(node).items():
        if name in constants:
            constant = {"constant": constants[name]}
            program.append(_field(name, _cell(inner, constant, _TEXT)))
        elif name in _SOURCE_CELLS:
            given.add(name)
            program.append(_field(name, _cell(inner, *_SOURCE_CELLS[name])))
        else:
            program.append(_field(name, _skip(inner)))
    if not constants.keys() <= fields_of(node).keys():
        raise SchemaError("a source of another form")
    return _record(program, None)


def _block(node: Any, given: set[str]) -> Node:
    found = optional(node)
    program: list[Node] = []
    for name, inner in fields_of(found.node).items():
        if name in _BLOCK_CELLS:
            column, cell, wires = _BLOCK_CELLS[name]
            given.add(column)
            program.append(_field(name, _cell(inner, cell, wires), column))
        else:
            program.append(_field(name, _skip(inner)))
    return _record(program, found.null_branch)


def _row(fields: Sequence[Field], null_branch: int | None) -> Node:
    return _record(_columns(fields), null_branch, is_struct=True, is_closed=True)


def _columns(fields: Sequence[Field]) -> list[Node]:
    return [_field(field.column.name, _column_node(field)) for field in fields]


def _column_node(field: Field) -> Node:
    if field.column.kind is not Kind.GEOMETRY:
        return {
            "cell": {
                "wire": field.wire if field.wire != "array" else {"array": "float"},
                "null_branch": field.null_branch,
                "cell": _cell_of(field),
            }
        }
    program = [
        _field(name, _geometry_part(name, node)) for name, node in fields_of(field.node).items()
    ]
    if [name for name in fields_of(field.node) if name in {"wkb", "srid"}] != ["wkb", "srid"]:
        raise SchemaError("a geometry of another form")
    return _record(program, field.null_branch, is_struct=True)


def _geometry_part(name: str, node: Any) -> Node:
    match name:
        case "wkb":
            return _cell(node, "binary", ("bytes",))
        case "srid":
            return _cell(node, "integer32", ("int",))
        case _:
            return _skip(node)


def _cell_of(field: Field) -> Any:
    column = field.column
    match column.kind:
        case Kind.DECIMAL:
            if (column.precision or 0) > _MOST_DIGITS:
                raise SchemaError(f"a decimal of {column.precision} digits")
            size = {"precision": column.precision, "scale": column.scale or 0}
            return {"decimal_text" if field.is_wide_decimal else "decimal": size}
        case Kind.BOOLEAN:
            return "boolean" if field.wire == "boolean" else "declared_boolean"
        case Kind.FLOAT:
            return "float32" if field.wire == "float" else "float64"
        case Kind.ENUM if field.escaped_members:
            return {"replaced_text": list(field.escaped_members.items())}
        case Kind.TIME | Kind.DATETIME:
            multiply, divide = _SCALES[field.unit]
            return {column.kind.value: {"multiply": multiply, "divide": divide}}
        case _:
            return _PLAIN_CELLS[column.kind]


def _cell(node: Any, cell: Any, wires: Sequence[str]) -> Node:
    found = optional(node)
    wire = found.node.get("type")
    if wire not in wires:
        raise SchemaError(f"{wire} where one of {', '.join(wires)} is wanted")
    return {"cell": {"wire": wire, "null_branch": found.null_branch, "cell": cell}}


def _record(
    fields: Sequence[Node],
    null_branch: int | None,
    *,
    is_struct: bool = False,
    is_closed: bool = False,
    is_ordered: bool = False,
) -> Node:
    return {
        "record": {
            "null_branch": null_branch,
            "is_struct": is_struct,
            "is_closed": is_closed,
            "is_ordered": is_ordered,
            "fields": list(fields),
        }
    }


def _field(name: str, node: Node, column: str | None = None) -> Node:
    return {"name": name, "column": column, "node": node}


def _skip(node: Any) -> Node:
    return {"skip": {"wire": _wire(node)}}


def _wire(node: Any) -> Any:
    if isinstance(node, list):
        return {"union": [_wire(branch) for branch in node]}
    skips: Mapping[str, Callable[[], Any]] = {
        "array": lambda: {"array": _wire(node["items"])},
        "record": lambda: {"record": [_wire(inner) for inner in fields_of(node).values()]},
    }
    kind = node["type"]
    if kind in skips:
        return skips[kind]()
    if kind in {"enum", "fixed", "map"}:
        raise SchemaError(f"the native decoder knows no {kind}")
    return kind
