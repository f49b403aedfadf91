"""A MySQL table's content, for comparing two of them column by column, on whatever server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Ask = Callable[[str], list[tuple[Any, ...]]]
"""Puts a question to a server."""


def contents(ask: Ask, database: str, table: str) -> dict[str, dict[str, Any]]:
    """Every row by its key, columns by name: a type may be wider here, a value must be equal."""
    columns = ask(
        "SELECT column_name, data_type, column_key FROM information_schema.columns "
        f"WHERE table_schema = '{database}' AND table_name = '{table}' ORDER BY 1"
    )
    shown = [f"HEX(`{n}`)" if kind == "vector" else f"`{n}`" for n, kind, _ in columns]
    key = [at for at, column in enumerate(columns) if column[2] == "PRI"]
    names = [column[0] for column in columns]
    found = {}
    for row in ask(f"SELECT {', '.join(shown)} FROM `{database}`.`{table}`"):
        values = [_value(cell, column[1]) for cell, column in zip(row, columns, strict=True)]
        found[repr([row[at] for at in key])] = dict(zip(names, values, strict=True))
    return found


def _value(cell: Any, kind: str) -> Any:
    if cell is None or (isinstance(cell, str) and cell.startswith("0000-00-00")):
        return None  # Debezium has no zero date
    if kind == "json":
        return json.loads(cell)
    # A SET may be text here, as the source shows it; the driver makes a set of it there.
    return ",".join(sorted(cell)) if isinstance(cell, set) else cell
