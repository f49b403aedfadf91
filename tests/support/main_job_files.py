"""The committed files of ``cdc-config/``, rewritten for a database and topics of a test's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

CHECKOUT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline file on disk, and what of it a test needs to know."""

    path: Path
    name: str
    topics: tuple[str, ...]
    index: str
    """The sink's template, with ``{table}`` in it."""

    @property
    def group(self) -> str:
        return f"callsheet-{self.name}"

    @property
    def letters(self) -> str:
        return f"{self.name}.dead-letters"

    def alias(self, table: str) -> str:
        return self.index.replace("{table}", table)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the files are about. ``name`` is the connector, the topics' prefix, and the prefix of
    each pipeline's name; ``captured`` are the tables but for the heartbeat's.
    """

    name: str
    database: str
    wire: str
    captured: tuple[str, ...]
    partitions: int | None = None
    """Of each topic; None: as the committed file says."""


def write_connector(path: Path, shape: Shape, changes: Mapping[str, str] | None = None) -> None:
    """A connector's file and its topics file, both with the committed settings."""
    source = {"avro": "finance-mysql.json", "json": "finance-mysql-json.json.example"}
    committed = CHECKOUT / "cdc-config/connectors" / source[shape.wire]
    mine = committed.read_text("utf-8").replace("finance.", f"{shape.database}.")
    document = json.loads(mine)
    document["name"] = shape.name
    captured = [*shape.captured, "callsheet_heartbeat"]
    document["config"] |= {
        "database.server.id": str(int(shape.name.removeprefix("job-"), 16) % 2**31 + 1),
        "database.include.list": shape.database,
        "table.include.list": ",".join(f"{shape.database}.{table}" for table in captured),
        "topic.prefix": shape.name,
        "schema.history.internal.kafka.topic": f"_schema-history.{shape.name}",
        # Its own place in the log is known sooner, so tests wait less.
        "heartbeat.interval.ms": "200",
        **(changes or {}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2), "utf-8")
    path.with_suffix(".topics.yaml").write_text(_topics_file(shape), "utf-8")


def _topics_file(shape: Shape) -> str:
    committed = CHECKOUT / "cdc-config/connectors/finance-mysql.topics.yaml"
    document = YAML(typ="safe").load(committed.read_text("utf-8"))
    every = [*shape.captured, "callsheet_heartbeat", "callsheet_signal"]
    stated = {name.partition(".")[2]: topic for name, topic in document["tables"].items()}
    if shape.partitions is not None:
        document["defaults"]["partitions"] = shape.partitions
    another = {"partitions": shape.partitions or 2}
    document["tables"] = {
        f"{shape.database}.{table}": stated.get(table, another) for table in every
    }
    return json.dumps(document)


def write_pipeline(
    folder: Path,
    shape: Shape,
    label: str,
    topics: Sequence[str],
    hosts: Sequence[str],
    sections: Mapping[str, Any],
) -> Pipeline:
    """The committed pipeline's file; ``sections`` are laid over its own."""
    committed = {"avro": "search.yaml", "json": "search-json.yaml"}[shape.wire]
    text = (CHECKOUT / "cdc-config/pipelines" / committed).read_text("utf-8")
    document = YAML(typ="safe").load(text)
    name = f"{shape.name}-{label}"
    made = Pipeline(folder / "pipelines" / f"{name}.yaml", name, tuple(topics), f"{name}-{{table}}")
    document["name"] = name
    document["source"] |= {"topics": list(topics), "topic_prefix": shape.name}
    document["http"] = {"port": 0}
    # Soon, because tests wait for commits and for the end of a killed worker's session.
    document["delivery"] = {"commit_interval_seconds": 0.2, "session_timeout_seconds": 6}
    document["sink"] |= {"index": made.index, "refresh_interval_seconds": 0.2}
    if hosts:
        document["sink"]["hosts"] = list(hosts)
    for section, given in sections.items():
        is_block = isinstance(given, Mapping)
        document[section] = {**document.get(section, {}), **given} if is_block else given
    if "topics_pattern" in document["source"]:
        del document["source"]["topics"]
    made.path.parent.mkdir(parents=True, exist_ok=True)
    made.path.write_text(json.dumps(document, indent=2), "utf-8")  # JSON is YAML
    return made


def copy_overrides(folder: Path, shape: Shape) -> None:
    """The committed mappings and declared schemas, under this database's name."""
    for kind, pattern in (("mappings", "*.json"), ("schemas", "*.avsc")):
        target = folder / kind
        target.mkdir(parents=True, exist_ok=True)
        for file in (CHECKOUT / "cdc-config" / kind).glob(pattern):
            name = file.name.replace("studio-json.", f"{shape.name}.")
            name = name.replace("finance.", f"{shape.database}.")
            (target / name).write_bytes(file.read_bytes())
