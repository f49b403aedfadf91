"""Changes of a column's meaning, field by field: a registry names places, not columns, and lets
pass what Avro can read as the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def drift(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What changed its meaning, in words; empty: nothing did.

    A DECIMAL of another scale still is bytes, and would be read a hundred times too large; as a
    VARCHAR its bytes would pass for text. Text that becomes plain text stays what it was.
    """
    before, after = dict(_columns(old)), dict(_columns(new))
    changes = [
        f"{name} was {_meaning(before[name])} and is {_meaning(node)}"
        for name, node in after.items()
        if name in before and _is_drift(before[name], node)
    ]
    return "; ".join(changes)


def _is_drift(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    is_text = before.get("type") == after.get("type") == "string"
    becomes_plain = is_text and "connect.name" not in after
    return not becomes_plain and _meaning(before) != _meaning(after)


def _columns(event: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    images = (f.get("type") for f in event.get("fields", ()) if f.get("name") == "before")
    for image in images:
        branches = image if isinstance(image, list) else ()  # else it is no event of ours
        row = next((branch for branch in branches if isinstance(branch, dict)), {})
        for field in row.get("fields", ()):
            yield field["name"], _node(field["type"])


def _node(kind: Any) -> Mapping[str, Any]:
    if isinstance(kind, list):
        kind = next((branch for branch in kind if branch != "null"), "null")
    return kind if isinstance(kind, dict) else {"type": kind}


def _meaning(node: Mapping[str, Any]) -> str:
    name = str(node.get("connect.name") or node.get("type")).rpartition(".")[2]
    return f"{name} of scale {node['scale']}" if "scale" in node else name
