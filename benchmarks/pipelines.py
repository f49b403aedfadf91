"""Pipeline files for the benchmarks, workers on them, and how far they have come."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks import worker
from benchmarks.capture import Capture
from benchmarks.films import Films, Wire
from benchmarks.servers.bench import Servers
from benchmarks.versions import CHECKOUT
from benchmarks.worker import Cost, Worker
from callsheet.config.loading import load
from callsheet.errors import FatalError
from connectors.client import ConnectClient
from sinks import plugin

ASSIGN_S: Final = 60.0
LOOK_EVERY_S: Final = 0.02
COMMITTED_FILE: Final = CHECKOUT / "cdc-config/pipelines/search.yaml"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline file on disk, and what of it an observer needs to know.

    ``index_template`` is the sink's, with ``{database}`` and ``{table}`` in it.
    """

    name: str
    path: Path
    group: str
    dead_letters: str
    index_template: str
    http_port: int

    def index(self, table: str) -> str:
        """The alias under which one finance table is found."""
        return self.index_template.replace("{database}", "finance").replace("{table}", table)

    @property
    def indices(self) -> str:
        """A pattern of all its indices and of nobody else's."""
        return self.index("*") + "*"


def for_films(servers: Servers, data: Films, *, refresh: str = "interval") -> Pipeline:
    """A new group and a new index at each call; the settings are the defaults, as a user's."""
    schemas = {data.topic: declared_schema(servers, data)} if data.wire is Wire.JSON else {}
    name = _unique("films")
    sink = into_elasticsearch(name, refresh=refresh, refresh_interval_seconds=1, shards=1)
    return _written(servers, name, _source(data.wire, [data.topic]), sink, schemas=schemas)


def for_finance(servers: Servers, capture: Capture, *, refresh: str = "interval") -> Pipeline:
    """All seven tables of a capture; a new group and new indices at each call."""
    return for_topics(servers, capture.name, Wire.AVRO, capture.topics, refresh=refresh)


def for_topics(  # noqa: PLR0913 - what a pipeline file says
    servers: Servers,
    name: str,
    wire: Wire,
    topics: Sequence[str],
    *,
    refresh: str = "interval",
    small_polls: int | None = None,
) -> Pipeline:
    """``small_polls``: so many events a poll, and fetches that hold little of each partition, so
    that a backlog arrives as mixed as live traffic does.
    """
    sections: dict[str, Mapping[str, Any]] = {}
    if small_polls is not None:
        sections["delivery"] = {"poll_events": small_polls}
        sections["kafka"] = {"properties": {"max.partition.fetch.bytes": 4096}}
    unique = _unique(name)
    sink = into_elasticsearch(unique, refresh=refresh)
    return _written(servers, unique, _source(wire, topics), sink, sections=sections)


def into_elasticsearch(name: str, **settings: Any) -> dict[str, Any]:
    """A ``sink:`` block with indices of the pipeline's own."""
    hosts = ["${env:CALLSHEET_ELASTICSEARCH_URL}"]
    return {"type": "elasticsearch", "hosts": hosts, "index": f"{name}-{{table}}", **settings}


def into(
    servers: Servers,
    name: str,
    topics: Sequence[str],
    sink: Callable[[str], Mapping[str, Any]],
) -> Pipeline:
    """From Avro into any sink, with static membership; ``sink`` makes the pipeline file's block
    of that name, given the pipeline's own name.
    """
    unique = _unique(name)
    sections = {"kafka": {"instance_id": unique}}
    return _written(servers, unique, _source(Wire.AVRO, topics), sink(unique), sections=sections)


def committed(servers: Servers) -> Pipeline:
    """The pipeline file of the repository, as a user runs it."""
    found = load(COMMITTED_FILE, servers.environment, plugin)
    index: str = found.sink.model_dump()["index"]
    return Pipeline(
        name=found.name,
        path=COMMITTED_FILE,
        group=found.settings.group_id,
        dead_letters=found.settings.dead_letter_topic,
        index_template=index,
        http_port=worker.free_port(),  # the file's own port may be in use by a user's worker
    )


def _source(wire: Wire, topics: Sequence[str]) -> dict[str, Any]:
    source: dict[str, Any] = {"format": wire.value, "topics": list(topics)}
    if wire is Wire.AVRO:
        source["registry"] = {"url": "${env:CALLSHEET_REGISTRY_URL}"}
    return source


def _unique(name: str) -> str:
    return f"bench-{name}-{uuid.uuid4().hex[:8]}"


def _written(  # noqa: PLR0913 - the sections of a pipeline file
    servers: Servers,
    name: str,
    source: Mapping[str, Any],
    sink: Mapping[str, Any],
    *,
    schemas: Mapping[str, str] | None = None,
    sections: Mapping[str, Mapping[str, Any]] | None = None,
) -> Pipeline:
    folder = servers.scratch / "pipeline"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "schemas").mkdir(parents=True)
    for topic, schema in (schemas or {}).items():
        (folder / "schemas" / f"{topic}.avsc").write_text(schema, "utf-8")
    pipeline = Pipeline(
        name, folder / f"{name}.yaml", name, f"{name}.dead-letters", f"{name}-{{table}}",
        worker.free_port(),
    )  # fmt: skip
    more = sections or {}
    document = {
        "name": name,
        "source": dict(source),
        "kafka": {
            "bootstrap_servers": "${env:CALLSHEET_KAFKA_BOOTSTRAP}",
            "group_id": name,
            **more.get("kafka", {}),
        },
        "delivery": dict(more.get("delivery", {})),
        "sink": dict(sink),
    }
    # JSON is YAML.
    pipeline.path.write_text(json.dumps(document, indent=2), "utf-8")
    return pipeline


# --- the declared schema ------------------------------------------------------------------------


def declared_schema(servers: Servers, data: Films) -> str:
    """What a user writes for JSON without schemas: the Avro schema of the same table, which the
    registry has from the Avro topic, with money as the text that this connector writes.
    """
    subject = f"{Films(Wire.AVRO, data.rows).topic}-value"
    url = f"{servers.environment['CALLSHEET_REGISTRY_URL']}/subjects/{subject}/versions/latest"
    answer = httpx.get(url, trust_env=False, timeout=30)
    if answer.status_code != 200:
        raise FatalError(f"The registry has no schema for {subject} ({answer.status_code}).")
    return declared_text(json.loads(answer.json()["schema"]))


def declared_text(schema: Mapping[str, Any]) -> str:
    return json.dumps({**money_as_text(schema), "callsheet.key": ["film_id"]})


def money_as_text(node: Any) -> Any:
    """Every Connect Decimal in an Avro schema as a string that keeps its column's type."""
    if isinstance(node, list):
        return [money_as_text(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("connect.name") == "org.apache.kafka.connect.data.Decimal":
        kept = {
            key: value
            for key, value in node.get("connect.parameters", {}).items()
            if key.startswith("__debezium.source.column.")
        }
        return {"type": "string", "connect.parameters": kept}
    return {key: money_as_text(value) for key, value in node.items()}


# --- workers ------------------------------------------------------------------------------------


def start(servers: Servers, pipeline: Pipeline) -> Worker:
    log = servers.scratch / "worker.log"
    return worker.start(pipeline.path, pipeline.http_port, servers.environment, log)


@contextlib.contextmanager
def running(servers: Servers, pipeline: Pipeline, workers: int = 1) -> Iterator[Worker]:
    """A worker for the length of the block; its dead letters fail the benchmark."""
    log = servers.scratch / "worker.log"
    log.unlink(missing_ok=True)
    with worker.running(
        pipeline.path, pipeline.http_port, servers.environment, log, workers
    ) as started:
        yield started
    if letters := dead_letters(servers, pipeline):
        raise FatalError(f"{pipeline.name} put {letters} records aside; see {log}")


@contextlib.contextmanager
def removed_afterwards(servers: Servers, pipeline: Pipeline) -> Iterator[None]:
    """What the pipeline made: indices, dead letters, commits. Its topics stay."""
    try:
        yield
    finally:
        servers.elastic.delete(pipeline.indices)
        servers.kafka.delete([pipeline.dead_letters])
        servers.kafka.delete_group(pipeline.group)


def dead_letters(servers: Servers, pipeline: Pipeline) -> int:
    return servers.kafka.count(pipeline.dead_letters)


def wait_until_assigned(
    servers: Servers, pipeline: Pipeline, running: Worker, members: int = 1
) -> tuple[float, Cost]:
    """Until the group is stable with partitions given out to so many, as the *broker* sees it.

    Returns the last moment (monotonic) at which it was not, and what the worker had cost by then:
    no record was read before that.
    """
    deadline = time.monotonic() + ASSIGN_S
    while time.monotonic() < deadline:
        before, cost = time.monotonic(), running.cost()
        if servers.kafka.readers(pipeline.group) >= members:
            return before, cost
        running.require_alive()
        time.sleep(LOOK_EVERY_S)
    raise FatalError(f"The worker got no partitions in {ASSIGN_S:.0f} s.\n{running.last_words()}")


def wait_until_committed(
    servers: Servers, pipeline: Pipeline, topics: Sequence[str], patience_s: float
) -> None:
    """Until the group has committed all that is in the topics now.

    A transaction's marker takes an offset and nobody reads it, so the last commit may be one
    short of the end.
    """
    deadline = time.monotonic() + patience_s
    ends = servers.kafka.ends(topics)
    while time.monotonic() < deadline:
        committed = servers.kafka.committed(pipeline.group)
        if all(committed.get(place, 0) >= end - 1 for place, end in ends.items()):
            return
        time.sleep(LOOK_EVERY_S)
    raise FatalError(f"{pipeline.name}: not everything was committed after {patience_s:.0f} s.")


def wait_for_capture(
    servers: Servers, connect: ConnectClient, connector: str, patience_s: float
) -> None:
    """Until the connector's own offset has passed what MySQL has written by now."""
    goal = servers.binlog_position()
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        for entry in connect.offsets(connector):
            offset = entry.offset or {}
            file, position = str(offset.get("file", ".0")), int(offset.get("pos", 0))
            if (int(file.rpartition(".")[2]), position) >= goal:
                return
        time.sleep(0.2)
    raise FatalError(f"{connector} has not read all of MySQL's log after {patience_s:.0f} s.")
