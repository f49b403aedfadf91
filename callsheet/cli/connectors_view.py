"""How ``callsheet connectors`` shows things to a person. Imported late: it knows connectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from callsheet.doctor import Finding
    from connectors.apply import Plan
    from connectors.client import ConnectClient
    from connectors.responses import Connector, SourceOffset

_STATES = {"RUNNING": "green", "PAUSED": "yellow", "STOPPED": "yellow", "FAILED": "red"}
_LEVELS = {"ok": "green", "warn": "yellow", "fail": "red"}


def status_row(connect: ConnectClient, found: Connector) -> dict[str, Any]:
    """One line of the status, as JSON shows it."""
    from connectors.progress import measure
    from connectors.traces import root_cause

    status = found.status
    cause = root_cause(status.traces[0]) if status and status.traces else None
    position = measure(connect.offsets(found.name), {}).position
    return {
        "name": found.name,
        "state": status.state.value if status else "UNKNOWN",
        "tasks": [{"id": t.id, "state": t.state.value} for t in status.tasks] if status else [],
        "position": str(position) if position else None,
        "cause": cause.text if cause else None,
        "hint": cause.hint if cause else None,
    }


def render_status(out: Console, rows: list[dict[str, Any]]) -> None:
    table = Table("connector", "state", "tasks", "read up to", box=None, pad_edge=False)
    for row in rows:
        tasks = ", ".join(task["state"] for task in row["tasks"]) or "none"
        state = Text(row["state"], _STATES.get(row["state"], ""))
        table.add_row(Text(row["name"]), state, tasks, row["position"] or "nothing yet")
    out.print(table if rows else "Connect has no connector; `callsheet connectors apply`.")
    for row in rows:
        if row["cause"]:
            out.print(Text(f"{row['name']}: {row['cause']}", "red"))
            out.print(Text(row["hint"] or "`callsheet connectors restart` tries again."))


def render_plan(out: Console, found: Plan) -> None:
    marks = {"create": "+", "update": "~", "unchanged": " ", "orphan": "?"}
    for connector in found.connectors:
        out.print(Text(f"{marks[connector.action]} {connector.name}: {connector.action}", "bold"))
        for change in connector.changes:
            before = "" if change.before is None else f"{change.before} "
            after = "(removed)" if change.after is None else change.after
            out.print(Text(f"    {change.setting}: {before}-> {after}"))
    for topics in found.topics.values():
        for topic in topics.create:
            out.print(Text(f"+ topic {topic.name}: {topic.partitions} partition(s)"))
        for alter in topics.alter:
            line = f"~ topic {alter.topic}: {alter.setting}: {alter.before} -> {alter.after}"
            out.print(Text(line))
        for drift in topics.drift:
            out.print(Text(f"! topic {drift.topic} {drift.message}. {drift.hint}", "yellow"))
    if found.empty:
        out.print("Nothing to do.")


def render_findings(out: Console, found: Sequence[Finding]) -> None:
    for finding in found:
        level = (f"{finding.level:4} ", _LEVELS[finding.level])
        out.print(Text.assemble(level, f"{finding.name}: {finding.message}"))
        if finding.hint and finding.level != "ok":
            out.print(Text(f"     {finding.hint}"))


def render_offsets(out: Console, name: str, found: Sequence[SourceOffset]) -> None:
    if not found:
        out.print(f"{name}: nothing committed yet")
    for entry in found:
        out.print(Text(" ".join(f"{k}={v}" for k, v in entry.partition.items()), "bold"))
        for key, value in sorted((entry.offset or {}).items()):
            out.print(Text(f"  {key}: {value}"))
