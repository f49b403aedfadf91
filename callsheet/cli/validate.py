"""``callsheet validate``: every fault in every configuration file, before anything runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callsheet.cli import console
from callsheet.errors import ConfigError, Fault, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from callsheet.cli.retention import StatedTopic
    from callsheet.config.loading import Pipeline
    from connectors.files import ConnectorFile

Paths = Annotated[
    list[Path] | None,
    typer.Argument(help="Files or folders of configuration.  [cdc-config]", show_default=False),
]


@dataclass(slots=True)
class _Findings:
    files: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    pipelines: list[Pipeline] = field(default_factory=list)
    topics: list[StatedTopic] = field(default_factory=list)

    def look(self, files: Sequence[Path], check: Callable[[], object]) -> None:
        """Note what ``check`` says about these files."""
        self.files += map(str, files)
        try:
            check()
        except ConfigError as error:
            self.faults += error.faults or [Fault(error.message, file=str(files[0]))]


def validate(paths: Paths = None, json: console.Json = False) -> None:
    """Check pipelines, connectors, declared schemas and mappings; print all that is wrong.

    Looks at files only, no server is asked. Ends with 78 if there is a fault; a warning is none.

    Example: callsheet validate cdc-config
    """
    found = _Findings()
    for path in paths or [Path("cdc-config")]:
        if not path.exists():
            raise UsageError(f"{path} does not exist", hint="name a file or a folder")
        _look_into(path, found)
    if not found.files:
        raise UsageError("there is no configuration file here", hint="see cdc-config for examples")
    _look_at_retention(found)
    data = {
        "files": found.files,
        "faults": [_as_data(fault) for fault in found.faults],
        "warnings": [_as_data(warning) for warning in found.warnings],
    }
    console.emit(json, data, lambda out: _render(out, found))
    if found.faults:
        raise typer.Exit(ConfigError.exit_code)


def _look_into(path: Path, found: _Findings) -> None:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    pipelines = [f for f in files if f.suffix in (".yaml", ".yml") and not _is_topics(f)]
    connectors = [f for f in files if f.suffix == ".json" and f.parent.name == "connectors"]
    mappings = [f for f in files if f.suffix == ".json" and f.parent.name == "mappings"]
    schemas = [f for f in files if f.suffix == ".avsc"]
    _look_at_pipelines(pipelines, found)
    if not path.is_dir() and _is_topics(path):
        connectors = [_connector_of(path)]
    if connectors:
        _look_at_connectors(connectors, found)
    for folder, members in _by_folder(schemas):
        from callsheet.codec.declared import load_declared

        found.look(members, partial(load_declared, folder))
    for folder, members in _by_folder(mappings):
        from sinks.elasticsearch import overrides

        found.look(members, partial(overrides.load, folder))


def _look_at_connectors(files: Sequence[Path], found: _Findings) -> None:
    """Each with the topics that are stated beside it."""
    from connectors.files import load, load_all
    from connectors.topics import topics_path

    found.look(files, partial(load_all, files))
    for path in files:
        with suppress(ConfigError):  # told above
            file = load(path)
            found.look([topics_path(file)], partial(_note_topics, found, file))


def _note_topics(found: _Findings, connector: ConnectorFile) -> None:
    from callsheet.cli.retention import stated_topics

    found.topics += stated_topics(connector)


def _look_at_retention(found: _Findings) -> None:
    """Over all that was named: a pipeline and its topics may be different arguments."""
    from callsheet.cli.retention import forgotten_deletes

    forgotten = forgotten_deletes(found.pipelines, found.topics)
    found.faults += forgotten.faults
    found.warnings += forgotten.warnings


def _is_topics(file: Path) -> bool:
    return file.name.endswith((".topics.yaml", ".topics.yml"))


def _connector_of(topics: Path) -> Path:
    """A topics file says what a connector's tables become: it is checked together with that.

    Raises:
        UsageError: there is none beside it.
    """
    stem = topics.name.removesuffix(topics.suffix).removesuffix(".topics")
    connector = topics.with_name(f"{stem}.json")
    if connector.exists():
        return connector
    raise UsageError(
        f"{topics} states the topics of a connector, and {connector.name} is not beside it",
        hint="a topics file is named after its connector's: CONNECTOR.topics.yaml, CONNECTOR.json",
    )


def _by_folder(files: Sequence[Path]) -> Iterator[tuple[Path, list[Path]]]:
    for folder in sorted({file.parent for file in files}):
        yield folder, [file for file in files if file.parent == folder]


def _look_at_pipelines(files: Sequence[Path], found: _Findings) -> None:
    from callsheet.config.loading import load
    from callsheet.fields.checks import rule_faults
    from sinks import plugin

    loaded: list[Pipeline] = []
    for file in files:
        found.look([file], partial(_append, loaded, partial(load, file, os.environ, plugin)))
    for pipeline in loaded:
        found.faults += rule_faults(pipeline)
        found.faults += _kafka_faults(pipeline)
    found.faults += _clashes(loaded)
    found.pipelines += loaded


def _kafka_faults(pipeline: Pipeline) -> Iterator[Fault]:
    """What the Kafka client does not take of its properties. It is made, and connects to nobody."""
    from callsheet.app import connection_of
    from callsheet.config.document import parse
    from callsheet.config.loading import read
    from callsheet.kafka.clients import refusals
    from callsheet.kafka.settings import Membership, consumer_config

    delivery = pipeline.settings.delivery
    membership = Membership(
        pipeline.settings.group_id,
        max_poll_interval_s=delivery.max_poll_interval_seconds,
        session_timeout_s=delivery.session_timeout_seconds,
        prefetch_bytes=delivery.prefetch_bytes,
    )
    document = parse(read(Path(pipeline.file)), pipeline.file)
    for refusal in refusals(consumer_config(connection_of(pipeline.settings), membership)):
        path: tuple[str, ...] = ("kafka", "properties")
        if document.raw((*path, refusal.name)) is not None:
            path = (*path, refusal.name)
        yield document.fault(path, refusal.message)


def _append(loaded: list[Pipeline], load: Callable[[], Pipeline]) -> None:
    loaded.append(load())


def _clashes(pipelines: Sequence[Pipeline]) -> Iterator[Fault]:
    """Two pipelines of one name or one group would take each other's partitions."""
    names: dict[str, str] = {}
    groups: dict[str, str] = {}
    for pipeline in pipelines:
        settings = pipeline.settings
        first = names.setdefault(settings.name, pipeline.file)
        if first != pipeline.file:
            yield Fault(f"{first} has this name too", file=pipeline.file, path="name")
        first = groups.setdefault(settings.group_id, pipeline.file)
        if first != pipeline.file:
            yield Fault(f"{first} has this group too", file=pipeline.file, path="kafka.group_id")


def _as_data(fault: Fault) -> dict[str, object]:
    return {"file": fault.file, "line": fault.line, "path": fault.path, "message": fault.message}


def _render(out: Console, found: _Findings) -> None:
    from rich.markup import escape

    for warning in found.warnings:
        out.print(f"[yellow]![/] {escape(str(warning))}")
    for fault in found.faults:
        out.print(f"[red]✗[/] {escape(str(fault))}")
    if not found.faults:
        out.print(f"[green]✓[/] {len(found.files)} files, no fault")
    else:
        out.print(f"{len(found.faults)} fault(s) in {len(found.files)} files")
