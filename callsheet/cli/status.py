"""``callsheet status``: connectors, workers, lag; what runs, what does not, and why."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias

import typer
from rich.table import Table
from rich.text import Text

from callsheet.cli import console
from callsheet.errors import CallsheetError

if TYPE_CHECKING:
    from rich.console import Console

    from callsheet.batch import Partition
    from callsheet.config.models import PipelineSettings
    from callsheet.kafka.groups import GroupState, PartitionOffsets
    from callsheet.runtime import RunRecord, WorkerState

Running: TypeAlias = "tuple[RunRecord, list[WorkerState] | None]"
_STYLES = {
    "delivering": "green",
    "in trouble": "bold red",
    "not running": "yellow",
    "runs elsewhere": "cyan",
}


@dataclass(frozen=True, slots=True)
class Lag:
    """Records between a group's offsets and the logs' ends, or why that is unknown."""

    records: int | None = None
    error: str = ""
    members: tuple[str, ...] = ()
    """Of the group, wherever they run; empty where the brokers do not tell."""


class Groups(Protocol):
    """What is asked of :class:`callsheet.kafka.groups.KafkaGroups`."""

    def state(self, group_id: str) -> GroupState: ...
    def partitions(self, topics: Iterable[str]) -> list[Partition]: ...
    def offsets(
        self, group_id: str, partitions: Collection[Partition]
    ) -> list[PartitionOffsets]: ...


@dataclass(frozen=True, slots=True)
class PipelineView:
    """One pipeline file, and what runs of it. ``lag`` is in records; None where unknown."""

    pipeline: str
    file: str
    state: str
    detail: str
    lag: int | None = None
    lag_error: str = ""
    """Why the lag is unknown."""
    http: str = ""
    workers: list[dict[str, Any]] = field(default_factory=list)
    parked: list[dict[str, Any]] = field(default_factory=list)


def status(
    pipelines: Annotated[Path, typer.Option(help="Folder of pipeline files to report on.")] = Path(
        "cdc-config/pipelines"
    ),
    as_json: console.Json = False,
) -> None:
    """Say what runs, what does not, and why: connectors, workers, lag.

    Exit code 1 when a connector or a running worker is in trouble. A pipeline that nobody
    started is no trouble. Of workers that another machine or state folder started, only the
    brokers know: how many they are.

    Example: [bold]callsheet status --json[/]
    """
    connectors, fault = _connectors()
    views = _pipelines(pipelines)
    data = {
        "connectors": connectors,
        "connect_error": fault,
        "pipelines": [asdict(view) for view in views],
    }
    console.emit(as_json, data, lambda out: _render(out, connectors, fault, views))
    is_bad = bool(fault) or any(row["state"] == "FAILED" or row["cause"] for row in connectors)
    if is_bad or any(view.state == "in trouble" for view in views):
        raise typer.Exit(1)


def _connectors() -> tuple[list[dict[str, Any]], str]:
    from callsheet.cli.connectors_view import status_row
    from connectors.client import ConnectClient

    url = os.environ.get("CALLSHEET_CONNECT_URL", "")
    if not url:
        return [], "CALLSHEET_CONNECT_URL is not set; `callsheet stack up` sets it"
    try:
        with ConnectClient(url, deadline_s=5.0) as connect:
            return [status_row(connect, found) for found in connect.connectors()], ""
    except CallsheetError as error:
        return [], _sentence(error)


def _sentence(error: CallsheetError) -> str:
    return f"{error.message} {error.hint}".strip()


def _pipelines(folder: Path) -> list[PipelineView]:
    """Every pipeline file here, and every pipeline that runs from elsewhere."""
    from callsheet.runtime import running_workers, states_of

    running = list(states_of(running_workers(os.environ)))
    views = [_view(file, running) for file in sorted(folder.glob("*.yaml"))]
    elsewhere = (_running_view(record, states, _lag_of(record)) for record, states in running)
    return [*views, *elsewhere]


def _view(file: Path, running: list[Running]) -> PipelineView:
    """What runs of this file is taken out of ``running``."""
    settings, fault = _settings(file)
    if settings is None:
        return PipelineView(file.stem, str(file), "in trouble", fault)
    lag = _lag(settings)
    brokers = settings.kafka.bootstrap_servers
    found = next((r for r in running if _is_of(r[0], settings.name, brokers)), None)
    if found is None:
        state, detail = _from_afar(lag.members, file)
        return PipelineView(settings.name, str(file), state, detail, lag.records, lag.error)
    running.remove(found)
    return _running_view(*found, lag)


def _from_afar(members: Sequence[str], file: Path) -> tuple[str, str]:
    """State and detail of a pipeline that has no worker in this machine's state folder."""
    if not members:
        return "not running", f"callsheet run {file}"
    number = f"{len(members)} member{'s' if len(members) > 1 else ''}"
    who = ", ".join(sorted(set(members)))
    return (
        "runs elsewhere",
        f"{number} of its group: {who}; a killed one counts until its session times out",
    )


def _is_of(record: RunRecord, pipeline: str, brokers: str) -> bool:
    """A pipeline of that name may run for another stack as well."""
    return record.pipeline == pipeline and record.brokers in {brokers, ""}


def _running_view(record: RunRecord, states: list[WorkerState] | None, lag: Lag) -> PipelineView:
    if states is None:
        detail = f"process {record.pid} does not answer at {record.http}"
        return PipelineView(
            record.pipeline, record.file, "in trouble", detail, lag.records, lag.error, record.http
        )
    bad = [state for state in states if not (state.is_live and state.is_ready)]
    parked = {table.topic: asdict(table) for s in states if s.status for table in s.status.parked}
    return PipelineView(
        pipeline=record.pipeline,
        file=record.file,
        state="in trouble" if bad or parked else "delivering",
        detail="; ".join(dict.fromkeys(s.last_error or s.detail for s in bad or states)),
        lag=lag.records,
        lag_error=lag.error,
        http=record.http,
        workers=[_worker(state) for state in states],
        parked=list(parked.values()),
    )


def _worker(state: WorkerState) -> dict[str, Any]:
    shown = {name: getattr(state, name) for name in ("worker", "pid", "detail", "restarts")}
    return {**shown, "live": state.is_live, "ready": state.is_ready, "error": state.last_error}


def _settings(file: Path) -> tuple[PipelineSettings | None, str]:
    from callsheet.config.loading import load_core, read

    try:
        return load_core(read(file), file, os.environ), ""
    except CallsheetError as error:
        return None, f"{error.message}; `callsheet validate {file}` says what"


def _lag_of(record: RunRecord) -> Lag:
    settings, fault = _settings(Path(record.file))
    if settings is None:
        return Lag(error=fault)
    if not _is_of(record, settings.name, settings.kafka.bootstrap_servers):
        return Lag(error=f"it reads from other brokers, {record.brokers}")
    return _lag(settings)


def _lag(settings: PipelineSettings) -> Lag:
    from callsheet.app import connection_of
    from callsheet.kafka.groups import KafkaGroups

    try:
        return lag_of(KafkaGroups(connection_of(settings), timeout_s=5.0), settings)
    except CallsheetError as error:
        return Lag(error=error.message)


def lag_of(groups: Groups, settings: PipelineSettings) -> Lag:
    """Raises:
    CallsheetError: the brokers are away, or refuse.
    """
    members = groups.state(settings.group_id).members
    partitions = groups.partitions(settings.source.subscription())
    found = groups.offsets(settings.group_id, partitions)
    if not found:
        return Lag(error="none of its topics exists yet", members=members)
    lags = [each.lag for each in found if each.lag is not None]
    if len(lags) < len(found):
        error = "some partitions do not tell where their logs end"
        return Lag(error=error, members=members)
    return Lag(sum(lags), members=members)


def _render(
    out: Console, connectors: list[dict[str, Any]], fault: str, views: list[PipelineView]
) -> None:
    from callsheet.cli.connectors_view import render_status

    if fault:
        out.print(Text(fault, "red"))
    else:
        render_status(out, connectors)
    out.print()
    table = Table("pipeline", "state", "lag", "why", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for view in views:
        lag = "unknown" if view.lag is None else f"{view.lag:,}"
        state = Text(view.state, _STYLES[view.state])
        table.add_row(view.pipeline, state, lag, Text(view.detail))
        if view.lag_error:
            table.add_row("", Text("lag", "yellow"), "", Text(view.lag_error))
        for parked in view.parked:
            table.add_row("", Text("parked", "red"), "", Text(_parked(parked)))
    out.print(table)


def _parked(table: Mapping[str, Any]) -> str:
    return f"{table['topic']}: {table['reason']}: {table['detail']}"
