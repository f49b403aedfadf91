"""``callsheet offsets``: where a pipeline's group stands, and moving it to replay."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli import console

if TYPE_CHECKING:
    from rich.console import Console

    from callsheet.config.models import PipelineSettings
    from callsheet.kafka.groups import GroupState, PartitionOffsets
    from callsheet.kafka.offsets import Move

app = typer.Typer(name="offsets", help="Where a pipeline reads; move it to replay.")

Pipeline = Annotated[Path, typer.Argument(help="The pipeline file.", show_default=False)]


@app.command()
def show(pipeline: Pipeline, json: console.Json = False) -> None:
    """Committed offset, end of the log and lag of each partition.

    Example: callsheet offsets show cdc-config/pipelines/search.yaml
    """
    settings = _settings(pipeline)
    group, found = _read(settings)
    console.emit(json, _as_data(group, found), lambda out: _render(out, group, found))


@app.command()
def reset(
    pipeline: Pipeline,
    to: Annotated[
        str,
        typer.Option(
            help="`earliest`, `latest`, an ISO time (2026-11-23T08:00:00Z), or "
            "TOPIC:PARTITION=OFFSET, several with commas."
        ),
    ],
    topic: Annotated[
        list[str] | None, typer.Option(help="Only this topic; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, change nothing.")] = False,
    json: console.Json = False,
) -> None:
    """Set where the pipeline reads on. Refuses while one of its workers runs.

    Replaying is harmless: the destination knows each row's version and takes none twice.

    Example: callsheet offsets reset cdc-config/pipelines/search.yaml --to earliest
    """
    from callsheet.app import connection_of
    from callsheet.kafka.groups import KafkaGroups
    from callsheet.kafka.offsets import Target, planned, refuse_if_running
    from callsheet.runtime import running_workers

    settings = _settings(pipeline)
    target = Target.parse(to)
    groups = KafkaGroups(connection_of(settings))
    if not dry_run:
        brokers = settings.kafka.bootstrap_servers
        refuse_if_running(settings.group_id, brokers, running_workers(os.environ))
    partitions = groups.partitions(settings.source.subscription())
    wanted = [p for p in partitions if topic is None or p.topic in topic]
    moves = planned(groups, settings.group_id, wanted, target)
    if not dry_run:
        groups.reset(settings.group_id, {move.partition: move.after for move in moves})
    data = [
        {"topic": m.partition.topic, "partition": m.partition.number, "before": m.before,
         "after": m.after}
        for m in moves
    ]  # fmt: skip
    console.emit(json, {"changed": not dry_run, "moves": data}, lambda out: _moves(out, moves))


def _settings(file: Path) -> PipelineSettings:
    from callsheet.config.loading import load_core, read

    return load_core(read(file), file, os.environ)


def _read(settings: PipelineSettings) -> tuple[GroupState, list[PartitionOffsets]]:
    from callsheet.app import connection_of
    from callsheet.kafka.groups import KafkaGroups

    groups = KafkaGroups(connection_of(settings))
    partitions = groups.partitions(settings.source.subscription())
    return groups.state(settings.group_id), groups.offsets(settings.group_id, partitions)


def _as_data(group: GroupState, found: Sequence[PartitionOffsets]) -> dict[str, Any]:
    return {
        "group": group.group_id,
        "state": group.state,
        "members": list(group.members),
        "lag": _total(found),
        "partitions": [
            {
                "topic": o.partition.topic,
                "partition": o.partition.number,
                "committed": o.committed,
                "begin": o.begin,
                "end": o.end,
                "lag": o.lag,
            }
            for o in found
        ],
    }


def _total(found: Sequence[PartitionOffsets]) -> int | None:
    """None when one of them cannot be told, or no topic exists: a sum would be a lie."""
    lags = [o.lag for o in found]
    return None if None in lags or not lags else sum(lag for lag in lags if lag is not None)


def _render(out: Console, group: GroupState, found: Sequence[PartitionOffsets]) -> None:
    from rich.table import Table

    if not found:
        out.print(f"{group.group_id}: none of its topics exists yet")
        return
    table = Table(title=f"{group.group_id}: {group.state}, {len(group.members)} member(s)")
    for name in ("topic", "partition", "committed", "begin", "end", "lag"):
        table.add_column(name, justify="left" if name == "topic" else "right")
    for o in found:
        numbers = (o.partition.number, o.committed, o.begin, o.end, o.lag)
        table.add_row(o.partition.topic, *("-" if n is None else str(n) for n in numbers))
    out.print(table)


def _moves(out: Console, moves: Sequence[Move]) -> None:
    from rich.table import Table

    table = Table()
    for name in ("topic", "partition", "before", "after"):
        table.add_column(name, justify="left" if name == "topic" else "right")
    for move in moves:
        before = "-" if move.before is None else str(move.before)
        table.add_row(move.partition.topic, str(move.partition.number), before, str(move.after))
    out.print(table)
