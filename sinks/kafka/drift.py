"""Changes of a column that a registry does not see, because the bytes stay of one Avro type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def drift(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What changed its meaning, in words; empty: nothing did.

    A DECIMAL of another scale still is Avro bytes, and would be read a hundred times too large; a
    TIME that becomes a BIGINT still is a long.
    """
    before, after = dict(_columns(old)), dict(_columns(new))
    changes = [
        f"{name} was {_meaning(before[name])} and is {_meaning(node)}"
        for name, node in after.items()
        if name in before
        and before[name].get("type") == node.get("type")
        and _meaning(before[name]) != _meaning(node)
    ]
    return "; ".join(changes)


def _columns(event: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    images = (f["type"] for f in event.get("fields", ()) if f["name"] == "before")
    for image in images:
        row = next(branch for branch in image if isinstance(branch, dict))
        for field in row["fields"]:
            yield field["name"], _node(field["type"])


def _node(kind: Any) -> Mapping[str, Any]:
    if isinstance(kind, list):
        kind = next(branch for branch in kind if branch != "null")
    return kind if isinstance(kind, dict) else {"type": kind}


def _meaning(node: Mapping[str, Any]) -> str:
    name = str(node.get("connect.name", node.get("type"))).rpartition(".")[2]
    return f"{name} of scale {node['scale']}" if "scale" in node else name
