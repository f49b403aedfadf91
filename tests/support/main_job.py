"""The main job on the real servers: a database, a connector and pipelines of a test's own.

A :class:`MainJob` owns everything it makes (MySQL database, Debezium connector with its topics,
pipelines with their groups and indices), so several share one stack. Its files are made from the
committed ones in ``cdc-config/``: what is tested is what is shipped.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from elasticsearch import Elasticsearch
from ruamel.yaml import YAML

from callsheet.batch import Partition
from callsheet.errors import CallsheetError, UnavailableError
from callsheet.kafka.admin import KafkaTopics
from callsheet.kafka.groups import KafkaGroups, PartitionOffsets
from callsheet.kafka.settings import Connection
from callsheet.ports import SystemClock
from connectors.apply import Applier
from connectors.client import ConnectClient
from connectors.files import load
from connectors.progress import BinlogPosition, measure
from connectors.subjects import RegistrySubjects
from connectors.survey import MysqlSurvey
from finance.database import Role
from finance.simulate import Simulator, Summary, Until
from finance.tables import BUSINESS_TABLES
from stack import Stack
from tests.support.equality import Report, compare_tables
from tests.support.finance import Database, a_database
from tests.support.worker_process import WorkerProcess

CHECKOUT: Final = Path(__file__).parents[2]
PATIENCE_S: Final = 90.0
_LOOK_S: Final = 0.1


def until(is_true: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Poll; fails the test when it does not come true."""
    end = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < end, f"not within {patience_s:.0f} s: {what}"
        time.sleep(_LOOK_S)


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


@dataclass
class MainJob:
    """One capture, and any number of pipelines behind it. Use :func:`a_main_job`."""

    stack: Stack
    database: Database
    folder: Path
    """A cdc-config of its own."""
    wire: str = "avro"
    tables: tuple[str, ...] = ()
    """Captured besides the business tables; they may be created later."""
    name: str = field(default_factory=lambda: f"job-{uuid4().hex[:8]}")
    workers: list[WorkerProcess] = field(default_factory=list)
    pipelines: list[Pipeline] = field(default_factory=list)

    # --- neighbours -----------------------------------------------------------------------------

    @property
    def environ(self) -> Mapping[str, str]:
        """Of the commands; workers register below the folder, where nobody else's are."""
        own = {"CALLSHEET_STATE_DIR": str(self.folder / "state"), "CALLSHEET_STACK": "none"}
        return {**os.environ, **self.database.environment, **own}

    @cached_property
    def connect(self) -> ConnectClient:
        return ConnectClient(self.environ["CALLSHEET_CONNECT_URL"])

    @cached_property
    def elastic(self) -> Elasticsearch:
        return Elasticsearch(self.environ["CALLSHEET_ELASTICSEARCH_URL"], request_timeout=60)

    @cached_property
    def kafka(self) -> KafkaTopics:
        return KafkaTopics({"bootstrap.servers": self.bootstrap})

    @cached_property
    def groups(self) -> KafkaGroups:
        return KafkaGroups(Connection(self.bootstrap, {}))

    @property
    def bootstrap(self) -> str:
        return self.environ["CALLSHEET_KAFKA_BOOTSTRAP"]

    # --- capture --------------------------------------------------------------------------------

    @property
    def captured(self) -> list[str]:
        return [*(table.name for table in BUSINESS_TABLES), *self.tables]

    def topic(self, table: str) -> str:
        return f"{self.name}.{self.database.name}.{table}"

    @property
    def connector_file(self) -> Path:
        return self.folder / "connectors" / f"{self.name}.json"

    def write_connector(self, changes: Mapping[str, str] | None = None) -> Path:
        """The committed connector, pointed at this database."""
        source = {"avro": "finance-mysql.json", "json": "finance-mysql-json.json.example"}
        committed = CHECKOUT / "cdc-config/connectors" / source[self.wire]
        mine = committed.read_text("utf-8").replace("finance.", f"{self.database.name}.")
        document = json.loads(mine)
        document["name"] = self.name
        captured = [*self.captured, "callsheet_heartbeat"]
        document["config"] |= {
            "database.server.id": str(int(self.name.removeprefix("job-"), 16) % 2**31 + 1),
            "database.include.list": self.database.name,
            "table.include.list": ",".join(f"{self.database.name}.{table}" for table in captured),
            "topic.prefix": self.name,
            "schema.history.internal.kafka.topic": f"_schema-history.{self.name}",
            # Its own place in the log is known sooner, so tests wait less.
            "heartbeat.interval.ms": "200",
            **(changes or {}),
        }
        self.connector_file.parent.mkdir(parents=True, exist_ok=True)
        self.connector_file.write_text(json.dumps(document, indent=2), "utf-8")
        self.connector_file.with_suffix(".topics.yaml").write_text(self._topics_file(), "utf-8")
        return self.connector_file

    def _topics_file(self) -> str:
        committed = CHECKOUT / "cdc-config/connectors/finance-mysql.topics.yaml"
        document = YAML(typ="safe").load(committed.read_text("utf-8"))
        every = [*self.captured, "callsheet_heartbeat", "callsheet_signal"]
        stated = {name.partition(".")[2]: shape for name, shape in document["tables"].items()}
        document["tables"] = {
            f"{self.database.name}.{table}": stated.get(table, {"partitions": 2}) for table in every
        }
        return json.dumps(document)

    def start_capture(self, changes: Mapping[str, str] | None = None) -> None:
        """As `callsheet connectors apply` does it; returns when the connector has moved."""
        survey = MysqlSurvey(self.environ)
        subjects, clock = RegistrySubjects(self.environ), SystemClock()
        applier = Applier(
            self.connect, self.kafka, survey, clock, subjects=subjects, wait_s=PATIENCE_S
        )
        applier.apply([load(self.write_connector(changes))])

    def wait_for_capture(self, patience_s: float = PATIENCE_S) -> None:
        """Until Kafka has all that MySQL has committed by now."""
        ((file, position, *_),) = self.database.ask("SHOW BINARY LOG STATUS")
        goal = BinlogPosition.parse(str(file), int(position))

        def is_there() -> bool:
            with suppress(UnavailableError):  # Connect may be the one that a test has killed
                status = self.connect.status(self.name)
                assert not (status and status.failed), f"{self.name} failed: {status}"
                progress = measure(self.connect.offsets(self.name), {})
                return (
                    progress.position is not None
                    and not progress.snapshotting
                    and progress.position >= goal
                )
            return False

        until(is_there, f"capture has come to {goal}", patience_s)

    # --- pipelines and workers ------------------------------------------------------------------

    def pipeline(
        self,
        label: str = "search",
        *,
        tables: Sequence[str] | None = None,
        hosts: Sequence[str] = (),
        **sections: Any,
    ) -> Pipeline:
        """A new pipeline from the committed file; ``sections`` are laid over its own."""
        source = {"avro": "search.yaml", "json": "search-json.yaml"}[self.wire]
        committed = CHECKOUT / "cdc-config/pipelines" / source
        document = YAML(typ="safe").load(committed.read_text("utf-8"))
        name = f"{self.name}-{label}"
        topics = [self.topic(table) for table in (self.captured if tables is None else tables)]
        made = Pipeline(
            self.folder / "pipelines" / f"{name}.yaml", name, tuple(topics), f"{name}-{{table}}"
        )
        document["name"] = name
        document["source"] |= {"topics": topics, "topic_prefix": self.name}
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
        self.pipelines.append(made)
        return made

    def start(self, pipeline: Pipeline, *arguments: str) -> WorkerProcess:
        """`callsheet run` in a process of its own; returns when it is a member of its group."""
        log = self.folder / f"{pipeline.name}.log"
        worker = WorkerProcess.start(
            ["run", str(pipeline.path), *arguments], self.environ, log, cwd=CHECKOUT
        )
        self.workers.append(worker)
        worker.wait_until_ready()
        return worker

    # --- how far --------------------------------------------------------------------------------

    def offsets(
        self, pipeline: Pipeline, tables: Collection[str] | None = None
    ) -> list[PartitionOffsets]:
        topics = pipeline.topics if tables is None else [self.topic(table) for table in tables]
        return self.groups.offsets(pipeline.group, self.groups.partitions(topics))

    def wait_until_in_sync(
        self,
        pipeline: Pipeline,
        *,
        tables: Collection[str] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Until all that MySQL has committed by now is captured, delivered and committed."""
        self.wait_for_capture(patience_s)

        def is_in_sync() -> bool:
            with suppress(CallsheetError):
                found = self.offsets(pipeline, tables)
                return bool(found) and all(place.lag == 0 for place in found)
            return False

        until(is_in_sync, f"{pipeline.name} has committed everything", patience_s)

    def compare(self, pipeline: Pipeline, tables: Sequence[sa.Table] = BUSINESS_TABLES) -> Report:
        aliases = {table: pipeline.alias(table.name) for table in tables}
        return compare_tables(self.database.engine(Role.READER), self.elastic, aliases)

    def assert_equal(self, pipeline: Pipeline, tables: Sequence[sa.Table] = BUSINESS_TABLES) -> int:
        """The index is MySQL, row for row; returns the number of rows."""
        report = self.compare(pipeline, tables)
        assert report.is_equal, f"{pipeline.name} differs from MySQL:\n{report}"
        return report.rows

    def reflected(self, table: str) -> sa.Table:
        """A table as MySQL has it now."""
        return sa.Table(table, sa.MetaData(), autoload_with=self.database.engine(Role.ADMIN))

    def indices(self, pattern: str) -> list[str]:
        """Names of the indices that match; aliases do not count."""
        return sorted(self.elastic.indices.get(index=pattern, features=["aliases"]))

    # --- Kafka ----------------------------------------------------------------------------------

    def records(self, topics: Sequence[str]) -> list[Message]:
        """Every committed record of these topics, markers left out."""
        return read_all(self.bootstrap, self.groups, topics)

    def dead_letters(self, pipeline: Pipeline) -> list[Message]:
        return self.records([pipeline.letters])

    # --- the studio -----------------------------------------------------------------------------

    def simulate(self, changes: int, *, seed: int = 7, rate_per_s: float = 100_000) -> Summary:
        simulator = Simulator(self.database.engine(Role.APP), seed)
        return simulator.run(rate_per_s, Until(changes=changes))

    # --- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        with suppress(CallsheetError):
            self._delete_connector()
        for index in self.indices(f"{self.name}-*"):
            self.elastic.indices.delete(index=index)
        self._delete_topics()
        self.connect.close()
        self.elastic.close()

    def _delete_connector(self) -> None:
        if self.connect.config(self.name) is None:
            return
        self.connect.stop(self.name)
        status = self.connect.status
        until(lambda: (s := status(self.name)) and not s.tasks, "the connector stops")
        self.connect.reset_offsets(self.name)
        self.connect.delete(self.name)

    def _delete_topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        mine = [name for name in admin.list_topics(timeout=10).topics if self.name in name]
        for future in admin.delete_topics(mine).values() if mine else ():
            future.result(30)


@contextmanager
def a_main_job(
    stack: Stack, folder: Path, *, wire: str = "avro", tables: tuple[str, ...] = ()
) -> Iterator[MainJob]:
    """Its database is migrated and empty; nothing captures it yet."""
    with a_database(stack.environment()) as database:
        database.up()
        job = MainJob(stack, database, folder, wire, tables)
        _copy_overrides(job)
        try:
            yield job
        finally:
            job.close()


def _copy_overrides(job: MainJob) -> None:
    """The committed mappings and declared schemas, under this database's name."""
    for kind, pattern in (("mappings", "*.json"), ("schemas", "*.avsc")):
        target = job.folder / kind
        target.mkdir(parents=True, exist_ok=True)
        for file in (CHECKOUT / "cdc-config" / kind).glob(pattern):
            name = file.name.replace("studio-json.", f"{job.name}.")
            name = name.replace("finance.", f"{job.database.name}.")
            (target / name).write_bytes(file.read_bytes())


def read_all(bootstrap: str, groups: KafkaGroups, topics: Sequence[str]) -> list[Message]:
    """Every committed record from the first to the last, in order per partition."""
    places = groups.offsets(f"reader-{uuid4().hex}", groups.partitions(topics))
    open_ends = {p.partition: p.end for p in places if p.end and p.end > (p.begin or 0)}
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap, "group.id": f"reader-{uuid4().hex}",
            "enable.auto.commit": False, "isolation.level": "read_committed",
            "enable.partition.eof": True, "log_level": 0,
        }
    )  # fmt: skip
    found: list[Message] = []
    try:
        reader.assign([TopicPartition(p.topic, p.number, 0) for p in open_ends])
        end = time.monotonic() + PATIENCE_S
        while open_ends:
            assert time.monotonic() < end, f"could not be read to their ends: {list(open_ends)}"
            message = reader.poll(1.0)
            if message is None:
                continue
            if message.error() is None:
                found.append(message)
            else:  # the end of a partition
                open_ends.pop(Partition(str(message.topic()), int(message.partition() or 0)), None)
    finally:
        reader.close()
    return found
