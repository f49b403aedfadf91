"""``callsheet offsets``: where a pipeline's group stands, and moving it to replay."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli import console

if TYPE_CHECKING:
    from rich.console import Console

    from callsheet.batch import Offset, Partition
    from callsheet.config.loading import Pipeline as LoadedPipeline
    from callsheet.config.models import PipelineSettings
    from callsheet.kafka.groups import GroupState, PartitionOffsets
    from callsheet.kafka.offsets import Move
    from callsheet.sink import OwnOffsets

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

    Replaying is harmless: the destination knows each row's version and takes none twice. Where it
    keeps offsets of its own they are set with the group's, or it says why they cannot be.

    Example: callsheet offsets reset cdc-config/pipelines/search.yaml --to earliest
    """
    from callsheet.app import connection_of
    from callsheet.kafka.groups import KafkaGroups
    from callsheet.kafka.offsets import Target, planned, refuse_gaps, refuse_if_running
    from callsheet.runtime import running_workers

    loaded = _load(pipeline)
    settings, target = loaded.settings, Target.parse(to)
    groups = KafkaGroups(connection_of(settings))
    if not dry_run:
        brokers = settings.kafka.bootstrap_servers
        refuse_if_running(settings.group_id, brokers, running_workers(os.environ))
    partitions = groups.partitions(settings.source.subscription())
    wanted = [p for p in partitions if topic is None or p.topic in topic]
    moves = planned(groups, settings.group_id, wanted, target)
    with _destination(loaded) as own:
        ends = own.ends([move.partition for move in moves]) if own is not None else {}
        if own is not None and own.no_gaps:
            begins = groups.begins([move.partition for move in moves])
            refuse_gaps(moves, ends, begins, own.no_gaps)
        if not dry_run:
            after = {move.partition: move.after for move in moves}
            groups.reset(settings.group_id, after)
            if own is not None:
                own.move(after)
    data = [
        {"topic": m.partition.topic, "partition": m.partition.number, "before": m.before,
         "destination": ends.get(m.partition), "after": m.after}
        for m in moves
    ]  # fmt: skip
    console.emit(
        json, {"changed": not dry_run, "moves": data}, lambda out: _moves(out, moves, ends)
    )


@contextmanager
def _destination(loaded: LoadedPipeline) -> Iterator[OwnOffsets | None]:
    """Its own offsets, where it has some."""
    from callsheet.errors import RetryableError, UnavailableError
    from callsheet.ports import SystemClock
    from callsheet.sink import SinkContext

    if loaded.plugin.offsets is None:
        yield None
        return
    context = SinkContext(loaded.name, SystemClock(), config_dir=str(loaded.config_dir))
    own = loaded.plugin.offsets(loaded.sink, context)
    try:
        yield own
    except RetryableError as error:
        hint = "run the command again when it is back: the earlier of its and the group's counts"
        raise UnavailableError(error.message, hint=hint) from error
    finally:
        own.close()


def _load(file: Path) -> LoadedPipeline:
    from callsheet.config.loading import load
    from sinks import plugin

    return load(file, os.environ, plugin)


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


def _moves(out: Console, moves: Sequence[Move], ends: Mapping[Partition, Offset]) -> None:
    from rich.table import Table

    names = ["topic", "partition", "before", "after"]
    if ends:
        names.insert(3, "destination")
    table = Table()
    for name in names:
        table.add_column(name, justify="left" if name == "topic" else "right")
    for move in moves:
        told = [move.before, *([ends.get(move.partition)] if ends else []), move.after]
        cells = ("-" if number is None else str(number) for number in told)
        table.add_row(move.partition.topic, str(move.partition.number), *cells)
    out.print(table)
